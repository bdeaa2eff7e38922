package fairqueue

import (
	"time"

	"herald/internal/work"
)

// waitingClients are the clients that wait for a turn: by the pace of their lanes that wait, and by
// what they have in flight. Clients that may have no more places now stay in their lists.
type waitingClients[T any] [paces][holdings]list[clientQueue[T]]

// holding says what a client has in flight. When only the kept places are free, the lists of clients
// that may not have them are skipped.
type holding int

const (
	holdsNothing holding = iota
	holdsFast            // nothing in slow lanes
	holdsSlow
	holdings
)

func (c *clientQueue[T]) holding(p pace) holding {
	switch {
	case c.all.attempts == 0:
		return holdsNothing
	case c.slow.attempts == 0 || p == fast: // slow places do not matter to a fast lane
		return holdsFast
	default:
		return holdsSlow
	}
}

// Next removes the next item by turns and counts it as in flight. Ended must follow. ok is false if
// no attempt may start now.
func (w *Window[T]) Next() (item T, key work.Lane, ok bool) {
	c := w.nextClient()
	if c == nil {
		return item, key, false
	}
	l := c.nextLane(w.mayStart(c, fast), w.mayStart(c, slow))
	l.turn.leave()
	for p := range c.turn {
		c.turn[p].leave()
	}
	item = l.ready.pop()
	w.charge(l, usage{attempts: 1})
	w.update(l)
	return item, l.key, true
}

// nextClient returns the client with the lowest ticket among those that may start an attempt, or
// nil. It skips the few clients with as many places as are free. They are fewer than keptPart in a
// list, because each of them has more places than are kept.
func (w *Window[T]) nextClient() *clientQueue[T] {
	var next *entry[clientQueue[T]]
	for p := range paces {
		for h := range holdings {
			if !w.isOpen(p, h) {
				continue
			}
			for e := w.waiting[p][h].first; e != nil && (next == nil || e.ticket < next.ticket); e = e.next {
				if w.mayStart(e.owner, p) {
					next = e
				}
			}
		}
	}
	if next == nil {
		return nil
	}
	return next.owner
}

// isOpen reports whether there are places for a list of waiting clients.
func (w *Window[T]) isOpen(p pace, h holding) bool {
	open := func(s share, holds bool) bool { return s.free() > 0 && (!holds || s.free() > s.kept()) }
	return open(w.places(), h != holdsNothing) && (p == fast || open(w.slowPlaces(), h == holdsSlow))
}

// mayStart reports whether a client may start an attempt in a lane of that pace.
func (w *Window[T]) mayStart(c *clientQueue[T], p pace) bool {
	return w.places().allows(c.all.attempts) && (p == fast || w.slowPlaces().allows(c.slow.attempts))
}

// nextLane returns the lane with the lowest ticket among those of the allowed paces, or nil.
func (c *clientQueue[T]) nextLane(allowed ...bool) *lane[T] {
	var next *entry[lane[T]]
	for p := range paces {
		if first := c.waiting[p].first; allowed[p] && first != nil && (next == nil || first.ticket < next.ticket) {
			next = first
		}
	}
	if next == nil {
		return nil
	}
	return next.owner
}

// enqueue puts a lane and its client into the lists of those that wait for a turn. A lane or client
// that is already in the right list keeps its ticket.
func (w *Window[T]) enqueue(l *lane[T]) {
	var right *list[lane[T]]
	if l.ready.size > 0 && l.inFlight() < l.limit {
		right = &l.client.waiting[l.pace()]
	}
	move(&l.turn, right, &w.ticket)
	c := l.client
	for p := range paces {
		var right *list[clientQueue[T]]
		if c.waiting[p].size > 0 {
			right = &w.waiting[p][c.holding(p)]
		}
		move(&c.turn[p], right, &w.ticket)
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
	w.charge(l, usage{attempts: -1})
	l.open++
	if !r.Skipped {
		w.observe(l, r)
	}
	w.update(l)
}

// Enter lets a redirect into the lane that it leads to. It returns false if the lane has as many
// attempts and redirects in flight as it may have. Leave must follow. The redirected attempt has a
// place already, in its own lane, and only that one counts for the bounds of the window and of the
// client.
func (w *Window[T]) Enter(key work.Lane) bool {
	l := w.lane(key)
	may := l.inFlight() < l.limit
	if may {
		l.hops++
	}
	w.update(l)
	return may
}

// Leave ends a redirect that Enter let in.
func (w *Window[T]) Leave(key work.Lane) {
	l := w.existing(key, "Leave")
	if l.hops == 0 {
		misuse("Leave", key, "no redirect has entered the lane")
	}
	l.hops--
	w.update(l)
}
