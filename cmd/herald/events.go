package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// eventsCommand is `herald events`.
type eventsCommand struct {
	List    eventsList    `cmd:"" help:"List the events, newest first."`
	Get     eventsGet     `cmd:"" help:"Show an event and the alerts it raised."`
	Why     eventsWhy     `cmd:"" help:"Say which rules an event met, and why not the others."`
	Publish eventsPublish `cmd:"" help:"Publish an event."`
}

var eventColumns = []cli.Column[client.AcceptedEvent]{
	{Head: "ID", Cell: func(e client.AcceptedEvent) string { return cli.ID(e.ID) }},
	{Head: "ACCEPTED", Cell: func(e client.AcceptedEvent) string { return cli.Time(e.AcceptedAt) }},
	{Head: "TYPE", Cell: func(e client.AcceptedEvent) string { return typeOf(e.Type, e.Test) }},
	{Head: "COMPANY", Cell: func(e client.AcceptedEvent) string { return cli.ID(e.CompanyID) }},
	{Head: "DATA", Cell: func(e client.AcceptedEvent) string { return cli.Brief(string(e.Data), 60) }},
}

// typeOf is an event's type in a table.
func typeOf(name string, test bool) string {
	if test {
		return name + " (test)"
	}
	return name
}

type eventsList struct {
	connection
	forClient
	Type    string     `help:"Only of this type." predictor:"type"`
	Company uuid.UUID  `help:"Only about this company." placeholder:"ID"`
	Since   cli.Moment `help:"Only accepted at this time or later: 2026-11-23T09:00:00Z, or 2h for two hours ago." placeholder:"TIME"`
	Until   cli.Moment `help:"Only accepted before this time." placeholder:"TIME"`
	Limit   int        `help:"Events to show, at most 500." default:"50"`
	After   uuid.UUID  `help:"Only those after this one." placeholder:"ID"`
}

// Run lists events. A page of the service can be short and still not be the last.
func (c *eventsList) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	columns := append([]cli.Column[client.AcceptedEvent](nil), eventColumns[:len(eventColumns)-1]...)
	columns = append(columns, cli.Column[client.AcceptedEvent]{Head: "ALERTS", Cell: func(e client.AcceptedEvent) string { return fmt.Sprint(e.AlertCount) }}, eventColumns[len(eventColumns)-1])
	filter := client.EventFilter{Cursor: client.Cursor{Limit: c.Limit, After: c.After}, Type: c.Type, Company: c.Company, Since: c.Since.Time, Until: c.Until.Time}
	found := client.Page[client.AcceptedEvent]{Results: []client.AcceptedEvent{}}
	for {
		page, err := service.Events(ctx, filter)
		if err != nil {
			return err
		}
		found.Results, found.Next = append(found.Results, page.Results...), page.Next
		filter.After, filter.Limit = page.Next, c.Limit-len(found.Results)
		if page.Next == uuid.Nil || filter.Limit <= 0 {
			return cli.WritePage(out.stdout, out.stderr, c.Output, columns, found.Results, found, moreAfter(found.Next))
		}
	}
}

type eventsGet struct {
	connection
	forClient
	ID uuid.UUID `arg:"" help:"The event's id."`
}

// Run shows an event.
func (c *eventsGet) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	event, err := service.Event(ctx, c.ID)
	if err != nil {
		return err
	}
	fields := append(eventColumns[:len(eventColumns)-1:len(eventColumns)-1],
		cli.Column[client.AcceptedEvent]{Head: "DATA", Cell: func(e client.AcceptedEvent) string { return string(e.Data) }},
		cli.Column[client.AcceptedEvent]{Head: "ALERTS", Cell: func(e client.AcceptedEvent) string { return fmt.Sprint(len(e.Alerts)) }})
	for _, a := range event.Alerts {
		fields = append(fields, cli.Column[client.AcceptedEvent]{Head: "  " + a.ID.String(),
			Cell: func(client.AcceptedEvent) string { return "rule " + a.RuleID.String() }})
	}
	return cli.WriteOne(out.stdout, c.Output, fields, event)
}

var verdictColumns = []cli.Column[herald.Verdict]{
	{Head: "RULE", Cell: func(v herald.Verdict) string { return cli.ID(v.RuleID) }},
	{Head: "MET", Cell: func(v herald.Verdict) string {
		if v.Met {
			return "yes"
		}
		return "no"
	}},
	{Head: "WHY", Cell: func(v herald.Verdict) string { return v.Why }},
}

type eventsWhy struct {
	connection
	forClient
	ID    uuid.UUID `arg:"" help:"The event's id."`
	Limit int       `help:"Rules to show, at most 500." default:"50"`
	After uuid.UUID `help:"Only those after this one." placeholder:"ID"`
}

// Run says which rules an event met.
func (c *eventsWhy) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	page, err := service.EventRules(ctx, c.ID, client.Cursor{Limit: c.Limit, After: c.After})
	if err != nil {
		return err
	}
	if c.Output == cli.Table {
		fmt.Fprintf(out.stderr, "The event met %d of %d rules.\n", page.Met, page.Rules)
	}
	return cli.WritePage(out.stdout, out.stderr, c.Output, verdictColumns, page.Results, page, moreAfter(page.Next))
}

var receiptColumns = []cli.Column[herald.Receipt]{
	{Head: "EVENT", Cell: func(r herald.Receipt) string { return cli.ID(r.EventID) }},
	{Head: "ALERTS", Cell: func(r herald.Receipt) string { return fmt.Sprint(r.AlertCount) }},
	{Head: "FIRST ALERT", Cell: func(r herald.Receipt) string {
		if len(r.AlertIDs) == 0 {
			return ""
		}
		return cli.ID(r.AlertIDs[0])
	}},
}

type eventsPublish struct {
	connection
	Type           string    `arg:"" predictor:"type" help:"Type of event, in any spelling."`
	Client         uuid.UUID `help:"The client, needed with the operator's key." placeholder:"ID"`
	Company        uuid.UUID `help:"Whom the event is about." placeholder:"ID"`
	DataConnection uuid.UUID `help:"The data connection concerned." placeholder:"ID"`
	Data           string    `help:"The event's data, a JSON object; - reads it from standard input." placeholder:"JSON"`
	Message        string    `help:"Message of the alerts, instead of the type's own wording."`
	IdempotencyKey string    `help:"Publishing again with the same key adds nothing." placeholder:"KEY"`
}

// Run publishes an event.
func (c *eventsPublish) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	event := client.Event{Type: c.Type, ClientID: c.Client, CompanyID: c.Company, DataConnectionID: c.DataConnection,
		Message: c.Message, IdempotencyKey: c.IdempotencyKey}
	if event.Data, err = readData(c.Data, out.stdin); err != nil {
		return err
	}
	return c.publish(ctx, service, event, out)
}

// publish publishes an event and shows its receipt.
func (c *connection) publish(ctx context.Context, service *client.API, e client.Event, out *streams) error {
	receipt, err := service.Publish(ctx, e)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, receiptColumns, receipt)
}

func readData(text string, stdin io.Reader) (json.RawMessage, error) {
	if text == "-" {
		read, err := io.ReadAll(io.LimitReader(stdin, herald.MaxEventSize+1))
		if err != nil {
			return nil, fmt.Errorf("read the data from standard input: %w", err)
		}
		if len(read) > herald.MaxEventSize {
			return nil, usageError("--data: standard input has more than the %d bytes that an event may have", herald.MaxEventSize)
		}
		text = string(read)
	}
	if text == "" {
		return nil, nil
	}
	if !json.Valid([]byte(text)) {
		return nil, usageError("--data: %.60q is not JSON", text)
	}
	return json.RawMessage(text), nil
}
