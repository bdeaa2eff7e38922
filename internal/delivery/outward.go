package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/clientcache"
	"herald/internal/consent"
	"herald/internal/fairqueue"
	"herald/internal/mail"
	"herald/internal/policy"
	"herald/internal/webhook"
	"herald/internal/work"
)

// An operator can bound what clients cause outward. What must wait because of that waits in one of
// two ways, and uses up no retry:
//
//	an address has had its attempts for now ──▶ in memory, with a slot and without a place in flight
//	no consent, no confirmation ──────────────▶ in the database, with the reason
//
// A wait for an address ends within seconds, and a backlog waits in the database anyway, because its
// lane has no more slots. So such a wait costs the database nothing.

// Consents says whether a receiver has consented to be called.
type Consents interface {
	// Check asks the receiver if that is due.
	Check(ctx context.Context, lane work.Lane, address string) (consent.Verdict, error)
	// Waits is called when a delivery waits in the database without consent.
	Waits(ctx context.Context, lane work.Lane, address string) error
}

// mayCall reports whether the receiver of a delivery may be called now. If not, it has ended the
// attempt.
func (e *Engine) mayCall(i *item) bool {
	if e.Consents == nil {
		return true
	}
	at := time.Now()
	verdict, err := e.checkConsent(i, i.Address)
	switch {
	case e.sending.Err() != nil:
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.handBack(i)
		return false
	case err != nil:
		e.cannotMake(i, "this service could not read whether the receiver has consented", err)
		return false
	case verdict.Wait == 0:
		return true
	case verdict.Never:
		e.finish(i, at, webhook.Result{Reason: verdict.Failure, Error: verdict.Why}, e.Store.Record)
		return false
	case verdict.Reason == herald.ReasonAttemptLimit:
		e.waitTurn(i, verdict.Wait)
		return false
	}
	e.endAttempt(i, fairqueue.Result{Took: time.Since(at), TimedOut: timedOut(verdict.Failure), Skipped: verdict.Failure == herald.ReasonNone})
	e.postpone(i, verdict.Wait, verdict.Why)
	if err := e.Consents.Waits(context.WithoutCancel(e.sending), i.Lane(), i.Address); err != nil {
		e.Log.Warn("deliveries to a receiver that has consented are late", "deliveryId", i.ID, "error", safeError(err))
	}
	return false
}

func (e *Engine) checkConsent(i *item, address string) (verdict consent.Verdict, err error) {
	err = e.whileAway(i, "a receiver's consent cannot be read", func() error {
		verdict, err = e.Consents.Check(e.sending, i.Lane(), address)
		return err
	})
	return verdict, err
}

// allowHop returns the function that decides whether a redirect may be followed: its target must have
// consented too. Otherwise a receiver that has consented could redirect to one that has not. What only
// has to wait uses up no retry, and a fault of this service neither.
func (e *Engine) allowHop(i *item) func(context.Context, string) error {
	if e.Consents == nil {
		return nil
	}
	return func(ctx context.Context, address string) error {
		// A question has its own timeout. What is left of the attempt's time says nothing of the receiver.
		verdict, err := e.Consents.Check(e.sending, i.Lane(), address)
		switch {
		case e.sending.Err() != nil:
			return e.sending.Err()
		case err != nil:
			e.Log.Error("a receiver's consent cannot be read", "deliveryId", i.ID, "clientId", i.ClientID, "error", safeError(err))
			return errors.New("this service could not read whether the receiver that it leads to has consented")
		case verdict.Wait == 0 && ctx.Err() != nil: // the question took the rest of the attempt's time
			return &webhook.Refusal{Reason: herald.ReasonNoConsent, Why: "the receiver that it leads to consented too late for this attempt", Wait: time.Second}
		default:
			return refusalOf(verdict)
		}
	}
}

// refusalOf returns a *webhook.Refusal if a verdict does not allow to follow a redirect now.
func refusalOf(v consent.Verdict) error {
	switch {
	case v.Wait == 0:
		return nil
	case v.Never:
		return &webhook.Refusal{Reason: v.Failure, Why: v.Why}
	case v.Failure == herald.ReasonLocal:
		return &webhook.Refusal{Reason: herald.ReasonLocal, Why: v.Why}
	case v.Reason == herald.ReasonAttemptLimit || v.Unknown:
		return &webhook.Refusal{Reason: v.Reason, Why: v.Why, Wait: v.Wait}
	default:
		return &webhook.Refusal{Reason: v.Reason, Why: v.Why}
	}
}

// waitTurn ends an attempt that was not made because the receiver has had its attempts for now. The
// delivery keeps its slot and gets ready again after wait.
func (e *Engine) waitTurn(i *item, wait time.Duration) {
	e.mu.Lock()
	e.window.Ended(i.Lane(), fairqueue.Result{Skipped: true})
	unsent := e.stopping || i.Node < e.incarnation // else others may hold it already
	if !unsent {
		i.begun = false
		e.limited[i] = time.AfterFunc(wait, func() { e.turnCame(i) })
	}
	e.startReady()
	e.mu.Unlock()
	if unsent {
		e.handBack(i)
	}
}

func (e *Engine) turnCame(i *item) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, waits := e.limited[i]; waits {
		delete(e.limited, i)
		e.window.Add(i.Lane(), i)
		e.startReady()
	}
}

// takeLimited removes the deliveries that wait for their receiver's turn, and releases their slots.
// The caller holds mu.
func (e *Engine) takeLimited() []*item {
	taken := make([]*item, 0, len(e.limited))
	for i, timer := range e.limited {
		timer.Stop()
		e.forget(i)
		e.window.Release(i.Lane(), size(&i.Item))
		taken = append(taken, i)
	}
	clear(e.limited)
	return taken
}

// measureLimited adds the metric of the deliveries that wait for their receiver's turn.
func (e *Engine) measureLimited(r prometheus.Registerer) {
	if r == nil {
		return
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "herald_deliveries_limited", Help: "Deliveries in memory that wait because their receiver has had its attempts for now.",
	}, func() float64 {
		e.mu.Lock()
		defer e.mu.Unlock()
		return float64(len(e.limited))
	}))
}

// mailDecision returns how a mail is decided on. The bounds do not concern a mailbox whose reader wants
// no mail: it is not asked, and its mails do not count, because they are not sent.
func (e *Engine) mailDecision(i *item, client *clientcache.Snapshot) policy.Digest {
	digest := e.Digest
	if !client.WantsMail(i.mailbox()) {
		digest.Bounds = policy.MailBounds{}
	}
	return digest
}

// askMailbox sends the mail that asks a reader to confirm. The delivery waits in the database already.
func (e *Engine) askMailbox(i *item) {
	body, data := i.Body()
	at := time.Now()
	result := webhook.Result(e.Mailer.Send(e.sending, mail.Request{
		DeliveryID: i.ID, ClientID: i.ClientID, Mailbox: i.mailbox(), Body: body, Data: data, RaisedAt: herald.TimeOf(i.ID), AskToConfirm: true,
	}))
	e.endAttempt(i, fairqueue.Result{Took: time.Since(at), TimedOut: timedOut(result.Reason), Skipped: result.Reason == herald.ReasonLocal || result.Wait > 0})
	e.countOwnFault(result.Reason, result.Error)
	e.release(i)
	e.Log.Info("a mailbox was asked to confirm", "deliveryId", i.ID, "clientId", i.ClientID, "status", result.Status, "reason", result.Reason)
	if !certainlyNotTaken(result) {
		return
	}
	if err := e.Digests.AskMailboxAgain(context.WithoutCancel(e.sending), i.Item); err != nil {
		e.Log.Warn("a mailbox that did not take the mail is asked again a day later", "deliveryId", i.ID, "error", safeError(err))
	}
}

// certainlyNotTaken reports whether a mail was not taken and can be sent again.
func certainlyNotTaken(r webhook.Result) bool {
	if r.Wait > 0 { // it was not begun
		return true
	}
	switch r.Reason {
	case herald.ReasonStatus:
		return r.Status >= 400 && r.Status < 500
	case herald.ReasonDNS, herald.ReasonConnectRefused, herald.ReasonConnectTimeout, herald.ReasonConnect, herald.ReasonTLS, herald.ReasonLocal:
		return true
	default:
		return false
	}
}
