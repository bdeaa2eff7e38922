package delivery

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"herald"
)

// History looks up and changes a client's deliveries and rules.
type History interface {
	Delivery(ctx context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error)
	Rule(ctx context.Context, client, id uuid.UUID) (herald.Rule, error)
	// CancelDelivery cancels a pending delivery. The error has CodeConflict if it has ended.
	CancelDelivery(ctx context.Context, client, id uuid.UUID) error
	// AddDelivery makes another delivery of an alert, which waits to be claimed.
	AddDelivery(ctx context.Context, client, alert uuid.UUID, origin, address string) (uuid.UUID, error)
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
func (c *Control) Cancel(ctx context.Context, client, id uuid.UUID) (herald.Delivery, error) {
	if err := c.History.CancelDelivery(ctx, client, id); err != nil {
		return herald.Delivery{}, err
	}
	c.Engine.Cancelled(id)
	cancelled, _, err := c.History.Delivery(ctx, client, id)
	return cancelled, err
}

// Redeliver makes a new delivery of the same alert, due now, and returns it. It goes to the rule's
// present webhook; a mail goes to the same mailbox. The error has CodeNotFound if the client has no
// such delivery. It has CodeConflict if the rule is deleted or does not name that kind of receiver
// any more.
func (c *Control) Redeliver(ctx context.Context, client, id uuid.UUID) (herald.Delivery, error) {
	old, _, err := c.History.Delivery(ctx, client, id)
	if err != nil {
		return old, err
	}
	rule, err := c.History.Rule(ctx, client, old.RuleID)
	switch {
	case herald.CodeOf(err) == herald.CodeNotFound:
		return old, herald.Errorf(herald.CodeConflict, "The rule %s has been deleted, so there is no address to deliver to.", old.RuleID)
	case err != nil:
		return old, err
	case strings.HasPrefix(old.Address, herald.MailScheme):
		return c.redeliverMail(ctx, client, old, rule)
	case rule.Webhook == "":
		return old, herald.Errorf(herald.CodeConflict, "The rule %s has no webhook any more. Give it one first.", old.RuleID)
	}
	origin, err := c.Origin(rule.Webhook)
	if err != nil {
		return old, herald.Errorf(herald.CodeConflict, "The rule's webhook %s cannot be called: %v", rule.Webhook, err)
	}
	return c.add(ctx, client, old, origin, rule.Webhook)
}

// redeliverMail makes a new delivery to the same mailbox, if the rule still names it.
func (c *Control) redeliverMail(ctx context.Context, client uuid.UUID, old herald.Delivery, rule herald.Rule) (herald.Delivery, error) {
	box := strings.TrimPrefix(old.Address, herald.MailScheme)
	if !slices.ContainsFunc(herald.Mailboxes(rule.Emails), func(other string) bool { return herald.MailboxKey(box) == herald.MailboxKey(other) }) {
		return old, herald.Errorf(herald.CodeConflict, "The rule %s does not name the mailbox %s any more.", old.RuleID, box)
	}
	return c.add(ctx, client, old, herald.MailScheme, old.Address)
}

func (c *Control) add(ctx context.Context, client uuid.UUID, old herald.Delivery, origin, address string) (herald.Delivery, error) {
	added, err := c.History.AddDelivery(ctx, client, old.AlertID, origin, address)
	if err != nil {
		return old, err
	}
	c.Engine.Added()
	again, _, err := c.History.Delivery(ctx, client, added)
	return again, err
}
