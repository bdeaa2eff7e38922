package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/secret"
)

const keyColumns = `id, client_id, role, name, created_at`

func scanKey(rows *sql.Rows) (k herald.Key, err error) {
	var created int64
	err = rows.Scan(&k.ID, &k.ClientID, &k.Role, &k.Name, &created)
	k.CreatedAt = fromMicros(created)
	return k, err
}

// KeyByHash returns the API key with a hash. The error is CodeNotFound when there is
// none.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	k, err := first(ctx, s.read, scanKey, `SELECT `+keyColumns+` FROM keys WHERE hash = $1`, s.withCachedPlan(hash[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return k, herald.Errorf(herald.CodeNotFound, "No API key was found")
	}
	return k, s.failed("look up an API key", err)
}

// Keys lists a client's API keys, oldest first, with their last uses.
func (s *Store) Keys(ctx context.Context, client uuid.UUID) ([]herald.Key, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, err
	}
	defer done()
	keys, err := list(ctx, s.lists, scanUsedKey, `SELECT `+keyColumns+`, used_at FROM keys WHERE client_id = $1 ORDER BY id`, client[:])
	for i := range keys {
		if at := s.keyUses.of(keys[i].ID); at != 0 && fromMicros(at).After(keys[i].LastUse) {
			keys[i].LastUse = fromMicros(at)
		}
		if used := keys[i].LastUse; !used.IsZero() && used.Before(keys[i].CreatedAt) {
			keys[i].LastUse = keys[i].CreatedAt // it was cut to the minute
		}
	}
	return keys, s.failed("list API keys", err)
}

// CreateKey makes an API key and returns it in plain text this once. An empty name means one that
// no other key of the client has, such as "API key 2". An empty role means herald.Developer.
//
// Errors: CodeNotFound when there is no such client, CodeConflict when it has
// herald.MaxKeys keys already.
func (s *Store) CreateKey(ctx context.Context, by herald.Caller, client uuid.UUID, name string, role herald.Role) (k herald.Key, plain string, err error) {
	err = s.changeClient(ctx, client, "create an API key", func(ctx context.Context, tx *sql.Tx) error {
		names, err := list(ctx, tx, scanText, `SELECT name FROM keys WHERE client_id = $1`, client[:])
		if err != nil {
			return err
		}
		if len(names) >= herald.MaxKeys {
			return herald.Errorf(herald.CodeConflict, // the text of spec section 6.2
				"Maximum number of API keys reached. To create a new API key, delete an unused key and try again.")
		}
		k, plain, err = s.addKey(ctx, tx, by, client, cmp.Or(name, newKeyName(names)), role)
		return err
	})
	return k, plain, err
}

// newKeyName returns a name for a key beside those of the client's other keys.
func newKeyName(names []string) string {
	for n := len(names) + 1; ; n++ {
		if name := fmt.Sprintf("API key %d", n); !slices.Contains(names, name) {
			return name
		}
	}
}

func (s *Store) addKey(ctx context.Context, tx *sql.Tx, by herald.Caller, client uuid.UUID, name string, role herald.Role) (herald.Key, string, error) {
	plain, hash := secret.NewAPIKey()
	k := herald.Key{ID: herald.NewID(), ClientID: client, Name: name, Role: cmp.Or(role, herald.Developer), CreatedAt: s.clock.Now().Truncate(time.Microsecond)}
	_, err := tx.ExecContext(ctx, `INSERT INTO keys (hash, id, client_id, role, name, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		hash[:], k.ID[:], client[:], string(k.Role), name, micros(k.CreatedAt))
	if err != nil {
		return k, plain, err
	}
	return k, plain, s.audit(ctx, tx, by, auditEntry{client, herald.KeyCreated, k.ID.String(), nil, auditedKey{k.Name, k.Role}})
}

// DeleteKey revokes an API key.
//
// Errors: CodeNotFound when the client has no such key, CodeConflict for its last key,
// CodeForbidden when the caller's role may not delete it.
func (s *Store) DeleteKey(ctx context.Context, by herald.Caller, client, key uuid.UUID) error {
	return s.changeClient(ctx, client, "delete an API key", func(ctx context.Context, tx *sql.Tx) error {
		k, err := first(ctx, tx, scanKey, `DELETE FROM keys WHERE id = $1 AND client_id = $2 RETURNING `+keyColumns, key[:], client[:])
		if errors.Is(err, sql.ErrNoRows) {
			return herald.Errorf(herald.CodeNotFound, "No API key was found with ID %s", key)
		}
		if err != nil {
			return err
		}
		if err := by.MayManageKeys(k.Role); err != nil {
			return err
		}
		left, err := first(ctx, tx, scanInt, `SELECT count(*) FROM keys WHERE client_id = $1`, client[:])
		if err == nil && left == 0 {
			return herald.Errorf(herald.CodeConflict, "The last API key cannot be deleted. Create another one first.")
		}
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client, herald.KeyDeleted, key.String(), auditedKey{k.Name, k.Role}, nil})
	})
}
