package crash

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"herald"
	"herald/client"
)

// CheckStatistics compares the service's statistics with the history of all deliveries of the client. It
// waits for pending deliveries, and then for the statistics, for timeout each.
func CheckStatistics(ctx context.Context, service *client.API, timeout time.Duration) error {
	if err := waitUntilNonePending(ctx, service, timeout); err != nil {
		return err
	}
	want, err := countHistory(ctx, service)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(timeout)
	for {
		found, err := service.Statistics(ctx, client.StatisticsFilter{By: herald.ByOutcome})
		if err != nil {
			return fmt.Errorf("read the statistics: %w", err)
		}
		got := make(map[herald.Reason]herald.Counts)
		for _, line := range found.Results {
			got[line.Reason] = line.Counts
		}
		diff := cmp.Diff(want, got)
		if diff == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the statistics are not those of history (-history +statistics):\n%s", diff)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func waitUntilNonePending(ctx context.Context, service *client.API, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		pending := 0
		for _, err := range service.AllDeliveries(ctx, client.DeliveryFilter{State: herald.Pending.String()}) {
			if err != nil {
				return fmt.Errorf("list what is pending: %w", err)
			}
			pending++
		}
		if pending == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d deliveries are still pending; their statistics cannot be compared", pending)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// countHistory counts what the deliveries and their attempts say, by reason.
func countHistory(ctx context.Context, service *client.API) (map[herald.Reason]herald.Counts, error) {
	all := make(map[herald.Reason]herald.Counts)
	add := func(reason herald.Reason, c herald.Counts) {
		sum := all[reason]
		sum.Add(c)
		all[reason] = sum
	}
	for listed, err := range service.AllDeliveries(ctx, client.DeliveryFilter{Cursor: client.Cursor{Limit: 500}}) {
		if err != nil {
			return nil, fmt.Errorf("list the deliveries: %w", err)
		}
		d, err := service.Delivery(ctx, listed.ID)
		if err != nil {
			return nil, fmt.Errorf("read a delivery: %w", err)
		}
		var ended herald.Counts
		switch d.State {
		case herald.Delivered:
			ended.Deliveries.Delivered = 1
		case herald.Failed:
			ended.Deliveries.Failed = 1
		default:
			ended.Deliveries.Cancelled = 1
		}
		add(d.Reason, ended)
		for _, a := range d.Attempts {
			add(a.Reason, countAttempt(a))
		}
	}
	return all, nil
}

func countAttempt(a herald.Attempt) (c herald.Counts) {
	bucket := &c.Latency[herald.LatencyBucket(time.Duration(a.Timings.Total*float64(time.Millisecond)))]
	switch a.Outcome {
	case herald.OutcomeDelivered:
		c.Attempts.Delivered, *bucket, c.LastSuccess = 1, 1, a.At.UTC()
	case herald.OutcomeRetry:
		c.Attempts.Retry, *bucket, c.LastFailure = 1, 1, a.At.UTC()
	case herald.OutcomeRejected:
		c.Attempts.Rejected, *bucket, c.LastFailure = 1, 1, a.At.UTC()
	default:
		c.Attempts.Unknown = 1
	}
	return c
}
