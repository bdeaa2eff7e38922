package main

import (
	"context"
	"time"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

// portalLinkCommand is `herald portal-link`; it needs the operator's key.
type portalLinkCommand struct {
	connection
	Client  uuid.UUID     `arg:"" help:"The client's id."`
	Role    string        `help:"What the person may do: administrator, developer or analyst (who only looks)." enum:"administrator,developer,analyst" default:"developer"`
	Expires time.Duration `help:"How long an unused link works, at most 24h." default:"10m"`
	Path    string        `help:"Where the person arrives, such as /deliveries?state=failed. Without it: the overview." placeholder:"PATH"`
}

var portalLinkFields = []cli.Column[client.PortalLink]{
	{Head: "URL", Cell: func(l client.PortalLink) string { return l.URL }},
	{Head: "ROLE", Cell: func(l client.PortalLink) string { return l.Role }},
	{Head: "EXPIRES", Cell: func(l client.PortalLink) string { return cli.Time(l.ExpiresAt) }},
}

// Run makes a link.
func (c *portalLinkCommand) Run(ctx context.Context, out *streams) error {
	if c.Expires < time.Second || c.Expires > 24*time.Hour {
		return usageError("--expires %v: give a time from 1s to 24h such as 10m", c.Expires)
	}
	service, err := c.client()
	if err != nil {
		return err
	}
	made, err := service.CreatePortalLink(ctx, c.Client, client.PortalLinkOptions{Role: c.Role, ExpiresIn: c.Expires, Path: c.Path})
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, portalLinkFields, made)
}
