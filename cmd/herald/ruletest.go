package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// errNotDelivered is the error of a test that a receiver did not take.
var errNotDelivered = errors.New("the test was not delivered to every receiver")

type rulesTest struct {
	connection
	ID             uuid.UUID     `arg:"" help:"The rule's id."`
	Company        uuid.UUID     `help:"Whom the test is about; left out, the rule's company or an example." placeholder:"ID"`
	DataConnection uuid.UUID     `help:"The data connection concerned; left out, an example if the type needs one." placeholder:"ID"`
	Data           string        `help:"The test's data, a JSON object; left out, the type's example; - reads it from standard input." placeholder:"JSON"`
	Wait           bool          `help:"Wait for the first attempt and say what became of it; the exit code is 0 if all receivers took it."`
	Timeout        time.Duration `help:"Longest time to wait." default:"45s"`
}

// Run sends a test.
func (c *rulesTest) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	options := client.TestOptions{CompanyID: c.Company, DataConnectionID: c.DataConnection}
	if options.Data, err = readData(c.Data, out.stdin); err != nil {
		return err
	}
	receipt, err := service.TestRule(ctx, c.ID, options)
	if err != nil {
		return err
	}
	if !c.Wait {
		return cli.WriteOne(out.stdout, c.Output, receiptColumns, receipt)
	}
	tried, err := c.firstAttempts(ctx, service, receipt)
	if err != nil {
		return err
	}
	var failed error
	for i, d := range tried {
		if d.State != herald.Delivered {
			failed = errNotDelivered
		}
		if i > 0 && c.Output == cli.Table {
			fmt.Fprintln(out.stdout)
		}
		if err := c.show(ctx, service, d, out); err != nil {
			return err
		}
	}
	return failed
}

// pollInterval is how often a waiting test asks for its deliveries.
const pollInterval = 200 * time.Millisecond

// firstAttempts returns the deliveries of a test once each has ended, was tried, or waits for something
// else than its turn. When the time to wait is over it returns them as they are.
func (c *rulesTest) firstAttempts(ctx context.Context, service *client.API, r herald.Receipt) ([]client.Delivery, error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	end := time.After(c.Timeout)
	for {
		page, err := service.Deliveries(ctx, client.DeliveryFilter{Alert: r.AlertIDs[0], Cursor: client.Cursor{Limit: 500}})
		if err != nil {
			return nil, err
		}
		waiting := false
		for _, d := range page.Results {
			waiting = waiting || d.State == herald.Pending && d.AttemptCount == 0 && d.Waiting == ""
		}
		if !waiting {
			return page.Results, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-end:
			return page.Results, nil
		case <-ticker.C:
		}
	}
}

// show says what became of a delivery.
func (c *rulesTest) show(ctx context.Context, service *client.API, d client.Delivery, out *streams) error {
	detail, err := service.Delivery(ctx, d.ID)
	if err != nil {
		return fmt.Errorf("look up the delivery %s: %w", d.ID, err)
	}
	past, err := pastOf(ctx, service, detail)
	if err != nil {
		return err
	}
	why := cli.Why(detail, past, time.Now())
	if c.Output == cli.Table {
		return cli.WriteWhy(out.stdout, why)
	}
	return cli.WriteOne(out.stdout, c.Output, nil, why)
}
