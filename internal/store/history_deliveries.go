package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/memory"
	"herald/internal/work"
)

// The columns of pending deliveries and of those that have ended are the same, so that a
// UNION can join them.
const (
	pendingColumns = `q.id, q.client_id, a.rule_id, coalesce(a.type, '') AS type, a.company_id, q.address, 0 AS state, '' AS reason, q.due_at, q.node IS NOT NULL AS held, 0 AS done_at, coalesce(q.reason, '') AS waiting,
CAST(NULL AS bigint) AS attempt, CAST(NULL AS bigint) AS last_status, CAST(NULL AS text) AS last_reason`
	endedColumns = `d.id, d.client_id, a.rule_id, coalesce(a.type, '') AS type, a.company_id, d.address, d.state, d.reason, 0 AS due_at, 1 = 0 AS held, d.done_at, '' AS waiting,
d.attempt, d.last_status, d.last_reason`
)

// deliveryColumns are the columns of a delivery x. The attempt that ended it is in its own row, if any;
// the others are in attempts, and there are none before the first.
const deliveryColumns = `x.id, x.client_id, x.rule_id, x.type, x.company_id, x.address, x.state, x.reason, x.due_at, x.held, x.done_at, x.waiting,
CASE WHEN x.attempt IS NULL THEN 0 ELSE 1 END + CASE WHEN x.attempt = 1 THEN 0 ELSE (SELECT count(*) FROM attempts t WHERE t.delivery_id = x.id) END,
CASE WHEN x.attempt IS NULL THEN (SELECT t.status FROM attempts t WHERE t.delivery_id = x.id ORDER BY t.n DESC LIMIT 1) ELSE x.last_status END,
CASE WHEN x.attempt IS NULL THEN (SELECT t.reason FROM attempts t WHERE t.delivery_id = x.id ORDER BY t.n DESC LIMIT 1) ELSE x.last_reason END,
(SELECT m.repeats FROM redeliveries m WHERE m.id = x.id), (SELECT m.made_at FROM redeliveries m WHERE m.id = x.id),
(SELECT m.id FROM redeliveries m WHERE m.repeats = x.id ORDER BY m.id DESC LIMIT 1)`

func scanDelivery(rows *sql.Rows) (herald.Delivery, error) {
	var (
		d         herald.Delivery
		state     int
		due, done int64
		status    sql.NullInt64
		reason    sql.NullString
		made      sql.NullInt64
	)
	err := rows.Scan(&d.ID, &d.ClientID, &d.RuleID, &d.Type, &d.CompanyID, &d.Address, &state, &d.Reason, &due, &d.InFlight, &done,
		&d.Waiting, &d.AttemptCount, &status, &reason, &d.Repeats, &made, &d.RepeatedBy)
	d.LastStatus, d.LastReason = int(status.Int64), herald.Reason(reason.String)
	if made.Valid {
		d.MadeAt = fromMicros(made.Int64)
	}
	d.State = herald.State(state)
	d.AlertID, d.EventID = herald.AlertOf(d.ID), herald.EventOf(d.ID)
	d.RaisedAt, d.Test = herald.TimeOf(d.ID), herald.IsTest(d.ID)
	if due != 0 {
		d.NextAttemptAt = fromMicros(due)
	}
	if done != 0 {
		d.DoneAt = fromMicros(done)
	}
	return d, err
}

// Deliveries lists up to filter.Limit of a client's deliveries, newest first: by when their alerts
// were raised, and redeliveries by when they were made. A list that would have to search too
// many rows returns the deliveries found so far, and in next the value of f.After for the call
// that continues. next is uuid.Nil when f.Limit deliveries were found or there are no more.
func (s *Store) Deliveries(ctx context.Context, client uuid.UUID, filter herald.DeliveryFilter) (found []herald.Delivery, next uuid.UUID, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, uuid.Nil, err
	}
	defer done()
	f, err := s.withSpellings(ctx, client, filter)
	if err != nil {
		return nil, uuid.Nil, err
	}
	found, upTo, err := s.mergedDeliveries(ctx, client, f)
	if upTo != nil {
		next = upTo.id
	}
	if err == nil {
		err = memory.Reserve(ctx, int64(deliveriesSize(found)))
	}
	return found, next, s.failed("list deliveries", err)
}

func (s *Store) mergedDeliveries(ctx context.Context, client uuid.UUID, f deliveryFilter) ([]herald.Delivery, *place, error) {
	after, err := s.cursor(ctx, f.After)
	if err != nil {
		return nil, nil, err
	}
	f.After = after.bound()
	firsts, next, err := s.firstDeliveries(ctx, client, f)
	if err != nil {
		return nil, nil, err
	}
	var upTo *place
	if next != uuid.Nil {
		upTo = &place{micros(herald.TimeOf(next)), next}
	}
	again, upToAgain, err := s.redeliveries(ctx, client, f, after)
	if err != nil {
		return nil, nil, err
	}
	found, end := mergeLists(f.Limit, firsts, upTo, again, upToAgain)
	return found, end, nil
}

// firstDeliveries lists the deliveries that are no redeliveries, like Deliveries.
//
// The list reads the table where its rows are few: the index of alerts for a company or a type with
// few alerts, the queue for pending deliveries, an index of their own for failed and cancelled ones,
// and the alerts for the rest, because most alerts have a delivery to list.
func (s *Store) firstDeliveries(ctx context.Context, client uuid.UUID, f deliveryFilter) ([]herald.Delivery, uuid.UUID, error) {
	byAlert := f.State == nil || *f.State == herald.Delivered
	if f.Company != uuid.Nil || f.Type != "" {
		set, err := s.alertsToList(ctx, client, f)
		if err != nil {
			return nil, uuid.Nil, err
		}
		if byAlert || set.total() <= s.setLimit {
			return s.deliveriesBySet(ctx, client, set, f)
		}
	}
	switch {
	case byAlert:
		return s.deliveriesByAlert(ctx, client, uuid.Nil, f)
	case *f.State == herald.Pending:
		return s.deliveriesIn(ctx, pendingColumns, "queue q", client, f)
	default:
		// SQLite and PostgreSQL use the partial index only with its own condition,
		// state >= 2.
		return s.deliveriesIn(ctx, endedColumns, "deliveries d", client, f, "d.state >= 2", fmt.Sprintf("d.state = %d", *f.State))
	}
}

func deliveriesSize(deliveries []herald.Delivery) (bytes int) {
	for i := range deliveries {
		bytes += 2*work.RowSize + len(deliveries[i].Address)
	}
	return bytes
}

// Limits of a list of deliveries: a chunk has longestChunk rows at most, and no chunk begins
// after searchTime.
const (
	longestChunk = 1000
	searchTime   = 50 * time.Millisecond
)

// collectNewest collects limit deliveries or events, newest first, chunk by chunk. ids returns the n
// newest ids, of events, alerts or deliveries, that are smaller than before. among returns those
// that match for ids that it returned.
func collectNewest[T any](s *Store, limit int, ids func(before uuid.UUID, n int) ([]uuid.UUID, error), among func([]uuid.UUID) ([]T, error)) (found []T, next uuid.UUID, err error) {
	before, chunk, began := lastID, limit, time.Now()
	for searched := 0; searched < s.searchLimit && time.Since(began) < searchTime; chunk = min(2*chunk, longestChunk) {
		some, err := ids(before, chunk)
		if err != nil || len(some) == 0 {
			return found, uuid.Nil, err
		}
		before = some[len(some)-1]
		searched += len(some)
		more, err := among(some)
		if found = append(found, more...); err != nil || len(found) >= limit || len(some) < chunk {
			return found[:min(len(found), limit)], uuid.Nil, err
		}
	}
	return found, before, nil
}

// deliveriesIn lists the deliveries in one table, queue or deliveries. more are further
// conditions.
func (s *Store) deliveriesIn(ctx context.Context, columns, table string, client uuid.UUID, f deliveryFilter, more ...string) ([]herald.Delivery, uuid.UUID, error) {
	alias := table[len(table)-1:]
	matching := func() conditions {
		c := conditions{parts: append(slices.Clone(more), isNoRedelivery(alias))}
		c.add(alias+".client_id = %s", client)
		return c
	}
	ids := func(before uuid.UUID, n int) ([]uuid.UUID, error) {
		c := matching()
		end, bounds := span{to: before}, f
		if f.After != uuid.Nil {
			end.before(f.After)
			bounds.After = uuid.Nil
		}
		c.add(alias+".id < %s", end.to)
		c.idRange(alias, bounds)
		return list(ctx, s.lists, scanID, `SELECT `+alias+`.id FROM `+table+` WHERE `+c.where()+` ORDER BY `+alias+`.id DESC LIMIT `+c.bind(n), c.args...)
	}
	among := func(ids []uuid.UUID) ([]herald.Delivery, error) {
		c := matching()
		c.add(alias+".id BETWEEN %s AND %s", ids[len(ids)-1], ids[0])
		c.address(alias, f)
		c.ofAlert(f)
		s.ended(&c, alias, f)
		return list(ctx, s.lists, scanDelivery, `SELECT `+deliveryColumns+` FROM (SELECT `+columns+` FROM `+table+`
LEFT JOIN alerts a ON a.id = `+s.dialect.alertOf(alias+".id")+` WHERE `+c.where()+`
ORDER BY `+alias+`.id DESC LIMIT `+c.bind(f.Limit)+`) x ORDER BY x.id DESC`, c.args...)
	}
	return collectNewest(s, f.Limit, ids, among)
}

// deliveriesByAlert lists the deliveries of the newest alerts, without those of alerts with ids before from.
func (s *Store) deliveriesByAlert(ctx context.Context, client, from uuid.UUID, f deliveryFilter) ([]herald.Delivery, uuid.UUID, error) {
	ids := func(before uuid.UUID, n int) ([]uuid.UUID, error) {
		var c conditions
		end := span{to: before} // one bound, because SQLite may choose the worse of two
		end.before(alertsUpTo(f))
		c.add("a.client_id = %s", client)
		c.add("a.id < %s", end.to)
		if from != uuid.Nil {
			c.add("a.id >= %s", from)
		}
		if f.Rule != uuid.Nil {
			c.add("a.rule_id = %s", f.Rule)
		}
		c.idRange("a", deliveryFilter{DeliveryFilter: herald.DeliveryFilter{Alert: f.Alert, Event: f.Event, Since: f.Since, Until: f.Until}})
		return list(ctx, s.lists, scanID, `SELECT a.id FROM alerts a WHERE `+c.where()+` ORDER BY a.id DESC LIMIT `+c.bind(n), c.args...)
	}
	return collectNewest(s, f.Limit, ids, func(ids []uuid.UUID) ([]herald.Delivery, error) {
		return s.deliveriesOf(ctx, client, alertsBetween(ids), f)
	})
}

// alertsUpTo returns an id that is greater than those of all alerts with deliveries behind f.After,
// the alert of f.After itself included.
func alertsUpTo(f deliveryFilter) uuid.UUID {
	if f.After == uuid.Nil {
		return lastID
	}
	return herald.DeliveryID(herald.AlertOf(f.After), 1)
}

// ofAlert adds the conditions on the columns of the alert.
func (c *conditions) ofAlert(f deliveryFilter) {
	if f.Type != "" {
		c.add("a.type = %s", f.Type)
	}
	if f.Company != uuid.Nil {
		c.add("a.company_id = %s", f.Company)
	}
	if f.Rule != uuid.Nil {
		c.add("a.rule_id = %s", f.Rule)
	}
}

// idRange adds the conditions on the id, of an alert or of a delivery. The id holds the time
// when the alert was raised, and the ids of one alert's deliveries are one range.
//
// Pending deliveries are listed whatever their age.
func (c *conditions) idRange(alias string, f deliveryFilter) {
	if f.State == nil || *f.State != herald.Pending {
		c.add(alias + ".id >= (SELECT kept_from FROM history)")
	}
	c.ofEvent(alias, f)
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

// ofEvent adds the conditions on the id of an alert or of a delivery that select those of one alert or of one event.
func (c *conditions) ofEvent(alias string, f deliveryFilter) {
	if f.Alert != uuid.Nil {
		c.add(alias+".id BETWEEN %s AND %s", f.Alert, herald.DeliveryID(f.Alert, herald.MaxDeliveries-1))
	}
	if f.Event != uuid.Nil {
		c.add(alias+".id BETWEEN %s AND %s", f.Event, lastOf(f.Event))
	}
}

// lastOf returns the greatest id that an event's deliveries can have.
func lastOf(event uuid.UUID) uuid.UUID {
	return herald.DeliveryID(herald.AlertID(event, herald.MaxAlerts), herald.MaxDeliveries-1)
}

// ended adds the conditions on how deliveries ended: the reason, of the delivery, of its last attempt or
// of its wait, the status of its last attempt, and whether the alert reached the receiver after all.
func (s *Store) ended(c *conditions, alias string, f deliveryFilter) {
	if f.Reason != herald.ReasonNone {
		last := `(SELECT t.reason FROM attempts t WHERE t.delivery_id = ` + alias + `.id ORDER BY t.n DESC LIMIT 1)`
		if alias == "d" {
			c.add("(d.reason = %s OR CASE WHEN d.attempt IS NULL THEN "+last+" ELSE d.last_reason END = %s)", string(f.Reason), string(f.Reason))
		} else {
			c.add("("+last+" = %s OR "+waitingReason+" = %s)", string(f.Reason), string(f.Reason))
		}
	}
	if f.Status != (herald.Statuses{}) {
		status := `(SELECT t.status FROM attempts t WHERE t.delivery_id = ` + alias + `.id ORDER BY t.n DESC LIMIT 1)`
		if alias == "d" {
			status = "CASE WHEN d.attempt IS NULL THEN " + status + " ELSE d.last_status END"
		}
		c.add(status+" BETWEEN %s AND %s", f.Status.From, f.Status.To)
	}
	if f.Unrepeated {
		c.parts = append(c.parts, s.unrepeated(alias))
	}
}

// waitingReason is the reason for which a pending delivery q waits in the database; NULL if it waits for
// its turn or a retry. A wait for a receiver's agreement begins with the reason. All others are faults of
// this service.
const waitingReason = `CASE WHEN substr(q.reason, 1, 12) = 'unconfirmed:' THEN 'unconfirmed'
WHEN substr(q.reason, 1, 11) = 'no_consent:' THEN 'no_consent' WHEN q.reason IS NOT NULL THEN 'local' END`

// unrepeated is the condition that no other delivery of the same alert to the same receiver was
// delivered, is pending, or was made later. A rule has one webhook, so all deliveries of an alert
// that are no mails are to the same receiver, even if its address has changed.
func (s *Store) unrepeated(alias string) string {
	other := func(table, which string) string {
		return fmt.Sprintf(`NOT EXISTS (SELECT 1 FROM %[2]s o WHERE %[3]s AND o.id <> %[1]s.id
AND (o.address = %[1]s.address OR o.address NOT LIKE 'mailto:%%' AND %[1]s.address NOT LIKE 'mailto:%%')%[4]s)`,
			alias, table, s.dialect.withPrefix("o.id", s.dialect.alertOf(alias+".id"), alertBytes), which)
	}
	return other("queue", "") + ` AND ` + other("deliveries", fmt.Sprintf(` AND (o.state = %d OR o.id > %s.id)`, herald.Delivered, alias))
}

// Delivery returns a client's delivery with its attempts, in their order. The error is
// CodeNotFound when there is none.
func (s *Store) Delivery(ctx context.Context, client, id uuid.UUID) (d herald.Delivery, attempts []herald.Attempt, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return d, nil, err
	}
	defer done()
	alert := herald.AlertOf(id)
	// One snapshot: an attempt that is recorded meanwhile must not stand beside the state before it.
	err = s.inSnapshot(ctx, func(tx *sql.Tx) error {
		d, err = first(ctx, tx, scanDelivery, `SELECT `+deliveryColumns+` FROM (
SELECT `+pendingColumns+` FROM queue q LEFT JOIN alerts a ON a.id = $2 WHERE q.id = $1
UNION ALL
SELECT `+endedColumns+` FROM deliveries d LEFT JOIN alerts a ON a.id = $2 WHERE d.id = $1
) x WHERE x.client_id = $3`, s.withCachedPlan(id[:], alert[:], client[:])...)
		if errors.Is(err, sql.ErrNoRows) {
			return herald.Errorf(herald.CodeNotFound, "No delivery was found with ID %s", id)
		}
		if err != nil {
			return s.failed("read a delivery", err)
		}
		size := 0
		attempts, err = list(ctx, tx, func(rows *sql.Rows) (herald.Attempt, error) { return scanAttempt(rows, id, &size) }, attemptsSQL, s.withCachedPlan(id[:])...)
		if err != nil {
			return s.failed("read a delivery's attempts", err)
		}
		return memory.Reserve(ctx, int64(size))
	})
	return d, attempts, s.failed("read a delivery", err)
}

// DeliveryBody returns the body that a delivery's attempts send: a webhook's, and what a mail is
// written from. The error is CodeNotFound when the database does not have its alert or its event.
func (s *Store) DeliveryBody(ctx context.Context, client, id uuid.UUID) ([]byte, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, err
	}
	defer done()
	alert := herald.AlertOf(id)
	body, err := first(ctx, s.lists, func(rows *sql.Rows) ([]byte, error) {
		var d work.Item
		err := rows.Scan(&d.Head, &d.Data)
		start, data := d.Body()
		if data == nil {
			return start, err
		}
		return slices.Concat(start, data, []byte("}")), err
	}, `SELECT a.head, e.data FROM alerts a JOIN events e ON e.id = a.event_id WHERE a.id = $1 AND a.client_id = $2`, s.withCachedPlan(alert[:], client[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, herald.Errorf(herald.CodeNotFound, "No content was found of the delivery with ID %s", id)
	}
	if err == nil {
		err = memory.Reserve(ctx, int64(len(body)))
	}
	return body, s.failed("read a delivery's body", err)
}
