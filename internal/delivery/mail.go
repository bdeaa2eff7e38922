package delivery

import (
	"context"
	"errors"
	"strings"
	"time"

	"herald"
	"herald/internal/clientcache"
	"herald/internal/fairqueue"
	"herald/internal/mail"
	"herald/internal/policy"
	"herald/internal/webhook"
	"herald/internal/work"
)

func (i *item) isMail() bool { return i.Origin == herald.MailScheme }

func (i *item) mailbox() string { return strings.TrimPrefix(i.Address, herald.MailScheme) }

// attemptMail is attempt for a mailbox. The mail is sent by itself, waits for a digest, or is the
// carrier of one. The result of a carrier is the result of all deliveries in the digest.
func (e *Engine) attemptMail(i *item, client *clientcache.Snapshot) {
	action, entries, err := e.decideMail(i)
	switch {
	case err == nil && action.Waits(), errors.Is(err, work.ErrNotHeld):
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.release(i)
		return
	case err != nil: // the engine stops
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.handBack(i)
		return
	}
	save := e.Store.Record
	if action == policy.SendDigest {
		save = func(r work.Result) error {
			if r.State == herald.Pending {
				return e.Store.Record(r)
			}
			return e.Digests.RecordDigest(context.WithoutCancel(e.sending), r, entries, e.Digest.Window)
		}
	}
	if client != nil && !client.WantsMail(i.mailbox()) {
		e.endWithout(i, herald.Cancelled, herald.ReasonUnsubscribed, save)
		return
	}
	at := time.Now()
	body, data := i.Body()
	result := webhook.Result(e.Mailer.Send(e.sending, mail.Request{
		DeliveryID: i.ID, ClientID: i.ClientID, Mailbox: i.mailbox(), Body: body, Data: data, RaisedAt: herald.TimeOf(i.ID), Digest: entries,
	}))
	e.endAttempt(i, fairqueue.Result{Took: time.Since(at), TimedOut: timedOut(result.Reason)})
	e.record(e.decide(i, at, result), save)
	e.release(i)
}

// decideMail asks what happens to a mail, and tries again while the database is away. The error is
// work.ErrNotHeld, or any other if the engine stops.
func (e *Engine) decideMail(i *item) (policy.MailAction, []work.DigestEntry, error) {
	if e.Digest.Limit == 0 {
		return policy.SendMail, nil, nil
	}
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		action, entries, err := e.Digests.DecideMail(e.sending, i.Item, e.Digest)
		if err == nil || errors.Is(err, work.ErrNotHeld) || !e.pause(wait) {
			return action, entries, err
		}
		e.Log.Error("the decision about a mail failed; it is tried again", "deliveryId", i.ID, "error", err)
	}
}

// policy returns the policy that decides on a delivery.
func (e *Engine) policy(i *item) policy.Policy {
	if i.isMail() {
		return e.MailPolicy
	}
	return e.Policy
}
