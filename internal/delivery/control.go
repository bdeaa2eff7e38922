package delivery

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"herald"
)

// History is where a client's deliveries and rules are looked up and changed.
type History interface {
	Delivery(ctx context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error)
	Rule(ctx context.Context, client, id uuid.UUID) (herald.Rule, error)
	// CancelDelivery ends a pending delivery; CodeConflict when it has ended.
	CancelDelivery(ctx context.Context, client, id uuid.UUID) error
	// AddDelivery makes another delivery of an alert, waiting to be claimed.
	AddDelivery(ctx context.Context, client, alert uuid.UUID, origin, address string) (uuid.UUID, error)
}

// Desk takes a client's wishes about single deliveries.
type Control struct {
	Engine  *Engine
	History History
	// Origin tells the lane of a webhook's address.
	Origin func(address string) (string, error)
}

// Cancel ends a pending delivery and returns it as it is then. An attempt that
// is under way may still arrive. CodeNotFound when the client has no such
// delivery, CodeConflict when it has ended.
func (d *Control) Cancel(ctx context.Context, client, id uuid.UUID) (herald.Delivery, error) {
	if err := d.History.CancelDelivery(ctx, client, id); err != nil {
		return herald.Delivery{}, err
	}
	d.Engine.Cancelled(id)
	cancelled, _, err := d.History.Delivery(ctx, client, id)
	return cancelled, err
}

// Redeliver makes a new delivery of the same alert, now, to the rule's present
// address, and returns it. CodeNotFound when the client has no such delivery,
// CodeConflict when the rule is gone or has no webhook any more.
func (d *Control) Redeliver(ctx context.Context, client, id uuid.UUID) (herald.Delivery, error) {
	old, _, err := d.History.Delivery(ctx, client, id)
	if err != nil {
		return old, err
	}
	rule, err := d.History.Rule(ctx, client, old.RuleID)
	switch {
	case herald.CodeOf(err) == herald.CodeNotFound:
		return old, herald.Errorf(herald.CodeConflict, "The rule %s has been deleted, so there is no address to deliver to.", old.RuleID)
	case err != nil:
		return old, err
	case strings.HasPrefix(old.Address, herald.MailScheme):
		return d.redeliverMail(ctx, client, old, rule)
	case rule.Webhook == "":
		return old, herald.Errorf(herald.CodeConflict, "The rule %s has no webhook any more. Give it one first.", old.RuleID)
	}
	origin, err := d.Origin(rule.Webhook)
	if err != nil {
		return old, herald.Errorf(herald.CodeConflict, "The rule's webhook %s cannot be called: %v", rule.Webhook, err)
	}
	return d.add(ctx, client, old, origin, rule.Webhook)
}

// redeliverMail sends again to the same mailbox, if the rule still has it.
func (d *Control) redeliverMail(ctx context.Context, client uuid.UUID, old herald.Delivery, rule herald.Rule) (herald.Delivery, error) {
	box := strings.TrimPrefix(old.Address, herald.MailScheme)
	if !slices.ContainsFunc(herald.Mailboxes(rule.Emails), func(other string) bool { return strings.EqualFold(box, other) }) {
		return old, herald.Errorf(herald.CodeConflict, "The rule %s does not name the mailbox %s any more.", old.RuleID, box)
	}
	return d.add(ctx, client, old, herald.MailScheme, old.Address)
}

func (d *Control) add(ctx context.Context, client uuid.UUID, old herald.Delivery, origin, address string) (herald.Delivery, error) {
	added, err := d.History.AddDelivery(ctx, client, old.AlertID, origin, address)
	if err != nil {
		return old, err
	}
	d.Engine.Added()
	again, _, err := d.History.Delivery(ctx, client, added)
	return again, err
}
