package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"herald"
	"herald/internal/secret"
)

// What the audit log tells of a thing before and after a change.
type (
	ruleTold struct {
		Type          string    `json:"type"`
		CompanyID     uuid.UUID `json:"companyId,omitzero"`
		Webhook       string    `json:"webhook,omitempty"`
		Emails        []string  `json:"emails,omitempty"`
		Authorization bool      `json:"authorization"`
	}
	keyTold struct {
		Name string      `json:"name,omitempty"`
		Role herald.Role `json:"role"`
	}
	profileTold struct {
		Name string `json:"name"`
		storedProfile
		AlertAuthHeader string `json:"alertAuthHeader,omitempty"`
	}
	clientTold struct {
		Name string `json:"name"`
	}
)

func tellRule(r herald.Rule) *ruleTold {
	return &ruleTold{Type: r.PostedType, CompanyID: r.CompanyID, Webhook: r.Webhook, Emails: r.Emails, Authorization: !r.WithoutAuthorization}
}

// tellProfile tells nothing of the Authorization header but that there is one, and
// that it was another.
func tellProfile(p herald.Profile, another bool) *profileTold {
	told := &profileTold{Name: p.Name, storedProfile: storeProfile(p)}
	if p.AlertAuthHeader != "" {
		told.AlertAuthHeader = secret.MaskAuthorization(p.AlertAuthHeader)
		if another {
			told.AlertAuthHeader += " (changed)"
		}
	}
	return told
}

// change is what is told of one change.
type change struct {
	client        uuid.UUID
	action        herald.Action
	subject       string
	before, after any // nil for what was not, or is no more
}

// note adds a change to the audit log, in the transaction that makes it. One that
// changed nothing is not worth an entry.
func note(ctx context.Context, tx *sql.Tx, by herald.Caller, c change) error {
	before, err := told(c.before)
	if err != nil {
		return err
	}
	after, err := told(c.after)
	if err != nil {
		return err
	}
	if before != nil && bytes.Equal(before, after) {
		return nil
	}
	id := herald.NewID()
	address := ""
	if by.Address.IsValid() {
		address = by.Address.String()
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO audit (id, client_id, action, subject, actor, key_id, address, before, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, id[:], idOrNull(c.client), string(c.action), c.subject, string(by.Actor()), idOrNull(by.Key.ID), address, before, after)
	return err
}

func told(thing any) ([]byte, error) {
	if thing == nil {
		return nil, nil
	}
	text, err := json.Marshal(thing)
	if err != nil {
		return nil, fmt.Errorf("encode for the audit log: %w", err)
	}
	return text, nil
}

// Changes lists up to limit entries of the audit log, newest first, behind after
// unless that is uuid.Nil; a client other than uuid.Nil leaves only its own.
func (s *Store) Changes(ctx context.Context, client, after uuid.UUID, limit int) ([]herald.Change, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	c := conditions{parts: []string{"id >= (SELECT kept_from FROM history)"}}
	if client != uuid.Nil {
		c.add("client_id = %s", client)
	}
	if after != uuid.Nil {
		c.add("id < %s", after)
	}
	changes, err := list(ctx, s.read, scanChange, `SELECT id, client_id, action, subject, actor, key_id, address, before, after
FROM audit WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.place(limit), c.args...)
	return changes, s.failed("list the audit log", err)
}

func scanChange(rows *sql.Rows) (c herald.Change, err error) {
	var before, after []byte
	err = rows.Scan(&c.ID, &c.ClientID, &c.Action, &c.Subject, &c.Actor, &c.APIKeyID, &c.Address, &before, &after)
	c.At, c.Before, c.After = herald.TimeOf(c.ID), before, after
	return c, err
}

// ExpireChanges deletes, in one bounded step, entries of the audit log that are not
// kept any more; it returns how many.
func (s *Store) ExpireChanges(ctx context.Context) (n int, err error) {
	err = s.change(ctx, "delete old entries of the audit log", func(tx *sql.Tx) error {
		deleted, err := affected(tx.ExecContext(ctx, `DELETE FROM audit WHERE id IN (
SELECT id FROM audit WHERE id < (SELECT kept_from FROM history) ORDER BY id LIMIT $1)`, step))
		n = int(deleted)
		return err
	})
	return n, err
}
