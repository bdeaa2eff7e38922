package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
)

// DefaultRetention is how long history is kept unless Options say otherwise.
const DefaultRetention = 90 * 24 * time.Hour

// Expire takes history out of sight that is older than retention, by whole
// hours, and deletes it: on PostgreSQL by dropping weeks that have gone as a
// whole, on SQLite in one bounded step. What belongs to a delivery that is
// pending stays, however old. It returns how many rows it deleted if there may
// be more.
func (s *Store) Expire(ctx context.Context) (n int, err error) {
	keptFrom, err := s.advanceRetention(ctx)
	if err != nil {
		return 0, s.failed("move the end of retention", err)
	}
	if s.dialect.shared {
		return 0, s.failed("drop old history", s.onDirectAddress(ctx, s.options, func(db *sql.DB) error {
			return whileLocked(ctx, db, func() error {
				return errors.Join(makePartitions(ctx, db), dropPartitions(ctx, db, keptFrom))
			})
		}))
	}
	err = s.change(ctx, "delete old history", func(tx *sql.Tx) error {
		n, err = deleteBefore(ctx, tx, keptFrom)
		return err
	})
	return n, err
}

// moveKeptFrom sets and returns the id that history is kept from.
func (s *Store) advanceRetention(ctx context.Context) (keptFrom uuid.UUID, err error) {
	err = s.change(ctx, "move the end of retention", func(tx *sql.Tx) error {
		// The lock first: who makes a delivery of an old alert holds it too.
		if _, err := first(ctx, tx, scanID, `SELECT kept_from FROM history `+s.dialect.forUpdate); err != nil {
			return err
		}
		now, err := s.dialect.now(ctx, tx)
		if err != nil {
			return err
		}
		from := fromMicros(now).Add(-s.options.Retention)
		oldest, err := first(ctx, tx, scanID, `SELECT id FROM queue ORDER BY id LIMIT 1`)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		case herald.TimeOf(oldest).Before(from):
			from = herald.TimeOf(oldest)
		}
		from = from.Truncate(time.Hour)
		id := herald.FirstIDAt(from)
		_, err = tx.ExecContext(ctx, `UPDATE history SET kept_from = $1, kept_hour = $2 WHERE kept_hour < $2`, id[:], micros(from))
		if err != nil {
			return err
		}
		keptFrom, err = first(ctx, tx, scanID, `SELECT kept_from FROM history`)
		return err
	})
	return keptFrom, err
}

// deleteBefore deletes up to step rows of each table of history. The events go
// first: without its event nothing is found by its id any more.
func deleteBefore(ctx context.Context, tx *sql.Tx, keptFrom uuid.UUID) (all int, err error) {
	for _, text := range []string{
		`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < $1 ORDER BY id LIMIT $2)`,
		`DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE id < $1 ORDER BY id LIMIT $2)`,
		`DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE id < $1 ORDER BY id LIMIT $2)`,
		`DELETE FROM attempts WHERE (delivery_id, n) IN (SELECT delivery_id, n FROM attempts WHERE delivery_id < $1 ORDER BY delivery_id LIMIT $2)`,
	} {
		n, err := affected(tx.ExecContext(ctx, text, keptFrom[:], step))
		if err != nil {
			return all, err
		}
		all += int(n)
	}
	return all, nil
}

// ExpireTallies deletes, in one bounded step, tallies of hours that are not kept
// any more; it returns how many.
func (s *Store) ExpireTallies(ctx context.Context) (n int, err error) {
	err = s.change(ctx, "delete old tallies", func(tx *sql.Tx) error {
		deleted, err := affected(tx.ExecContext(ctx, `DELETE FROM tallies WHERE (client_id, rule_id, hour) IN (
SELECT client_id, rule_id, hour FROM tallies WHERE hour < (SELECT kept_hour FROM history) ORDER BY hour LIMIT $1)`, step))
		n = int(deleted)
		return err
	})
	return n, err
}
