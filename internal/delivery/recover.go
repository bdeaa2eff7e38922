package delivery

import (
	"context"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/memory"
	"herald/internal/work"
)

// Limits of one call of Recover. A list of deliveries takes a page at a time, so the time is checked
// between pages.
const (
	recoverPage = 500
	recoverTime = 10 * time.Second
)

// Recover makes another delivery of every failed one that f selects and whose alert has not reached its
// receiver since. With dryRun it makes none and counts them all. It begins behind f.After. Recovery.Next
// is where the next call continues: after recoverPage deliveries, or after a time.
func (c *Control) Recover(ctx context.Context, by herald.Caller, client uuid.UUID, f herald.DeliveryFilter, dryRun bool) (herald.Recovery, error) {
	failed := herald.Failed
	f.State, f.Unrepeated, f.Limit = &failed, true, recoverPage
	var sum herald.Recovery
	targets := targets{control: c, client: client, rules: make(map[uuid.UUID]herald.Rule), gone: make(map[uuid.UUID]error)}
	pages := memory.WithReuse(ctx)
	for began := time.Now(); ; {
		found, next, err := c.History.Deliveries(pages, client, f)
		if err != nil {
			return sum, err
		}
		if next == uuid.Nil && len(found) == f.Limit {
			next = found[len(found)-1].ID
		}
		again, err := targets.of(ctx, found, &sum)
		if err != nil {
			return sum, err
		}
		n := len(again)
		if !dryRun && n > 0 {
			n, err = c.History.Recover(ctx, by, client, again)
			c.Engine.Added()
		}
		if sum.Count += n; err != nil {
			return sum, err
		}
		f.After, sum.Next = next, next
		if next == uuid.Nil || time.Since(began) >= recoverTime || !dryRun && sum.Count > 0 {
			return sum, nil
		}
	}
}

// targets finds where redeliveries go. It reads each rule once.
type targets struct {
	control *Control
	client  uuid.UUID
	rules   map[uuid.UUID]herald.Rule
	gone    map[uuid.UUID]error // of the rules that cannot be read
}

// of returns the redeliveries of those deliveries that have a receiver. It counts the others as skipped.
func (t *targets) of(ctx context.Context, lost []herald.Delivery, sum *herald.Recovery) ([]work.Redelivery, error) {
	var again []work.Redelivery
	for _, d := range lost {
		r, err := t.one(ctx, d)
		switch {
		case err == nil:
			again = append(again, r)
		case herald.CodeOf(err) == herald.CodeConflict:
			sum.Skipped++
		default:
			return nil, err
		}
	}
	return again, nil
}

func (t *targets) one(ctx context.Context, d herald.Delivery) (work.Redelivery, error) {
	rule, known := t.rules[d.RuleID]
	err := t.gone[d.RuleID]
	if !known && err == nil {
		if rule, err = t.control.rule(ctx, t.client, d); err != nil {
			t.gone[d.RuleID] = err
		}
		t.rules[d.RuleID] = rule
	}
	if err != nil {
		return work.Redelivery{}, err
	}
	return t.control.target(d, rule)
}
