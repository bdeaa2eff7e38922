package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"herald/client"
	"herald/internal/cli"
)

// inboxCommand is `herald inbox`.
type inboxCommand struct {
	List   inboxList   `cmd:"" default:"withargs" help:"Show what came to the inbox of herald dev."`
	Answer inboxAnswer `cmd:"" help:"Set what the inbox answers webhooks with."`
	Clear  inboxClear  `cmd:"" help:"Forget what came."`
}

// inboxAddress are the flags that find the inbox.
type inboxAddress struct {
	Inbox string `help:"Address of the inbox, host:port." env:"HERALD_INBOX" default:"127.0.0.1:8081"`
}

func (a inboxAddress) client() client.Inbox { return client.Inbox{Address: a.Inbox} }

var receivedColumns = []cli.Column[client.Received]{
	{Head: "N", Cell: func(r client.Received) string { return fmt.Sprint(r.N) }},
	{Head: "CAME", Cell: func(r client.Received) string { return cli.Time(r.At) }},
	{Head: "ANSWER", Cell: func(r client.Received) string { return r.Outcome() }},
	{Head: "TO", Cell: func(r client.Received) string { return r.Path + r.To }},
	{Head: "TEST", Cell: func(r client.Received) string { return r.Headers.Get("Herald-Test") }},
	{Head: "WHAT", Cell: func(r client.Received) string {
		kind, message := shown(r)
		return kind + "  " + message
	}},
}

// shown returns a line's words for what came: the event type and the message, or a mail's subject.
func shown(r client.Received) (kind, message string) {
	if r.To != "" {
		return "mail", r.Headers.Get("Subject")
	}
	var body struct{ RuleType, Message string }
	if json.Unmarshal(r.Body, &body) != nil {
		body.RuleType = "(not an alert)"
	}
	return body.RuleType, body.Message
}

type inboxList struct {
	inboxAddress
	Output cli.Format `short:"o" help:"How to write it: table, json or jsonl." enum:"table,json,jsonl" default:"table"`
	Follow bool       `short:"f" help:"Go on showing what comes, until interrupted."`
}

// followWait is how long one request of a follower waits.
const followWait = 30 * time.Second

// Run shows what came, oldest first.
func (c *inboxList) Run(ctx context.Context, out *streams) error {
	after, wait := int64(0), time.Duration(0)
	for {
		came, err := c.client().List(ctx, after, wait)
		if err != nil {
			return err
		}
		if !c.Follow {
			slices.Reverse(came)
			return cli.WritePage(out.stdout, out.stderr, c.Output, receivedColumns, came, came, "")
		}
		for _, r := range slices.Backward(came) {
			after = r.N
			if err := c.line(out, r); err != nil {
				return err
			}
		}
		wait = followWait
	}
}

func (c *inboxList) line(out *streams, r client.Received) error {
	if c.Output != cli.Table {
		return cli.WriteOne(out.stdout, cli.JSONL, nil, r)
	}
	kind, message := shown(r)
	_, err := fmt.Fprintf(out.stdout, "%s  %s  %s  %s  %s\n", cli.Time(r.At), r.Outcome(), cli.Clean(r.Path+r.To), cli.Clean(kind), cli.Clean(message))
	return err
}

type inboxAnswer struct {
	inboxAddress
	Status     int           `arg:"" optional:"" help:"Status, 200 to 599."`
	RetryAfter time.Duration `help:"Value of the header Retry-After, such as 30s; whole seconds."`
	Hang       bool          `help:"Never answer."`
	Close      bool          `help:"Close the connection without an answer."`
}

// Run sets the answer, or shows it if nothing is given.
func (c *inboxAnswer) Run(ctx context.Context, out *streams) error {
	answer := client.InboxAnswer{Status: c.Status, RetryAfter: int(c.RetryAfter / time.Second), Hang: c.Hang, Close: c.Close}
	if c.RetryAfter%time.Second != 0 {
		return usageError("--retry-after %v: want whole seconds", c.RetryAfter)
	}
	var err error
	if answer == (client.InboxAnswer{}) {
		answer, err = c.client().Answer(ctx)
	} else {
		if err := answer.Check(); err != nil {
			return usageError("%v", err)
		}
		err = c.client().SetAnswer(ctx, answer)
	}
	if err == nil {
		_, err = fmt.Fprintf(out.stdout, "The inbox answers webhooks with: %s\n", answer)
	}
	return err
}

type inboxClear struct{ inboxAddress }

// Run forgets what came.
func (c *inboxClear) Run(ctx context.Context, _ *streams) error { return c.client().Clear(ctx) }
