package app

import (
	"context"
	"errors"
	"net/url"

	"github.com/google/uuid"

	"herald"
	"herald/internal/consent"
	"herald/internal/delivery"
	"herald/internal/policy"
	"herald/internal/store"
)

// Outward bounds what clients cause outside. All of it is off by default.
type Outward struct {
	// MailsPerDay is how many mails a client causes in a day in UTC, MailboxesPerDay to how many
	// mailboxes; 0 means any number.
	MailsPerDay, MailboxesPerDay int
	// AttemptsPerAddress is how many attempts a second this node makes to one IP address; 0 means
	// any number. It cannot be used with an EgressProxy.
	AttemptsPerAddress int
	// ConfirmMailboxes makes mails wait until the mailbox has confirmed. It needs a PublicURL.
	ConfirmMailboxes bool
	// RequireConsent makes webhooks wait until the receiver has consented. It needs a PublicURL.
	RequireConsent bool
}

// CheckOutward refuses bounds that could not hold. Start calls it too.
func (c *Config) CheckOutward() error {
	o := c.Outward
	switch {
	case o.ConfirmMailboxes && c.PublicURL == "":
		return errors.New("--confirm-mailboxes without --public-url: the mail that asks has a link to this service; set --public-url to where people reach it")
	case o.RequireConsent && c.PublicURL == "":
		return errors.New("--require-consent without --public-url: receivers are told the name of this service; set --public-url to where people reach it")
	case o.AttemptsPerAddress > 0 && c.EgressProxy != nil:
		return errors.New("--attempts-per-address with --egress-proxy: the proxy resolves the names, so this service does not know the addresses; bound them in the proxy")
	default:
		return nil
	}
}

// mailBounds returns the bounds of mails. Without a mail server there is nothing to bound: mails fail.
func (c *Config) mailBounds() policy.MailBounds {
	if c.MailServer == nil {
		return policy.MailBounds{}
	}
	return policy.MailBounds{
		MailsPerDay: c.Outward.MailsPerDay, MailboxesPerDay: c.Outward.MailboxesPerDay, Confirm: c.Outward.ConfirmMailboxes,
		MaxAge: policy.Mail(c.MailSchedule).MaxAge,
	}
}

// consents returns what asks receivers for their consent, nil if that is off.
func (a *App) consents() delivery.Consents {
	if !a.config.Outward.RequireConsent {
		return nil
	}
	origin := ""
	if u, err := url.Parse(a.config.PublicURL); err == nil {
		origin = u.Hostname()
	}
	return consent.New(consent.Options{
		Store: a.store, Asker: a.sender, Origin: origin, PerMinute: 60 * a.config.Outward.AttemptsPerAddress,
		Timeout: a.config.RequestTimeout, Log: a.log,
	})
}

// confirmations stores confirmations and lets the engine send at once what waited for them.
type confirmations struct {
	store  *store.Store
	engine *delivery.Engine
}

// Confirm implements unsubscribe.Confirmations.
func (c confirmations) Confirm(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error {
	err := c.store.Confirm(ctx, by, client, box)
	if err == nil {
		c.engine.Added()
	}
	return err
}
