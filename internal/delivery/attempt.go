package delivery

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"herald"
	"herald/internal/clientcache"
	"herald/internal/fairqueue"
	"herald/internal/policy"
	"herald/internal/safetext"
	"herald/internal/webhook"
	"herald/internal/work"
)

// attempt makes the next attempt of a delivery and records its result. The delivery holds a place
// in flight until the attempt ends, and room in the window until the result is recorded.
func (e *Engine) attempt(i *item) {
	client, err := e.client(i)
	cancelled, kept := e.known(i)
	switch {
	case herald.CodeOf(err) == herald.CodeNotFound, e.sending.Err() != nil:
		// The store's maintenance cancels the deliveries of deleted clients. If the service stops,
		// nothing was sent.
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.handBack(i)
		return
	case cancelled:
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.release(i)
		return
	case kept.save != nil:
		e.recordKept(i, kept)
		return
	case i.Unreadable != "":
		e.cannotMake(i, i.Unreadable, nil)
		return
	case err != nil:
		e.cannotMake(i, "this service could not read the client's data", err)
		return
	}
	if e.Clock.Cautious().Sub(i.MadeAt) > e.policy(i).MaxAge { // its attempt could not begin in time
		e.endWithout(i, herald.Failed, herald.ReasonExpired, e.Store.Record)
		return
	}
	if i.isMail() {
		e.attemptMail(i, client)
		return
	}
	authorization, ok := e.authorization(i, client)
	if !ok || !e.mayCall(i) {
		return
	}
	body, data := i.Body()
	at := time.Now()
	result := e.Sender.Send(e.sending, webhook.Request{
		URL: i.Address, Body: body, Data: data, ClientID: i.ClientID, Authorization: authorization, Test: herald.IsTest(i.ID),
		Enter: func(ctx context.Context, origin string) (func(), error) { return e.enter(ctx, i, origin) },
		Allow: e.allowHop(i),
	})
	if result.Wait > 0 && !result.Sent() {
		e.waitTurn(i, result.Wait)
		return
	}
	if result.Reason != herald.ReasonLocal || !result.Sent() { // else this machine can send
		e.countOwnFault(result.Reason, result.Error)
	}
	e.finish(i, at, result, e.Store.Record)
}

// finish ends an attempt that has a result: it releases the place in flight, decides, and records. If
// nothing was sent because of a fault of this service, the delivery is postponed.
func (e *Engine) finish(i *item, at time.Time, r webhook.Result, save func(work.Result) error) {
	unsent := r.Reason == herald.ReasonLocal && !r.Sent()
	e.endAttempt(i, fairqueue.Result{Took: time.Since(at), TimedOut: timedOut(r.Reason), Skipped: unsent})
	result := e.decide(i, at, r)
	if unsent && result.State == herald.Pending {
		e.postpone(i, result.Delay, result.Attempt.Error)
		return
	}
	e.record(i, result, save)
}

// endWithout ends a delivery without an attempt.
func (e *Engine) endWithout(i *item, state herald.State, reason herald.Reason, save func(work.Result) error) {
	e.endAttempt(i, fairqueue.Result{Skipped: true})
	e.record(i, work.Result{Item: i.Item, State: state, Reason: reason, Retries: i.Retries}, save)
}

// timedOut reports whether the receiver did not answer at all, so that the window lowers the limit
// of its lane.
func timedOut(r herald.Reason) bool {
	switch r {
	case herald.ReasonTimeout, herald.ReasonConnectTimeout, herald.ReasonConnectRefused, herald.ReasonConnect, herald.ReasonProxy:
		return true
	default:
		return false
	}
}

// client returns the client of a delivery. The error has CodeNotFound if the client is deleted. While
// the database is away it waits, so sending pauses.
func (e *Engine) client(i *item) (client *clientcache.Snapshot, err error) {
	err = e.whileAway(i, "the client of a delivery cannot be read", func() error {
		client, err = e.Clients.Recent(e.sending, i.ClientID)
		return err
	})
	return client, err
}

// authorization returns the Authorization header of a delivery. While the database is away it waits. If the header
// cannot be read, ok is false, and the attempt has ended.
func (e *Engine) authorization(i *item, client *clientcache.Snapshot) (header string, ok bool) {
	err := e.whileAway(i, "the rule of a delivery cannot be read", func() (err error) {
		header, err = client.Authorization(e.sending, i.RuleID, i.Address)
		return err
	})
	switch {
	case err == nil:
		return header, true
	case e.sending.Err() != nil:
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.handBack(i)
	default:
		e.cannotMake(i, "this service could not read the rule of the delivery", err)
	}
	return "", false
}

// known returns whether a delivery was cancelled, and the result that is kept of an earlier attempt.
func (e *Engine) known(i *item) (cancelled bool, kept unrecorded) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return i.cancelled, e.unrecorded[i.ID]
}

// endAttempt releases the place in flight and starts what is ready.
func (e *Engine) endAttempt(i *item, r fairqueue.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.window.Ended(i.Lane(), r)
	e.startReady()
}

// release releases the room in the window.
func (e *Engine) release(i *item) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forget(i)
	e.window.Release(i.Lane(), size(&i.Item))
	e.letGo(i.ClientID)
}

// forget removes a delivery from those that this node holds, unless it has been claimed again since.
// The caller holds mu.
func (e *Engine) forget(i *item) {
	if e.held[i.ID] == i {
		delete(e.held, i.ID)
	}
}

// hop is a redirect that waits for a place in the lane that it leads to.
type hop struct {
	lane    work.Lane
	entered chan struct{} // closed when it has the place
}

// enter takes a place in flight of the lane that a redirect leads to, and waits for one if need be.
// Without it, a redirect could exceed the limit of that lane.
func (e *Engine) enter(ctx context.Context, i *item, origin string) (leave func(), err error) {
	h := &hop{lane: work.Lane{Client: i.ClientID, Origin: origin}, entered: make(chan struct{})}
	leave = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.window.Leave(h.lane)
		e.startReady()
	}
	e.mu.Lock()
	if e.window.Enter(h.lane) {
		e.mu.Unlock()
		return leave, nil
	}
	e.hops = append(e.hops, h)
	e.mu.Unlock()
	select {
	case <-h.entered:
		return leave, nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	before := len(e.hops)
	e.hops = slices.DeleteFunc(e.hops, func(other *hop) bool { return other == h })
	late := len(e.hops) == before // startReady gave it the place just now
	e.mu.Unlock()
	if late {
		leave()
	}
	return nil, ctx.Err()
}

// decide asks the policy to decide on the result of an attempt that began at at, and describes the attempt.
func (e *Engine) decide(i *item, at time.Time, r webhook.Result) work.Result {
	now := e.Clock.Now()
	caution := now.Sub(e.Clock.Cautious()) // nothing expires by a clock that may be ahead
	d := e.policy(i).Decide(policy.Result{Status: r.Status, Reason: r.Reason, RetryAfter: r.RetryAfter, Wait: r.Wait},
		i.Retries, now, i.MadeAt.Add(caution), e.Random())
	result := work.Result{
		Item: i.Item, State: d.State(), Reason: d.Reason, Retries: d.RetriesUsed,
		Attempt: &herald.Attempt{
			DeliveryID: i.ID, N: i.Attempt, At: now.Add(-time.Since(at)), Outcome: d.Outcome, Status: r.Status, Reason: r.Reason, Error: r.Error,
			Timings: r.Timings, Request: r.Request, Response: r.Response,
		},
	}
	if result.State == herald.Pending {
		result.Delay = d.At.Sub(now)
	}
	cleanAttempt(result.Attempt)
	e.metrics.attempt(result)
	e.logAttempt(result, d.At)
	return result
}

func (e *Engine) logAttempt(r work.Result, next time.Time) {
	level := slog.LevelInfo
	if r.Attempt.Outcome != herald.OutcomeDelivered {
		level = slog.LevelWarn
	}
	if !e.Log.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("deliveryId", r.Item.ID.String()),
		slog.String("clientId", r.Item.ClientID.String()),
		slog.String("origin", safetext.Line(r.Item.Origin, maxOriginText)),
		slog.Int("attempt", r.Item.Attempt),
		slog.String("outcome", string(r.Attempt.Outcome)),
		slog.Int("status", r.Attempt.Status),
		slog.Float64("durationMs", r.Attempt.Timings.Total),
		slog.String("state", r.State.String()),
	}
	if level == slog.LevelWarn {
		attrs = append(attrs, slog.String("reason", string(r.Attempt.Reason)), slog.String("error", r.Attempt.Error))
	}
	if r.State == herald.Pending {
		attrs = append(attrs, slog.Time("nextAttemptAt", next.UTC()))
	}
	e.Log.LogAttrs(context.Background(), level, "attempt", attrs...)
}
