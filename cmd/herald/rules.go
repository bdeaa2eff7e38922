package main

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

// rulesCommand is `herald rules`.
type rulesCommand struct {
	List   rulesList   `cmd:"" help:"List the rules."`
	Get    rulesGet    `cmd:"" help:"Show a rule."`
	Create rulesCreate `cmd:"" help:"Make a rule."`
	Update rulesUpdate `cmd:"" help:"Replace a rule's type, company and notifiers."`
	Delete rulesDelete `cmd:"" help:"Delete a rule; what it raised is still delivered."`
}

var ruleColumns = []cli.Column[client.Rule]{
	{Head: "ID", Cell: func(r client.Rule) string { return cli.ID(r.ID) }},
	{Head: "TYPE", Cell: func(r client.Rule) string { return r.Type }},
	{Head: "COMPANY", Cell: func(r client.Rule) string {
		if r.CompanyID == uuid.Nil {
			return "all"
		}
		return cli.ID(r.CompanyID)
	}},
	{Head: "WEBHOOK", Cell: func(r client.Rule) string { return r.Notifiers.Webhook }},
	{Head: "EMAILS", Cell: func(r client.Rule) string { return strings.Join(r.Notifiers.Emails, ", ") }},
}

type rulesList struct {
	connection
	paging
	Company uuid.UUID `help:"Only rules bound to this company." placeholder:"ID"`
}

// Run lists rules.
func (c *rulesList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	options := c.options()
	options.Company = c.Company
	rules, err := service.Rules(ctx, options)
	if err != nil {
		return err
	}
	return cli.Write(out.stdout, out.stderr, c.Output, ruleColumns, rules.Results)
}

type rulesGet struct {
	connection
	ID uuid.UUID `arg:"" help:"The rule's id."`
}

// Run shows a rule.
func (c *rulesGet) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	rule, err := service.Rule(ctx, c.ID)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, ruleColumns, rule)
}

// ruleFlags are the flags that describe a rule.
type ruleFlags struct {
	Company uuid.UUID `help:"Only events of this company; left out, of all." placeholder:"ID"`
	Webhook string    `help:"Address to post alerts to." placeholder:"URL"`
	Email   []string  `help:"Mailbox that gets the alerts; repeatable." placeholder:"ADDRESS"`
}

func (f ruleFlags) rule(eventType string) client.Rule {
	return client.Rule{Type: eventType, CompanyID: f.Company, Notifiers: client.Notifiers{Webhook: f.Webhook, Emails: f.Email}}
}

type rulesCreate struct {
	connection
	ruleFlags
	Type string `arg:"" help:"Type of event, in any spelling; herald types list shows them."`
}

// Run makes a rule.
func (c *rulesCreate) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	made, err := service.CreateRule(ctx, c.rule(c.Type))
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, ruleColumns, made)
}

type rulesUpdate struct {
	connection
	ruleFlags
	ID   uuid.UUID `arg:"" help:"The rule's id."`
	Type string    `arg:"" help:"Type of event, in any spelling."`
}

// Run replaces a rule.
func (c *rulesUpdate) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	rule := c.rule(c.Type)
	rule.ID = c.ID
	updated, err := service.UpdateRule(ctx, rule)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, ruleColumns, updated)
}

type rulesDelete struct {
	connection
	ID uuid.UUID `arg:"" help:"The rule's id."`
}

// Run deletes a rule.
func (c *rulesDelete) Run(ctx context.Context) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	return service.DeleteRule(ctx, c.ID)
}
