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

// Waits between two tries while the database is away. They double from the first to the last.
const (
	firstPause = 50 * time.Millisecond
	longPause  = 5 * time.Second
)

// attempt makes the next attempt of a delivery and records its result. The delivery holds a place
// in flight until the attempt ends, and room in the window until the result is recorded.
func (e *Engine) attempt(i *item) {
	client, known := e.client(i)
	switch {
	case !known: // the store's maintenance cancels the deliveries of deleted clients
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.handBack(i)
		return
	case e.isCancelled(i):
		e.endAttempt(i, fairqueue.Result{Skipped: true})
		e.release(i)
		return
	}
	at := time.Now()
	if at.Sub(i.MadeAt) > e.policy(i).MaxAge { // its attempt could not begin in time
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
	body, data := i.Body()
	result := e.Sender.Send(e.sending, webhook.Request{
		URL: i.Address, Body: body, Data: data, ClientID: i.ClientID, Authorization: authorization,
		Enter: func(ctx context.Context, origin string) (func(), error) { return e.enter(ctx, i, origin) },
	})
	e.endAttempt(i, fairqueue.Result{Took: time.Since(at), TimedOut: timedOut(result.Reason)})
	e.record(e.decide(i, at, result), e.Store.Record)
	e.release(i)
}

// endWithout ends a delivery without an attempt.
func (e *Engine) endWithout(i *item, state herald.State, reason herald.Reason, save func(work.Result) error) {
	e.endAttempt(i, fairqueue.Result{Skipped: true})
	e.record(work.Result{Item: i.Item, State: state, Reason: reason, Retries: i.Retries}, save)
	e.release(i)
}

// timedOut reports whether the receiver did not answer at all, so that the window lowers the limit
// of its lane.
func timedOut(r herald.Reason) bool {
	switch r {
	case herald.ReasonTimeout, herald.ReasonConnectTimeout, herald.ReasonConnectRefused, herald.ReasonConnect:
		return true
	default:
		return false
	}
}

// client returns the client of a delivery; known is false if the client is deleted. While the
// database is away it waits, so sending pauses. If attempts must end meanwhile, it returns nil and
// true: the attempt that follows ends as interrupted.
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

// handBack gives up this node's hold on a delivery without an attempt, so that the delivery waits
// in the database again.
func (e *Engine) handBack(i *item) {
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		err := e.Store.HandBack(context.WithoutCancel(e.sending), []work.Item{i.Item})
		if err == nil {
			break
		}
		e.Log.Warn("a delivery cannot be handed back yet", "deliveryId", i.ID, "error", err)
		if !e.pause(wait) {
			break // this node stops, and the delivery becomes an orphan
		}
	}
	e.release(i)
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
	delete(e.held, i.ID)
	e.window.Release(i.Lane(), size(&i.Item))
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

// decide asks the policy to decide on the result of an attempt, and describes the attempt.
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

// record saves the result of an attempt, and tries again until it can. Until then this node holds
// the delivery, so that no other node makes the attempt again.
func (e *Engine) record(r work.Result, save func(work.Result) error) {
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		err := save(r)
		switch {
		case err == nil:
			return
		case errors.Is(err, work.ErrNotHeld):
			e.Log.Info("a delivery was cancelled or taken over during its attempt", "deliveryId", r.Item.ID, "attempt", r.Item.Attempt)
			return
		case herald.CodeOf(err) != herald.CodeUnavailable && r.Attempt != nil && r.Attempt.Response != nil:
			// The outcome matters more than a response that the store refuses.
			e.Log.Error("the response of an attempt cannot be stored; the attempt is recorded without it", "deliveryId", r.Item.ID, "error", err)
			r.Attempt.Response = nil
			continue
		}
		e.Log.Error("the result of an attempt cannot be recorded yet", "deliveryId", r.Item.ID, "attempt", r.Item.Attempt, "error", err)
		if !e.pause(wait) {
			return // the delivery becomes an orphan, whose attempt is recorded as "may have been sent"
		}
	}
}
