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

// Each alert is counted once, in a tally of its hour, because counting millions of alerts
// for a list's total takes too long. The id tallied_to, which follows the present, divides
// alerts that are tallied from those that are not:
//
//	kept_from                                      tallied_to       now
//	    │ tallies: one number per hour, for each rule   │  counted by  │
//	    │ and, under uuid.Nil, for the whole client     │   the list   │
//
// A late alert is committed with an id before tallied_to, by a slow commit or after the clock
// was ahead. Its own batch adds it to its tally. So that no alert is counted
// twice or not at all, tallied_to moves only while no batch is being written.

const (
	// tallyLag is how far tallied_to stays behind the present. Most commits take
	// less, so their alerts are not late and their batches add to no tallies.
	tallyLag = 10 * time.Second
	// tallyStep is how many alerts one step counts at most. Batches wait for it.
	tallyStep = 5000
)

// Tally moves tallied_to on by one step: within one hour, and by tallyStep alerts at most.
// It returns 0 when no alerts are left to count, and tallyStep when there may be more.
func (s *Store) Tally(ctx context.Context) (n int, err error) {
	err = s.inTransaction(ctx, "count alerts", func(ctx context.Context, tx *sql.Tx) error {
		n = 0
		if err := s.dialect.pauseBatches(ctx, tx); err != nil {
			return err
		}
		now, err := s.now(ctx, tx)
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

// addToTally ends an INSERT into tallies: it adds to a tally that exists.
const addToTally = ` ON CONFLICT (client_id, rule_id, hour) DO UPDATE SET n = tallies.n + excluded.n`

// tallyRange counts the alerts of one hour with ids from from to before to, and sets
// tallied_to to to.
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

// tallyKey is the key of a tally. A rule of uuid.Nil means the whole client.
type tallyKey struct {
	client, rule uuid.UUID
	hour         int64
}

// addLateSQL adds late alerts to one tally.
const addLateSQL = `INSERT INTO tallies (client_id, rule_id, hour, n) VALUES ($1, $2, $3, $4)` + addToTally

// tallyLate calls add with the arguments of addLateSQL, once for each tally that the late
// alerts of a batch belong to. They are few.
func (b *batch) tallyLate(add func(args ...any) error) error {
	late := make(map[tallyKey]int)
	for _, a := range b.alerts {
		if bytes.Compare(a.ID[:], b.talliedTo[:]) < 0 {
			hour := micros(herald.TimeOf(a.ID).Truncate(time.Hour))
			late[tallyKey{a.event.ClientID, a.RuleID, hour}]++
			late[tallyKey{a.event.ClientID, uuid.Nil, hour}]++
		}
	}
	// All nodes use the same order, so that their batches do not deadlock.
	for _, t := range slices.SortedFunc(maps.Keys(late), tallyKey.compare) {
		if err := add(t.client[:], t.rule[:], t.hour, late[t]); err != nil {
			return err
		}
	}
	return nil
}

func (t tallyKey) compare(o tallyKey) int {
	return cmp.Or(bytes.Compare(t.client[:], o.client[:]), bytes.Compare(t.rule[:], o.rule[:]), cmp.Compare(t.hour, o.hour))
}

// alertCount is the number of alerts in the span of a search, in parts that are counted
// separately:
//
//	span.from    from                 talliedTo      to       span.to
//	    │  head    │  tallies, by the hour  │  open    │  tail    │
//
// from and to are full hours. A span that has no full hour is all head.
type alertCount struct {
	from, to         uuid.UUID
	total            int
	head, open, tail int
	talliedTo        uuid.UUID
}

// countAlerts counts the alerts in the span of a search.
func countAlerts(ctx context.Context, tx *sql.Tx, q search) (alertCount, error) {
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
	// "NOT <" keeps SQLite from choosing the worse of two bounds for its index.
	return first(ctx, tx, func(rows *sql.Rows) (alertCount, error) {
		err := rows.Scan(&c.total, &c.head, &c.open, &c.tail, &c.talliedTo)
		c.total += c.head + c.open + c.tail
		return c, err
	}, `SELECT CAST(coalesce((SELECT sum(n) FROM tallies WHERE client_id = $1 AND rule_id = $2 AND hour >= $3 AND hour < $4), 0) AS bigint),
(`+alerts+`a.id >= $5 AND a.id < $6), (`+alerts+`a.id >= h.tallied_to AND NOT a.id < $6 AND a.id < $7), (`+alerts+`a.id >= $7 AND a.id < $8),
h.tallied_to FROM history h`, q.client[:], q.rule[:], micros(herald.TimeOf(c.from)), micros(herald.TimeOf(c.to)), q.from[:], c.from[:], c.to[:], q.to[:])
}

// hour is the tally of one hour.
type hour struct {
	at time.Time
	n  int
}

// hoursOf returns the tallies of the full hours in the span of a search.
func hoursOf(ctx context.Context, tx *sql.Tx, q search, c alertCount, o query.Order) ([]hour, error) {
	return list(ctx, tx, func(rows *sql.Rows) (h hour, err error) {
		var us int64
		err = rows.Scan(&us, &h.n)
		h.at = fromMicros(us)
		return h, err
	}, `SELECT hour, n FROM tallies WHERE client_id = $1 AND rule_id = $2 AND hour >= $3 AND hour < $4 ORDER BY hour`+direction(o),
		q.client[:], q.rule[:], micros(herald.TimeOf(c.from)), micros(herald.TimeOf(c.to)))
}

// maxSkip is how many alerts an OFFSET may skip one by one. findPageStart skips whole hours
// when there are more.
const maxSkip = 1000

// findPageStart returns where a page begins: skip alerts into the span page. It skips whole
// hours by their tallies instead of reading all alerts before the page.
func findPageStart(ctx context.Context, tx *sql.Tx, q search, l query.List, c alertCount) (page span, skip int, err error) {
	page, skip = q.span, l.Offset()
	before := c.head // the alerts before the first full hour, in the list's order
	if l.Order.Desc {
		before = c.tail + c.open
	}
	if skip <= maxSkip || skip < before || c.from == c.to {
		return page, skip, nil
	}
	skip -= before
	if l.Order.Desc {
		page.before(c.to)
		page.before(c.talliedTo)
	} else {
		page.after(c.from)
	}
	hours, err := hoursOf(ctx, tx, q, c, l.Order)
	for _, h := range hours {
		if skip < h.n {
			break
		}
		skip -= h.n
		if l.Order.Desc {
			page.before(herald.FirstIDAt(h.at))
		} else {
			end := span{to: c.talliedTo}
			end.before(herald.FirstIDAt(h.at.Add(time.Hour)))
			page.after(end.to)
		}
	}
	return page, skip, err
}
