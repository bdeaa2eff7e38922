package main

import (
	"context"
	"fmt"

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
	Search string    `help:"Only those whose name has this text, in any case, or whose id begins with it." placeholder:"TEXT"`
	Limit  int       `help:"Clients to show, at most 500." default:"50"`
	After  uuid.UUID `help:"Only those after this one." placeholder:"ID"`
}

// Run lists clients.
func (c *clientsList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	page, err := service.SearchClients(ctx, c.Search, client.Cursor{Limit: c.Limit, After: c.After})
	if err != nil {
		return err
	}
	return cli.WritePage(out.stdout, out.stderr, c.Output, accountColumns, page.Results, page, moreAfter(page.Next))
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
	confirmation
	ID uuid.UUID `arg:"" help:"The client's id."`
}

// Run deletes a client.
func (c *clientsDelete) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	question := fmt.Sprintf("Delete the client %s, revoke its keys and cancel its pending deliveries?", c.ID)
	if err := c.confirm(ctx, out, question); err != nil {
		return err
	}
	return service.DeleteClient(ctx, c.ID)
}
