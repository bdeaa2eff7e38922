package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// tailCommand is `herald tail`.
type tailCommand struct {
	connection
	Since    time.Duration `help:"How old the first deliveries shown may be." default:"10s"`
	Interval time.Duration `help:"Time between two requests for changes." default:"1s"`
	Failed   bool          `help:"Only what fails or is being retried."`
}

// watchTime is how long tail watches a delivery for changes after its alert was
// raised. Retries of the default schedule end within it.
const watchTime = 10 * time.Minute

// Run prints deliveries until ctx ends.
func (c *tailCommand) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	if c.Interval < 100*time.Millisecond {
		return usageError("--interval %v: want at least 100ms", c.Interval)
	}
	since := time.Now().Add(-c.Since)
	seen := make(map[uuid.UUID]string)
	ticker := time.NewTicker(c.Interval)
	defer ticker.Stop()
	for {
		if err := c.show(ctx, service, out, since, seen); err != nil {
			return err
		}
		if old := time.Now().Add(-watchTime); since.Before(old) {
			since = old
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// show prints the deliveries that are new or have changed since the last call.
func (c *tailCommand) show(ctx context.Context, service *client.API, out *streams, since time.Time, seen map[uuid.UUID]string) error {
	var changed []client.Delivery
	present := make(map[uuid.UUID]bool)
	filter := client.DeliveryFilter{Since: since, Cursor: client.Cursor{Limit: 500}}
	for d, err := range service.AllDeliveries(ctx, filter) {
		if err != nil {
			return err
		}
		present[d.ID] = true
		now := fmt.Sprint(d.State, d.AttemptCount)
		if seen[d.ID] != now {
			seen[d.ID] = now
			changed = append(changed, d)
		}
	}
	for id := range seen {
		if !present[id] {
			delete(seen, id)
		}
	}
	slices.Reverse(changed) // oldest first, as things happened
	for _, d := range changed {
		if c.Failed && (d.State == herald.Delivered || d.State == herald.Pending && d.AttemptCount == 0) {
			continue
		}
		if err := c.line(out, d); err != nil {
			return err
		}
	}
	return nil
}

func (c *tailCommand) line(out *streams, d client.Delivery) error {
	if c.Output != cli.Table {
		return cli.WriteOne(out.stdout, cli.JSONL, nil, d)
	}
	_, err := fmt.Fprintf(out.stdout, "%s  %-9s  %s  %s  %s  %s\n",
		cli.Time(d.RaisedAt), d.State, cli.Attempts(d.AttemptCount), d.ID, cli.Clean(d.Type), cli.Clean(d.Address))
	return err
}
