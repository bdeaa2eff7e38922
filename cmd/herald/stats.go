package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// statsCommand is `herald stats`.
type statsCommand struct {
	connection
	By       string     `help:"What each line is about: receiver, hour or outcome." enum:"receiver,hour,outcome" default:"receiver"`
	Client   uuid.UUID  `help:"Only this client's, with the operator's key." placeholder:"ID"`
	Receiver string     `help:"Only this receiver's: a webhook or a mailbox, in any spelling." placeholder:"URL"`
	Since    cli.Moment `help:"From the hour of this time on: 2026-11-23T09:00:00Z, or 7d for seven days ago. By default 24 hours before --until, and at most 35 days." placeholder:"TIME"`
	Until    cli.Moment `help:"Before this time, by whole hours; by default now." placeholder:"TIME"`
	Limit    int        `help:"Lines to show by receiver or by outcome, at most 1000." default:"100"`
}

// Run counts attempts and deliveries.
func (c *statsCommand) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	by := herald.StatisticsBy(c.By)
	found, err := service.Statistics(ctx, client.StatisticsFilter{By: by, Client: c.Client, Receiver: c.Receiver,
		Since: c.Since.Time, Until: c.Until.Time, Limit: c.Limit})
	if err != nil {
		return err
	}
	more := ""
	if found.More {
		more = "there are more: add a larger --limit, or --receiver"
	}
	return cli.WritePage(out.stdout, out.stderr, c.Output, statsColumns(by), found.Results, found, more)
}

func statsColumns(by herald.StatisticsBy) []cli.Column[client.StatisticsLine] {
	number := func(head string, count func(herald.Counts) int64) cli.Column[client.StatisticsLine] {
		return cli.Column[client.StatisticsLine]{Head: head, Cell: func(s client.StatisticsLine) string { return fmt.Sprint(count(s.Counts)) }}
	}
	about := cli.Column[client.StatisticsLine]{Head: "RECEIVER", Cell: func(s client.StatisticsLine) string {
		if s.Receiver == herald.OtherReceivers {
			return "(all others)"
		}
		return s.Receiver
	}}
	switch by {
	case herald.ByHour:
		about = cli.Column[client.StatisticsLine]{Head: "HOUR", Cell: func(s client.StatisticsLine) string { return cli.Time(s.Hour) }}
	case herald.ByOutcome:
		about = cli.Column[client.StatisticsLine]{Head: "REASON", Cell: func(s client.StatisticsLine) string {
			if s.Reason == herald.ReasonNone {
				return "(success)"
			}
			return string(s.Reason)
		}}
	}
	return []cli.Column[client.StatisticsLine]{
		about,
		{Head: "SUCCESS", Cell: func(s client.StatisticsLine) string {
			if s.SuccessRate == nil {
				return ""
			}
			return fmt.Sprintf("%.1f%%", 100**s.SuccessRate)
		}},
		number("DELIVERED", func(c herald.Counts) int64 { return c.Deliveries.Delivered }),
		number("FAILED", func(c herald.Counts) int64 { return c.Deliveries.Failed }),
		number("CANCELLED", func(c herald.Counts) int64 { return c.Deliveries.Cancelled }),
		number("ATTEMPTS", func(c herald.Counts) int64 { return c.Attempts.Total() }),
		number("RETRIED", func(c herald.Counts) int64 { return c.Attempts.Retry }),
		{Head: "MEDIAN", Cell: func(s client.StatisticsLine) string { return within(s.Latency, 0.5) }},
		{Head: "P95", Cell: func(s client.StatisticsLine) string { return within(s.Latency, 0.95) }},
		{Head: "LAST SUCCESS", Cell: func(s client.StatisticsLine) string { return cli.Time(s.LastSuccess) }},
		{Head: "LAST FAILURE", Cell: func(s client.StatisticsLine) string { return cli.Time(s.LastFailure) }},
	}
}

// within says within which time a part of the attempts ended.
func within(l herald.Latency, part float64) string {
	bound, known := l.Within(part)
	switch {
	case !known:
		return ""
	case bound == 0:
		return "> " + herald.LatencyBounds[len(herald.LatencyBounds)-1].String()
	case bound < time.Second:
		return fmt.Sprintf("≤ %d ms", bound.Milliseconds())
	}
	return "≤ " + fmt.Sprint(bound.Seconds()) + " s"
}
