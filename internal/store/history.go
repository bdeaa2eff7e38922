package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

const alertsFrom = ` FROM alerts a JOIN events e ON e.id = a.event_id`

const alertColumns = `a.id, a.client_id, a.event_id, a.rule_id, e.type, a.company_id, e.connection_id, a.message, e.data,
(SELECT c.name FROM clients c WHERE c.id = a.client_id)`

func scanAlert(rows *sql.Rows) (a herald.Alert, err error) {
	var data []byte
	err = rows.Scan(&a.ID, &a.ClientID, &a.EventID, &a.RuleID, &a.Type, &a.CompanyID, &a.ConnectionID, &a.Message, &data, &a.ClientName)
	a.Data = data
	return a, err
}

// Alerts lists a page of a client's alerts and counts them all; a rule or a
// company other than uuid.Nil leaves only theirs.
func (s *Store) Alerts(ctx context.Context, client, rule, company uuid.UUID, l query.List) ([]herald.Alert, int, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	c := conditions{columns: map[string]string{
		"id": "a.id", "companyId": "a.company_id", "clientId": "a.client_id", "ruleId": "a.rule_id", "ruleType": "e.type",
		"dataConnectionId": "e.connection_id", "message": "a.message", "raisedOnUtc": "a.id",
	}}
	c.add("a.client_id = %s", client)
	if rule != uuid.Nil {
		c.add("a.rule_id = %s", rule)
	}
	if company != uuid.Nil {
		c.add("a.company_id = %s", company)
	}
	c.narrow(l.Where)
	counted := ` FROM alerts a` // the event only where a query may ask for it
	if l.Where != nil {
		counted = alertsFrom
	}
	total, err := first(ctx, s.read, scanInt, `SELECT count(*)`+counted+` WHERE `+c.where(), c.args...)
	if err != nil {
		return nil, 0, s.failed("count alerts", err)
	}
	text := `SELECT ` + alertColumns + alertsFrom + ` WHERE ` + c.where() + ` ORDER BY ` + c.orderBy(l.Order) +
		` LIMIT ` + c.place(l.PageSize) + ` OFFSET ` + c.place(l.Offset())
	alerts, err := list(ctx, s.read, scanAlert, text, c.args...)
	return alerts, int(total), s.failed("list alerts", err)
}

// Alert returns a client's alert, CodeNotFound when there is none.
func (s *Store) Alert(ctx context.Context, client, id uuid.UUID) (herald.Alert, error) {
	a, err := first(ctx, s.read, scanAlert, `SELECT `+alertColumns+alertsFrom+` WHERE a.id = $1 AND a.client_id = $2`, id[:], client[:])
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

// Events lists up to limit of a client's events, newest first, behind after
// unless that is uuid.Nil.
func (s *Store) Events(ctx context.Context, client, after uuid.UUID, limit int) ([]herald.Event, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	var c conditions
	c.add("client_id = %s", client)
	if after != uuid.Nil {
		c.add("id < %s", after)
	}
	events, err := list(ctx, s.read, scanEvent,
		`SELECT `+eventColumns+` FROM events WHERE `+c.where()+` ORDER BY id DESC LIMIT `+c.place(limit), c.args...)
	return events, s.failed("list events", err)
}

// Event returns a client's event with the alerts it raised, CodeNotFound when
// there is none.
func (s *Store) Event(ctx context.Context, client, id uuid.UUID) (herald.Event, []herald.Alert, error) {
	e, err := first(ctx, s.read, scanEvent, `SELECT `+eventColumns+` FROM events WHERE id = $1 AND client_id = $2`, id[:], client[:])
	if errors.Is(err, sql.ErrNoRows) {
		return e, nil, herald.Errorf(herald.CodeNotFound, "No event was found with ID %s", id)
	}
	if err != nil {
		return e, nil, s.failed("read an event", err)
	}
	from, to := herald.AlertID(id, 1), herald.AlertID(id, herald.MaxAlerts)
	alerts, err := list(ctx, s.read, scanAlert, `SELECT `+alertColumns+alertsFrom+` WHERE a.id BETWEEN $1 AND $2 ORDER BY a.id`, from[:], to[:])
	return e, alerts, s.failed("read an event's alerts", err)
}
