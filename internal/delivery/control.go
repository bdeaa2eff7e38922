package delivery

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// History looks up and changes a client's deliveries and rules.
type History interface {
	Delivery(ctx context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error)
	Rule(ctx context.Context, client, id uuid.UUID) (herald.Rule, error)
	// CancelDelivery cancels a pending delivery. The error has CodeConflict if it has ended.
	CancelDelivery(ctx context.Context, by herald.Caller, client, id uuid.UUID) error
	// RetryDelivery makes a pending delivery due now, and reports whether that is earlier than it was.
	// The error has CodeConflict if it has ended.
	RetryDelivery(ctx context.Context, by herald.Caller, client, id uuid.UUID) (earlier bool, err error)
	// AddDelivery makes another delivery of an alert, which waits to be claimed.
	AddDelivery(ctx context.Context, by herald.Caller, client uuid.UUID, r work.Redelivery) (uuid.UUID, error)
	Deliveries(ctx context.Context, client uuid.UUID, f herald.DeliveryFilter) ([]herald.Delivery, uuid.UUID, error)
	// Recover is AddDelivery for many. It leaves out those whose alert has reached the receiver since.
	Recover(ctx context.Context, by herald.Caller, client uuid.UUID, again []work.Redelivery) (int, error)
}

// Control cancels and redelivers single deliveries for a client.
type Control struct {
	Engine  *Engine
	History History
	// Origin returns the origin of a webhook's address.
	Origin func(address string) (string, error)
}

// Cancel cancels a pending delivery and returns it in its new state. An attempt that is under way
// may still arrive. The error has CodeNotFound if the client has no such delivery, and CodeConflict
// if it has ended.
func (c *Control) Cancel(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	if err := c.History.CancelDelivery(ctx, by, client, id); err != nil {
		return herald.Delivery{}, err
	}
	c.Engine.Cancelled(id)
	cancelled, _, err := c.History.Delivery(ctx, client, id)
	return cancelled, err
}

// Retry makes the next attempt of a pending delivery now, and returns the delivery. The attempt uses up
// the retry that was scheduled. The error has CodeNotFound if the client has no such delivery, and
// CodeConflict if it has ended or is a mail that was not tried yet.
func (c *Control) Retry(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	earlier, err := c.History.RetryDelivery(ctx, by, client, id)
	if err != nil {
		return herald.Delivery{}, err
	}
	if earlier {
		c.Engine.Added()
	}
	d, _, err := c.History.Delivery(ctx, client, id)
	return d, err
}

// Redeliver makes a new delivery of the same alert, due now, and returns it. It goes to the rule's
// present webhook; a mail goes to the same mailbox. The error has CodeNotFound if the client has no
// such delivery. It has CodeConflict if the rule is deleted or does not name that kind of receiver
// any more.
func (c *Control) Redeliver(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	old, _, err := c.History.Delivery(ctx, client, id)
	if err != nil {
		return old, err
	}
	rule, err := c.rule(ctx, client, old)
	if err != nil {
		return old, err
	}
	again, err := c.target(old, rule)
	if err != nil {
		return old, err
	}
	added, err := c.History.AddDelivery(ctx, by, client, again)
	if err != nil {
		return old, err
	}
	c.Engine.Added()
	d, _, err := c.History.Delivery(ctx, client, added)
	return d, err
}

// rule returns the rule of a delivery. The error has CodeConflict if it is deleted.
func (c *Control) rule(ctx context.Context, client uuid.UUID, d herald.Delivery) (herald.Rule, error) {
	rule, err := c.History.Rule(ctx, client, d.RuleID)
	if herald.CodeOf(err) == herald.CodeNotFound {
		err = herald.Errorf(herald.CodeConflict, "The rule %s has been deleted, so there is no address to deliver to.", d.RuleID)
	}
	return rule, err
}

// target returns the redelivery of a delivery: to the rule's present webhook, or to the same mailbox
// if the rule still names it. The error has CodeConflict if the rule has no such receiver any more.
func (c *Control) target(old herald.Delivery, rule herald.Rule) (work.Redelivery, error) {
	again := work.Redelivery{Repeats: old.ID, Origin: herald.MailScheme, Address: old.Address}
	if box, mail := strings.CutPrefix(old.Address, herald.MailScheme); mail {
		if !slices.ContainsFunc(herald.Mailboxes(rule.Emails), func(other string) bool { return herald.MailboxKey(box) == herald.MailboxKey(other) }) {
			return again, herald.Errorf(herald.CodeConflict, "The rule %s does not name the mailbox %s any more.", old.RuleID, box)
		}
		return again, nil
	}
	if rule.Webhook == "" {
		return again, herald.Errorf(herald.CodeConflict, "The rule %s has no webhook any more. Give it one first.", old.RuleID)
	}
	origin, err := c.Origin(rule.Webhook)
	if err != nil {
		return again, herald.Errorf(herald.CodeConflict, "The rule's webhook %s cannot be called: %v", rule.Webhook, err)
	}
	again.Origin, again.Address = origin, rule.Webhook
	return again, nil
}
