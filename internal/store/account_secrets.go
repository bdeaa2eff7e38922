package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"herald"
	"herald/internal/secret"
)

// ErrWrongKey says that the keys at hand do not open what the database's secrets were sealed with.
var ErrWrongKey = errors.New("the secrets in the database were sealed with another key")

// checkText is what the table secret_check has, sealed, and checkContext what it belongs to.
var (
	checkText    = []byte("herald")
	checkContext = []byte("secretCheck")
)

// HasDatabase reports whether a data directory has a database of the embedded kind.
func HasDatabase(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, databaseFile))
	return err == nil
}

// CheckSecrets returns an error that wraps ErrWrongKey unless the keys at hand open the
// database's secrets. The first check of a database writes a text sealed with the present key,
// which every later check must be able to open. So a wrong key is found before anything is
// sealed with it. isNew says that the database had neither that text nor a client.
func (s *Store) CheckSecrets(ctx context.Context) (isNew bool, err error) {
	size := len(s.box.Prefix())
	prefixes, err := list(ctx, s.write, scanBytes, `SELECT DISTINCT substr(auth, 1, $1) FROM clients WHERE auth IS NOT NULL`, size)
	if err != nil {
		return false, s.failed("read what secrets were sealed with", err)
	}
	for _, prefix := range prefixes {
		// A damaged secret is its client's affair, and no reason to serve nobody.
		if err := s.box.Opens(prefix); errors.Is(err, secret.ErrKeyMissing) {
			return false, fmt.Errorf("%w: %w", ErrWrongKey, err)
		}
	}
	sealed, err := s.secretCheck(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		clients, err := first(ctx, s.write, scanInt, `SELECT COUNT(*) FROM (SELECT 1 FROM clients LIMIT 1) AS any_client`)
		if err != nil {
			return false, s.failed("look for clients", err)
		}
		isNew = clients == 0
		if err := s.writeSecretCheck(ctx, `INSERT INTO secret_check (id, sealed) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`); err != nil {
			return isNew, err
		}
		if sealed, err = s.secretCheck(ctx); err != nil { // another node's, if that was first
			return isNew, s.failed("read the check of the secret key", err)
		}
	} else if err != nil {
		return false, s.failed("read the check of the secret key", err)
	}
	if _, err := s.box.Open(sealed, checkContext); err != nil {
		return isNew, fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	return isNew, nil
}

func (s *Store) secretCheck(ctx context.Context) ([]byte, error) {
	return first(ctx, s.write, scanBytes, `SELECT sealed FROM secret_check`)
}

// writeSecretCheck runs a statement that writes the check, sealed with the present key.
func (s *Store) writeSecretCheck(ctx context.Context, text string) error {
	return s.inTransaction(ctx, "write the check of the secret key", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, text, s.box.Seal(checkText, checkContext))
		return err
	})
}

// resealCheck seals the check with the present key if it was sealed with an older one.
func (s *Store) resealCheck(ctx context.Context) error {
	sealed, err := s.secretCheck(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return s.failed("read the check of the secret key", err)
	case bytes.HasPrefix(sealed, s.box.Prefix()):
		return nil
	}
	if _, err := s.box.Open(sealed, checkContext); err != nil {
		return fmt.Errorf("the check of the secret key: %w", err)
	}
	return s.writeSecretCheck(ctx, `UPDATE secret_check SET sealed = $1`)
}

// ResetSecrets clears the Authorization headers that no key opens, and returns their clients. The
// present key is the database's from then on.
func (s *Store) ResetSecrets(ctx context.Context) (cleared []herald.Client, err error) {
	type sealed struct {
		client herald.Client
		auth   []byte
	}
	var after uuid.UUID
	for {
		some, err := list(ctx, s.write, func(rows *sql.Rows) (o sealed, err error) {
			err = rows.Scan(&o.client.ID, &o.client.Profile.Name, &o.auth)
			return o, err
		}, `SELECT id, name, auth FROM clients WHERE auth IS NOT NULL AND id > $1 ORDER BY id LIMIT $2`, after[:], step)
		if err != nil {
			return cleared, s.failed("read the sealed secrets", err)
		}
		if len(some) == 0 {
			return cleared, s.writeSecretCheck(ctx, `INSERT INTO secret_check (id, sealed) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed`)
		}
		for _, o := range some {
			after = o.client.ID
			if _, err := s.box.Open(o.auth, authContext(o.client.ID)); err == nil {
				continue
			}
			if err := s.clearHeader(ctx, o.client.ID, o.auth); err != nil {
				return cleared, err
			}
			cleared = append(cleared, o.client)
		}
	}
}

// clearHeader deletes a client's sealed header, unless another was saved since it was read.
func (s *Store) clearHeader(ctx context.Context, client uuid.UUID, auth []byte) error {
	return s.changeSettings(ctx, client, "clear a header that cannot be read", func(ctx context.Context, tx *sql.Tx) error {
		before, err := s.readableClient(ctx, tx, client)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE clients SET auth = NULL WHERE id = $1 AND auth = $2`, client[:], auth); err != nil {
			return err
		}
		audited := auditProfile(before.Profile, false)
		audited.AlertAuthHeader = "(could not be read)"
		return s.audit(ctx, tx, herald.Caller{Operator: true}, auditEntry{client, herald.ProfileUpdated, client.String(), audited, auditProfile(before.Profile, false)})
	})
}
