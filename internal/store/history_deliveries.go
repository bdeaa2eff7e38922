package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
)

// What is pending and what has ended, in the same columns, to be put together.
const (
	pendingColumns = `q.id, q.client_id, a.rule_id, a.type, a.company_id, q.address, 0 AS state, '' AS reason, q.due_at, q.node IS NOT NULL AS held, 0 AS done_at`
	endedColumns   = `d.id, d.client_id, a.rule_id, a.type, a.company_id, d.address, d.state, d.reason, 0 AS due_at, 1 = 0 AS held, d.done_at`
	attemptCount   = `(SELECT count(*) FROM attempts t WHERE t.delivery_id = x.id)`
)

func scanDelivery(rows *sql.Rows) (herald.Delivery, error) {
	var (
		d         herald.Delivery
		state     int
		due, done int64
	)
	err := rows.Scan(&d.ID, &d.ClientID, &d.RuleID, &d.Type, &d.CompanyID, &d.Address, &state, &d.Reason, &due, &d.InFlight, &done, &d.AttemptCount)
	d.State = herald.State(state)
	d.AlertID, d.EventID = herald.AlertOf(d.ID), herald.EventOf(d.ID)
	d.RaisedAt = herald.TimeOf(d.ID)
	if due != 0 {
		d.NextAttemptAt = fromMicros(due)
	}
	if done != 0 {
		d.DoneAt = fromMicros(done)
	}
	return d, err
}

// Deliveries lists a client's deliveries, newest alert first. One that would have
// to search too much returns what it has found so far and where to go on, as After;
// that is uuid.Nil at the end of what there is, or at f.Limit deliveries.
//
// The list starts from where its rows are few: from the queue for what is
// pending, from an index of its own for what has failed or was cancelled, and
// from the alerts for the rest, most of which have a delivery to show.
func (s *Store) Deliveries(ctx context.Context, client uuid.UUID, f herald.DeliveryFilter) (found []herald.Delivery, next uuid.UUID, err error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	switch {
	case f.State == nil || *f.State == herald.Delivered:
		found, next, err = s.deliveriesByAlert(ctx, client, f)
	case *f.State == herald.Pending:
		found, next, err = s.deliveriesIn(ctx, pendingColumns, "queue q", client, f)
	default:
		// The index is known by its words: state >= 2.
		found, next, err = s.deliveriesIn(ctx, endedColumns, "deliveries d", client, f, "d.state >= 2", fmt.Sprintf("d.state = %d", *f.State))
	}
	return found, next, tooWide(s.failed("list deliveries", err), "since="+aDayAgo())
}

// A list of deliveries looks at so many rows in one go, and begins no other when so
// much time has gone by.
const (
	longestChunk = 1000
	searchTime   = 50 * time.Millisecond
)

// newest gathers f.Limit deliveries from the newest on, some ids at a time: ids
// lists those before one, of alerts or of deliveries, and of finds what is wanted
// between two of them.
func (s *Store) newest(f herald.DeliveryFilter, ids func(before uuid.UUID, n int) ([]uuid.UUID, error), of func(from, to uuid.UUID) ([]herald.Delivery, error)) (found []herald.Delivery, next uuid.UUID, err error) {
	before, chunk, began := lastID, f.Limit, time.Now()
	for looked := 0; looked < s.searchLimit && time.Since(began) < searchTime; chunk = min(2*chunk, longestChunk) {
		some, err := ids(before, chunk)
		if err != nil || len(some) == 0 {
			return found, uuid.Nil, err
		}
		before = some[len(some)-1]
		looked += len(some)
		more, err := of(before, some[0])
		if found = append(found, more...); err != nil || len(found) >= f.Limit || len(some) < chunk {
			return found[:min(len(found), f.Limit)], uuid.Nil, err
		}
	}
	return found, before, nil
}

// deliveriesIn lists from one table of deliveries.
func (s *Store) deliveriesIn(ctx context.Context, columns, table string, client uuid.UUID, f herald.DeliveryFilter, more ...string) ([]herald.Delivery, uuid.UUID, error) {
	alias := table[len(table)-1:]
	wanted := func() conditions {
		c := conditions{parts: slices.Clone(more)}
		c.add(alias+".client_id = %s", client)
		c.to(alias, f)
		return c
	}
	ids := func(before uuid.UUID, n int) ([]uuid.UUID, error) {
		c := wanted()
		end, bounds := span{to: before}, f
		if f.After != uuid.Nil {
			end.before(f.After)
			bounds.After = uuid.Nil
		}
		c.add(alias+".id < %s", end.to)
		c.raised(alias, bounds)
		return list(ctx, s.read, scanID, `SELECT `+alias+`.id FROM `+table+` WHERE `+c.where()+` ORDER BY `+alias+`.id DESC LIMIT `+c.place(n), c.args...)
	}
	of := func(from, to uuid.UUID) ([]herald.Delivery, error) {
		c := wanted()
		c.add(alias+".id BETWEEN %s AND %s", from, to)
		c.ofAlert(f)
		return list(ctx, s.read, scanDelivery, `SELECT x.*, `+attemptCount+` FROM (SELECT `+columns+` FROM `+table+`
JOIN alerts a ON a.id = `+s.dialect.alertOf(alias+".id")+` WHERE `+c.where()+`
ORDER BY `+alias+`.id DESC LIMIT `+c.place(f.Limit)+`) x ORDER BY x.id DESC`, c.args...)
	}
	return s.newest(f, ids, of)
}

// deliveriesByAlert lists the deliveries of the newest alerts.
func (s *Store) deliveriesByAlert(ctx context.Context, client uuid.UUID, f herald.DeliveryFilter) ([]herald.Delivery, uuid.UUID, error) {
	ids := func(before uuid.UUID, n int) ([]uuid.UUID, error) {
		var c conditions
		end := span{to: before} // one bound: SQLite would take the worse of two
		if f.After != uuid.Nil {
			end.before(herald.DeliveryID(herald.AlertOf(f.After), 1)) // the alert itself included
		}
		c.add("a.client_id = %s", client)
		c.add("a.id < %s", end.to)
		c.raised("a", herald.DeliveryFilter{Alert: f.Alert, Since: f.Since, Until: f.Until})
		return list(ctx, s.read, scanID, `SELECT a.id FROM alerts a WHERE `+c.where()+` ORDER BY a.id DESC LIMIT `+c.place(n), c.args...)
	}
	return s.newest(f, ids, func(from, to uuid.UUID) ([]herald.Delivery, error) { return s.deliveriesOf(ctx, client, from, to, f) })
}

// deliveriesOf lists deliveries of the alerts from one to another.
func (s *Store) deliveriesOf(ctx context.Context, client, from, to uuid.UUID, f herald.DeliveryFilter) ([]herald.Delivery, error) {
	var c conditions
	part := func(columns, table, alias string) string {
		c.parts = nil
		c.add("a.client_id = %s", client)
		c.add("a.id BETWEEN %s AND %s", from, to)
		if f.After != uuid.Nil {
			c.add("NOT "+alias+".id >= %s", f.After) // in words that SQLite does not take for the better bound
		}
		c.ofAlert(f)
		c.to(alias, f)
		return `SELECT ` + columns + ` FROM alerts a ` + s.dialect.joinOfAlert(table, alias) + ` WHERE ` + c.where()
	}
	text := part(endedColumns, "deliveries d", "d")
	if f.State == nil {
		text += ` UNION ALL ` + part(pendingColumns, "queue q", "q")
	} else {
		text += ` AND d.state = ` + c.place(int(*f.State))
	}
	return list(ctx, s.read, scanDelivery, `SELECT x.*, `+attemptCount+` FROM (SELECT * FROM (`+text+`) y ORDER BY y.id DESC LIMIT `+
		c.place(f.Limit)+`) x ORDER BY x.id DESC`, c.args...)
}

// ofAlert adds the conditions on the alert whose delivery it is.
func (c *conditions) ofAlert(f herald.DeliveryFilter) {
	if f.Type != "" {
		c.add("a.type = %s", f.Type)
	}
	if f.Company != uuid.Nil {
		c.add("a.company_id = %s", f.Company)
	}
}

// raised adds the conditions on the id, which is an alert's or a delivery's: those
// of one alert are one range, and tell when it was raised.
func (c *conditions) raised(alias string, f herald.DeliveryFilter) {
	c.add(alias + ".id >= (SELECT kept_from FROM history)")
	if f.Alert != uuid.Nil {
		c.add(alias+".id BETWEEN %s AND %s", f.Alert, herald.DeliveryID(f.Alert, herald.MaxDeliveries-1))
	}
	if !f.Since.IsZero() {
		c.add(alias+".id >= %s", herald.FirstIDAt(f.Since))
	}
	if !f.Until.IsZero() {
		c.add(alias+".id < %s", herald.FirstIDAt(f.Until))
	}
	if f.After != uuid.Nil {
		c.add(alias+".id < %s", f.After)
	}
}

// to adds the condition on where a delivery goes.
func (c *conditions) to(alias string, f herald.DeliveryFilter) {
	if f.Receiver != "" {
		c.add(alias+".address = %s", f.Receiver)
	}
}

// Delivery returns a client's delivery with its attempts, CodeNotFound when
// there is none.
func (s *Store) Delivery(ctx context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	alert := herald.AlertOf(id)
	d, err := first(ctx, s.read, scanDelivery, `SELECT x.*, `+attemptCount+` FROM (
SELECT `+pendingColumns+` FROM alerts a JOIN queue q ON q.id = $1 WHERE a.id = $2
UNION ALL
SELECT `+endedColumns+` FROM alerts a JOIN deliveries d ON d.id = $1 WHERE a.id = $2
) x WHERE x.client_id = $3`, s.planned(id[:], alert[:], client[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return d, nil, herald.Errorf(herald.CodeNotFound, "No delivery was found with ID %s", id)
	}
	if err != nil {
		return d, nil, s.failed("read a delivery", err)
	}
	attempts, err := list(ctx, s.read, scanAttempt,
		`SELECT delivery_id, n, at, outcome, status, reason, error, timings, request, response FROM attempts WHERE delivery_id = $1 ORDER BY n`, s.planned(id[:])...)
	return d, attempts, s.failed("read a delivery's attempts", err)
}

func scanAttempt(rows *sql.Rows) (herald.Attempt, error) {
	var (
		a                          herald.Attempt
		at                         int64
		timings, request, response []byte
	)
	err := rows.Scan(&a.DeliveryID, &a.N, &at, &a.Outcome, &a.Status, &a.Reason, &a.Error, &timings, &request, &response)
	if err != nil {
		return a, err
	}
	a.At = fromMicros(at)
	for _, part := range []struct {
		text []byte
		into any
	}{{timings, &a.Timings}, {request, &a.Request}, {response, &a.Response}} {
		if part.text != nil {
			err = errors.Join(err, json.Unmarshal(part.text, part.into))
		}
	}
	return a, err
}
