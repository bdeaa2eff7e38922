package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"

	"herald"
)

// listedSet is the set of alerts whose deliveries are listed by company or type.
type listedSet struct {
	*indexed
	keptFrom uuid.UUID
	// openToo says that the set has the open alerts. Otherwise there are too many of them.
	openToo bool
}

// alertsToList finds the alerts of the filter's company and type.
func (s *Store) alertsToList(ctx context.Context, client uuid.UUID, f deliveryFilter) (set listedSet, err error) {
	err = s.inSnapshot(ctx, func(tx *sql.Tx) error {
		if set.keptFrom, err = first(ctx, tx, scanID, `SELECT kept_from FROM history`); err != nil {
			return err
		}
		ids := span{set.keptFrom, alertsUpTo(f)}
		if f.Alert != uuid.Nil {
			ids.after(f.Alert)
			ids.before(herald.DeliveryID(f.Alert, 1))
		}
		if f.Event != uuid.Nil {
			ids.after(f.Event)
			ids.before(lastOf(f.Event))
		}
		if !f.Since.IsZero() {
			ids.after(herald.FirstIDAt(f.Since))
		}
		if !f.Until.IsZero() {
			ids.before(herald.FirstIDAt(f.Until))
		}
		if set.indexed, err = findIndexed(ctx, tx, alertSet{client, f.Company, f.Type}, ids); err != nil {
			return err
		}
		set.openToo, err = s.addOpen(ctx, tx, set.indexed)
		return err
	})
	return set, err
}

// deliveriesBySet lists the deliveries of the alerts of a set. First come those of open alerts, if the
// set does not have them. Last come pending deliveries that are older than the kept history.
func (s *Store) deliveriesBySet(ctx context.Context, client uuid.UUID, set listedSet, f deliveryFilter) (found []herald.Delivery, next uuid.UUID, err error) {
	type part func(deliveryFilter) ([]herald.Delivery, uuid.UUID, error)
	var parts []part
	if !set.openToo {
		parts = append(parts, func(f deliveryFilter) ([]herald.Delivery, uuid.UUID, error) {
			return s.deliveriesByAlert(ctx, client, set.indexedTo, f)
		})
	}
	parts = append(parts, func(f deliveryFilter) ([]herald.Delivery, uuid.UUID, error) {
		ids := func(before uuid.UUID, n int) ([]uuid.UUID, error) { return set.before(ctx, s.lists, before, n) }
		return collectNewest(s, f.Limit, ids, func(ids []uuid.UUID) ([]herald.Delivery, error) {
			return s.deliveriesOf(ctx, client, s.alertsAmong(ids), f)
		})
	})
	if f.State != nil && *f.State == herald.Pending && set.keptFrom != uuid.Nil {
		parts = append(parts, func(f deliveryFilter) ([]herald.Delivery, uuid.UUID, error) {
			if kept := herald.TimeOf(set.keptFrom); f.Until.IsZero() || kept.Before(f.Until) {
				f.Until = kept
			}
			return s.deliveriesIn(ctx, pendingColumns, "queue q", client, f)
		})
	}
	for _, part := range parts {
		rest := f
		rest.Limit -= len(found)
		more, next, err := part(rest)
		found = append(found, more...)
		if err != nil || next != uuid.Nil || len(found) >= f.Limit {
			return found, next, err
		}
	}
	return found, uuid.Nil, nil
}

// alertsAmong adds the condition that alerts a have one of the ids.
func (s *Store) alertsAmong(ids []uuid.UUID) alertSource {
	return func(c *conditions) string {
		c.add("a.id = k.id")
		return `(` + fmt.Sprintf(s.dialect.idList, c.bind(jsonIDs(ids))) + `) k CROSS JOIN alerts a`
	}
}

// alertsBetween adds the condition that alerts a are from the last of the ids to the first.
func alertsBetween(ids []uuid.UUID) alertSource {
	return func(c *conditions) string {
		c.add("a.id BETWEEN %s AND %s", ids[len(ids)-1], ids[0])
		return `alerts a`
	}
}

// alertSource adds conditions on some alerts a, and returns the tables to read them from.
type alertSource func(*conditions) (from string)

// deliveriesOf lists the deliveries of some alerts.
func (s *Store) deliveriesOf(ctx context.Context, client uuid.UUID, source alertSource, f deliveryFilter) ([]herald.Delivery, error) {
	var c conditions
	part := func(columns, table, alias string) string {
		c.parts = nil
		c.add("a.client_id = %s", client)
		from := source(&c)
		if f.After != uuid.Nil {
			c.add("NOT "+alias+".id >= %s", f.After) // SQLite would use "id < x" as the index bound, which is worse than the alert's
		}
		c.ofAlert(f)
		c.address(alias, f)
		s.ended(&c, alias, f)
		c.parts = append(c.parts, isNoRedelivery(alias))
		return `SELECT ` + columns + ` FROM ` + from + ` ` + s.dialect.joinOfAlert(table, alias) + ` WHERE ` + c.where()
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
	return list(ctx, s.lists, scanDelivery, `SELECT `+deliveryColumns+` FROM (SELECT * FROM (`+text+`) y ORDER BY y.id DESC LIMIT `+
		c.bind(f.Limit)+`) x ORDER BY x.id DESC`, c.args...)
}
