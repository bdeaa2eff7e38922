package delivery

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"herald"
	"herald/internal/clientcache"
	"herald/internal/fairqueue"
	"herald/internal/policy"
	"herald/internal/webhook"
	"herald/internal/work"
)

// Waits of an attempt for the database to come back.
const (
	firstPause = 50 * time.Millisecond
	longPause  = 5 * time.Second
)

// attempt makes the delivery's next attempt and has its result recorded. It holds
// a place in flight until the attempt has ended, and its room in the window until
// that is recorded.
func (e *Engine) attempt(i *item) {
	client, known := e.client(i)
	switch {
	case !known: // the store's maintenance cancels what a deleted client was owed
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.giveBack(i)
		return
	case e.isCancelled(i):
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.release(i)
		return
	}
	at := time.Now()
	if at.Sub(i.MadeAt) > e.policy(i).MaxAge { // it never had a turn in time
		e.endWithout(i, herald.Failed, herald.ReasonExpired, e.Store.Record)
		return
	}
	if i.isMail() {
		e.attemptMail(i, client)
		return
	}
	authorization := ""
	if client != nil {
		authorization = client.Authorization(i.RuleID, i.Address)
	}
	result := e.Sender.Send(e.sending, webhook.Request{
		URL: i.Address, Body: i.Body, ClientID: i.ClientID, Authorization: authorization,
		Enter: func(ctx context.Context, origin string) (func(), error) { return e.enter(ctx, i, origin) },
	})
	e.endAttempt(i, fairqueue.Result{Took: time.Since(at), TimedOut: timedOut(result.Reason)})
	e.record(e.decide(i, at, result), e.Store.Record)
	e.release(i)
}

// endWithout ends a delivery without an attempt.
func (e *Engine) endWithout(i *item, state herald.State, reason herald.Reason, keep func(work.Result) error) {
	e.endAttempt(i, fairqueue.Result{Skipped: true})
	e.record(work.Result{Item: i.Item, State: state, Reason: reason, Retries: i.Retries}, keep)
	e.release(i)
}

// timedOut reports whether a result says that the receiver is not answering at
// all, so that its lane should be used less.
func timedOut(r herald.Reason) bool {
	switch r {
	case herald.ReasonTimeout, herald.ReasonConnectTimeout, herald.ReasonConnectRefused, herald.ReasonConnect:
		return true
	default:
		return false
	}
}

// client looks up what is known of the client now; known is false when the client
// is gone. While the database is away it waits, so sending pauses. A nil client is
// for an attempt that will find that it is cut off.
func (e *Engine) client(i *item) (client *clientcache.Snapshot, known bool) {
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		client, err := e.Clients.Recent(e.sending, i.ClientID)
		switch {
		case err == nil:
			return client, true
		case herald.CodeOf(err) == herald.CodeNotFound:
			return nil, false
		case !e.pause(wait):
			return nil, true
		}
	}
}

func (e *Engine) isCancelled(i *item) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return i.cancelled
}

// giveBack lets a delivery wait in the database again, without an attempt.
func (e *Engine) giveBack(i *item) {
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		err := e.Store.HandBack(context.WithoutCancel(e.sending), []work.Item{i.Item})
		if err == nil {
			break
		}
		e.Log.Warn("hand a delivery back", "deliveryId", i.ID, "error", err)
		if !e.pause(wait) {
			break // it is freed when a node starts next
		}
	}
	e.release(i)
}

// endAttempt gives the place in flight back and starts what is ready.
func (e *Engine) endAttempt(i *item, r fairqueue.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.window.Ended(i.Lane(), r)
	e.startReady()
}

// release gives the room in the window back.
func (e *Engine) release(i *item) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.held, i.ID)
	e.window.Release(i.Lane(), size(&i.Item))
}

// hop is a redirect that waits for a place in the lane that it leads to.
type hop struct {
	lane    work.Lane
	entered chan struct{} // closed when it has one
}

// enter takes a place in flight of the lane that a redirect leads to, so that a
// receiver cannot be reached around its bound. It waits for one.
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
	late := len(e.hops) == before // it got its place just now
	e.mu.Unlock()
	if late {
		leave()
	}
	return nil, ctx.Err()
}

// decide asks the policy what an attempt came to and describes it.
func (e *Engine) decide(i *item, at time.Time, r webhook.Result) work.Result {
	now := time.Now()
	d := e.policy(i).Decide(policy.Result{Status: r.Status, Reason: r.Reason, RetryAfter: r.RetryAfter},
		i.Retries, now, i.MadeAt, e.Random())
	result := work.Result{
		Item: i.Item, State: d.State(), Reason: d.Reason, Retries: d.RetriesUsed,
		Attempt: &herald.Attempt{
			DeliveryID: i.ID, N: i.Attempt, At: at, Outcome: d.Outcome, Status: r.Status, Reason: r.Reason, Error: r.Error,
			Timings: r.Timings, Request: r.Request, Response: r.Response,
		},
	}
	if result.State == herald.Pending {
		result.Delay = d.At.Sub(now)
	}
	e.metrics.attempt(result)
	e.logAttempt(result, d.At)
	return result
}

func (e *Engine) logAttempt(r work.Result, next time.Time) {
	attrs := []slog.Attr{
		slog.String("deliveryId", r.Item.ID.String()),
		slog.String("clientId", r.Item.ClientID.String()),
		slog.String("origin", r.Item.Origin),
		slog.Int("attempt", r.Item.Attempt),
		slog.String("outcome", string(r.Attempt.Outcome)),
		slog.Int("status", r.Attempt.Status),
		slog.Float64("durationMs", r.Attempt.Timings.Total),
		slog.String("state", r.State.String()),
	}
	level := slog.LevelInfo
	if r.Attempt.Outcome != herald.OutcomeDelivered {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("reason", string(r.Attempt.Reason)), slog.String("error", r.Attempt.Error))
	}
	if r.State == herald.Pending {
		attrs = append(attrs, slog.Time("nextAttemptAt", next.UTC()))
	}
	e.Log.LogAttrs(context.Background(), level, "attempt", attrs...)
}

// record keeps an attempt's result, for as long as it takes: until then the
// delivery stays held, so that nobody makes it again.
func (e *Engine) record(r work.Result, keep func(work.Result) error) {
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		err := keep(r)
		switch {
		case err == nil:
			return
		case errors.Is(err, work.ErrNotHeld):
			e.Log.Info("a delivery was cancelled or taken over during its attempt", "deliveryId", r.Item.ID, "attempt", r.Item.Attempt)
			return
		case herald.CodeOf(err) != herald.CodeUnavailable && r.Attempt != nil && r.Attempt.Response != nil:
			// The outcome matters more than what cannot be kept of it.
			e.Log.Error("an attempt's response cannot be kept; it is recorded without", "deliveryId", r.Item.ID, "error", err)
			r.Attempt.Response = nil
			continue
		}
		e.Log.Error("an attempt's result cannot be recorded yet", "deliveryId", r.Item.ID, "attempt", r.Item.Attempt, "error", err)
		if !e.pause(wait) {
			return // it is freed, as "may have been sent", when a node starts next
		}
	}
}
