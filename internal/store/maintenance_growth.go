package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"herald"
)

const (
	// sizeStep is how often the size of the database is kept.
	sizeStep = time.Hour
	// sizesKept is how long sizes are kept: a week, and time for a comparison with the week before.
	sizesKept = 14 * 24 * time.Hour
)

// SampleSize keeps the size of the database, if none is kept of this hour: one node does it for all. It deletes sizes
// older than sizesKept. It is one step, and always returns 0.
func (s *Store) SampleSize(ctx context.Context) (int, error) {
	now := s.clock.Now()
	hour := micros(now.Truncate(sizeStep))
	kept, err := first(ctx, s.read, scanInt, `SELECT count(*) FROM database_sizes WHERE hour = $1`, hour)
	if err != nil || kept > 0 {
		return 0, s.failed("read the kept sizes of the database", err)
	}
	size, err := s.size(ctx, s.read)
	if err != nil {
		return 0, s.failed("measure the database", err)
	}
	return 0, s.transact(ctx, transaction{doing: "keep the size of the database", repeatable: true}, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO database_sizes (hour, at, bytes) VALUES ($1, $2, $3) ON CONFLICT (hour) DO NOTHING`, hour, micros(now), size.Bytes)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM database_sizes WHERE hour < $1`, micros(s.clock.Cautious().Add(-sizesKept)))
		}
		return err
	})
}

// addGrowth compares the size of the database with the newest that was kept a day, and a week, before now. A size that
// is older by a quarter of that time is too old for it: the service did not run.
func (s *Store) addGrowth(ctx context.Context, now time.Time, d *herald.DatabaseStatus) error {
	for _, g := range []struct {
		ago  time.Duration
		into **herald.Growth
	}{{24 * time.Hour, &d.Day}, {7 * 24 * time.Hour, &d.Week}} {
		then, err := first(ctx, s.lists, func(rows *sql.Rows) (g herald.Growth, err error) {
			var at int64
			err = rows.Scan(&at, &g.Bytes)
			g.Since = fromMicros(at)
			return g, err
		}, `SELECT at, bytes FROM database_sizes WHERE at <= $1 AND at > $2 ORDER BY hour DESC LIMIT 1`, micros(now.Add(-g.ago)), micros(now.Add(-g.ago-g.ago/4)))
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		then.Bytes = d.Bytes - then.Bytes
		*g.into = &then
	}
	return nil
}
