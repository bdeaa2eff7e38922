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
	at := time.Now()
	if _, err := herald.ParseMailbox(i.mailbox()); err != nil { // before it can take part in a digest
		e.finish(i, at, webhook.Result{Reason: herald.ReasonAddress, Error: err.Error()}, e.Store.Record)
		return
	}
	action, entries, err := e.decideMail(i, client)
	switch {
	case err == nil && action == policy.AskMailbox:
		e.askMailbox(i)
		return
	case err == nil && action.Waits(), errors.Is(err, work.ErrNotHeld):
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.release(i)
		return
	case err != nil && e.sending.Err() != nil:
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.handBack(i)
		return
	case err != nil:
		e.cannotMake(i, "this service could not decide whether the mail belongs to a digest", err)
		return
	}
	save := e.Store.Record
	ids := idsOf(entries)
	if action == policy.SendDigest || entries != nil {
		save = func(r work.Result) error {
			if r.State == herald.Pending {
				return e.Store.Record(r)
			}
			err := e.Digests.RecordDigest(context.WithoutCancel(e.sending), r, ids, e.Digest.Window)
			if err == nil && len(ids) > 1 {
				e.Ended(r.State, len(ids)-1) // besides the carrier
			}
			return err
		}
	}
	if !client.WantsMail(i.mailbox()) {
		e.endWithout(i, herald.Cancelled, herald.ReasonUnsubscribed, save)
		return
	}
	if action == policy.RefuseMail {
		e.endWithout(i, herald.Failed, herald.ReasonMailLimit, save)
		return
	}
	at = time.Now()
	body, data := i.Body()
	result := webhook.Result(e.Mailer.Send(e.sending, mail.Request{
		DeliveryID: i.ID, ClientID: i.ClientID, Mailbox: i.mailbox(), Body: body, Data: data, RaisedAt: herald.TimeOf(i.ID), Digest: entries,
	}))
	if result.Wait > 0 { // the service stops
		e.waitTurn(i, result.Wait)
		return
	}
	e.countOwnFault(result.Reason, result.Error)
	e.finish(i, at, result, save)
}

// idsOf returns the entries of a digest without their texts: a result that waits to be recorded needs no
// more.
func idsOf(entries []work.DigestEntry) []work.DigestEntry {
	ids := make([]work.DigestEntry, len(entries))
	for n := range entries {
		ids[n].DeliveryID = entries[n].DeliveryID
	}
	return ids
}

// decideMail asks what happens to a mail, and waits while the database is away.
func (e *Engine) decideMail(i *item, client *clientcache.Snapshot) (action policy.MailAction, entries []work.DigestEntry, err error) {
	digest := e.mailDecision(i, client)
	if digest.Limit == 0 && !digest.Bounds.Any() {
		return policy.SendMail, nil, nil
	}
	err = e.whileAway(i, "a mail cannot be decided on", func() error {
		action, entries, err = e.Digests.DecideMail(e.sending, i.Item, digest)
		return err
	})
	return action, entries, err
}

// policy returns the policy that decides on a delivery.
func (e *Engine) policy(i *item) policy.Policy {
	if i.isMail() {
		return e.MailPolicy
	}
	return e.Policy
}
