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
	return list(ctx, q, func(rows *sql.Rows) (t herald.EventType, err error) {
		var spec []byte
		if err := rows.Scan(&spec); err != nil {
			return t, err
		}
		return t, json.Unmarshal(spec, &t)
	}, `SELECT spec FROM event_types ORDER BY name`)
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
