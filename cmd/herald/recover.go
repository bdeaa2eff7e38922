package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// deliveriesRecover is `herald deliveries recover`.
type deliveriesRecover struct {
	connection
	forClient
	Receiver string        `help:"Only to this address, in any spelling: of a webhook, or a mailbox." placeholder:"URL"`
	Type     string        `help:"Only of this type of event." predictor:"type"`
	Company  uuid.UUID     `help:"Only about this company." placeholder:"ID"`
	Reason   herald.Reason `help:"Only with this reason, of the delivery or of its last attempt." placeholder:"REASON"`
	Since    cli.Moment    `help:"Only made at this time or later: 2026-11-23T09:00:00Z, or 2h for two hours ago." placeholder:"TIME"`
	Until    cli.Moment    `help:"Only made before this time." placeholder:"TIME"`
	DryRun   bool          `help:"Count only."`
}

// recovered is the result of a recovery.
type recovered struct {
	DryRun  bool `json:"dryRun"`
	Count   int  `json:"count"`
	Skipped int  `json:"skipped"`
}

var recoveredFields = []cli.Column[recovered]{
	{Head: "SENT AGAIN", Cell: func(r recovered) string {
		if r.DryRun {
			return fmt.Sprintf("%d would be", r.Count)
		}
		return fmt.Sprint(r.Count)
	}},
	{Head: "SKIPPED", Cell: func(r recovered) string {
		if r.Skipped == 0 {
			return ""
		}
		return fmt.Sprintf("%d, whose rule is deleted or has no such receiver any more", r.Skipped)
	}},
}

// Run counts what failed and was not delivered since, and sends it again. It says on stderr how far it
// is. A run that ends early can be repeated: what is on its way is left out.
func (c *deliveriesRecover) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	filter := client.RecoverFilter{Receiver: c.Receiver, Type: c.Type, Company: c.Company, Reason: c.Reason, Since: c.Since.Time, Until: c.Until.Time}
	if filter == (client.RecoverFilter{}) {
		return usageError("nothing says what to send again: give --since 2h, or another of --receiver, --type, --company, --reason and --until")
	}
	total, err := c.all(ctx, filter, service.CountLost, func(recovered) {})
	if err != nil || c.DryRun || total.Count == 0 {
		return c.show(out, total, err)
	}
	done, err := c.all(ctx, filter, service.Recover, func(so recovered) {
		fmt.Fprintf(out.stderr, "sent again %d of %d\n", so.Count, total.Count)
	})
	return c.show(out, done, err)
}

func (c *deliveriesRecover) show(out *streams, r recovered, err error) error {
	if err != nil {
		return err
	}
	r.DryRun = c.DryRun
	return cli.WriteOne(out.stdout, c.Output, recoveredFields, r)
}

// all makes a call until nothing is left, and adds up the answers.
func (c *deliveriesRecover) all(ctx context.Context, f client.RecoverFilter, part func(context.Context, client.RecoverFilter) (herald.Recovery, error), progress func(recovered)) (recovered, error) {
	var sum recovered
	for {
		r, err := part(ctx, f)
		if err != nil {
			return sum, err
		}
		sum.Count += r.Count
		sum.Skipped += r.Skipped
		progress(sum)
		if r.Next == uuid.Nil {
			return sum, nil
		}
		f.After = r.Next
	}
}
