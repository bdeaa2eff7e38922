package delivery

import (
	"slices"
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

// workers are the goroutines that wait for an attempt. The engine holds mu when it uses them. The one that
// began to wait last gets the next attempt: its stack is still in the processor's caches, and those that
// are not needed end.
type workers struct {
	idle  []worker    // the one that waits for longest is the first
	timer *time.Timer // runs while one waits
}

type worker struct {
	next  chan *item // has room for one; closed to end the goroutine
	since time.Time
}

// begin makes the attempt of a delivery in a goroutine that waits, or in a new one. The caller holds mu,
// and the service does not stop.
func (e *Engine) begin(i *item) {
	last := len(e.workers.idle) - 1
	if last < 0 {
		e.attempts.Go(func() { e.attemptAll(i) })
		return
	}
	e.workers.idle[last].next <- i
	e.workers.idle = slices.Delete(e.workers.idle, last, last+1)
}

// attemptAll makes one attempt after the other, beginning with that of i, until none comes soon.
func (e *Engine) attemptAll(i *item) {
	next := make(chan *item, 1)
	for ; i != nil; i = <-next {
		e.attempt(i)
		e.wait(next)
	}
}

// wait adds a goroutine to those that wait, or ends it if there are enough or the service stops.
func (e *Engine) wait(next chan *item) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &e.workers
	if e.stopping || len(w.idle) >= maxIdle {
		close(next)
		return
	}
	w.idle = append(w.idle, worker{next, time.Now()})
	if w.timer == nil {
		w.timer = time.AfterFunc(idleFor, e.endIdle)
	}
}

// endIdle ends the goroutines that have waited for idleFor.
func (e *Engine) endIdle() {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &e.workers
	long := 0
	for long < len(w.idle) && time.Since(w.idle[long].since) >= idleFor {
		long++
	}
	w.end(long)
	if w.timer = nil; len(w.idle) > 0 {
		w.timer = time.AfterFunc(idleFor-time.Since(w.idle[0].since), e.endIdle)
	}
}

// end ends the n goroutines that have waited for longest.
func (w *workers) end(n int) {
	for _, idle := range w.idle[:n] {
		close(idle.next)
	}
	w.idle = slices.Delete(w.idle, 0, n)
}
