package main

import (
	"context"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

// alertsCommand is `herald alerts`.
type alertsCommand struct {
	List alertsList `cmd:"" help:"List the alerts, newest first."`
	Get  alertsGet  `cmd:"" help:"Show an alert."`
}

var alertColumns = []cli.Column[client.Alert]{
	{Head: "ID", Cell: func(a client.Alert) string { return cli.ID(a.ID) }},
	{Head: "RAISED", Cell: func(a client.Alert) string { return cli.Time(a.RaisedOnUTC) }},
	{Head: "TYPE", Cell: func(a client.Alert) string { return a.RuleType }},
	{Head: "RULE", Cell: func(a client.Alert) string { return cli.ID(a.RuleID) }},
	{Head: "MESSAGE", Cell: func(a client.Alert) string { return a.Message }},
}

type alertsList struct {
	connection
	forClient
	paging
	Rule    uuid.UUID `help:"Only alerts of this rule." placeholder:"ID"`
	Company uuid.UUID `help:"Only alerts about this company." placeholder:"ID"`
}

// Run lists alerts.
func (c *alertsList) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	if c.Rule != uuid.Nil && c.Company != uuid.Nil {
		return usageError("--rule and --company do not go together; use --rule with --query companyId=%s", c.Company)
	}
	options := c.options()
	options.Company = c.Company
	var alerts client.List[client.Alert]
	if c.Rule != uuid.Nil {
		alerts, err = service.RuleAlerts(ctx, c.Rule, options)
	} else {
		alerts, err = service.Alerts(ctx, options)
	}
	if err != nil {
		return err
	}
	return writeNumbered(out, c.Output, alertColumns, alerts)
}

type alertsGet struct {
	connection
	forClient
	ID uuid.UUID `arg:"" help:"The alert's id."`
}

// Run shows an alert.
func (c *alertsGet) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	alert, err := service.Alert(ctx, c.ID)
	if err != nil {
		return err
	}
	fields := append(alertColumns[:len(alertColumns):len(alertColumns)],
		cli.Column[client.Alert]{Head: "COMPANY", Cell: func(a client.Alert) string { return cli.ID(a.CompanyID) }},
		cli.Column[client.Alert]{Head: "CONNECTION", Cell: func(a client.Alert) string { return cli.ID(a.DataConnectionID) }},
		cli.Column[client.Alert]{Head: "DATA", Cell: func(a client.Alert) string { return string(a.Data) }})
	return cli.WriteOne(out.stdout, c.Output, fields, alert)
}
