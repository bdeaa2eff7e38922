package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/memory"
	"herald/internal/query"
	"herald/internal/work"
)

const alertsFrom = ` FROM alerts a JOIN events e ON e.id = a.event_id`

// alertColumns are the columns of an alert, with the size of its data and the data only if it is
// small, see listAlerts.
var alertColumns = fmt.Sprintf(`a.id, a.client_id, a.event_id, a.rule_id, a.type, a.company_id, e.connection_id, a.message,
length(e.data), CASE WHEN length(e.data) <= %d THEN e.data END, (SELECT c.name FROM clients c WHERE c.id = a.client_id)`, smallData)

// listAlerts returns the alerts of a statement that selects alertColumns and further columns for more.
// It knows the size of all before it reads large data, and reads the data of each event once.
func listAlerts(ctx context.Context, q querier, text string, args []any, more ...any) ([]herald.Alert, error) {
	var (
		page  pageBytes
		large []uuid.UUID
	)
	alerts, err := list(ctx, q, func(rows *sql.Rows) (a herald.Alert, err error) {
		var (
			size sql.NullInt64
			data []byte
		)
		err = rows.Scan(append([]any{&a.ID, &a.ClientID, &a.EventID, &a.RuleID, &a.Type, &a.CompanyID, &a.ConnectionID, &a.Message, &size, &data, &a.ClientName}, more...)...)
		if !page.add(len(a.Message) + len(a.ClientName) + int(size.Int64) + work.RowSize) {
			return herald.Alert{}, err
		}
		a.Data = data
		if size.Int64 > smallData {
			large = append(large, a.EventID)
		}
		return a, err
	}, text, args...)
	if err == nil {
		err = page.reserve(ctx)
	}
	if err != nil || len(large) == 0 {
		return alerts, err
	}
	slices.SortFunc(large, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	data, err := dataOf(ctx, q, slices.Compact(large))
	for i := range alerts {
		if text, found := data[alerts[i].EventID]; found {
			alerts[i].Data = text
		}
	}
	return alerts, err
}

// alertsOf returns the alerts with these ids. Given as values, the ids leave PostgreSQL no choice but to find
// each by its key. For a statement that selects many it may read all alerts and events instead.
func (s *Store) alertsOf(ctx context.Context, tx *sql.Tx, ids []uuid.UUID, o query.Order) ([]herald.Alert, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return listAlerts(ctx, tx, `SELECT `+alertColumns+` FROM (`+fmt.Sprintf(s.dialect.idList, "$1")+`) p JOIN alerts a ON a.id = p.id JOIN events e ON e.id = a.event_id
ORDER BY p.id`+direction(o), []any{jsonIDs(ids)})
}

// direction returns the text after ORDER BY id. Alerts are always ordered by id.
func direction(o query.Order) string {
	if o.Desc {
		return " DESC"
	}
	return ""
}

// Alert returns a client's alert. The error is CodeNotFound when there is none.
func (s *Store) Alert(ctx context.Context, client, id uuid.UUID) (herald.Alert, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return herald.Alert{}, err
	}
	defer done()
	found, err := listAlerts(ctx, s.lists, `SELECT `+alertColumns+alertsFrom+` WHERE a.id = $1 AND a.client_id = $2`, s.withCachedPlan(id[:], client[:]))
	if err == nil && len(found) == 0 {
		err = herald.Errorf(herald.CodeNotFound, "No alert was found with ID %s", id)
	}
	if err != nil {
		return herald.Alert{}, s.failed("read an alert", err)
	}
	return found[0], nil
}

const eventColumns = `id, client_id, type, company_id, connection_id, occurred_at, message, data`

func scanEvent(rows *sql.Rows) (e herald.Event, err error) {
	var (
		occurred int64
		data     []byte
	)
	err = rows.Scan(&e.ID, &e.ClientID, &e.Type, &e.CompanyID, &e.ConnectionID, &occurred, &e.Message, &data)
	e.OccurredAt, e.Data = fromMicros(occurred), data
	return e, err
}

// Events lists up to limit of a client's events, newest first. It lists only events older
// than after, unless after is uuid.Nil. If the events have more than maxCursorPage bytes, it
// lists fewer, and next is the after of the call that continues; otherwise next is uuid.Nil.
func (s *Store) Events(ctx context.Context, client, after uuid.UUID, limit int) (events []herald.Event, next uuid.UUID, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, uuid.Nil, err
	}
	defer done()
	var c conditions
	c.add("client_id = %s", client)
	c.add("id >= (SELECT kept_from FROM history)")
	if after != uuid.Nil {
		c.add("id < %s", after)
	}
	events, full, err := listWithin(ctx, s.lists, func(rows *sql.Rows) (herald.Event, int, error) {
		e, err := scanEvent(rows)
		return e, len(e.Data) + len(e.Message) + work.RowSize, err
	}, `SELECT `+eventColumns+` FROM events WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(limit), c.args...)
	if full {
		next = events[len(events)-1].ID
	}
	return events, next, s.failed("list events", err)
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
	e, err := first(ctx, s.lists, scanEvent, `SELECT `+eventColumns+` FROM events WHERE id = $1 AND client_id = $2`, s.withCachedPlan(id[:], client[:])...)
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
