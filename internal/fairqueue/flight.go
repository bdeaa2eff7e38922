package fairqueue

import (
	"time"

	"herald/internal/work"
)

// Next removes the next item by turns and counts it as in flight. Ended must follow. ok is false if
// no attempt may start now.
func (w *Window[T]) Next() (item T, key work.Lane, ok bool) {
	if w.inFlight >= w.limits.InFlight {
		return item, key, false
	}
	slowToo := !w.slowFull()
	c := lowest(&w.waiting, slowToo)
	if c == nil {
		return item, key, false
	}
	l := lowest(&c.waiting, slowToo) // not nil, because the client waits
	l.turn.leave()
	for p := range c.turn {
		c.turn[p].leave()
	}
	item = l.ready.pop()
	w.attempt(l, 1)
	w.update(l)
	return item, l.key, true
}

// enqueue puts a lane and its client into the lists of those that wait for a turn, if they may
// start an attempt. A lane or client that is already in the right list keeps its ticket.
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

// slowFull reports whether slow lanes have all the places that they may have.
func (w *Window[T]) slowFull() bool { return w.slowInFlight >= max(1, w.limits.InFlight/2) }

// attempt adds n to the attempts in flight of a lane, its client and the window. n is negative when
// attempts end.
func (w *Window[T]) attempt(l *lane[T], n int) {
	l.attempts += n
	l.client.inFlight += n
	w.inFlight += n
	if l.slow() {
		w.slowInFlight += n
	}
}

// hop adds n to the places of a lane that redirects have taken. n is negative when they leave.
func (w *Window[T]) hop(l *lane[T], n int) {
	l.hops += n
	if l.slow() {
		w.slowInFlight += n
	}
}

// inFlight returns the places taken in a lane. The lane's limit bounds it.
func (l *lane[T]) inFlight() int { return l.attempts + l.hops }

// Result is what the window needs to know of an attempt.
type Result struct {
	// Took is how long the attempt lasted.
	Took time.Duration
	// TimedOut is true if the receiver did not answer.
	TimedOut bool
	// Skipped is true if no attempt was made.
	Skipped bool
}

// Ended releases the place in flight of an item. Its slot stays taken until Release. The result
// changes the limit of the lane, and whether the lane is slow.
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

// Enter takes a place in flight of a lane that a redirect leads to. It returns false if there is
// none now. Leave releases the place. The redirected attempt also has a place in its own lane, and
// only that one counts for the bounds of the window and of the client. If both lanes are slow, the
// attempt counts twice among the slow ones.
func (w *Window[T]) Enter(key work.Lane) bool {
	l := w.lane(key)
	may := l.inFlight() < l.limit && !(l.slow() && w.slowFull())
	if may {
		w.hop(l, 1)
	}
	w.update(l)
	return may
}

// Leave releases a place taken by Enter.
func (w *Window[T]) Leave(key work.Lane) {
	l := w.existing(key, "Leave")
	if l.hops == 0 {
		misuse("Leave", key, "no redirect has entered the lane")
	}
	w.hop(l, -1)
	w.update(l)
}
