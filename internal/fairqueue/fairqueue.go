// Package fairqueue decides which delivery goes next and how many are held in
// memory. It is a plain data structure: it has no goroutines and no clock, and it is
// not safe for concurrent use. internal/delivery guards it with its mutex.
//
// # Slots
//
// The window is the part of all pending deliveries that is in memory. Each item in it
// has a slot. Slots are counted in items and in bytes:
//
//	Reserve ────▶ reserved ── Add ───────┐
//	                                     ├─▶ ready ── Next ─▶ in flight ── Ended ─▶ ended
//	BeginClaim ─▶ claimed ─── AddClaimed ┘
//
// A slot is given back exactly once, from each state but in flight:
//
//	reserved ── Release, the commit failed ────────────┐
//	claimed ─── EndClaim, there was less than asked ───┤
//	ready ───── Drain ─────────────────────────────────┼─▶ free
//	ended ───── Release, the attempt is recorded ──────┘
//
// A lane may hold no more slots than its client can still get, and a client no more
// than are free. So one lane fills a third of the window, one client half of it, and
// n clients n parts of n+1. There is always room for one more client.
//
// # Spilling
//
// A lane that finds no room spills: its new deliveries wait in the database. So do
// the ones after them, until a claim has found nothing left there. Otherwise new
// deliveries would overtake the waiting ones for ever.
//
//	        ┌───── Reserve finds no room, MarkSpilled, a claim brings all it asked for ─────┐
//	        │                                                                               ▼
//	in memory                                                                            spilled
//	        ▲                                                                               │
//	        └── a claim brings less, and no spill began or was uncommitted while it ran ────┘
//
// # Turns
//
// Clients take turns, the lanes of a client take turns, and a lane's items go first
// in, first out. Each waiting lane or client has a ticket with a rising number. It
// gets a new ticket, behind all others, after each turn and whenever it becomes slow
// or fast.
//
// A lane has a limit of attempts in flight. The limit shrinks while the receiver does
// not answer. Slow lanes share half of the places, so that they do not hold up others.
package fairqueue

import (
	"github.com/google/uuid"

	"herald/internal/work"
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
	lanes   map[work.Lane]*lane[T]
	clients map[uuid.UUID]*clientQueue[T]

	waiting [paces]list[clientQueue[T]] // clients that wait for a turn, by a lane of that pace
	ticket  uint64                      // the last one given out
	idle    list[lane[T]]               // lanes that hold nothing, the longest idle first

	usage
	inFlight     int // attempts; an attempt's hops do not count again
	slowInFlight int // attempts and hops in lanes that are slow
	spilled      int // lanes
}

// clientQueue is what the window knows of one client while it has a lane.
type clientQueue[T any] struct {
	id      uuid.UUID
	lanes   int
	waiting [paces]list[lane[T]]         // its lanes that wait for a turn
	turn    [paces]entry[clientQueue[T]] // its entries in the window's lists
	usage
	inFlight int // attempts
	size     int // expected of an item, in bytes; 0 when none has been seen
}

// lane is one client's deliveries to one origin.
type lane[T any] struct {
	key    work.Lane
	client *clientQueue[T]
	ready  fifo[T]
	turn   entry[lane[T]] // in one of its client's lists
	idle   entry[lane[T]] // in the list of idle lanes
	usage
	open     int // slots that are reserved, or whose attempt has ended
	attempts int // in flight
	hops     int // places taken by redirects that lead here

	health
	spill spill
	claim claim
}

// usage is the part of the window that a lane, a client or all have taken.
type usage struct{ items, bytes int }

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
		lanes:   make(map[work.Lane]*lane[T]),
		clients: make(map[uuid.UUID]*clientQueue[T]),
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

// lane returns a lane, which is made if need be. update must follow.
func (w *Window[T]) lane(key work.Lane) *lane[T] {
	if l := w.lanes[key]; l != nil {
		return l
	}
	c := w.clients[key.Client]
	if c == nil {
		c = &clientQueue[T]{id: key.Client}
		for p := range c.turn {
			c.turn[p].owner = c
		}
		w.clients[key.Client] = c
	}
	c.lanes++
	l := &lane[T]{key: key, client: c, health: health{limit: w.limits.InFlightPerLane}}
	l.turn.owner, l.idle.owner = l, l
	w.lanes[key] = l
	return l
}

// existing returns a lane that must exist, because the caller has something of it.
func (w *Window[T]) existing(key work.Lane, call string) *lane[T] {
	l := w.lanes[key]
	if l == nil {
		misuse(call, key, "nothing is held of the lane")
	}
	return l
}

// misuse ends the program: a slot or place that is given back twice, or never
// was taken, makes every bound wrong from then on.
func misuse(call string, key work.Lane, what string) {
	panic("fairqueue: " + call + " for client " + key.Client.String() + ", " + key.Origin + ": " + what)
}

// maxIdle bounds how many idle lanes are remembered, because they were slow or have
// spilled: at some 600 bytes each ten megabytes.
const maxIdle = 16384

// update puts a lane into the right list after any change: of those that wait for a
// turn, of those that are idle, or none. Of the idle lanes the one untouched for the
// longest is forgotten first. If it was slow, that is found out again. If it had
// spilled, new deliveries may overtake what waits until a claim brings all it asked
// for.
func (w *Window[T]) update(l *lane[T]) {
	w.enqueue(l)
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
