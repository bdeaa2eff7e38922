package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

const alertsFrom = ` FROM alerts a JOIN events e ON e.id = a.event_id`

const alertColumns = `a.id, a.client_id, a.event_id, a.rule_id, a.type, a.company_id, e.connection_id, a.message, e.data,
(SELECT c.name FROM clients c WHERE c.id = a.client_id)`

func scanAlert(rows *sql.Rows) (herald.Alert, error) { return scanAlertAnd(rows) }

// scanAlertAnd scans alertColumns and the columns after them.
func scanAlertAnd(rows *sql.Rows, more ...any) (a herald.Alert, err error) {
	var data []byte
	err = rows.Scan(append([]any{&a.ID, &a.ClientID, &a.EventID, &a.RuleID, &a.Type, &a.CompanyID, &a.ConnectionID, &a.Message, &data, &a.ClientName}, more...)...)
	a.Data = data
	return a, err
}

// alertsOf returns the alerts whose ids the statement ids selects.
func alertsOf(ctx context.Context, tx *sql.Tx, ids string, args []any, o query.Order) ([]herald.Alert, error) {
	return list(ctx, tx, scanAlert, `SELECT `+alertColumns+` FROM (`+ids+`) p JOIN alerts a ON a.id = p.id JOIN events e ON e.id = a.event_id
ORDER BY p.id`+direction(o), args...)
}

// direction returns the text after ORDER BY id. Alerts are always ordered by id.
func direction(o query.Order) string {
	if o.Desc {
		return " DESC"
	}
	return ""
}

// adviseTimeRange adds advice to the error of a list that took too long: to limit its time
// range, with example as an example.
func adviseTimeRange(err error, example string) error {
	if known := (*herald.Error)(nil); errors.As(err, &known) && errors.Is(err, context.DeadlineExceeded) {
		advised := *known
		advised.Message = "The list takes too long to search. Limit its time range, for example with " + example + "."
		return &advised
	}
	return err
}

func aDayAgo() string { return time.Now().UTC().Add(-24 * time.Hour).Format("2006-01-02T15:04:05Z") }

// Alert returns a client's alert. The error is CodeNotFound when there is none.
func (s *Store) Alert(ctx context.Context, client, id uuid.UUID) (herald.Alert, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return herald.Alert{}, err
	}
	defer done()
	a, err := first(ctx, s.lists, scanAlert, `SELECT `+alertColumns+alertsFrom+` WHERE a.id = $1 AND a.client_id = $2`, s.withCachedPlan(id[:], client[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return a, herald.Errorf(herald.CodeNotFound, "No alert was found with ID %s", id)
	}
	return a, s.failed("read an alert", err)
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
// than after, unless after is uuid.Nil.
func (s *Store) Events(ctx context.Context, client, after uuid.UUID, limit int) ([]herald.Event, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, err
	}
	defer done()
	var c conditions
	c.add("client_id = %s", client)
	c.add("id >= (SELECT kept_from FROM history)")
	if after != uuid.Nil {
		c.add("id < %s", after)
	}
	events, err := list(ctx, s.lists, scanEvent,
		`SELECT `+eventColumns+` FROM events WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.bind(limit), c.args...)
	return events, s.failed("list events", err)
}

// Event returns a client's event with the alerts that it raised. The error is CodeNotFound
// when there is none.
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
	alerts, err := list(ctx, s.lists, scanAlert, `SELECT `+alertColumns+alertsFrom+` WHERE a.id BETWEEN $1 AND $2 ORDER BY a.id`, from[:], to[:])
	return e, alerts, s.failed("read an event's alerts", err)
}
