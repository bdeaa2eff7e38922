package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"herald"
)

// EventTypes lists the operator's own event types by name.
func (s *Store) EventTypes(ctx context.Context) ([]herald.EventType, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	types, err := eventTypes(ctx, s.read)
	return types, s.failed("list the event types", err)
}

func eventTypes(ctx context.Context, q querier) ([]herald.EventType, error) {
	return list(ctx, q, scanEventType, eventTypesSQL)
}

const eventTypesSQL = `SELECT spec FROM event_types ORDER BY name`

func scanEventType[R row](rows R) (t herald.EventType, err error) {
	var spec []byte
	if err := rows.Scan(&spec); err != nil {
		return t, err
	}
	return t, json.Unmarshal(spec, &t)
}

// SaveEventType makes or replaces one of the operator's own event types. It raises the
// version of every client, so that no event is committed that was prepared on the old
// type.
func (s *Store) SaveEventType(ctx context.Context, by herald.Caller, t herald.EventType) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // the schema and the example keep the operator's text
	if err := encoder.Encode(t); err != nil {
		return fmt.Errorf("encode an event type: %w", err)
	}
	spec := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	leave, err := s.changes.enter(ctx, allClients)
	if err != nil {
		return s.failed("save an event type", err)
	}
	defer leave()
	var clients []uuid.UUID
	err = s.inTransaction(ctx, "save an event type", func(ctx context.Context, tx *sql.Tx) error {
		before, err := first(ctx, tx, scanBytes, `SELECT spec FROM event_types WHERE name = $1`, t.Name)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO event_types (name, spec) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET spec = excluded.spec`, t.Name, spec)
		if err != nil {
			return err
		}
		entry := auditEntry{action: herald.EventTypeSaved, subject: t.Name, after: json.RawMessage(spec)}
		if before != nil {
			entry.before = json.RawMessage(before)
		}
		if err := s.audit(ctx, tx, by, entry); err != nil {
			return err
		}
		clients, err = list(ctx, tx, scanID, `UPDATE clients SET version = version + 1 WHERE deleted_at IS NULL RETURNING id`)
		return err
	})
	for _, client := range clients {
		s.changed(client)
	}
	return err
}

// DeleteEventType deletes one of the operator's own event types. Like SaveEventType it raises the
// version of every client. The error is CodeNotFound when there is no such type, and CodeConflict
// while rules use it.
func (s *Store) DeleteEventType(ctx context.Context, by herald.Caller, name string) error {
	leave, err := s.changes.enter(ctx, allClients)
	if err != nil {
		return s.failed("delete an event type", err)
	}
	defer leave()
	var clients []uuid.UUID
	err = s.inTransaction(ctx, "delete an event type", func(ctx context.Context, tx *sql.Tx) (err error) {
		// The versions first: that locks the clients' rows, so that no rule changes meanwhile.
		clients, err = list(ctx, tx, scanID, `UPDATE clients SET version = version + 1 WHERE deleted_at IS NULL RETURNING id`)
		if err != nil {
			return err
		}
		if err := ruleOfType(ctx, tx, name); err != nil {
			return err
		}
		before, err := first(ctx, tx, scanBytes, `DELETE FROM event_types WHERE name = $1 RETURNING spec`, name)
		if errors.Is(err, sql.ErrNoRows) {
			return herald.Errorf(herald.CodeNotFound, "There is no event type %q that was added.", name)
		}
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{action: herald.EventTypeDeleted, subject: name, before: json.RawMessage(before)})
	})
	if lost := (*lostAnswer)(nil); err == nil || errors.As(err, &lost) { // it may have taken place
		for _, client := range clients {
			s.changed(client)
		}
	}
	return err
}

// ruleOfType returns CodeConflict if rules use the event type.
func ruleOfType(ctx context.Context, tx *sql.Tx, name string) error {
	used, err := first(ctx, tx, func(rows *sql.Rows) (n [2]int, err error) {
		err = rows.Scan(&n[0], &n[1])
		return n, err
	}, `SELECT count(*), count(DISTINCT r.client_id) FROM rules r JOIN clients c ON c.id = r.client_id AND c.deleted_at IS NULL WHERE r.type = $1`, name)
	if err != nil || used[0] == 0 {
		return err
	}
	return herald.Errorf(herald.CodeConflict, "The event type %q is used by %s of %s. Delete those rules first, or give them another type.",
		name, count(used[0], "rule"), count(used[1], "client"))
}

// count returns a number of things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
