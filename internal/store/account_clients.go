package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"herald"
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

const (
	clientColumns = `id, name, profile, auth, version, version + settings_version`
	clientSQL     = `SELECT ` + clientColumns + ` FROM clients WHERE id = $1 AND deleted_at IS NULL`
)

func noClient(id uuid.UUID) error {
	return herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", id)
}

// scanClient scans a client. It is an error if no key opens the client's Authorization header.
func (s *Store) scanClient(rows row) (herald.Client, error) {
	c, unreadable, err := s.scanSealed(rows)
	if err == nil && unreadable != nil {
		err = fmt.Errorf("alertAuthHeader of client %s: %w", c.ID, unreadable)
	}
	return c, err
}

// scanReadable scans a client for what needs no Authorization header. One that no key opens is
// left out, so that the client can be listed, changed and deleted.
func (s *Store) scanReadable(rows row) (herald.Client, error) {
	c, _, err := s.scanSealed(rows)
	return c, err
}

func (s *Store) scanSealed(rows row) (c herald.Client, unreadable, err error) {
	var (
		profile []byte
		auth    []byte
		stored  storedProfile
	)
	if err := rows.Scan(&c.ID, &c.Profile.Name, &profile, &auth, &c.Version, &c.Revision); err != nil {
		return c, nil, err
	}
	if err := json.Unmarshal(profile, &stored); err != nil {
		return c, nil, fmt.Errorf("profile of client %s: %w", c.ID, err)
	}
	c.Profile.LogoURL, c.Profile.IconURL, c.Profile.RedirectURL = stored.LogoURL, stored.IconURL, stored.RedirectURL
	c.Profile.WhiteListURLs, c.Profile.ConfirmCompanyName = stored.WhiteListURLs, stored.ConfirmCompanyName
	if auth == nil {
		return c, nil, nil
	}
	plain, unreadable := s.box.Open(auth, authContext(c.ID))
	c.Profile.AlertAuthHeader = string(plain)
	return c, unreadable, nil
}

// authContext binds a sealed alertAuthHeader to its client and purpose: copied to
// another row, it cannot be opened.
func authContext(client uuid.UUID) []byte {
	return append([]byte("alertAuthHeader "), client[:]...)
}

// CreateClient makes a client with its first API key. The key is returned in plain
// text this once. An empty role means herald.Developer.
func (s *Store) CreateClient(ctx context.Context, by herald.Caller, name string, role herald.Role) (herald.Client, string, error) {
	c := herald.Client{ID: herald.NewID(), Profile: herald.Profile{Name: name}, Version: 1, Revision: 1}
	var plain string
	err := s.changeInTurn(ctx, uuid.Nil, "create a client", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO clients (id, name, profile, version) VALUES ($1, $2, $3, $4)`,
			c.ID[:], name, []byte(`{}`), c.Version)
		if err != nil {
			return err
		}
		if err := s.audit(ctx, tx, by, auditEntry{c.ID, herald.ClientCreated, c.ID.String(), nil, auditedClient{name}}); err != nil {
			return err
		}
		_, plain, err = s.addKey(ctx, tx, by, c.ID, "", role)
		return err
	})
	return c, plain, err
}

// Client returns a client. The error is CodeNotFound when there is none.
func (s *Store) Client(ctx context.Context, id uuid.UUID) (herald.Client, error) {
	ctx, done, err := s.readTurn(ctx, id)
	if err != nil {
		return herald.Client{}, err
	}
	defer done()
	return s.client(ctx, s.lists, id)
}

// client returns a client; readableClient does too if no key opens its Authorization header.
func (s *Store) client(ctx context.Context, q querier, id uuid.UUID) (herald.Client, error) {
	return s.oneClient(ctx, q, s.scanClient, id)
}

func (s *Store) readableClient(ctx context.Context, q querier, id uuid.UUID) (herald.Client, error) {
	return s.oneClient(ctx, q, s.scanReadable, id)
}

func (s *Store) oneClient(ctx context.Context, q querier, scan func(row) (herald.Client, error), id uuid.UUID) (herald.Client, error) {
	c, err := first(ctx, q, func(rows *sql.Rows) (herald.Client, error) { return scan(rows) }, clientSQL, id[:])
	if errors.Is(err, sql.ErrNoRows) {
		return c, noClient(id)
	}
	return c, s.failed("read a client", err)
}

// RenameClient changes a client's name. The error is CodeNotFound when there is no such
// client.
func (s *Store) RenameClient(ctx context.Context, by herald.Caller, id uuid.UUID, name string) error {
	return s.changeClient(ctx, id, "rename a client", func(ctx context.Context, tx *sql.Tx) error {
		before, err := s.readableClient(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE clients SET name = $1 WHERE id = $2`, name, id[:]); err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{id, herald.ClientRenamed, id.String(), auditedClient{before.Profile.Name}, auditedClient{name}})
	})
}

// SaveProfile replaces a client's profile. It raises Version only if the name changes, which
// is in every body. The error is CodeNotFound when there is no
// such client.
func (s *Store) SaveProfile(ctx context.Context, by herald.Caller, id uuid.UUID, p herald.Profile) error {
	_, err := s.saveProfile(ctx, by, id, p, false)
	return err
}

// SaveProfileKeepingHeader is SaveProfile, but the Authorization header stays as it is, even if no
// key opens it. It returns the profile with the header that was kept.
func (s *Store) SaveProfileKeepingHeader(ctx context.Context, by herald.Caller, id uuid.UUID, p herald.Profile) (herald.Profile, error) {
	return s.saveProfile(ctx, by, id, p, true)
}

// SaveAuthorization replaces the Authorization header of a client's profile and leaves the rest as it is, in one
// step, even if no key opens the header before. An empty one means that none is sent. The error is CodeNotFound
// when there is no such client.
func (s *Store) SaveAuthorization(ctx context.Context, by herald.Caller, id uuid.UUID, header string) error {
	var auth []byte
	if header != "" {
		auth = s.box.Seal([]byte(header), authContext(id))
	}
	return s.changeSettings(ctx, id, "save an Authorization header", func(ctx context.Context, tx *sql.Tx) error {
		before, err := s.readableClient(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE clients SET auth = $1 WHERE id = $2`, auth, id[:]); err != nil {
			return err
		}
		after := before.Profile
		after.AlertAuthHeader = header
		return s.audit(ctx, tx, by, auditEntry{id, herald.ProfileUpdated, id.String(), auditProfile(before.Profile, false), auditProfile(after, before.Profile.AlertAuthHeader != header)})
	})
}

func (s *Store) saveProfile(ctx context.Context, by herald.Caller, id uuid.UUID, p herald.Profile, keepHeader bool) (herald.Profile, error) {
	stored, err := json.Marshal(storeProfile(p))
	if err != nil {
		return p, fmt.Errorf("encode a profile: %w", err)
	}
	var auth []byte
	if p.AlertAuthHeader != "" {
		auth = s.box.Seal([]byte(p.AlertAuthHeader), authContext(id))
	}
	err = s.changeSettings(ctx, id, "save a profile", func(ctx context.Context, tx *sql.Tx) error {
		before, err := s.readableClient(ctx, tx, id)
		if err != nil {
			return err
		}
		if keepHeader {
			p.AlertAuthHeader = before.Profile.AlertAuthHeader
		}
		_, err = tx.ExecContext(ctx, `UPDATE clients SET name = $1, profile = $2, auth = CASE WHEN $3 THEN auth ELSE $4 END,
version = version + CASE WHEN name = $1 THEN 0 ELSE 1 END WHERE id = $5`, p.Name, stored, keepHeader, auth, id[:])
		if err != nil {
			return err
		}
		headerChanged := before.Profile.AlertAuthHeader != p.AlertAuthHeader
		return s.audit(ctx, tx, by, auditEntry{id, herald.ProfileUpdated, id.String(), auditProfile(before.Profile, false), auditProfile(p, headerChanged)})
	})
	return p, err
}

// DeleteClient revokes a client's keys and deletes its rules at once.
// CancelDeletedClients cancels its pending deliveries afterwards, in steps. Its history
// stays. The error is CodeNotFound when there is no such client.
func (s *Store) DeleteClient(ctx context.Context, by herald.Caller, id uuid.UUID) error {
	return s.changeClient(ctx, id, "delete a client", func(ctx context.Context, tx *sql.Tx) error {
		before, err := s.readableClient(ctx, tx, id)
		if err != nil {
			return err
		}
		// It is marked first: then the triggers record no changes of its rules.
		_, err = tx.ExecContext(ctx, `UPDATE clients SET deleted_at = $1, auth = NULL WHERE id = $2`, micros(s.clock.Now()), id[:])
		if err != nil {
			return err
		}
		for _, text := range []string{
			`DELETE FROM keys WHERE client_id = $1`, `DELETE FROM rules WHERE client_id = $1`, `DELETE FROM notifications WHERE client_id = $1`,
			`DELETE FROM rule_changes WHERE client_id = $1`, `DELETE FROM rule_totals WHERE client_id = $1`,
		} {
			if _, err := tx.ExecContext(ctx, text, id[:]); err != nil {
				return err
			}
		}
		return s.audit(ctx, tx, by, auditEntry{id, herald.ClientDeleted, id.String(), auditedClient{before.Profile.Name}, nil})
	})
}

// Version returns a client's present version, or 0 when there is no such client.
func (s *Store) Version(ctx context.Context, id uuid.UUID) (int64, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	version, err := first(ctx, s.read, scanInt, clientVersionSQL, s.withCachedPlan(id[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, s.failed("read a client's version", err)
}

// Revision returns a client's present revision, or 0 when there is no such client.
func (s *Store) Revision(ctx context.Context, id uuid.UUID) (int64, error) {
	revision, err := first(ctx, s.read, scanInt, `SELECT version + settings_version FROM clients WHERE id = $1 AND deleted_at IS NULL`, s.withCachedPlan(id[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return revision, s.failed("read a client's revision", err)
}
