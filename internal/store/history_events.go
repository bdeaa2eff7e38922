package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/memory"
	"herald/internal/work"
)

// The columns of an event e.
const (
	eventColumns            = eventColumnsBefore + `e.data`
	eventColumnsWithoutData = eventColumnsBefore + `NULL`
	eventColumnsBefore      = `e.id, e.client_id, e.type, e.company_id, e.connection_id, e.occurred_at, e.message, `
)

func scanEvent(rows *sql.Rows) (herald.Event, error) { return scanEventAnd(rows) }

// scanEventAnd also scans the columns that follow.
func scanEventAnd(rows *sql.Rows, more ...any) (e herald.Event, err error) {
	var (
		occurred int64
		data     []byte
	)
	err = rows.Scan(append([]any{&e.ID, &e.ClientID, &e.Type, &e.CompanyID, &e.ConnectionID, &occurred, &e.Message, &data}, more...)...)
	e.OccurredAt, e.Data = fromMicros(occurred), data
	return e, err
}

// Events lists up to f.Limit of a client's events, newest first. A list that would have to search too many
// rows, or whose events have more than maxCursorPage bytes, returns those found so far, and in next the
// value of f.After for the call that continues. next is uuid.Nil when f.Limit events were found or there are
// no more.
func (s *Store) Events(ctx context.Context, client uuid.UUID, f herald.EventFilter) (events []herald.ListedEvent, next uuid.UUID, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, uuid.Nil, err
	}
	defer done()
	ids, next, err := s.eventIDs(ctx, client, f)
	if err != nil || len(ids) == 0 {
		return nil, next, s.failed("list events", err)
	}
	events, full, large, err := s.eventsWithSmallData(ctx, ids, f.WithoutData)
	if err == nil && len(large) > 0 {
		err = s.addData(ctx, events, large)
	}
	if err == nil {
		err = s.countAlerts(ctx, events)
	}
	if full {
		next = events[len(events)-1].ID
	}
	return events, next, s.failed("list events", err)
}

// eventsWithSmallData returns the events of ids up to the size of a page, without large data, and which
// have such. The database sorts what it selects, so large data must not be among it.
func (s *Store) eventsWithSmallData(ctx context.Context, ids []uuid.UUID, without bool) (events []herald.ListedEvent, full bool, large []uuid.UUID, err error) {
	columns := eventColumnsWithoutData + `, 0`
	if !without {
		columns = eventColumnsBefore + fmt.Sprintf(`CASE WHEN length(e.data) <= %d THEN e.data END, length(e.data)`, smallData)
	}
	var sizes []int
	events, full, err = listWithin(ctx, s.lists, func(rows *sql.Rows) (herald.ListedEvent, int, error) {
		var size sql.NullInt64
		e, err := scanEventAnd(rows, &size)
		sizes = append(sizes, int(size.Int64))
		return herald.ListedEvent{Event: e}, int(size.Int64) + len(e.Message) + work.RowSize, err
	}, `SELECT `+columns+` FROM (`+fmt.Sprintf(s.dialect.idList, "$1")+`) k JOIN events e ON e.id = k.id ORDER BY e.id DESC`, jsonIDs(ids))
	for i, e := range events {
		if sizes[i] > smallData {
			large = append(large, e.ID)
		}
	}
	return events, full, large, err
}

// addData fills in the data of the events that are large.
func (s *Store) addData(ctx context.Context, events []herald.ListedEvent, large []uuid.UUID) error {
	data, err := dataOf(ctx, s.lists, large)
	for i := range events {
		if d, ok := data[events[i].ID]; ok {
			events[i].Data = d
		}
	}
	return err
}

// eventIDs lists the ids of the events that match f, like Events.
func (s *Store) eventIDs(ctx context.Context, client uuid.UUID, f herald.EventFilter) ([]uuid.UUID, uuid.UUID, error) {
	ids := func(before uuid.UUID, n int) ([]uuid.UUID, error) {
		end := span{to: before} // one bound, as in deliveriesByAlert
		if f.After != uuid.Nil {
			end.before(f.After)
		}
		if !f.Until.IsZero() {
			end.before(herald.FirstIDAt(f.Until))
		}
		var c conditions
		c.add("client_id = %s", client)
		c.add("id < %s", end.to)
		c.add("id >= (SELECT kept_from FROM history)")
		if !f.Since.IsZero() {
			c.add("id >= %s", herald.FirstIDAt(f.Since))
		}
		return list(ctx, s.lists, scanID, `SELECT id FROM events WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(n), c.args...)
	}
	return collectNewest(s, f.Limit, ids, func(some []uuid.UUID) ([]uuid.UUID, error) {
		if f.Type == "" && f.Company == uuid.Nil {
			return some, nil
		}
		var c conditions
		c.add("client_id = %s", client)
		c.add("id BETWEEN %s AND %s", some[len(some)-1], some[0])
		if f.Type != "" {
			c.add("type = %s", f.Type)
		}
		if f.Company != uuid.Nil {
			c.add("company_id = %s", f.Company)
		}
		return list(ctx, s.lists, scanID, `SELECT id FROM events WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(f.Limit), c.args...)
	})
}

// countAlerts fills in how many alerts each event raised. The last one's id has their number, so it is one
// look-up for each event.
func (s *Store) countAlerts(ctx context.Context, events []herald.ListedEvent) error {
	ids, of := make([]uuid.UUID, len(events)), make(map[uuid.UUID]int, len(events))
	for i, e := range events {
		ids[i], of[e.ID] = e.ID, i
	}
	_, err := list(ctx, s.lists, func(rows *sql.Rows) (none struct{}, err error) {
		var event, last uuid.UUID
		err = rows.Scan(&event, &last)
		events[of[event]].AlertCount = int(binary.BigEndian.Uint16(last[13:15]))
		return none, err
	}, `SELECT k.id, (SELECT a.id FROM alerts a WHERE `+s.dialect.withPrefix("a.id", "k.id", eventBytes)+` ORDER BY a.id DESC LIMIT 1)
FROM (`+fmt.Sprintf(s.dialect.idList, "$1")+`) k`, jsonIDs(ids))
	return err
}

// RecentEvents lists the ids, types and companies of up to limit of a client's events that were accepted
// since a time, newest first. from is that time, or when the kept history begins, if that is later.
func (s *Store) RecentEvents(ctx context.Context, client uuid.UUID, since time.Time, limit int) (events []herald.Event, from time.Time, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, since, err
	}
	defer done()
	kept, err := first(ctx, s.lists, scanID, `SELECT kept_from FROM history`)
	if err != nil {
		return nil, since, s.failed("read when the kept history begins", err)
	}
	begin, from := herald.FirstIDAt(since), since
	if bytes.Compare(kept[:], begin[:]) > 0 {
		begin, from = kept, herald.TimeOf(kept)
	}
	if err := memory.Reserve(ctx, int64(limit*recentEventSize)); err != nil {
		return nil, from, err
	}
	events, err = list(ctx, s.lists, func(rows *sql.Rows) (herald.Event, error) {
		e := herald.Event{ClientID: client}
		err := rows.Scan(&e.ID, &e.Type, &e.CompanyID)
		return e, err
	}, `SELECT id, type, company_id FROM events WHERE client_id = $1 AND id >= $2 ORDER BY id DESC LIMIT $3`, client[:], begin[:], limit)
	return events, from, s.failed("list recent events", err)
}

// recentEventSize is about what one of RecentEvents takes in memory, in bytes.
const recentEventSize = 256

// raisedAlertSize is the size of an alert in the answer with its event, in bytes.
const raisedAlertSize = 100

// Event returns a client's event with the alerts that it raised, of which it returns only the ids
// and the rules. The error is CodeNotFound when there is none.
func (s *Store) Event(ctx context.Context, client, id uuid.UUID) (herald.Event, []herald.Alert, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return herald.Event{}, nil, err
	}
	defer done()
	e, err := first(ctx, s.lists, scanEvent, `SELECT `+eventColumns+` FROM events e WHERE e.id = $1 AND e.client_id = $2`, s.withCachedPlan(id[:], client[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return e, nil, herald.Errorf(herald.CodeNotFound, "No event was found with ID %s", id)
	}
	if err != nil {
		return e, nil, s.failed("read an event", err)
	}
	from, to := herald.AlertID(id, 1), herald.AlertID(id, herald.MaxAlerts)
	alerts, err := list(ctx, s.lists, func(rows *sql.Rows) (a herald.Alert, err error) {
		err = rows.Scan(&a.ID, &a.RuleID)
		return a, err
	}, `SELECT id, rule_id FROM alerts WHERE id BETWEEN $1 AND $2 ORDER BY id`, from[:], to[:])
	if err == nil {
		err = memory.Reserve(ctx, int64(len(e.Data)+len(e.Message)+len(alerts)*raisedAlertSize))
	}
	return e, alerts, s.failed("read an event's alerts", err)
}
