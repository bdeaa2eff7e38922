package delivery

import (
	"sync/atomic"
	"time"
)

// A goroutine that has made an attempt waits a moment for another one. Its stack has grown to what an
// attempt needs; growing that of a new goroutine for each attempt took 4 to 9 % of the processor time.
const (
	// idleFor is how long a goroutine waits for another attempt.
	idleFor = time.Second
	// maxIdle bounds the goroutines that wait: as many as there are attempts under way. A commit ends
	// the work of hundreds at once. With stacks of 16 KiB they take 16 MiB, for a second.
	maxIdle = 1024
)

// workers are the goroutines that wait for an attempt.
type workers struct {
	next  chan *item    // to one that waits
	ended chan struct{} // closed when no attempt begins any more
	idle  atomic.Int32
}

func newWorkers() *workers {
	return &workers{next: make(chan *item), ended: make(chan struct{})}
}

// begin makes the attempt of a delivery in a goroutine that waits, or in a new one. The caller holds mu,
// and the service does not stop.
func (e *Engine) begin(i *item) {
	select {
	case e.workers.next <- i:
	default:
		e.attempts.Go(func() { e.attemptAll(i) })
	}
}

// attemptAll makes one attempt after the other, beginning with that of i, until none comes soon.
func (e *Engine) attemptAll(i *item) {
	for ; i != nil; i = e.workers.wait() {
		e.attempt(i)
	}
}

// wait returns the next delivery, or nil if none comes soon.
func (w *workers) wait() *item {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > maxIdle {
		return nil
	}
	timer := time.NewTimer(idleFor)
	defer timer.Stop()
	select {
	case i := <-w.next:
		return i
	case <-timer.C:
	case <-w.ended:
	}
	return nil
}
