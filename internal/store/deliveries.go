package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/google/uuid"

	"herald"
)

// What is pending and what has ended, in the same columns, to be put together;
// both are found by the ids that an alert's deliveries can have.
const (
	pendingColumns = `q.id, q.client_id, a.rule_id, e.type, a.company_id, q.address, 0 AS state, '' AS reason, q.due_at, q.node IS NOT NULL AS held, 0 AS done_at`
	endedColumns   = `d.id, d.client_id, a.rule_id, e.type, a.company_id, d.address, d.state, d.reason, 0 AS due_at, 1 = 0 AS held, d.done_at`
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

// Deliveries lists a client's deliveries, newest alert first. A filter that
// finds too little in too much ends as CodeUnavailable and asks to be narrowed.
func (s *Store) Deliveries(ctx context.Context, client uuid.UUID, f herald.DeliveryFilter) ([]herald.Delivery, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	var c conditions
	alerts := s.alertRange(&c, client, f)
	var parts []string
	if f.State == nil || *f.State == herald.Pending {
		parts = append(parts, `SELECT `+pendingColumns+` FROM alerts a JOIN events e ON e.id = a.event_id
JOIN queue q ON q.id BETWEEN a.id AND `+s.dialect.lastDelivery+` WHERE `+alerts+narrowed(&c, "q", f))
	}
	if f.State == nil || *f.State != herald.Pending {
		parts = append(parts, `SELECT `+endedColumns+` FROM alerts a JOIN events e ON e.id = a.event_id
JOIN deliveries d ON d.id BETWEEN a.id AND `+s.dialect.lastDelivery+` WHERE `+alerts+narrowed(&c, "d", f))
	}
	limit := c.place(f.Limit)
	for i, part := range parts {
		parts[i] = `SELECT * FROM (` + part + ` ORDER BY a.id DESC, 1 DESC LIMIT ` + limit + `) p`
	}
	text := parts[0]
	if len(parts) > 1 {
		text += ` UNION ALL ` + parts[1]
	}
	deliveries, err := list(ctx, s.read, scanDelivery,
		`SELECT x.*, `+attemptCount+` FROM (`+text+`) x ORDER BY x.id DESC LIMIT `+limit, c.args...)
	return deliveries, s.failed("list deliveries", err)
}

// alertRange returns the conditions on the alerts whose deliveries are listed.
func (s *Store) alertRange(c *conditions, client uuid.UUID, f herald.DeliveryFilter) string {
	c.add("a.client_id = %s", client)
	if f.Type != "" {
		c.add("e.type = %s", f.Type)
	}
	if f.Company != uuid.Nil {
		c.add("a.company_id = %s", f.Company)
	}
	if f.Alert != uuid.Nil {
		c.add("a.id = %s", f.Alert)
	}
	if !f.Since.IsZero() {
		c.add("a.id >= %s", herald.FirstIDAt(f.Since))
	}
	if !f.Until.IsZero() {
		c.add("a.id < %s", herald.FirstIDAt(f.Until))
	}
	if f.After != uuid.Nil {
		c.add("a.id <= %s", herald.AlertOf(f.After))
	}
	return c.where()
}

// narrowed returns the conditions on one table's deliveries.
func narrowed(c *conditions, table string, f herald.DeliveryFilter) string {
	text := ""
	if f.After != uuid.Nil {
		text += ` AND ` + table + `.id < ` + c.place(f.After)
	}
	if f.Receiver != "" {
		text += ` AND ` + table + `.address = ` + c.place(f.Receiver)
	}
	if f.State != nil && *f.State != herald.Pending {
		text += ` AND ` + table + `.state = ` + c.place(int(*f.State))
	}
	return text
}

// Delivery returns a client's delivery with its attempts, CodeNotFound when
// there is none.
func (s *Store) Delivery(ctx context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	alert := herald.AlertOf(id)
	d, err := first(ctx, s.read, scanDelivery, `SELECT x.*, `+attemptCount+` FROM (
SELECT `+pendingColumns+` FROM alerts a JOIN events e ON e.id = a.event_id JOIN queue q ON q.id = $1 WHERE a.id = $2
UNION ALL
SELECT `+endedColumns+` FROM alerts a JOIN events e ON e.id = a.event_id JOIN deliveries d ON d.id = $1 WHERE a.id = $2
) x WHERE x.client_id = $3`, id[:], alert[:], client[:])
	if errors.Is(err, sql.ErrNoRows) {
		return d, nil, herald.Errorf(herald.CodeNotFound, "No delivery was found with ID %s", id)
	}
	if err != nil {
		return d, nil, s.failed("read a delivery", err)
	}
	attempts, err := list(ctx, s.read, scanAttempt,
		`SELECT delivery_id, n, at, outcome, status, reason, error, timings, request, response FROM attempts WHERE delivery_id = $1 ORDER BY n`, id[:])
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

// CancelDelivery ends a client's pending delivery; an attempt under way may
// still arrive. CodeNotFound when there is no such delivery, CodeConflict when
// it has ended.
func (s *Store) CancelDelivery(ctx context.Context, client, id uuid.UUID) error {
	d, _, err := s.Delivery(ctx, client, id)
	if err != nil {
		return err
	}
	if d.State != herald.Pending {
		return herald.Errorf(herald.CodeConflict, "The delivery %s has ended: it is %s. Only a pending one can be cancelled.", id, d.State)
	}
	return s.change(ctx, "cancel a delivery", func(tx *sql.Tx) error {
		cancelled, err := cancelDelivery(ctx, tx, id, herald.ReasonCancelled, true)
		if err == nil && !cancelled {
			return herald.Errorf(herald.CodeConflict, "The delivery %s has just ended. Only a pending one can be cancelled.", id)
		}
		return err
	})
}

// AddDelivery makes another delivery of an alert that exists, waiting to be
// claimed, and returns its id. CodeConflict when the alert has
// herald.MaxDeliveries.
func (s *Store) AddDelivery(ctx context.Context, client, alert uuid.UUID, origin, address string) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.change(ctx, "make a delivery", func(tx *sql.Tx) error {
		// The alert's row makes those queue up who count its deliveries.
		if _, err := first(ctx, tx, scanID, `SELECT id FROM alerts WHERE id = $1 `+s.dialect.forUpdate, alert[:]); err != nil {
			return err
		}
		from, to := herald.DeliveryID(alert, 0), herald.DeliveryID(alert, herald.MaxDeliveries-1)
		last, err := first(ctx, tx, scanID, `SELECT id FROM (
SELECT id FROM queue WHERE id BETWEEN $1 AND $2 UNION ALL SELECT id FROM deliveries WHERE id BETWEEN $1 AND $2) x ORDER BY id DESC LIMIT 1`, from[:], to[:])
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		n := 0
		if err == nil {
			n = int(last[15]) + 1
		}
		if n == herald.MaxDeliveries {
			return herald.Errorf(herald.CodeConflict, "The alert %s has been sent %d times; no more are kept.", alert, n)
		}
		id = herald.DeliveryID(alert, n)
		now, err := s.dialect.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, addQueueSQL, id[:], client[:], origin, address, now, now, nil, 1, 0)
		return err
	})
	return id, err
}
