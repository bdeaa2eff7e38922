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
)

func (i *item) isMail() bool { return i.Origin == herald.MailScheme }

func (i *item) mailbox() string { return strings.TrimPrefix(i.Address, herald.MailScheme) }

// attemptMail is attempt for a mailbox: the mail goes by itself, waits for a
// digest, or carries one, and then its result is that of all in it.
func (e *Engine) attemptMail(i *item, client *clientcache.Client) {
	turn, digest, err := e.mailTurn(i)
	if err != nil || turn == herald.MailLater {
		e.ended(i, fairqueue.Result{Skipped: true})
		e.drop(i, err == nil || errors.Is(err, herald.ErrNotHeld))
		return
	}
	keep := e.Store.Record
	if turn == herald.MailDigest {
		keep = func(r herald.Recording) error {
			if r.State == herald.Pending {
				return e.Store.Record(r)
			}
			return e.Mails.RecordDigest(context.WithoutCancel(e.sending), r, digest, e.MailWindow)
		}
	}
	if client != nil && !client.WantsMail(i.mailbox()) {
		e.ended(i, fairqueue.Result{Skipped: true})
		e.record(herald.Recording{Due: i.Due, State: herald.Cancelled, Reason: herald.ReasonUnsubscribed, Retries: i.Retries}, keep)
		e.release(i)
		return
	}
	at := time.Now()
	result := webhook.Result(e.Mailer.Send(e.sending, mail.Request{
		DeliveryID: i.ID, ClientID: i.ClientID, Mailbox: i.mailbox(), Body: i.Body, RaisedAt: herald.TimeOf(i.ID), Digest: digest,
	}))
	e.ended(i, fairqueue.Result{Took: time.Since(at), TimedOut: timedOut(result.Reason)})
	e.record(e.decide(i, at, result), keep)
	e.release(i)
}

// mailTurn asks for a mail's turn, for as long as the database is away. An error
// is ErrNotHeld, or says that the engine stops.
func (e *Engine) mailTurn(i *item) (herald.MailTurn, []herald.Digested, error) {
	if e.MailLimit == 0 {
		return herald.MailNow, nil, nil
	}
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		turn, digest, err := e.Mails.TakeMailTurn(e.sending, i.Due, e.MailLimit, e.MailWindow)
		if err == nil || errors.Is(err, herald.ErrNotHeld) || !e.pause(wait) {
			return turn, digest, err
		}
		e.Log.Error("a mail's turn is not known yet", "deliveryId", i.ID, "error", err)
	}
}

// policy is the one that decides on a delivery.
func (e *Engine) policy(i *item) policy.Policy {
	if i.isMail() {
		return e.MailPolicy
	}
	return e.Policy
}
