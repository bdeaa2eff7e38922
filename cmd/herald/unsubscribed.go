package main

import (
	"context"
	"fmt"

	"herald/client"
	"herald/internal/cli"
)

// unsubscribedCommand is `herald unsubscribed`.
type unsubscribedCommand struct {
	List   unsubscribedList   `cmd:"" help:"List the mailboxes whose readers have stopped the client's mail."`
	Delete unsubscribedDelete `cmd:"" help:"Allow mail to a mailbox again, when its reader asks for that."`
}

var unsubscribedColumns = []cli.Column[client.Unsubscribed]{
	{Head: "ADDRESS", Cell: func(u client.Unsubscribed) string { return u.Address }},
	{Head: "SINCE", Cell: func(u client.Unsubscribed) string { return cli.Time(u.At) }},
}

type unsubscribedList struct{ connection }

// Run lists the mailboxes.
func (c *unsubscribedList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	boxes, err := service.Unsubscribed(ctx)
	if err != nil {
		return err
	}
	return cli.Write(out.stdout, out.stderr, c.Output, unsubscribedColumns, boxes)
}

type unsubscribedDelete struct {
	connection
	confirmation
	Address string `arg:"" help:"The mailbox, such as ann@acme.example."`
}

// Run allows mail to the mailbox again.
func (c *unsubscribedDelete) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, out, fmt.Sprintf("Send mail to %s again, whose reader has stopped it?", c.Address)); err != nil {
		return err
	}
	return service.Resubscribe(ctx, c.Address)
}
