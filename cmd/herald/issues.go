package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
	"herald/internal/explain"
)

// issuesCommand is `herald issues`.
type issuesCommand struct {
	List        issuesList        `cmd:"" default:"withargs" help:"List what fails: receivers, each with the reason."`
	Show        issuesShow        `cmd:"" help:"Show an issue, and how to send again what failed in it."`
	Acknowledge issuesAcknowledge `cmd:"" help:"Say that somebody takes care of an issue. It stays until the issue ends."`
}

var issueColumns = []cli.Column[herald.Issue]{
	{Head: "ID", Cell: func(i herald.Issue) string { return cli.ID(i.ID) }},
	{Head: "STATE", Cell: issueState},
	{Head: "BEGAN", Cell: func(i herald.Issue) string { return cli.Time(i.BeganAt) }},
	{Head: "LAST", Cell: func(i herald.Issue) string { return cli.Time(i.LastAt) }},
	{Head: "ENDED", Cell: func(i herald.Issue) string { return cli.Time(i.EndedAt) }},
	{Head: "ATTEMPTS", Cell: func(i herald.Issue) string { return fmt.Sprint(i.Attempts) }},
	{Head: "FAILED", Cell: func(i herald.Issue) string { return fmt.Sprint(i.Failed) }},
	{Head: "REASON", Cell: issueReason},
	{Head: "RECEIVER", Cell: issueReceiver},
	{Head: "ACKNOWLEDGED", Cell: func(i herald.Issue) string {
		switch {
		case i.Acknowledged == nil:
			return ""
		case i.Acknowledged.Note == "":
			return cli.Time(i.Acknowledged.At)
		}
		return i.Acknowledged.Note
	}},
}

func issueState(i herald.Issue) string {
	if i.Unused {
		return string(i.State) + " (unused)"
	}
	return string(i.State)
}

func issueReason(i herald.Issue) string {
	switch {
	case i.Reason == herald.ReasonNone:
		return "several"
	case i.LastStatus != 0:
		return fmt.Sprintf("%s (%d)", i.Reason, i.LastStatus)
	}
	return string(i.Reason)
}

func issueReceiver(i herald.Issue) string {
	switch {
	case i.Receiver == "":
		return fmt.Sprintf("those beyond the first %d", herald.MaxOpenIssues)
	case i.Notification:
		return i.Receiver + " (notifications)"
	}
	return i.Receiver
}

type issuesList struct {
	connection
	State    string        `help:"Only in this state: ${enum}." enum:"open,ended,all" default:"open"`
	Receiver string        `help:"Only of this address, in any spelling: of a webhook, or a mailbox." placeholder:"URL"`
	Reason   herald.Reason `help:"Only with this reason." placeholder:"REASON"`
	Client   uuid.UUID     `help:"Only of this client (operator)." placeholder:"ID"`
	Limit    int           `help:"Issues to show, at most 500." default:"50"`
	After    uuid.UUID     `help:"Only those after this one." placeholder:"ID"`
}

// Run lists issues.
func (c *issuesList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	page, err := service.Issues(ctx, client.IssueFilter{State: herald.IssueState(c.State), Receiver: c.Receiver, Reason: c.Reason, Client: c.Client,
		Cursor: client.Cursor{Limit: c.Limit, After: c.After}})
	if err != nil {
		return err
	}
	columns := issueColumns
	if slices.ContainsFunc(page.Results, func(i herald.Issue) bool { return i.ClientID != page.Results[0].ClientID }) {
		columns = append(columns[:len(columns):len(columns)], cli.Column[herald.Issue]{Head: "CLIENT", Cell: func(i herald.Issue) string { return cli.ID(i.ClientID) }})
	}
	return cli.WritePage(out.stdout, out.stderr, c.Output, columns, page.Results, page, moreAfter(page.Next))
}

// oneIssue are the flags of commands about one issue.
type oneIssue struct {
	connection
	ID uuid.UUID `arg:"" help:"The issue's id."`
}

type issuesShow struct{ oneIssue }

// Run shows an issue.
func (c *issuesShow) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	i, err := service.Issue(ctx, c.ID)
	if err != nil {
		return err
	}
	fields := append(issueColumns[:len(issueColumns):len(issueColumns)],
		cli.Column[herald.Issue]{Head: "CAUSE", Cell: explain.Issue},
		cli.Column[herald.Issue]{Head: "LAST DELIVERY", Cell: func(i herald.Issue) string { return cli.ID(i.LastDelivery) }},
		cli.Column[herald.Issue]{Head: "EXPLAIN IT", Cell: func(i herald.Issue) string { return "herald deliveries why " + i.LastDelivery.String() }},
		cli.Column[herald.Issue]{Head: "SEND AGAIN", Cell: recoverCommand})
	return cli.WriteOne(out.stdout, c.Output, fields, i)
}

// recoverCommand is the command that sends again what failed in an issue.
func recoverCommand(i herald.Issue) string {
	if i.Failed == 0 {
		return ""
	}
	f := i.RecoveryFilter
	text := "herald deliveries recover --since " + exact(f.Since)
	if !f.Until.IsZero() {
		text += " --until " + exact(f.Until)
	}
	if f.Receiver != "" {
		text += " --receiver '" + strings.ReplaceAll(f.Receiver, "'", `'\''`) + "'"
	}
	if f.Reason != herald.ReasonNone {
		text += " --reason " + string(f.Reason)
	}
	return text
}

func exact(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

type issuesAcknowledge struct {
	oneIssue
	Note string `help:"What is wrong, or who takes care of it." placeholder:"TEXT"`
}

// Run acknowledges an issue.
func (c *issuesAcknowledge) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	i, err := service.AcknowledgeIssue(ctx, c.ID, c.Note)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, issueColumns, i)
}
