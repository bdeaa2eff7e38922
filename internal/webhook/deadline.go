package webhook

import (
	"context"
	"time"
)

// within returns a context for what does not wait on a connection that the attempt drives itself. It is made
// when it is needed, because most attempts need none.
func (a *attempt) within() context.Context {
	if a.waits == nil {
		a.waits, a.cancel = context.WithDeadline(a.outer, a.deadline)
	}
	return a.waits
}

// end releases what within has made.
func (a *attempt) end() {
	if a.cancel != nil {
		a.cancel()
	}
}

// over returns why the attempt must end, or nil: the service stops, or its time is over. What waits with a
// deadline may notice that before a context does.
func (a *attempt) over() error {
	if err := a.outer.Err(); err != nil || time.Now().Before(a.deadline) {
		return err
	}
	return context.DeadlineExceeded
}

// overdue reports whether a context has ended, or its time is over: what waits with a deadline of its own
// may notice that first.
func overdue(ctx context.Context) bool {
	deadline, has := ctx.Deadline()
	return ctx.Err() != nil || has && !time.Now().Before(deadline)
}

// ended returns why the attempt must end, and otherwise err.
func (a *attempt) ended(err error) error {
	if over := a.over(); over != nil {
		return over
	}
	return err
}
