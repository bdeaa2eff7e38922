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
		if err := s.dialect.pauseBatches(ctx, tx); err != nil {
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

// alertCount is how many alerts a search spans, in the parts that are counted
// apart:
//
//	span.from    from                 talliedTo      to       span.to
//	    │  head    │  tallies, by the hour  │  open    │  tail    │
//
// from and to are full hours. A span within one hour is all head.
type alertCount struct {
	from, to         uuid.UUID
	total            int
	head, open, tail int
	talliedTo        uuid.UUID
}

// countAlerts counts the alerts that a search spans.
func (s *Store) countAlerts(ctx context.Context, q search) (alertCount, error) {
	c := alertCount{from: herald.FirstIDAt(herald.TimeOf(q.from).Add(time.Hour - time.Microsecond).Truncate(time.Hour)), to: lastID}
	if q.to != lastID {
		c.to = herald.FirstIDAt(herald.TimeOf(q.to).Truncate(time.Hour))
	}
	if bytes.Compare(c.from[:], c.to[:]) >= 0 {
		c.from, c.to = q.to, q.to
	}
	alerts := `SELECT count(*) FROM alerts a WHERE a.client_id = $1 AND `
	if q.rule != uuid.Nil {
		alerts += `a.rule_id = $2 AND `
	}
	// "NOT <" are words that SQLite does not take for the better bound.
	return first(ctx, s.read, func(rows *sql.Rows) (alertCount, error) {
		err := rows.Scan(&c.total, &c.head, &c.open, &c.tail, &c.talliedTo)
		c.total += c.head + c.open + c.tail
		return c, err
	}, `SELECT CAST(coalesce((SELECT sum(n) FROM tallies WHERE client_id = $1 AND rule_id = $2 AND hour >= $3 AND hour < $4), 0) AS bigint),
(`+alerts+`a.id >= $5 AND a.id < $6), (`+alerts+`a.id >= h.tallied_to AND NOT a.id < $6 AND a.id < $7), (`+alerts+`a.id >= $7 AND a.id < $8),
h.tallied_to FROM history h`, q.client[:], q.rule[:], micros(herald.TimeOf(c.from)), micros(herald.TimeOf(c.to)), q.from[:], c.from[:], c.to[:], q.to[:])
}

// hour is what is tallied of one.
type hour struct {
	at time.Time
	n  int
}

// hours returns the tallies of the full hours that a search spans.
func (s *Store) hours(ctx context.Context, q search, c alertCount, o query.Order) ([]hour, error) {
	return list(ctx, s.read, func(rows *sql.Rows) (h hour, err error) {
		var us int64
		err = rows.Scan(&us, &h.n)
		h.at = fromMicros(us)
		return h, err
	}, `SELECT hour, n FROM tallies WHERE client_id = $1 AND rule_id = $2 AND hour >= $3 AND hour < $4 ORDER BY hour`+direction(o),
		q.client[:], q.rule[:], micros(herald.TimeOf(c.from)), micros(herald.TimeOf(c.to)))
}

// skipFew is how many alerts are passed over one by one.
const skipFew = 1000

// findPlace finds where a page begins without passing over all that lies before:
// so many alerts into a span.
func (s *Store) findPlace(ctx context.Context, q search, l query.List, c alertCount) (place span, skip int, err error) {
	place, skip = q.span, l.Offset()
	before := c.head // what lies on this side of the tallies
	if l.Order.Desc {
		before = c.tail + c.open
	}
	if skip <= skipFew || skip < before || c.from == c.to {
		return place, skip, nil
	}
	skip -= before
	if l.Order.Desc {
		place.before(c.to)
		place.before(c.talliedTo)
	} else {
		place.after(c.from)
	}
	hours, err := s.hours(ctx, q, c, l.Order)
	for _, h := range hours {
		if skip < h.n {
			break
		}
		skip -= h.n
		if l.Order.Desc {
			place.before(herald.FirstIDAt(h.at))
		} else {
			end := span{to: c.talliedTo}
			end.before(herald.FirstIDAt(h.at.Add(time.Hour)))
			place.after(end.to)
		}
	}
	return place, skip, err
}
