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

// startClock takes the first reading and compares it with the latest times that the database
// knows of. If they are far apart, one of them is wrong, or the service was stopped for long.
func (s *Store) startClock(ctx context.Context) error {
	if _, err := s.now(ctx, s.read); err != nil {
		return err
	}
	trusted, err := first(ctx, s.read, scanInt, `SELECT trusted_at FROM history`)
	if err != nil {
		return err
	}
	newest, err := first(ctx, s.read, scanID, newestEventSQL)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	accepted := herald.TimeOf(newest) // 1970 without events
	known := fromMicros(trusted)
	if trusted == 0 { // the tables are new, or of an older version
		known = accepted
	}
	if known.Unix() == 0 {
		return nil
	}
	now, ahead := s.clock.Now(), s.clock.Remember(known)
	latest := known
	if accepted.After(latest) {
		latest = accepted
	}
	switch {
	case ahead > longAhead:
		s.log.Warn("the clock is far ahead of the latest time in the database; check it, unless the service was stopped meanwhile; nothing is deleted by it for a day",
			"clock", now, "database", known, "ahead", ahead.Round(time.Second))
	case latest.Sub(now) > clock.MaxStep:
		s.log.Warn("the clock is behind the latest time in the database; one of them is wrong, or was",
			"clock", now, "database", latest, "behind", latest.Sub(now).Round(time.Second))
	}
	return nil
}

// longAhead is how far the clock may be ahead of the latest time in the database without a
// warning: services are stopped for shorter times.
const longAhead = 24 * time.Hour

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
