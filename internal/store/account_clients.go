package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// storedProfile is the JSON in the column clients.profile. The name and the
// Authorization header have columns of their own.
type storedProfile struct {
	LogoURL            string   `json:"logoUrl,omitempty"`
	IconURL            string   `json:"iconUrl,omitempty"`
	RedirectURL        string   `json:"redirectUrl,omitempty"`
	WhiteListURLs      []string `json:"whiteListUrls,omitempty"`
	ConfirmCompanyName bool     `json:"confirmCompanyName,omitempty"`
}

func storeProfile(p herald.Profile) storedProfile {
	return storedProfile{
		LogoURL: p.LogoURL, IconURL: p.IconURL, RedirectURL: p.RedirectURL,
		WhiteListURLs: p.WhiteListURLs, ConfirmCompanyName: p.ConfirmCompanyName,
	}
}

const clientColumns = `id, name, profile, auth, version`

func (s *Store) scanClient(rows *sql.Rows) (herald.Client, error) {
	var (
		c       herald.Client
		profile []byte
		auth    []byte
		stored  storedProfile
	)
	if err := rows.Scan(&c.ID, &c.Profile.Name, &profile, &auth, &c.Version); err != nil {
		return c, err
	}
	if err := json.Unmarshal(profile, &stored); err != nil {
		return c, fmt.Errorf("profile of client %s: %w", c.ID, err)
	}
	c.Profile.LogoURL, c.Profile.IconURL, c.Profile.RedirectURL = stored.LogoURL, stored.IconURL, stored.RedirectURL
	c.Profile.WhiteListURLs, c.Profile.ConfirmCompanyName = stored.WhiteListURLs, stored.ConfirmCompanyName
	if auth == nil {
		return c, nil
	}
	plain, err := s.box.Open(auth, authContext(c.ID))
	if err != nil {
		return c, fmt.Errorf("alertAuthHeader of client %s: %w", c.ID, err)
	}
	c.Profile.AlertAuthHeader = string(plain)
	return c, nil
}

// authContext binds a sealed alertAuthHeader to its client and purpose: copied to
// another row, it cannot be opened.
func authContext(client uuid.UUID) []byte {
	return append([]byte("alertAuthHeader "), client[:]...)
}

// CreateClient makes a client with its first API key. The key is returned in plain
// text this once. An empty role means herald.Developer.
func (s *Store) CreateClient(ctx context.Context, by herald.Caller, name string, role herald.Role) (herald.Client, string, error) {
	c := herald.Client{ID: herald.NewID(), Profile: herald.Profile{Name: name}, Version: 1}
	var plain string
	err := s.inTransaction(ctx, "create a client", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO clients (id, name, profile, version) VALUES ($1, $2, $3, $4)`,
			c.ID[:], name, []byte(`{}`), c.Version)
		if err != nil {
			return err
		}
		if err := audit(ctx, tx, by, auditEntry{c.ID, herald.ClientCreated, c.ID.String(), nil, auditedClient{name}}); err != nil {
			return err
		}
		_, plain, err = addKey(ctx, tx, by, c.ID, "", role)
		return err
	})
	return c, plain, err
}

// Client returns a client. The error is CodeNotFound when there is none.
func (s *Store) Client(ctx context.Context, id uuid.UUID) (herald.Client, error) {
	return s.client(ctx, s.read, id)
}

func (s *Store) client(ctx context.Context, q querier, id uuid.UUID) (herald.Client, error) {
	c, err := first(ctx, q, s.scanClient, `SELECT `+clientColumns+` FROM clients WHERE id = $1 AND deleted_at IS NULL`, id[:])
	if errors.Is(err, sql.ErrNoRows) {
		return c, herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", id)
	}
	return c, s.failed("read a client", err)
}

// Clients lists up to limit clients, newest first, with nothing of their profiles but the names. It
// lists only clients older than after, unless after is uuid.Nil.
func (s *Store) Clients(ctx context.Context, after uuid.UUID, limit int) ([]herald.Client, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	var c conditions
	c.add("deleted_at IS NULL")
	if after != uuid.Nil {
		c.add("id < %s", after)
	}
	clients, err := list(ctx, s.read, func(rows *sql.Rows) (c herald.Client, err error) {
		err = rows.Scan(&c.ID, &c.Profile.Name, &c.Version)
		return c, err
	}, `SELECT id, name, version FROM clients WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(limit), c.args...)
	return clients, s.failed("list clients", err)
}

// RenameClient changes a client's name. The error is CodeNotFound when there is no such
// client.
func (s *Store) RenameClient(ctx context.Context, by herald.Caller, id uuid.UUID, name string) error {
	return s.changeClient(ctx, id, "rename a client", func(tx *sql.Tx) error {
		before, err := s.client(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE clients SET name = $1 WHERE id = $2`, name, id[:]); err != nil {
			return err
		}
		return audit(ctx, tx, by, auditEntry{id, herald.ClientRenamed, id.String(), auditedClient{before.Profile.Name}, auditedClient{name}})
	})
}

// SaveProfile replaces a client's profile. The error is CodeNotFound when there is no
// such client.
func (s *Store) SaveProfile(ctx context.Context, by herald.Caller, id uuid.UUID, p herald.Profile) error {
	stored, err := json.Marshal(storeProfile(p))
	if err != nil {
		return fmt.Errorf("encode a profile: %w", err)
	}
	var auth []byte
	if p.AlertAuthHeader != "" {
		auth = s.box.Seal([]byte(p.AlertAuthHeader), authContext(id))
	}
	return s.changeClient(ctx, id, "save a profile", func(tx *sql.Tx) error {
		before, err := s.client(ctx, tx, id)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE clients SET name = $1, profile = $2, auth = $3 WHERE id = $4`, p.Name, stored, auth, id[:])
		if err != nil {
			return err
		}
		headerChanged := before.Profile.AlertAuthHeader != p.AlertAuthHeader
		return audit(ctx, tx, by, auditEntry{id, herald.ProfileUpdated, id.String(), auditProfile(before.Profile, false), auditProfile(p, headerChanged)})
	})
}

// DeleteClient revokes a client's keys and deletes its rules at once.
// CancelDeletedClients cancels its pending deliveries afterwards, in steps. Its history
// stays. The error is CodeNotFound when there is no such client.
func (s *Store) DeleteClient(ctx context.Context, by herald.Caller, id uuid.UUID) error {
	return s.changeClient(ctx, id, "delete a client", func(tx *sql.Tx) error {
		before, err := s.client(ctx, tx, id)
		if err != nil {
			return err
		}
		for _, text := range []string{`DELETE FROM keys WHERE client_id = $1`, `DELETE FROM rules WHERE client_id = $1`} {
			if _, err := tx.ExecContext(ctx, text, id[:]); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `UPDATE clients SET deleted_at = $1, auth = NULL WHERE id = $2`, micros(time.Now()), id[:])
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, auditEntry{id, herald.ClientDeleted, id.String(), auditedClient{before.Profile.Name}, nil})
	})
}

// Version returns a client's present version, or 0 when there is no such client.
func (s *Store) Version(ctx context.Context, id uuid.UUID) (int64, error) {
	version, err := first(ctx, s.read, scanInt, clientVersionSQL, s.withCachedPlan(id[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, s.failed("read a client's version", err)
}

// ClientState reads a client's state. It reads the version first, so a change during the read
// makes the state count as older than it is, and thus as stale. The error is CodeNotFound
// when there is no such client.
func (s *Store) ClientState(ctx context.Context, id uuid.UUID) (work.ClientState, error) {
	var snap work.ClientState
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return snap, s.failed("read a client", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	if snap.Client, err = s.client(ctx, tx, id); err != nil {
		return snap, err
	}
	if snap.Rules, err = list(ctx, tx, scanRule, `SELECT `+ruleColumns+` FROM rules WHERE client_id = $1 ORDER BY id`, id[:]); err != nil {
		return snap, s.failed("read a client's rules", err)
	}
	if snap.KeyIDs, err = list(ctx, tx, scanID, `SELECT id FROM keys WHERE client_id = $1`, id[:]); err != nil {
		return snap, s.failed("read a client's keys", err)
	}
	if snap.Unsubscribed, err = unsubscribed(ctx, tx, id); err != nil {
		return snap, s.failed("read a client's unsubscribed mailboxes", err)
	}
	if snap.EventTypes, err = eventTypes(ctx, tx); err != nil {
		return snap, s.failed("read the event types", err)
	}
	return snap, nil
}
