package fairqueue

import (
	"time"

	"herald/internal/work"
)

// Next returns the item whose turn it is and counts it as in flight; Ended must
// follow. ok is false when nothing may start now.
func (w *Window[T]) Next() (item T, key work.Lane, ok bool) {
	if w.inFlight >= w.limits.InFlight {
		return item, key, false
	}
	slowToo := !w.slowFull()
	c := lowest(&w.waiting, slowToo)
	if c == nil {
		return item, key, false
	}
	l := lowest(&c.waiting, slowToo) // there is one, or the client would not wait
	l.turn.leave()
	for p := range c.turn {
		c.turn[p].leave()
	}
	item = l.ready.pop()
	w.attempt(l, 1)
	w.update(l)
	return item, l.key, true
}

// enqueue lets a lane and its client wait for a turn, if they may have one when it
// comes. One that is in the right list already keeps its place.
func (w *Window[T]) enqueue(l *lane[T]) {
	var right *list[lane[T]]
	if l.ready.size > 0 && l.inFlight() < l.limit {
		right = &l.client.waiting[l.pace()]
	}
	if l.turn.list != right {
		l.turn.leave()
		if right != nil {
			right.join(&l.turn, w.nextTicket())
		}
	}
	c := l.client
	for p := range c.turn {
		switch {
		case c.waiting[p].size == 0 || c.inFlight >= w.limits.InFlightPerClient:
			c.turn[p].leave()
		case c.turn[p].list == nil:
			w.waiting[p].join(&c.turn[p], w.nextTicket())
		}
	}
}

func (w *Window[T]) nextTicket() uint64 {
	w.ticket++
	return w.ticket
}

// slowFull reports whether slow lanes have all the places they may have.
func (w *Window[T]) slowFull() bool { return w.slowInFlight >= max(1, w.limits.InFlight/2) }

// attempt counts attempts of a lane as in flight, or as ended if negative.
func (w *Window[T]) attempt(l *lane[T], n int) {
	l.attempts += n
	l.client.inFlight += n
	w.inFlight += n
	if l.slow() {
		w.slowInFlight += n
	}
}

// hop counts places of a lane as taken by redirects, or given back if negative.
func (w *Window[T]) hop(l *lane[T], n int) {
	l.hops += n
	if l.slow() {
		w.slowInFlight += n
	}
}

// inFlight is what a lane's limit bounds.
func (l *lane[T]) inFlight() int { return l.attempts + l.hops }

// Result is what the window has to know of an attempt.
type Result struct {
	// Took is how long the attempt lasted.
	Took time.Duration
	// TimedOut says that the receiver did not answer, at once or at all.
	TimedOut bool
	// Skipped says that there was no attempt after all.
	Skipped bool
}

// Ended gives an item's place in flight back. Its slot stays taken until
// Release. The result counts for the lane's limit and for whether it is slow.
func (w *Window[T]) Ended(key work.Lane, r Result) {
	l := w.existing(key, "Ended")
	if l.attempts == 0 {
		misuse("Ended", key, "no attempt is in flight")
	}
	w.attempt(l, -1)
	l.open++
	if !r.Skipped {
		wasSlow := l.slow()
		l.observe(r, w.limits.InFlightPerLane)
		switch {
		case l.slow() && !wasSlow:
			w.slowInFlight += l.inFlight()
		case wasSlow && !l.slow():
			w.slowInFlight -= l.inFlight()
		}
	}
	w.update(l)
}

// Enter takes a place in flight of a lane that a redirect leads to, if it may
// have one now; Leave gives it back. The attempt that is redirected has a place
// of its own lane and counts for the global bound, and for its client's, by
// that; if both lanes are slow, it counts twice among the slow ones.
func (w *Window[T]) Enter(key work.Lane) bool {
	l := w.lane(key)
	may := l.inFlight() < l.limit && !(l.slow() && w.slowFull())
	if may {
		w.hop(l, 1)
	}
	w.update(l)
	return may
}

// Leave gives back a place taken by Enter.
func (w *Window[T]) Leave(key work.Lane) {
	l := w.existing(key, "Leave")
	if l.hops == 0 {
		misuse("Leave", key, "no redirect has entered the lane")
	}
	w.hop(l, -1)
	w.update(l)
}
