package main

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

// clientsCommand is `herald clients`; it needs the operator's key.
type clientsCommand struct {
	List   clientsList   `cmd:"" help:"List the clients."`
	Get    clientsGet    `cmd:"" help:"Show a client."`
	Create clientsCreate `cmd:"" help:"Make a client; shows its API key this once."`
	Delete clientsDelete `cmd:"" help:"Delete a client: its keys are revoked, what is pending is cancelled."`
}

var accountColumns = []cli.Column[client.Account]{
	{Head: "ID", Cell: func(a client.Account) string { return cli.ID(a.ID) }},
	{Head: "NAME", Cell: func(a client.Account) string { return a.Name }},
}

type clientsList struct {
	connection
	Limit int       `help:"Clients to show, at most 500." default:"50"`
	After uuid.UUID `help:"Only those after this one." placeholder:"ID"`
}

// Run lists clients.
func (c *clientsList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	page, err := service.Clients(ctx, client.Cursor{Limit: c.Limit, After: c.After})
	if err != nil {
		return err
	}
	return cli.Write(out.stdout, out.stderr, c.Output, accountColumns, page.Results)
}

type clientsGet struct {
	connection
	ID uuid.UUID `arg:"" help:"The client's id."`
}

// Run shows a client.
func (c *clientsGet) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	account, err := service.Client(ctx, c.ID)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, accountColumns, account)
}

type clientsCreate struct {
	connection
	Name string `arg:"" help:"The client's name, which its webhooks carry."`
}

// Run makes a client.
func (c *clientsCreate) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	made, err := service.CreateClient(ctx, c.Name)
	if err != nil {
		return err
	}
	fields := append(accountColumns[:2:2], cli.Column[client.Account]{Head: "API KEY", Cell: func(a client.Account) string { return a.APIKey }})
	return cli.WriteOne(out.stdout, c.Output, fields, made)
}

type clientsDelete struct {
	connection
	ID uuid.UUID `arg:"" help:"The client's id."`
}

// Run deletes a client.
func (c *clientsDelete) Run(ctx context.Context) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	return service.DeleteClient(ctx, c.ID)
}

// typesCommand is `herald types`.
type typesCommand struct {
	List typesList `cmd:"" help:"List the types of events."`
	Get  typesGet  `cmd:"" help:"Show a type of event."`
}

var typeColumns = []cli.Column[client.EventType]{
	{Head: "NAME", Cell: func(t client.EventType) string { return t.Name }},
	{Head: "COMPANY", Cell: func(t client.EventType) string { return yesNo(t.Company) }},
	{Head: "CONNECTION", Cell: func(t client.EventType) string { return yesNo(t.Connection) }},
	{Head: "DATA", Cell: func(t client.EventType) string { return strings.Join(t.Required, ", ") }},
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

type typesList struct{ connection }

// Run lists the types of events.
func (c *typesList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	types, err := service.EventTypes(ctx)
	if err != nil {
		return err
	}
	return cli.Write(out.stdout, out.stderr, c.Output, typeColumns, types)
}

type typesGet struct {
	connection
	Name string `arg:"" help:"The type's name, in any spelling."`
}

// Run shows a type of event.
func (c *typesGet) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	kind, err := service.EventType(ctx, c.Name)
	if err != nil {
		return err
	}
	fields := append(typeColumns[:len(typeColumns):len(typeColumns)],
		cli.Column[client.EventType]{Head: "LABEL", Cell: func(t client.EventType) string { return t.Label }},
		cli.Column[client.EventType]{Head: "SPELLINGS", Cell: func(t client.EventType) string { return strings.Join(t.Spellings, ", ") }},
		cli.Column[client.EventType]{Head: "MESSAGE", Cell: func(t client.EventType) string { return t.Message }},
		cli.Column[client.EventType]{Head: "EXAMPLE", Cell: func(t client.EventType) string { return string(t.Example) }})
	return cli.WriteOne(out.stdout, c.Output, fields, kind)
}
