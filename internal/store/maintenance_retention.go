package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
)

// DefaultRetention is how long history is kept if Options.Retention is 0.
const DefaultRetention = 90 * 24 * time.Hour

// Expire hides history older than the retention, by whole hours, and deletes it. On
// PostgreSQL it drops the partitions that have expired completely, and returns 0. On SQLite
// it deletes rows in one step, at most step per table, and returns how many; 0 means that
// none are left. History since the oldest pending delivery stays, whatever its age.
func (s *Store) Expire(ctx context.Context) (n int, err error) {
	keptFrom, err := s.advanceRetention(ctx)
	if err != nil {
		return 0, s.failed("move the start of the kept history", err)
	}
	if s.dialect.shared {
		return 0, s.failed("drop old history", s.onDirectAddress(ctx, s.options, func(db *sql.DB) error {
			return whileLocked(ctx, db, func() error {
				return errors.Join(makePartitions(ctx, db), dropPartitions(ctx, db, keptFrom))
			})
		}))
	}
	err = s.inTransaction(ctx, "delete old history", func(ctx context.Context, tx *sql.Tx) error {
		n, err = deleteBefore(ctx, tx, keptFrom)
		return err
	})
	return n, err
}

// advanceRetention sets and returns kept_from, the smallest id of the history that is kept.
func (s *Store) advanceRetention(ctx context.Context) (keptFrom uuid.UUID, err error) {
	err = s.inTransaction(ctx, "move the start of the kept history", func(ctx context.Context, tx *sql.Tx) error {
		// Take the lock first. AddDelivery takes it too, so no alert expires while it
		// gets a new delivery.
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

// deleteBefore deletes up to step rows of each table of history, and returns how many. It
// deletes events first: reads of events and alerts join them, so these are not found any
// more.
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

// ExpireTallies deletes tallies of hours before the kept history, in one step of at most step
// tallies. It returns how many.
func (s *Store) ExpireTallies(ctx context.Context) (n int, err error) {
	err = s.inTransaction(ctx, "delete old tallies", func(ctx context.Context, tx *sql.Tx) error {
		deleted, err := affected(tx.ExecContext(ctx, `DELETE FROM tallies WHERE (client_id, rule_id, hour) IN (
SELECT client_id, rule_id, hour FROM tallies WHERE hour < (SELECT kept_hour FROM history) ORDER BY hour LIMIT $1)`, step))
		n = int(deleted)
		return err
	})
	return n, err
}
