package turns

import (
	"time"

	"herald"
)

// Next returns the item whose turn it is and counts it as in flight; ok is
// false when nothing may start now.
func (w *Window[T]) Next() (item T, key herald.Lane, ok bool) {
	for w.inFlight < w.limits.InFlight && !w.ring.empty() {
		c := w.ring.pop()
		c.listed = false
		l := w.nextLane(c)
		if l == nil {
			continue // it is listed again when one of its lanes is
		}
		item = l.ready.pop()
		w.fly(l, 1)
		w.list(l) // at the end of the client's ring
		w.listClient(c)
		return item, l.key, true
	}
	return item, key, false
}

// nextLane takes the client's next lane that may start from its ring; lanes
// that may not are left out until something changes for them.
func (w *Window[T]) nextLane(c *client[T]) *lane[T] {
	for !c.ring.empty() {
		l := c.ring.pop()
		l.listed = false
		if w.mayStart(l) {
			return l
		}
		w.list(l) // parks it if slow places are what it lacks
	}
	return nil
}

func (w *Window[T]) mayStart(l *lane[T]) bool {
	return !l.ready.empty() && l.inFlight < l.limit && !(l.slow() && w.slowFull())
}

func (w *Window[T]) slowFull() bool { return w.slowFree() <= 0 }

func (w *Window[T]) slowFree() int { return max(1, w.limits.InFlight/2) - w.slowInFlight }

func (l *lane[T]) slow() bool { return l.failing || l.average > slowAfter }

// list puts a lane where it waits for its turn, if it is ready for one.
func (w *Window[T]) list(l *lane[T]) {
	if l.listed || l.parked || l.ready.empty() || l.inFlight >= l.limit {
		return
	}
	if l.slow() && w.slowFull() {
		l.parked = true
		w.waiting.push(l)
		return
	}
	l.listed = true
	l.client.ring.push(l)
	w.listClient(l.client)
}

func (w *Window[T]) listClient(c *client[T]) {
	if !c.listed && !c.ring.empty() {
		c.listed = true
		w.ring.push(c)
	}
}

// fly counts n more attempts of a lane in flight.
func (w *Window[T]) fly(l *lane[T], n int) {
	l.inFlight += n
	w.inFlight += n
	if l.slow() {
		w.slowInFlight += n
	}
}

// Result is what the window has to know of an attempt.
type Result struct {
	Took time.Duration
	// TimedOut says that the receiver did not answer, at once or at all.
	TimedOut bool
	// Skipped says that there was no attempt after all.
	Skipped bool
}

// Ended gives the place in flight of an item back. Its slot stays taken until
// Release. Without an answer a lane's limit is halved; with answers it grows by
// one as often as it is full once.
func (w *Window[T]) Ended(key herald.Lane, r Result) {
	l := w.known(key, "Ended")
	if l.inFlight == 0 {
		panic("turns: an attempt ended twice: " + key.Origin)
	}
	w.fly(l, -1)
	if !r.Skipped {
		w.judge(l, r)
	}
	w.after(l)
}

// judge changes a lane's reputation by an attempt's result.
func (w *Window[T]) judge(l *lane[T], r Result) {
	if l.slow() {
		w.slowInFlight -= l.inFlight
	}
	l.average += (r.Took - l.average) / 8 // the last eight or so
	l.failing = r.TimedOut
	if r.TimedOut {
		l.limit, l.successes = max(1, l.limit/2), 0
	} else if l.successes++; l.successes >= l.limit && l.limit < w.limits.InFlightPerLane {
		l.limit, l.successes = l.limit+1, 0
	}
	if l.slow() {
		w.slowInFlight += l.inFlight
	}
}

// after lets those have a turn who may after a place was given back.
func (w *Window[T]) after(l *lane[T]) {
	if !l.slow() {
		l.parked = false // what stands of it in waiting does not count any more
	}
	for free := w.slowFree(); free > 0 && !w.waiting.empty(); free-- {
		parked := w.waiting.pop()
		parked.parked = false
		w.list(parked)
	}
	w.list(l)
	w.forget(l)
}

// Enter takes a place in flight of a lane that a redirect leads to, if it may
// have one now; Leave gives it back.
func (w *Window[T]) Enter(key herald.Lane) bool {
	l := w.lane(key)
	if l.inFlight >= l.limit || l.slow() && w.slowFull() {
		w.forget(l)
		return false
	}
	w.fly(l, 1)
	return true
}

// Leave gives back a place taken by Enter.
func (w *Window[T]) Leave(key herald.Lane) {
	w.Ended(key, Result{Skipped: true})
}

// maxIdle bounds how many lanes are remembered for their reputation alone.
const maxIdle = 4096

// forget drops a lane that holds nothing and has nothing to be remembered for.
// Of those that have only a reputation, the latest are kept.
func (w *Window[T]) forget(l *lane[T]) {
	if l.items > 0 || l.inFlight > 0 || l.spilled || l.uncommitted > 0 || l.claiming {
		return
	}
	if l.limit == w.limits.InFlightPerLane && !l.slow() {
		w.drop(l)
		return
	}
	if !l.idling {
		l.idling = true
		w.idle.push(l)
	}
	for w.idle.len() > maxIdle {
		oldest := w.idle.pop()
		oldest.idling = false
		if oldest.items == 0 && oldest.inFlight == 0 && !oldest.spilled && oldest.uncommitted == 0 && !oldest.claiming {
			w.drop(oldest)
		}
	}
}

func (w *Window[T]) drop(l *lane[T]) {
	if w.lanes[l.key] != l {
		return // dropped before, and still in the list of idle ones
	}
	delete(w.lanes, l.key)
	l.client.lanes--
	if l.client.lanes == 0 {
		delete(w.clients, l.client.id)
	}
}
