package crash

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/google/go-cmp/cmp"

	"herald"
	"herald/client"
)

// failures is an open issue as history gives it.
type failures struct{ Attempts, Failed int }

// issueKey is what an issue is about.
type issueKey struct {
	receiver string
	reason   herald.Reason
}

// CheckIssues compares the service's open issues with the history of all deliveries of the client. It waits
// for pending deliveries, for timeout at most. History does not say in which order results were recorded.
// So each receiver must have taken all of its deliveries, or none: then it has no open issue, or all of its
// failures are in open ones.
func CheckIssues(ctx context.Context, service *client.API, timeout time.Duration) error {
	if err := waitUntilNonePending(ctx, service, timeout); err != nil {
		return err
	}
	want, err := failuresInHistory(ctx, service)
	if err != nil {
		return err
	}
	got := make(map[issueKey]failures)
	open, err := service.Issues(ctx, client.IssueFilter{State: herald.IssueOpen, Cursor: client.Cursor{Limit: 100}})
	if err != nil {
		return fmt.Errorf("list the issues: %w", err)
	}
	for _, i := range open.Results {
		got[issueKey{i.Receiver, i.Reason}] = failures{i.Attempts, i.Failed}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(issueKey{})); diff != "" {
		return fmt.Errorf("the open issues are not those of history (-history +issues):\n%s", diff)
	}
	return nil
}

// failuresInHistory returns the failures of the receivers that have taken nothing.
func failuresInHistory(ctx context.Context, service *client.API) (map[issueKey]failures, error) {
	all, delivered, failed := make(map[issueKey]failures), make(map[string]bool), make(map[string]bool)
	for listed, err := range service.AllDeliveries(ctx, client.DeliveryFilter{Cursor: client.Cursor{Limit: 500}}) {
		if err != nil {
			return nil, fmt.Errorf("list the deliveries: %w", err)
		}
		d, err := service.Delivery(ctx, listed.ID)
		if err != nil {
			return nil, fmt.Errorf("read a delivery: %w", err)
		}
		if d.State == herald.Delivered {
			delivered[d.Address] = true
			continue
		}
		failed[d.Address] = true
		for n, a := range d.Attempts {
			last := n == len(d.Attempts)-1
			key := issueKey{d.Address, a.Reason}
			f := all[key]
			if last || a.Outcome != herald.OutcomeUnknown && a.Reason != herald.ReasonLocal {
				f.Attempts++
			}
			if last {
				f.Failed++
			}
			if f != (failures{}) {
				all[key] = f
			}
		}
	}
	for receiver := range failed {
		if delivered[receiver] {
			return nil, fmt.Errorf("the receiver %s took some deliveries and not others; its issues cannot be compared", receiver)
		}
	}
	maps.DeleteFunc(all, func(_ issueKey, f failures) bool { return f.Failed == 0 && f.Attempts < herald.IssueAttempts }) // no issue yet
	return all, nil
}
