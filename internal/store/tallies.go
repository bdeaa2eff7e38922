package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

// Counting millions of alerts takes too long for a list's total, so they are
// counted once, into tallies by the hour. The line between what is tallied and
// what is not is an id, tallied_to, which follows the present:
//
//	kept_from                                      tallied_to       now
//	    │ tallies: one number an hour, for each rule    │ counted when │
//	    │ and, under uuid.Nil, for all of the client's  │    asked     │
//
// An alert that is committed late, with an id before the line (a slow commit, a
// node whose clock is behind), is added to its tally by its own batch. So that
// each is counted once, the line moves only while no batch is under way.

const (
	// tallyLag is how far behind the present the line stays: most commits take
	// less and cost nothing.
	tallyLag = 10 * time.Second
	// tallyStep is how many alerts one step counts; batches wait for it.
	tallyStep = 5000
)

// Tally moves the line on by one bounded step, and returns how many alerts it
// counted if there are more.
func (s *Store) Tally(ctx context.Context) (n int, err error) {
	err = s.change(ctx, "count alerts", func(tx *sql.Tx) error {
		n = 0
		if err := s.dialect.keepTallying(ctx, tx); err != nil {
			return err
		}
		now, err := s.dialect.now(ctx, tx)
		if err != nil {
			return err
		}
		oldest, err := first(ctx, tx, scanID, `SELECT id FROM alerts WHERE id >= (SELECT tallied_to FROM history) ORDER BY id LIMIT 1`)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		hour := herald.TimeOf(oldest).Truncate(time.Hour)
		present := herald.FirstIDAt(fromMicros(now).Add(-tallyLag))
		to, full := herald.FirstIDAt(hour.Add(time.Hour)), true
		if bytes.Compare(present[:], to[:]) < 0 {
			to, full = present, false
		}
		beyond, err := first(ctx, tx, scanID, `SELECT id FROM alerts WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 1 OFFSET $3`, oldest[:], to[:], tallyStep)
		switch {
		case err == nil:
			to, full = beyond, true
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if bytes.Compare(to[:], oldest[:]) <= 0 {
			return nil
		}
		if full {
			n = tallyStep
		}
		return tallyRange(ctx, tx, hour, oldest, to)
	})
	return n, err
}

// addToTally ends an INSERT into tallies, for those that are there.
const addToTally = ` ON CONFLICT (client_id, rule_id, hour) DO UPDATE SET n = tallies.n + excluded.n`

// tallyRange adds the alerts of an hour with ids from one to before another.
func tallyRange(ctx context.Context, tx *sql.Tx, hour time.Time, from, to uuid.UUID) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO tallies (client_id, rule_id, hour, n)
SELECT client_id, rule_id, $1, count(*) FROM alerts WHERE id >= $2 AND id < $3 GROUP BY client_id, rule_id`+addToTally, micros(hour), from[:], to[:])
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO tallies (client_id, rule_id, hour, n)
SELECT client_id, $4, $1, count(*) FROM alerts WHERE id >= $2 AND id < $3 GROUP BY client_id`+addToTally, micros(hour), from[:], to[:], uuid.Nil[:])
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE history SET tallied_to = $1`, to[:])
	return err
}

// tally is which number an alert adds to.
type tally struct {
	client, rule uuid.UUID
	hour         int64
}

// addLateSQL adds to one tally.
const addLateSQL = `INSERT INTO tallies (client_id, rule_id, hour, n) VALUES ($1, $2, $3, $4)` + addToTally

// tallyLate calls add with the arguments of addLateSQL for those of a batch's
// alerts that are behind the line. They are few.
func (b *batch) tallyLate(add func(args ...any) error) error {
	late := make(map[tally]int)
	for _, a := range b.alerts {
		if bytes.Compare(a.ID[:], b.talliedTo[:]) < 0 {
			hour := micros(herald.TimeOf(a.ID).Truncate(time.Hour))
			late[tally{a.event.ClientID, a.RuleID, hour}]++
			late[tally{a.event.ClientID, uuid.Nil, hour}]++
		}
	}
	// In one order everywhere, so that batches of two nodes do not lock each
	// other out.
	for _, t := range slices.SortedFunc(maps.Keys(late), tally.compare) {
		if err := add(t.client[:], t.rule[:], t.hour, late[t]); err != nil {
			return err
		}
	}
	return nil
}

func (t tally) compare(o tally) int {
	return cmp.Or(bytes.Compare(t.client[:], o.client[:]), bytes.Compare(t.rule[:], o.rule[:]), cmp.Compare(t.hour, o.hour))
}

// alertCount is how many alerts a client has, or a rule of it.
type alertCount struct {
	total, open         int // open: not tallied yet
	keptFrom, talliedTo uuid.UUID
}

// countAlerts counts a client's alerts, with a rule other than uuid.Nil only
// that one's.
func (s *Store) countAlerts(ctx context.Context, client, rule uuid.UUID) (alertCount, error) {
	open := `SELECT count(*) FROM alerts a WHERE a.client_id = $1 AND a.id >= h.tallied_to AND a.id >= h.kept_from`
	if rule != uuid.Nil {
		open += ` AND a.rule_id = $2`
	}
	return first(ctx, s.read, func(rows *sql.Rows) (c alertCount, err error) {
		err = rows.Scan(&c.total, &c.open, &c.keptFrom, &c.talliedTo)
		c.total += c.open
		return c, err
	}, `SELECT CAST(coalesce((SELECT sum(t.n) FROM tallies t WHERE t.client_id = $1 AND t.rule_id = $2 AND t.hour >= h.kept_hour), 0) AS bigint),
(`+open+`), h.kept_from, h.tallied_to FROM history h`, client[:], rule[:])
}

// endOf is the first id behind what is tallied of an hour.
func (c *alertCount) endOf(hour time.Time) uuid.UUID {
	if end := herald.FirstIDAt(hour.Add(time.Hour)); bytes.Compare(end[:], c.talliedTo[:]) < 0 {
		return end
	}
	return c.talliedTo
}

// place is where a page of alerts begins: so many behind the first one with an
// id in a range.
type place struct {
	from, to uuid.UUID // uuid.Nil as to is no bound
	skip     int
}

// skipFew is how many alerts are passed over one by one.
const skipFew = 1000

// findPlace finds where a page begins without passing over all that lies before.
func (s *Store) findPlace(ctx context.Context, client, rule uuid.UUID, l query.List, c alertCount) (place, error) {
	p := place{from: c.keptFrom, skip: l.Offset()}
	if p.skip <= skipFew || l.Order.Desc && p.skip < c.open {
		return p, nil
	}
	if l.Order.Desc {
		p.skip -= c.open
		p.to = c.talliedTo
	}
	type hour struct {
		at time.Time
		n  int
	}
	hours, err := list(ctx, s.read, func(rows *sql.Rows) (h hour, err error) {
		var us int64
		err = rows.Scan(&us, &h.n)
		h.at = fromMicros(us)
		return h, err
	}, `SELECT hour, n FROM tallies WHERE client_id = $1 AND rule_id = $2 AND hour >= (SELECT kept_hour FROM history) ORDER BY hour`+direction(l.Order), client[:], rule[:])
	for _, h := range hours {
		if p.skip < h.n {
			break
		}
		p.skip -= h.n
		if l.Order.Desc {
			p.to = herald.FirstIDAt(h.at)
		} else {
			p.from = c.endOf(h.at)
		}
	}
	return p, err
}
