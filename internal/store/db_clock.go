package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"herald"
	"herald/internal/clock"
)

// now returns the time in microseconds. Where nodes share the database, it reads the database's
// clock: no time of one machine is compared with a time of another.
func (s *Store) now(ctx context.Context, q querier) (int64, error) {
	if s.dialect.clockSQL != "" {
		began := s.clock.Elapsed()
		reading, err := first(ctx, q, scanInt, `SELECT `+s.dialect.clockSQL)
		if err != nil {
			return 0, err
		}
		s.clock.Observe(fromMicros(reading), began)
	}
	return micros(s.clock.Now()), nil
}

// startClock takes the first reading and compares it with the latest time that the database
// knows of. If they are far apart, one of them is wrong, or the service was stopped for long.
func (s *Store) startClock(ctx context.Context) error {
	if _, err := s.now(ctx, s.read); err != nil {
		return err
	}
	known, err := s.latestKnown(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil || s.clock.Remember(known) {
		return err
	}
	s.log.Warn("the clock lies far from the latest time in the database; check it unless the service was stopped meanwhile: nothing expires by it for a day if it is ahead",
		"clock", s.clock.Now(), "database", known, "ahead", s.clock.Now().Sub(known).Round(time.Second))
	return nil
}

// latestKnown returns the latest time that was trusted. In a database of an older version it
// is when the newest event was accepted. The error is sql.ErrNoRows when there is none.
func (s *Store) latestKnown(ctx context.Context) (time.Time, error) {
	trusted, err := first(ctx, s.read, scanInt, `SELECT trusted_at FROM history`)
	if err != nil || trusted > 0 {
		return fromMicros(trusted), err
	}
	newest, err := first(ctx, s.read, scanID, newestEventSQL)
	return herald.TimeOf(newest), err
}

const newestEventSQL = `SELECT id FROM events ORDER BY id DESC LIMIT 1`

// trustedTime returns the time that history expires by, after trusted, which was the last one.
// It follows the clock within clock.CautionAfter. A clock that is further ahead has to last: in
// this process for clock.CautionHold, or in another that has trusted it meanwhile.
func (s *Store) trustedTime(trusted time.Time) time.Time {
	now := s.clock.Now()
	if now.Sub(trusted) <= clock.CautionAfter {
		s.clock.Trust()
		return now // also when the clock was ahead and is back
	}
	if cautious := s.clock.Cautious(); cautious.After(trusted) {
		return cautious
	}
	return trusted
}
