package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

// keysCommand is `herald keys`.
type keysCommand struct {
	List    keysList    `cmd:"" help:"List the client's API keys."`
	Create  keysCreate  `cmd:"" help:"Make an API key; it is shown this once."`
	Delete  keysDelete  `cmd:"" help:"Revoke an API key, at once and for good."`
	SignOut keysSignOut `cmd:"" help:"End every session of the portal that was made with the key."`
}

var keyColumns = []cli.Column[client.Key]{
	{Head: "ID", Cell: func(k client.Key) string { return cli.ID(k.ID) }},
	{Head: "ROLE", Cell: func(k client.Key) string { return cmp.Or(k.Role, "developer") }},
	{Head: "CREATED", Cell: func(k client.Key) string { return cli.Time(k.CreatedDate) }},
	{Head: "NAME", Cell: func(k client.Key) string { return k.Name }},
}

func lastUsed(k client.Key) string {
	if k.LastUsedDate.IsZero() {
		return "no use known"
	}
	return cli.Time(k.LastUsedDate)
}

type keysList struct {
	connection
	forClient
}

// Run lists the keys.
func (c *keysList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	list := service.Keys
	if c.Client != uuid.Nil {
		list = func(ctx context.Context) ([]client.Key, error) { return service.ClientKeys(ctx, c.Client) }
	}
	keys, err := list(ctx)
	if err != nil {
		return err
	}
	columns := slices.Insert(slices.Clone(keyColumns), 3, cli.Column[client.Key]{Head: "LAST USED", Cell: lastUsed})
	return cli.Write(out.stdout, out.stderr, c.Output, columns, keys)
}

type keysCreate struct {
	connection
	Name   string    `arg:"" optional:"" help:"The key's name, which distinguishes it from other keys; left out, one is made up."`
	Role   string    `help:"What it may do: administrator, developer or analyst (who only looks)." enum:"administrator,developer,analyst" default:"developer"`
	Client uuid.UUID `help:"With the operator's key: the client that it is for." placeholder:"ID"`
}

// Run makes a key.
func (c *keysCreate) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	create := service.CreateKey
	if c.Client != uuid.Nil {
		create = func(ctx context.Context, name, role string) (client.Key, error) {
			return service.CreateClientKey(ctx, c.Client, name, role)
		}
	}
	made, err := create(ctx, c.Name, c.Role)
	if err != nil {
		return err
	}
	fields := append(keyColumns[:len(keyColumns):len(keyColumns)], cli.Column[client.Key]{Head: "API KEY", Cell: func(k client.Key) string { return k.APIKey }})
	return cli.WriteOne(out.stdout, c.Output, fields, made)
}

type keysDelete struct {
	connection
	confirmation
	forClient
	ID uuid.UUID `arg:"" help:"The key's id."`
}

// Run revokes a key.
func (c *keysDelete) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, out, fmt.Sprintf("Revoke the API key %s?", c.ID)); err != nil {
		return err
	}
	if c.Client != uuid.Nil {
		return service.DeleteClientKey(ctx, c.Client, c.ID)
	}
	return service.DeleteKey(ctx, c.ID)
}

type keysSignOut struct{ connection }

// Run ends the key's sessions.
func (c *keysSignOut) Run(ctx context.Context, _ *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	return service.EndSessions(ctx)
}

// auditCommand is `herald audit`.
type auditCommand struct {
	connection
	Client uuid.UUID  `help:"With the operator's key: only this client's changes." placeholder:"ID"`
	Action string     `help:"Only this action, such as rule.deleted, or this kind of thing, such as rule." placeholder:"ACTION"`
	Actor  string     `help:"Only what this kind of caller did: ${enum}." enum:",operator,apiKey,portalLink,reader" default:""`
	Since  cli.Moment `help:"Only at this time or later: 2026-11-23T09:00:00Z, or 2h for two hours ago." placeholder:"TIME"`
	Until  cli.Moment `help:"Only before this time." placeholder:"TIME"`
	Limit  int        `help:"Changes to show, at most 500." default:"50"`
	After  uuid.UUID  `help:"Only those after this one." placeholder:"ID"`
}

var changeColumns = []cli.Column[client.Change]{
	{Head: "AT", Cell: func(c client.Change) string { return cli.Time(c.At) }},
	{Head: "ACTION", Cell: func(c client.Change) string { return c.Action }},
	{Head: "SUBJECT", Cell: func(c client.Change) string { return c.Subject }},
	{Head: "BY", Cell: changedBy},
	{Head: "BEFORE", Cell: func(c client.Change) string { return string(c.Before) }},
	{Head: "AFTER", Cell: func(c client.Change) string { return string(c.After) }},
}

func changedBy(c client.Change) string {
	by := []string{c.Actor}
	if c.APIKeyID != uuid.Nil {
		by = append(by, cli.ID(c.APIKeyID))
	}
	if c.Address != "" {
		by = append(by, "from", c.Address)
	}
	return strings.Join(by, " ")
}

// Run lists the audit log.
func (c *auditCommand) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	page, err := service.Changes(ctx, client.ChangeFilter{Cursor: client.Cursor{Limit: c.Limit, After: c.After}, Client: c.Client, Action: c.Action, Actor: c.Actor,
		Since: c.Since.Time, Until: c.Until.Time})
	if err != nil {
		return err
	}
	return cli.WritePage(out.stdout, out.stderr, c.Output, changeColumns, page.Results, page, moreAfter(page.Next))
}
