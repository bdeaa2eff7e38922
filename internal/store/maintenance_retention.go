package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
)

// DefaultRetention is how long history is kept if Options.Retention is 0.
const DefaultRetention = 90 * 24 * time.Hour

// Expire hides history older than the retention, by whole hours, and deletes it. What belongs
// to a pending delivery is not deleted, whatever its age: its event, its alert and its attempts.
//
// On PostgreSQL it drops the partitions that have expired completely. In a partition that a
// pending delivery keeps, and on SQLite, it deletes the other rows in steps, at most step per
// table in each, and returns how many; 0 means that none are left.
func (s *Store) Expire(ctx context.Context) (n int, err error) {
	keptFrom, err := s.moveRetention(ctx)
	if err != nil {
		return 0, s.failed("move the start of the kept history", err)
	}
	before, steps := keptFrom, 1
	if s.dialect.shared {
		err := s.onDirectAddress(ctx, s.options, func(db *sql.DB) error {
			return whileLocked(ctx, db, func() error {
				return errors.Join(s.makePartitions(ctx, db), dropPartitions(ctx, db, keptFrom))
			})
		})
		if err != nil {
			return 0, s.failed("drop old history", err)
		}
		// The week in which the kept history begins is dropped later, as a whole.
		before, steps = herald.FirstIDAt(herald.TimeOf(keptFrom).Truncate(week)), stepsPerExpire
	}
	for range steps {
		var deleted int
		err = s.inTransaction(ctx, "delete old history", func(ctx context.Context, tx *sql.Tx) error {
			deleted, err = s.deleteBefore(ctx, tx, before)
			return err
		})
		if n += deleted; err != nil || deleted == 0 {
			break
		}
	}
	return n, err
}

// stepsPerExpire is how many steps one Expire deletes on PostgreSQL: looking for partitions
// takes longer than a step.
const stepsPerExpire = 20

// maxSetBack is how much further than it should be the start of the kept history may be before
// it is moved back. It is so far ahead after it was moved by a wrong clock.
const maxSetBack = 24 * time.Hour

// moveRetention sets and returns kept_from, the smallest id of the history that is kept. It lies
// the retention before the trusted time, and never after the newest event.
func (s *Store) moveRetention(ctx context.Context) (keptFrom uuid.UUID, err error) {
	err = s.inTransaction(ctx, "move the start of the kept history", func(ctx context.Context, tx *sql.Tx) error {
		// Take the lock first. AddDelivery takes it too, so no alert expires while it
		// gets a new delivery.
		var kept, trusted int64
		keptFrom, err = first(ctx, tx, func(rows *sql.Rows) (id uuid.UUID, err error) {
			err = rows.Scan(&id, &kept, &trusted)
			return id, err
		}, `SELECT kept_from, kept_hour, trusted_at FROM history `+s.dialect.forUpdate)
		if err != nil {
			return err
		}
		if _, err := s.now(ctx, tx); err != nil {
			return err
		}
		now := s.trustedTime(fromMicros(trusted))
		if _, err := tx.ExecContext(ctx, `UPDATE history SET trusted_at = $1`, micros(now)); err != nil {
			return err
		}
		from := now.Add(-s.options.Retention)
		newest, err := first(ctx, tx, scanID, newestEventSQL)
		switch at := herald.TimeOf(newest); {
		case err == nil && at.Before(from):
			from = at
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return err
		}
		from = from.Truncate(time.Hour)
		switch before := fromMicros(kept); {
		case from.After(before):
		case before.Sub(from) > maxSetBack:
			if err := s.countAgain(ctx, tx, from); err != nil {
				return err
			}
		default:
			return nil
		}
		keptFrom = herald.FirstIDAt(from)
		_, err = tx.ExecContext(ctx, `UPDATE history SET kept_from = $1, kept_hour = $2`, keptFrom[:], micros(from))
		return err
	})
	return keptFrom, err
}

// countAgain deletes the tallies and the index of alerts since from, so that Tally and IndexAlerts
// make them again: some of the alerts may have been deleted while the kept history began later than from.
func (s *Store) countAgain(ctx context.Context, tx *sql.Tx, from time.Time) error {
	if err := s.dialect.pauseBatches(ctx, tx); err != nil {
		return err
	}
	id := herald.FirstIDAt(from)
	if _, err := tx.ExecContext(ctx, `UPDATE history SET tallied_to = $1 WHERE tallied_to > $1`, id[:]); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM tallies WHERE hour >= $1`, micros(from)); err != nil {
		return err
	}
	return indexAgain(ctx, tx, id)
}

// How many bytes of an id are its event's, and its alert's.
const eventBytes, alertBytes = 13, 15

// deleteBefore deletes up to step rows of each table of history with ids before an id, and
// returns how many. It deletes events first: reads of events and alerts join them, so these are
// not found any more. It leaves what belongs to pending deliveries.
func (s *Store) deleteBefore(ctx context.Context, tx *sql.Tx, before uuid.UUID) (all int, err error) {
	for _, table := range []struct{ name, key, pending string }{
		{"events", "id", s.dialect.withPrefix("q.id", "h.id", eventBytes)},
		{"alerts", "id", s.dialect.withPrefix("q.id", "h.id", alertBytes)},
		{"deliveries", "id", ""},
		{"attempts", "delivery_id, n", "q.id = h.delivery_id"},
	} {
		id, _, _ := strings.Cut(table.key, ",")
		unless := ""
		if table.pending != "" {
			unless = ` AND NOT EXISTS (SELECT 1 FROM queue q WHERE ` + table.pending + `)`
		}
		n, err := affected(tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM %[1]s WHERE (%[2]s) IN (
SELECT %[2]s FROM %[1]s h WHERE %[3]s < $1%[4]s ORDER BY %[3]s LIMIT $2)`, table.name, table.key, id, unless), before[:], step))
		if err != nil {
			return all, err
		}
		all += int(n)
	}
	return all, nil
}

// ExpireTallies deletes tallies of hours before the kept history, in one step of at most step
// tallies. It returns how many.
func (s *Store) ExpireTallies(ctx context.Context) (int, error) {
	return s.expireStep(ctx, "delete old tallies", `DELETE FROM tallies WHERE (client_id, rule_id, hour) IN (
SELECT client_id, rule_id, hour FROM tallies WHERE hour < (SELECT kept_hour FROM history) ORDER BY hour LIMIT $1)`)
}

// expireStep deletes up to step rows with a statement that takes step as its argument. It returns how
// many.
func (s *Store) expireStep(ctx context.Context, doing, text string) (n int, err error) {
	err = s.inTransaction(ctx, doing, func(ctx context.Context, tx *sql.Tx) error {
		deleted, err := affected(tx.ExecContext(ctx, text, step))
		n = int(deleted)
		return err
	})
	return n, err
}
