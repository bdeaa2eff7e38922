package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
	"herald/internal/explain"
)

// tailCommand is `herald tail`.
type tailCommand struct {
	connection
	forClient
	Since    cli.Moment    `help:"How old the first deliveries shown may be, or since when." default:"10s" placeholder:"TIME"`
	Interval time.Duration `help:"Time between two requests for changes." default:"1s"`
	Failed   bool          `help:"Only what fails or is being retried."`
}

// tailed is what a tail asks of the service.
type tailed interface {
	Deliveries(ctx context.Context, f client.DeliveryFilter) (client.Page[client.Delivery], error)
	Delivery(ctx context.Context, id uuid.UUID) (client.Delivery, error)
}

// tail is a running tail.
type tail struct {
	*tailCommand
	service tailed
	out     *streams
	since   time.Time // new deliveries are not older
	// seen has what was shown: what the list of new deliveries may still hold, and what is pending.
	seen    map[uuid.UUID]seen
	pending pendingRound
	// reached is when the service answered last; zero before the first answer.
	reached time.Time
	away    bool // the service did not answer the last request
}

// Run prints deliveries until ctx ends. Once the service has answered, it waits for a service that is
// away, such as during a restart, and then shows what happened meanwhile.
func (c *tailCommand) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	if c.Interval < 100*time.Millisecond {
		return usageError("--interval %v: want at least 100ms", c.Interval)
	}
	return c.follow(ctx, service, out)
}

func (c *tailCommand) follow(ctx context.Context, service tailed, out *streams) error {
	t := &tail{tailCommand: c, service: service, out: out, since: c.Since.Time, seen: make(map[uuid.UUID]seen)}
	ticker := time.NewTicker(c.Interval)
	defer ticker.Stop()
	for {
		if err := t.poll(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// poll prints what has changed. It returns an error that waiting does not help.
func (t *tail) poll(ctx context.Context) error {
	began := time.Now()
	err := t.show(ctx)
	switch {
	case err == nil && t.away:
		fmt.Fprintln(t.out.stderr, "the service answers again")
		t.away = false
	case err == nil:
	case t.reached.IsZero() || ctx.Err() != nil || cli.ExitCode(err) != cli.Network:
		return err
	default:
		if !t.away {
			fmt.Fprintf(t.out.stderr, "waiting for the service: %s\n", cli.Clean(err.Error()))
		}
		t.away = true
		return nil
	}
	t.reached = began
	return nil
}

// show prints the deliveries that are new or have changed since the last call.
func (t *tail) show(ctx context.Context) error {
	// After an error nothing is marked as seen, so the next call shows it.
	found := make(map[uuid.UUID]client.Delivery)
	if err := t.findPending(ctx, found); err != nil {
		return err
	}
	if err := t.findNew(ctx, found); err != nil {
		return err
	}
	if err := t.findEnded(ctx, found); err != nil {
		return err
	}
	for _, d := range t.record(found) {
		if t.Failed && (d.State == herald.Delivered || d.State == herald.Pending && d.AttemptCount == 0) {
			continue
		}
		if err := t.line(d); err != nil {
			return err
		}
	}
	return nil
}

func (t *tail) line(d client.Delivery) error {
	if t.Output != cli.Table {
		return cli.WriteOne(t.out.stdout, cli.JSONL, nil, d)
	}
	line := fmt.Sprintf("%s  %-9s  %s", cli.Time(madeAt(d)), d.State, explain.Attempts(d.AttemptCount))
	for _, part := range []string{statusOf(d), reasonOf(d), d.ID.String(), typeOf(d.Type, d.Test), d.Address} {
		if part != "" {
			line += "  " + cli.Clean(part)
		}
	}
	if d.Repeats != uuid.Nil {
		line += "  repeats " + d.Repeats.String()
	}
	_, err := fmt.Fprintln(t.out.stdout, line)
	return err
}
