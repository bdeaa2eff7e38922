package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// rulesCommand is `herald rules`.
type rulesCommand struct {
	List    rulesList    `cmd:"" help:"List the rules."`
	Get     rulesGet     `cmd:"" help:"Show a rule."`
	Create  rulesCreate  `cmd:"" help:"Make a rule."`
	Preview rulesPreview `cmd:"" help:"Say which events of the last seven days a rule would have met, without making it."`
	Test    rulesTest    `cmd:"" help:"Send a test to a rule's receivers, as a real delivery."`
	Update  rulesUpdate  `cmd:"" help:"Change a rule: what is given, and nothing else."`
	Delete  rulesDelete  `cmd:"" help:"Delete a rule; what it raised is still delivered."`
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
	forClient
	paging
	Company uuid.UUID `help:"Only rules bound to this company." placeholder:"ID"`
}

// Run lists rules.
func (c *rulesList) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	options := c.options()
	options.Company = c.Company
	rules, err := service.Rules(ctx, options)
	if err != nil {
		return err
	}
	return writeNumbered(out, c.Output, ruleColumns, rules)
}

type rulesGet struct {
	connection
	forClient
	ID uuid.UUID `arg:"" help:"The rule's id."`
}

// Run shows a rule.
func (c *rulesGet) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	rule, err := service.Rule(ctx, c.ID)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, ruleColumns, rule)
}

// newRule is a rule as the command line describes it.
type newRule struct {
	Type    string    `arg:"" predictor:"type" help:"Type of event, in any spelling; herald types list shows them."`
	Company uuid.UUID `help:"Only events of this company; left out, of all." placeholder:"ID"`
	Webhook string    `help:"Address to post alerts to." placeholder:"URL"`
	Email   []string  `help:"Mailbox that gets the alerts; repeatable." placeholder:"ADDRESS"`
}

func (n *newRule) rule() client.Rule {
	return client.Rule{Type: n.Type, CompanyID: n.Company, Notifiers: client.Notifiers{Webhook: n.Webhook, Emails: n.Email}}
}

type rulesPreview struct {
	connection
	newRule
}

var exampleColumns = []cli.Column[herald.Example]{
	{Head: "ID", Cell: func(e herald.Example) string { return cli.ID(e.ID) }},
	{Head: "ACCEPTED", Cell: func(e herald.Example) string { return cli.Time(e.AcceptedAt) }},
	{Head: "TYPE", Cell: func(e herald.Example) string { return e.Type }},
	{Head: "COMPANY", Cell: func(e herald.Example) string { return cli.ID(e.CompanyID) }},
}

// Run says which events a rule would have met.
func (c *rulesPreview) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	preview, err := service.PreviewRule(ctx, c.rule())
	if err != nil {
		return err
	}
	if c.Output == cli.Table {
		fmt.Fprintln(out.stderr, cli.Clean(preview.Summary))
	}
	return cli.WritePage(out.stdout, out.stderr, c.Output, exampleColumns, preview.Examples, preview, "")
}

type rulesCreate struct {
	connection
	newRule
}

// Run makes a rule.
func (c *rulesCreate) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	made, err := service.CreateRule(ctx, c.rule())
	if err != nil {
		return err
	}
	warnAboutReceivers(ctx, service, out, made)
	return cli.WriteOne(out.stdout, c.Output, ruleColumns, made)
}

// rulesUpdate has pointers where an empty value is an error and not the same as no flag: a script's
// empty variable must not take a receiver away.
type rulesUpdate struct {
	connection
	ID           uuid.UUID `arg:"" help:"The rule's id."`
	Type         string    `arg:"" optional:"" predictor:"type" help:"Another type of event, in any spelling."`
	Company      uuid.UUID `xor:"company" help:"Only events of this company." placeholder:"ID"`
	AllCompanies bool      `xor:"company" help:"Events of all companies."`
	Webhook      *string   `xor:"webhook" help:"Address to post alerts to." placeholder:"URL"`
	NoWebhook    bool      `xor:"webhook" help:"Post alerts no more."`
	Email        []string  `xor:"email" help:"Mailbox that gets the alerts; repeatable. It replaces those that the rule has." placeholder:"ADDRESS"`
	NoEmail      bool      `xor:"email" help:"Mail alerts no more."`
}

// Run changes a rule.
func (c *rulesUpdate) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	rule, err := service.Rule(ctx, c.ID)
	if err != nil {
		return err
	}
	c.apply(&rule)
	updated, err := service.UpdateRule(ctx, rule)
	if err != nil {
		return err
	}
	warnAboutReceivers(ctx, service, out, updated)
	return cli.WriteOne(out.stdout, c.Output, ruleColumns, updated)
}

func (c *rulesUpdate) check() error {
	switch {
	case c.Webhook != nil && *c.Webhook == "":
		return usageError("--webhook is empty; --no-webhook takes the rule's webhook away")
	case c.Email != nil && len(c.Email) == 0 || slices.Contains(c.Email, ""):
		return usageError("--email is empty; --no-email takes the rule's mailboxes away")
	case c.Type == "" && c.Company == uuid.Nil && !c.AllCompanies && c.Webhook == nil && !c.NoWebhook && c.Email == nil && !c.NoEmail:
		return usageError("nothing to change: give a type, or a flag such as --webhook URL")
	}
	return nil
}

// apply sets what the command line names.
func (c *rulesUpdate) apply(rule *client.Rule) {
	if c.Type != "" {
		rule.Type = c.Type
	}
	if c.Company != uuid.Nil || c.AllCompanies {
		rule.CompanyID = c.Company
	}
	if c.Webhook != nil {
		rule.Notifiers.Webhook = *c.Webhook
	}
	if c.NoWebhook {
		rule.Notifiers.Webhook = ""
	}
	if c.Email != nil || c.NoEmail {
		rule.Notifiers.Emails = append([]string{}, c.Email...)
	}
}

// warnAboutReceivers warns of a rule that sends nothing, and of mailboxes that a service without a
// mail server cannot send to. A service that does not say whether it has one is not warned of.
func warnAboutReceivers(ctx context.Context, service *client.API, out *streams, rule client.Rule) {
	if rule.Notifiers.Webhook == "" && len(rule.Notifiers.Emails) == 0 {
		fmt.Fprintf(out.stderr, "warning: the rule has no receiver: its alerts are listed and sent nowhere; add one with: herald rules update %s --webhook URL\n", rule.ID)
	}
	if len(rule.Notifiers.Emails) == 0 {
		return
	}
	if can, err := service.Capabilities(ctx); err == nil && !can.Mail {
		fmt.Fprintln(out.stderr, "warning: the service has no mail server: mails to the rule's mailboxes fail (no_mail_server) until its operator configures one (herald serve --smtp)")
	}
}

type rulesDelete struct {
	connection
	confirmation
	ID uuid.UUID `arg:"" help:"The rule's id."`
}

// Run deletes a rule.
func (c *rulesDelete) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, out, fmt.Sprintf("Delete the rule %s?", c.ID)); err != nil {
		return err
	}
	return service.DeleteRule(ctx, c.ID)
}
