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
	"herald/internal/work"
)

// The records that the audit log holds in its columns before and after.
type (
	auditedRule struct {
		Type          string    `json:"type"`
		CompanyID     uuid.UUID `json:"companyId,omitzero"`
		Webhook       string    `json:"webhook,omitempty"`
		Emails        []string  `json:"emails,omitempty"`
		Authorization bool      `json:"authorization"`
	}
	auditedKey struct {
		Name string      `json:"name,omitempty"`
		Role herald.Role `json:"role"`
	}
	auditedProfile struct {
		Name string `json:"name"`
		storedProfile
		AlertAuthHeader string `json:"alertAuthHeader,omitempty"`
	}
	auditedClient struct {
		Name string `json:"name"`
	}
	auditedDelivery struct {
		Receiver string    `json:"receiver"`
		Repeats  uuid.UUID `json:"repeats,omitzero"`
	}
	auditedRecovery struct {
		Deliveries int       `json:"deliveries"`
		Last       uuid.UUID `json:"last"`
	}
)

func auditRule(r herald.Rule) *auditedRule {
	return &auditedRule{Type: r.PostedType, CompanyID: r.CompanyID, Webhook: r.Webhook, Emails: r.Emails, Authorization: !r.WithoutAuthorization}
}

// auditProfile returns a profile with its Authorization header masked: the audit log
// holds no secrets. headerChanged marks a header whose value has changed.
func auditProfile(p herald.Profile, headerChanged bool) *auditedProfile {
	audited := &auditedProfile{Name: p.Name, storedProfile: storeProfile(p)}
	if p.AlertAuthHeader != "" {
		audited.AlertAuthHeader = secret.MaskAuthorization(p.AlertAuthHeader)
		if headerChanged {
			audited.AlertAuthHeader += " (changed)"
		}
	}
	return audited
}

// auditEntry is one change to be written to the audit log.
type auditEntry struct {
	client        uuid.UUID
	action        herald.Action
	subject       string
	before, after any // nil before the subject existed, or after it was deleted
}

// audit adds an entry to the audit log, in the transaction that makes the change. It
// adds none when before and after are equal.
func (s *Store) audit(ctx context.Context, tx *sql.Tx, by herald.Caller, e auditEntry) error {
	before, err := encodeAudited(e.before)
	if err != nil {
		return err
	}
	after, err := encodeAudited(e.after)
	if err != nil {
		return err
	}
	if before != nil && bytes.Equal(before, after) {
		return nil
	}
	id := s.ids.New() // its time is compared with the kept history
	address := ""
	if by.Address.IsValid() {
		address = by.Address.String()
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO audit (id, client_id, action, subject, actor, key_id, address, before, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, id[:], idOrNull(e.client), string(e.action), e.subject, string(by.Actor()), idOrNull(by.Key.ID), address, before, after)
	return err
}

func encodeAudited(record any) ([]byte, error) {
	if record == nil {
		return nil, nil
	}
	text, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encode for the audit log: %w", err)
	}
	return text, nil
}

// Changes lists up to f.Limit entries of the audit log that meet f, newest first: those of client, unless client is
// uuid.Nil. A list that would have to search too many entries, or that has more than maxCursorPage bytes, returns
// those found so far, and in next the value of f.After for the call that continues. next is uuid.Nil when f.Limit
// entries were found or there are no more.
func (s *Store) Changes(ctx context.Context, client uuid.UUID, f herald.ChangeFilter) (changes []herald.Change, next uuid.UUID, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, uuid.Nil, err
	}
	defer done()
	ids, next, err := s.changeIDs(ctx, client, f)
	if err != nil || len(ids) == 0 {
		return nil, next, s.failed("list the audit log", err)
	}
	c := conditionsOfChanges(client, f, ids) // in the order of an index, so that nothing large is sorted
	changes, full, err := listWithin(ctx, s.lists, scanChange, `SELECT id, client_id, action, subject, actor, key_id, address, before, after
FROM audit WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(len(ids)), c.args...)
	if full {
		next = changes[len(changes)-1].ID
	}
	return changes, next, s.failed("list the audit log", err)
}

// changeIDs lists the ids of the entries that meet f, like Changes.
func (s *Store) changeIDs(ctx context.Context, client uuid.UUID, f herald.ChangeFilter) ([]uuid.UUID, uuid.UUID, error) {
	ids := func(before uuid.UUID, n int) ([]uuid.UUID, error) {
		end := span{to: before} // one bound, as in deliveriesByAlert
		if f.After != uuid.Nil {
			end.before(f.After)
		}
		if !f.Until.IsZero() {
			end.before(herald.FirstIDAt(f.Until))
		}
		c := conditions{parts: []string{"id >= (SELECT kept_from FROM history)"}}
		if client != uuid.Nil {
			c.add("client_id = %s", client)
		}
		c.add("id < %s", end.to)
		if !f.Since.IsZero() {
			c.add("id >= %s", herald.FirstIDAt(f.Since))
		}
		return list(ctx, s.lists, scanID, `SELECT id FROM audit WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(n), c.args...)
	}
	return collectNewest(s, f.Limit, ids, func(some []uuid.UUID) ([]uuid.UUID, error) {
		if len(f.Actions) == 0 && f.Actor == "" {
			return some, nil
		}
		c := conditionsOfChanges(client, f, some)
		return list(ctx, s.lists, scanID, `SELECT id FROM audit WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(f.Limit), c.args...)
	})
}

// conditionsOfChanges are those of the entries that meet f, from the last to the first of some ids.
func conditionsOfChanges(client uuid.UUID, f herald.ChangeFilter, ids []uuid.UUID) (c conditions) {
	if client != uuid.Nil {
		c.add("client_id = %s", client)
	}
	c.add("id BETWEEN %s AND %s", ids[len(ids)-1], ids[0])
	if f.Actor != "" {
		c.add("actor = %s", string(f.Actor))
	}
	if len(f.Actions) > 0 {
		var names conditions
		for _, a := range f.Actions {
			names.parts = append(names.parts, c.bind(string(a)))
		}
		c.parts = append(c.parts, "action IN ("+names.list()+")")
	}
	return c
}

// RuleChanges lists up to limit changes of a client's rules that were made after an event, oldest first.
// complete is false if there are more, because of the limit or because they have more than maxCursorPage
// bytes.
func (s *Store) RuleChanges(ctx context.Context, client, event uuid.UUID, limit int) (changes []herald.Change, complete bool, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, false, err
	}
	defer done()
	changes, full, err := listWithin(ctx, s.lists, scanChange, `SELECT id, client_id, action, subject, actor, key_id, address, before, after
FROM audit WHERE client_id = $1 AND id > $2 AND action IN ($3, $4, $5) ORDER BY id LIMIT $6`,
		client[:], event[:], string(herald.RuleCreated), string(herald.RuleUpdated), string(herald.RuleDeleted), limit+1)
	if len(changes) > limit {
		changes, full = changes[:limit], true
	}
	return changes, !full, s.failed("list the changes of rules", err)
}

// scanChange also returns the size of the change, in bytes.
func scanChange(rows *sql.Rows) (c herald.Change, size int, err error) {
	var before, after []byte
	err = rows.Scan(&c.ID, &c.ClientID, &c.Action, &c.Subject, &c.Actor, &c.APIKeyID, &c.Address, &before, &after)
	c.At, c.Before, c.After = herald.TimeOf(c.ID), before, after
	return c, len(before) + len(after) + work.RowSize, err
}

// ExpireAuditLog deletes entries of the audit log that are older than the kept history, in
// one step of at most step entries. It returns how many.
func (s *Store) ExpireAuditLog(ctx context.Context) (int, error) {
	return s.expireStep(ctx, "delete old entries of the audit log", `DELETE FROM audit WHERE id IN (
SELECT id FROM audit WHERE id < (SELECT kept_from FROM history) ORDER BY id LIMIT $1)`)
}
