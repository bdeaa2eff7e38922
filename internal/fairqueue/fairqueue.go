// Package fairqueue decides whose turn it is and how much memory holds. It is a
// plain data structure: no goroutines, no clock, not safe for concurrent use;
// internal/delivery guards it with its mutex, and does what it says.
//
// The window is what memory holds of all that is pending. Everything in it has
// a slot, which is counted in items and in bytes:
//
//	Reserve ────▶ reserved ── Add ───────┐
//	                                     ├─▶ ready ── Next ─▶ in flight ── Ended ─▶ ended
//	BeginClaim ─▶ claimed ─── AddClaimed ┘
//
// It is given back exactly once, from each but in flight:
//
//	reserved ── Release, the commit failed ────────────┐
//	claimed ─── EndClaim, there was less than asked ───┤
//	ready ───── Drain ─────────────────────────────────┼─▶ free
//	ended ───── Release, the attempt is recorded ──────┘
//
// Nobody may hold more slots than are left to others: a lane no more than its
// client can still have, a client no more than the window has free. So one lane
// fills a third of the window, one client half of it, n clients n parts of n+1,
// and there is always something left for the next.
//
// A lane that finds no room spills. What it is given waits in the database, and
// so does what comes after it, until a claim has found the lane drained there;
// otherwise fresh work would overtake for ever what waits:
//
//	        ┌───── Reserve finds no room, MarkSpilled, a claim brings all it asked for ─────┐
//	        │                                                                               ▼
//	in memory                                                                            spilled
//	        ▲                                                                               │
//	        └── a claim brings less, and no spill began or was uncommitted while it ran ────┘
//
// Clients take turns among each other, the lanes of a client among themselves,
// and a lane's items go first in, first out. Who waits for a turn holds a ticket
// of a rising number and goes to the end of the line with a new one after a
// turn, and whenever it turns slow or fast. A lane has a limit of attempts in
// flight, which shrinks while its receiver does not answer; slow lanes share
// half of the global bound, so that they do not hold up the rest.
package fairqueue

import (
	"github.com/google/uuid"

	"herald"
)

// Limits bound a Window; a zero value gets the default.
type Limits struct {
	// Items is how many slots there are, 16384: two seconds of work at the
	// full speed of one node, some 10,000 a second.
	Items int
	// Bytes bounds the sizes of what the window holds together, 64 MiB: 4 KiB
	// for each of the 16384. What a claim brings can be larger than was to be
	// expected of its client; then there is no more room until it is sent.
	Bytes int
	// InFlight bounds the attempts under way, 1024: sockets and buffers for
	// some 10,000 a second at 100 ms each. Slow lanes have half of them.
	InFlight int
	// InFlightPerClient bounds those of one client, half of InFlight: lanes
	// that hang are known as slow only after the first attempts have timed
	// out, and until then one client's must leave places to others.
	InFlightPerClient int
	// InFlightPerLane bounds those of one lane, 128: 1,000 a second at 100 ms
	// each, and eight lanes that hang at once for all places to be taken.
	InFlightPerLane int
}

func (l Limits) withDefaults() Limits {
	l.Items = fallback(l.Items, 16384)
	l.Bytes = fallback(l.Bytes, 64<<20)
	l.InFlight = fallback(l.InFlight, 1024)
	l.InFlightPerClient = fallback(l.InFlightPerClient, max(1, l.InFlight/2))
	l.InFlightPerLane = fallback(l.InFlightPerLane, 128)
	return l
}

func fallback(value, standard int) int {
	if value == 0 {
		return standard
	}
	return value
}

// Window holds items of type T.
type Window[T any] struct {
	limits  Limits
	lanes   map[herald.Lane]*lane[T]
	clients map[uuid.UUID]*client[T]

	line   [paces]line[client[T]] // clients that wait for a turn, by a lane of that pace
	ticket uint64                 // the last one given out
	idle   line[lane[T]]          // lanes that are only remembered, the longest first

	holding
	inFlight     int // attempts; an attempt's hops do not count again
	slowInFlight int // attempts and hops in lanes that are slow
	spilled      int // lanes
}

// client is what the window knows of one client while it has a lane.
type client[T any] struct {
	id    uuid.UUID
	lanes int
	line  [paces]line[lane[T]]    // its lanes that wait for a turn
	turn  [paces]place[client[T]] // its own places in the window's lines
	holding
	inFlight int // attempts
	size     int // expected of an item, in bytes; 0 when none has been seen
}

// lane is one client's deliveries to one origin.
type lane[T any] struct {
	key    herald.Lane
	client *client[T]
	ready  fifo[T]
	turn   place[lane[T]] // in one of its client's lines
	idle   place[lane[T]] // among those only remembered
	holding
	open     int // slots that are reserved, or whose attempt has ended
	attempts int // in flight
	hops     int // places taken by redirects that lead here

	reputation
	spill spill
	claim claim
}

// holding is what somebody has of the window.
type holding struct{ items, bytes int }

// Stats are a window's present numbers: the slots taken and their bytes, the
// attempts in flight, those of them (and hops) in slow lanes, the lanes known,
// and how many of those have spilled.
type Stats struct {
	Items, Bytes, InFlight, SlowInFlight, Lanes, Spilled int
}

// New returns an empty window.
func New[T any](l Limits) *Window[T] {
	return &Window[T]{
		limits:  l.withDefaults(),
		lanes:   make(map[herald.Lane]*lane[T]),
		clients: make(map[uuid.UUID]*client[T]),
	}
}

// Stats returns the window's present numbers.
func (w *Window[T]) Stats() Stats {
	return Stats{
		Items: w.items, Bytes: w.bytes,
		InFlight: w.inFlight, SlowInFlight: w.slowInFlight,
		Lanes: len(w.lanes), Spilled: w.spilled,
	}
}

// lane returns a lane, which is made if need be. settle must follow.
func (w *Window[T]) lane(key herald.Lane) *lane[T] {
	if l := w.lanes[key]; l != nil {
		return l
	}
	c := w.clients[key.Client]
	if c == nil {
		c = &client[T]{id: key.Client}
		for p := range c.turn {
			c.turn[p].owner = c
		}
		w.clients[key.Client] = c
	}
	c.lanes++
	l := &lane[T]{key: key, client: c, reputation: reputation{limit: w.limits.InFlightPerLane}}
	l.turn.owner, l.idle.owner = l, l
	w.lanes[key] = l
	return l
}

// known returns a lane that must exist, because the caller has something of it.
func (w *Window[T]) known(key herald.Lane, call string) *lane[T] {
	l := w.lanes[key]
	if l == nil {
		misuse(call, key, "nothing is held of the lane")
	}
	return l
}

// misuse ends the program: a slot or place that is given back twice, or never
// was taken, makes every bound wrong from then on.
func misuse(call string, key herald.Lane, what string) {
	panic("fairqueue: " + call + " for client " + key.Client.String() + ", " + key.Origin + ": " + what)
}

// maxIdle bounds how many lanes that hold nothing are remembered, for being
// slow or having spilled: at some 600 bytes each ten megabytes.
const maxIdle = 16384

// settle puts a lane where it belongs after any change: in line for a turn,
// among those that are only remembered, or out of the window. Of those only
// remembered the one untouched for the longest goes first. If it was slow it is
// found so again; if it had spilled, fresh work may overtake what waits until a
// claim brings all it asked for.
func (w *Window[T]) settle(l *lane[T]) {
	w.lineUp(l)
	l.idle.leave()
	switch {
	case l.items > 0 || l.inFlight() > 0 || l.spill.uncommitted > 0 || l.claim.running:
	case !l.spill.on && !l.slow() && l.limit == w.limits.InFlightPerLane:
		w.forget(l)
	default:
		w.idle.join(&l.idle, 0)
		if w.idle.size > maxIdle {
			w.forget(w.idle.first.owner)
		}
	}
}

// forget drops a lane that holds nothing, and its client with the last one.
func (w *Window[T]) forget(l *lane[T]) {
	l.idle.leave()
	w.unspill(l)
	delete(w.lanes, l.key)
	l.client.lanes--
	if l.client.lanes == 0 {
		delete(w.clients, l.client.id)
	}
}
