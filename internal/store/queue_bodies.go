package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// Pauses of Claim while the database is away: they double from the first to the longest.
const (
	firstBodiesPause = 50 * time.Millisecond
	maxBodiesPause   = time.Second
)

// readClaimed reads the bodies of deliveries that this node holds. It returns the ids of those whose
// alert or event is missing. While the database is away it waits: if this node dropped the
// deliveries, nobody would send them. If they cannot be read for another reason, it reads them one
// by one, and sets Unreadable of those that are at fault. So one delivery that cannot be read does
// not hold up the others. The error is that ctx has ended.
func (s *Store) readClaimed(ctx context.Context, items []work.Item) (missing map[uuid.UUID]bool, err error) {
	for wait := firstBodiesPause; ; wait = min(2*wait, maxBodiesPause) {
		missing, err := s.dialect.readBodies(ctx, s, items)
		err = s.failed("read the bodies of claimed deliveries", err)
		switch {
		case err == nil:
			return missing, nil
		case ctx.Err() != nil:
			return nil, err
		case herald.CodeOf(err) == herald.CodeUnavailable:
			if !sleep(ctx, wait) {
				return nil, err
			}
		case len(items) == 1:
			s.log.Error("a claimed delivery cannot be read", "deliveryId", items[0].ID, "error", err)
			items[0].Unreadable = "this service could not read the event of the delivery"
			return nil, nil
		default:
			missing = make(map[uuid.UUID]bool)
			for i := range items {
				some, err := s.readClaimed(ctx, items[i:i+1])
				if err != nil {
					return nil, err
				}
				maps.Copy(missing, some)
			}
			return missing, nil
		}
	}
}

// checkRegistered returns work.ErrDeclaredDead if another node has declared this one dead, which claims
// nothing then.
func (s *Store) checkRegistered(ctx context.Context, tx *sql.Tx, node int64) error {
	if !s.dialect.shared {
		return nil
	}
	n, err := first(ctx, tx, scanInt, `SELECT count(*) FROM nodes WHERE id = $1`, node)
	if err == nil && n == 0 {
		err = work.ErrDeclaredDead
	}
	return err
}

// endMissing ends the claimed deliveries whose ids are in missing, and returns the others: one whose
// content is gone fails alone. It also returns those that cannot be ended now, with Unreadable set. The
// engine postpones them, so they wait visibly and ever longer. While the database is away it tries only
// one: each try takes its time, and others wait to be claimed. ended is how many it ended.
func (s *Store) endMissing(ctx context.Context, items []work.Item, missing map[uuid.UUID]bool) (left []work.Item, ended int) {
	if len(missing) == 0 {
		return items, 0
	}
	ctx = context.WithoutCancel(ctx)
	away := false
	left = items[:0]
	for _, d := range items {
		if !missing[d.ID] {
			left = append(left, d)
			continue
		}
		err := errAway
		if !away {
			err = s.endUnsent(ctx, d, herald.ReasonContentMissing)
			away = herald.CodeOf(err) == herald.CodeUnavailable
		}
		if err == nil {
			ended++
			s.log.Error("a delivery failed because its alert or event is missing", "deliveryId", d.ID, "clientId", d.ClientID)
			continue
		}
		s.log.Error("a delivery whose alert or event is missing cannot be ended", "deliveryId", d.ID, "clientId", d.ClientID, "error", err)
		d.Unreadable = "this service could not end the delivery, whose alert or event is missing"
		left = append(left, d)
	}
	return left, ended
}

var errAway = errors.New("the database does not take requests right now")

// endUnsent ends a delivery that this node holds as failed, without an attempt.
func (s *Store) endUnsent(ctx context.Context, d work.Item, reason herald.Reason) error {
	return s.changeOf(ctx, d.ClientID, "end a delivery without an attempt", func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, endQueueSQL, d.ID[:], d.Node, d.Attempt))
		if err != nil || n == 0 {
			return err
		}
		c := counting{now: now}
		ended := endedDelivery{id: d.ID, client: d.ClientID, address: d.Address, state: herald.Failed, reason: reason}
		if err := errors.Join(c.addEnded(ctx, tx, &ended), c.save(ctx, tx)); err != nil {
			return err
		}
		var changes issueChanges
		changes.add(&work.Result{Item: d, State: herald.Failed, Reason: reason})
		return s.changeIssues(ctx, tx, now, changes)
	})
}

// bodies are the parts of bodies by the ids of alerts and of events, which differ. Items of one
// alert or one event share them.
type bodies map[uuid.UUID]bodyPart

// bodyPart is the head of an alert with its rule, or the data of an event.
type bodyPart struct {
	rule         uuid.UUID
	notification bool // of an alert, see work.Item
	text         []byte
}

// bodiesSQL is one statement for all bodies of a claim. alerts and events are conditions on an id.
func bodiesSQL(alerts, events string) string {
	return `SELECT id, rule_id, ` + isNotificationSQL + `, head FROM alerts WHERE ` + alerts + `
UNION ALL SELECT id, NULL, false, data FROM events WHERE ` + events
}

// isNotificationSQL is herald.IsNotification of an alert's type.
const isNotificationSQL = `type IN ('` + herald.ReceiverFailing + `', '` + herald.ReceiverRecovered + `')`

// setBodies sets the bodies of items, which it reads with a bodiesSQL. It returns the ids of the items whose
// alert or event is missing.
func (s *Store) setBodies(ctx context.Context, items []work.Item, text string, alerts, events any) (missing map[uuid.UUID]bool, err error) {
	found := make(bodies, 2*len(items))
	_, err = list(ctx, s.read, func(rows *sql.Rows) (none struct{}, err error) {
		var (
			id uuid.UUID
			b  bodyPart
		)
		err = rows.Scan(&id, &b.rule, &b.notification, &b.text)
		found[id] = b
		return none, err
	}, text, alerts, events)
	if err != nil {
		return nil, err
	}
	return found.setOn(items), nil
}

// idsOf returns the alerts and the events of items, each once.
func idsOf(items []work.Item) (alerts, events []uuid.UUID) {
	seen := make(map[uuid.UUID]bool, len(items))
	add := func(ids *[]uuid.UUID, id uuid.UUID) {
		if !seen[id] {
			seen[id] = true
			*ids = append(*ids, id)
		}
	}
	for i := range items {
		add(&alerts, herald.AlertOf(items[i].ID))
		add(&events, herald.EventOf(items[i].ID))
	}
	return alerts, events
}

// setOn sets the bodies of items. It returns the ids of the items whose alert or event is missing.
func (b bodies) setOn(items []work.Item) (missing map[uuid.UUID]bool) {
	missing = make(map[uuid.UUID]bool)
	for i := range items {
		d := &items[i]
		head, found := b[herald.AlertOf(d.ID)]
		data, foundData := b[herald.EventOf(d.ID)]
		if !found || !foundData {
			missing[d.ID] = true
			continue
		}
		d.RuleID, d.Notification, d.Head, d.Data = head.rule, head.notification, head.text, data.text
	}
	return missing
}
