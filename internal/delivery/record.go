package delivery

import (
	"context"
	"errors"
	"time"

	"herald"
	"herald/internal/policy"
	"herald/internal/safetext"
	"herald/internal/webhook"
	"herald/internal/work"
)

// Pauses between two tries while the database is away. They double from the first to the last.
const (
	firstPause = 50 * time.Millisecond
	longPause  = 5 * time.Second
)

// whileAway calls try again and again while the database is away, and logs once that it waits. It
// returns at once when try succeeds, or fails for any other reason: an input that always fails must
// not take a place for ever. If the service stops, it returns try's last error.
func (e *Engine) whileAway(i *item, what string, try func() error) error {
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		err := try()
		if herald.CodeOf(err) != herald.CodeUnavailable {
			return err
		}
		if wait == firstPause {
			e.Log.Warn(what+"; it is tried again until the database is back", "deliveryId", i.ID, "error", safeError(err))
		}
		if !e.pause(wait) {
			return err
		}
	}
}

// safeError returns the text of an error for the log. The error may quote what a stranger sent.
func safeError(err error) string {
	if err == nil {
		return ""
	}
	return safetext.Line(err.Error(), maxErrorText)
}

// record saves the result of an attempt and releases the delivery's room. While the database is away
// it waits and holds the delivery, so that no other node makes the attempt again. If the database
// refuses the result, the result is recorded with fewer details, and at last without the attempt: what
// happens to the delivery matters most. If even that is refused, the delivery is postponed. A final result
// is kept meanwhile: the receiver has got the alert, and shall not get it again.
func (e *Engine) record(i *item, r work.Result, save func(work.Result) error) {
	whole := r
	var done func()
	r.Attempt, done = e.answers.admit(r.Attempt, i.ClientID, e.AnswerQuota, time.Now())
	defer done()
	for _, shorten := range shorter {
		if r.Attempt != nil {
			r.Attempt = shorten(r.Attempt)
		}
		err := e.whileAway(i, "the result of an attempt cannot be recorded yet", func() error { return save(r) })
		switch {
		case err == nil:
			if r.State != herald.Pending {
				e.Ended(r.State, 1)
			}
			e.release(i)
			return
		case errors.Is(err, work.ErrNotHeld):
			e.Log.Info("a delivery was cancelled or taken over during its attempt", "deliveryId", i.ID, "attempt", i.Attempt)
			e.release(i)
			return
		case herald.CodeOf(err) == herald.CodeUnavailable:
			e.release(i) // the service stops; the delivery becomes an orphan, whose attempt is recorded as "may have been sent"
			return
		}
		e.Log.Error("the database refuses the result of an attempt", "deliveryId", i.ID, "attempt", i.Attempt, "error", safeError(err))
		if r.Attempt == nil {
			break
		}
	}
	why := "this service could not record the result of the attempt"
	if whole.State != herald.Pending {
		e.keepResult(i.ID, whole, save)
		why += ", which was final; the attempt is not made again while this node runs"
	}
	e.postpone(i, policy.PostponeFor(time.Since(i.MadeAt), e.Random()), why)
}

// refusedDetails is the error of an attempt whose details are not recorded.
const refusedDetails = "the database refused the details of this attempt"

// shorter are the forms of an attempt with ever fewer details.
var shorter = []func(*herald.Attempt) *herald.Attempt{
	func(a *herald.Attempt) *herald.Attempt { return a },
	func(a *herald.Attempt) *herald.Attempt { return withoutDetails(a, a.Request, a.Error) },
	func(a *herald.Attempt) *herald.Attempt { return withoutDetails(a, nil, refusedDetails) },
	func(*herald.Attempt) *herald.Attempt { return nil },
}

// withoutDetails returns a copy of an attempt without its response.
func withoutDetails(a *herald.Attempt, request *herald.RequestRecord, text string) *herald.Attempt {
	short := *a
	short.Request, short.Error, short.Response = request, text, nil
	return &short
}

// cannotMake ends an attempt that this service cannot make: the delivery is postponed, or it fails when
// it is too old. why is shown to the client and cause is logged.
func (e *Engine) cannotMake(i *item, why string, cause error) {
	if cause != nil {
		e.Log.Error("an attempt cannot be made", "deliveryId", i.ID, "clientId", i.ClientID, "why", why, "error", safeError(cause))
	}
	e.finish(i, time.Now(), webhook.Result{Reason: herald.ReasonLocal, Error: why + "; nothing was sent"}, e.Store.Record)
}

// postpone ends this node's hold on a delivery, which waits in the database for delay and shows why.
func (e *Engine) postpone(i *item, delay time.Duration, why string) {
	ctx := context.WithoutCancel(e.sending)
	err := e.whileAway(i, "a delivery cannot be postponed yet", func() error { return e.Store.Postpone(ctx, i.Item, delay, why) })
	if err == nil || errors.Is(err, work.ErrNotHeld) || herald.CodeOf(err) == herald.CodeUnavailable {
		e.release(i)
		return
	}
	e.Log.Error("a delivery cannot be postponed; it is handed back", "deliveryId", i.ID, "error", safeError(err))
	e.handBack(i)
}

// handBack ends this node's hold on a delivery without an attempt, so that the delivery waits in the
// database again. If the service stops before that, the delivery becomes an orphan.
func (e *Engine) handBack(i *item) {
	ctx := context.WithoutCancel(e.sending)
	err := e.whileAway(i, "a delivery cannot be handed back yet", func() error { return e.Store.HandBack(ctx, []work.Item{i.Item}) })
	if err != nil {
		e.Log.Error("a delivery was not handed back; it is made when this node registers again", "deliveryId", i.ID, "error", safeError(err))
	}
	e.release(i)
}
