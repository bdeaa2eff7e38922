package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
)

// A list of deliveries is newest first by the time when each was made. For most that is the time
// in the id, when the alert was raised. A redelivery's id has that time too, so the table
// redeliveries has the time when it was made. Lists merge the two.

// place is where a delivery is in a list: its time in microseconds, and its id among equals.
type place struct {
	at int64
	id uuid.UUID
}

func placeOf(d herald.Delivery) place {
	if d.MadeAt.IsZero() {
		return place{micros(herald.TimeOf(d.ID)), d.ID}
	}
	return place{micros(d.MadeAt), d.ID}
}

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.at, other.at), bytes.Compare(p.id[:], other.id[:]))
}

// lastPlace is before every place of a list.
var lastPlace = place{1<<63 - 1, lastID}

// cursor returns the place of a list's After.
func (s *Store) cursor(ctx context.Context, after uuid.UUID) (place, error) {
	if after == uuid.Nil {
		return lastPlace, nil
	}
	made, err := first(ctx, s.lists, scanInt, `SELECT made_at FROM redeliveries WHERE id = $1`, after[:])
	if errors.Is(err, sql.ErrNoRows) {
		return place{micros(herald.TimeOf(after)), after}, nil
	}
	return place{made, after}, err
}

// bound returns the After for the deliveries that are no redeliveries: those with smaller ids come
// behind p.
func (p place) bound() uuid.UUID {
	if p == lastPlace {
		return uuid.Nil
	}
	at := fromMicros(p.at)
	from, to := herald.FirstIDAt(at), herald.FirstIDAt(at.Add(time.Microsecond))
	switch { // most redeliveries are made long after their alerts, so that their ids are smaller
	case bytes.Compare(p.id[:], from[:]) < 0:
		return from
	case bytes.Compare(p.id[:], to[:]) > 0:
		return to
	}
	return p.id
}

// isNoRedelivery is the condition that leaves out what the table redeliveries has.
func isNoRedelivery(alias string) string {
	return `NOT EXISTS (SELECT 1 FROM redeliveries m WHERE m.id = ` + alias + `.id)`
}

// mergeLists merges two lists of which each was searched up to a place, or to its end if that is nil.
// It returns the first limit deliveries and the place up to which both were searched; nil when
// there are limit or when both lists are at their ends.
func mergeLists(limit int, a []herald.Delivery, upToA *place, b []herald.Delivery, upToB *place) ([]herald.Delivery, *place) {
	end := upToA
	if end == nil || upToB != nil && upToB.compare(*end) > 0 {
		end = upToB
	}
	all := slices.Concat(a, b)
	if end != nil {
		all = slices.DeleteFunc(all, func(d herald.Delivery) bool { return placeOf(d).compare(*end) < 0 })
	}
	slices.SortFunc(all, func(x, y herald.Delivery) int { return placeOf(y).compare(placeOf(x)) })
	if len(all) >= limit {
		return all[:limit], nil
	}
	return all, end
}

// redeliveries lists redeliveries behind a place. Like collectNewest it stops after a while, and then
// returns the place up to which it has searched.
func (s *Store) redeliveries(ctx context.Context, client uuid.UUID, f deliveryFilter, behind place) (found []herald.Delivery, upTo *place, err error) {
	chunk, began := f.Limit, time.Now()
	for searched := 0; searched < s.searchLimit && time.Since(began) < searchTime; chunk = min(2*chunk, longestChunk) {
		some, err := s.redeliveryPlaces(ctx, client, f, behind, chunk)
		if err != nil || len(some) == 0 {
			return found, nil, err
		}
		behind = some[len(some)-1]
		searched += len(some)
		more, err := s.redeliveriesBetween(ctx, client, f, behind, some[0])
		if found = append(found, more...); err != nil || len(some) < chunk || len(found) >= f.Limit {
			return found, nil, err
		}
	}
	return found, &behind, nil
}

// redeliveryPlaces returns the first n places of a client's redeliveries behind another.
func (s *Store) redeliveryPlaces(ctx context.Context, client uuid.UUID, f deliveryFilter, behind place, n int) ([]place, error) {
	var c conditions
	c.add("r.client_id = %s", client)
	c.add("r.made_at <= %s", behind.at)
	c.add("(r.made_at < %s OR r.id < %s)", behind.at, behind.id)
	if f.State == nil || *f.State != herald.Pending { // as in idRange
		c.add("r.id >= (SELECT kept_from FROM history)")
	}
	c.ofEvent("r", f)
	if !f.Since.IsZero() {
		c.add("r.made_at >= %s", f.Since)
	}
	if !f.Until.IsZero() {
		c.add("r.made_at < %s", f.Until)
	}
	return list(ctx, s.lists, func(rows *sql.Rows) (p place, err error) {
		err = rows.Scan(&p.at, &p.id)
		return p, err
	}, `SELECT r.made_at, r.id FROM redeliveries r WHERE `+c.where()+` ORDER BY r.made_at DESC, r.id DESC LIMIT `+c.bind(n), c.args...)
}

// redeliveriesBetween lists the redeliveries that match f from one place to another, both included.
func (s *Store) redeliveriesBetween(ctx context.Context, client uuid.UUID, f deliveryFilter, from, to place) ([]herald.Delivery, error) {
	var c conditions
	part := func(columns, table, alias string) string {
		c.parts = nil
		c.add("r.client_id = %s", client)
		c.add("r.made_at BETWEEN %s AND %s", from.at, to.at)
		c.add("(r.made_at > %s OR r.id >= %s)", from.at, from.id)
		c.add("(r.made_at < %s OR r.id <= %s)", to.at, to.id)
		c.ofEvent("r", f)
		c.ofAlert(f)
		c.address(alias, f)
		s.ended(&c, alias, f)
		return `SELECT ` + columns + ` FROM redeliveries r JOIN ` + table + ` ON ` + alias + `.id = r.id LEFT JOIN alerts a ON a.id = ` +
			s.dialect.alertOf("r.id") + ` WHERE ` + c.where()
	}
	var text string
	switch {
	case f.State == nil:
		text = part(endedColumns, "deliveries d", "d") + ` UNION ALL ` + part(pendingColumns, "queue q", "q")
	case *f.State == herald.Pending:
		text = part(pendingColumns, "queue q", "q")
	default:
		text = part(endedColumns, "deliveries d", "d") + ` AND d.state = ` + c.bind(int(*f.State))
	}
	return list(ctx, s.lists, scanDelivery, `SELECT `+deliveryColumns+` FROM (`+text+`) x`, c.args...)
}

// ExpireRedeliveries deletes what the table redeliveries has of history that is not kept any more, in
// one step of at most step rows. It returns how many. Like Expire it leaves what belongs to a pending
// delivery.
func (s *Store) ExpireRedeliveries(ctx context.Context) (int, error) {
	return s.expireStep(ctx, "delete old redeliveries", `DELETE FROM redeliveries WHERE id IN (
SELECT id FROM redeliveries m WHERE id < (SELECT kept_from FROM history)
AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.id = m.id) ORDER BY id LIMIT $1)`)
}
