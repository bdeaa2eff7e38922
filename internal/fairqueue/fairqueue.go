// Package fairqueue decides which delivery is sent next and how many are held in memory. It is a
// plain data structure: it has no goroutines and no clock, and it is not safe for concurrent use.
// internal/delivery guards it with a mutex, makes the attempts, and claims from the database.
//
// # Slots
//
// The window is the part of all pending deliveries that is in memory. Each item in it has a slot.
// Slots are counted in items and in bytes:
//
//	Reserve ────▶ reserved ── Add ───────┐
//	                                     ├─▶ ready ── Next ─▶ in flight ── Ended ─▶ ended
//	BeginClaim ─▶ claimed ─── AddClaimed ┘
//
// A slot is released exactly once, from any state but in flight:
//
//	reserved ── Release, the commit failed ────────────┐
//	claimed ─── EndClaim, there was less than asked ───┤
//	ready ───── Drain ─────────────────────────────────┼─▶ free
//	ended ───── Release, the attempt is recorded ──────┘
//
// A lane may hold no more slots than its client can still get, and a client no more than are free.
// So one lane can fill a third of the window, one client half of it, and n clients n parts of n+1.
// The last eighth is kept for clients that hold few slots or none (share.go).
//
// # Spilling
//
// A lane that finds no room spills: its new deliveries wait in the database. The deliveries after
// them wait there too, until a claim finds no more of them. Otherwise new deliveries would always
// overtake the waiting ones.
//
//	        ┌───── Reserve finds no room, MarkSpilled, a claim brings all it asked for ─────┐
//	        │                                                                               ▼
//	in memory                                                                            spilled
//	        ▲                                                                               │
//	        └── a claim brings less, and no spill began or was uncommitted while it ran ────┘
//
// A publish to quick receivers waits a little for room before it would spill (room.go). Claims bring
// what little a quick lane has in the database as fast as there is room.
//
// # Turns
//
// Clients take turns, the lanes of a client take turns, and the items of a lane are sent first in,
// first out. Each waiting lane or client has a ticket with a rising number; the lowest number is
// next. It gets a new ticket, behind all others, after each turn and whenever it becomes slow or
// fast.
//
// # Places
//
// A lane has a limit of attempts in flight. The limit shrinks while the receiver does not answer.
// A client has no more places in flight than are free, as with slots. The last eighth is kept for
// clients that have nothing in flight, one place each.
//
// A lane is slow until its receiver has answered, and whenever the receiver does not answer or takes
// more than a second on average. All slow lanes together get at most half of the places and of the
// slots. They share this half by the same rules. What a lane took before it became slow does not
// count there. So receivers that hang do not delay others, and a
// client gains nothing from a new host name for each delivery.
//
// An attempt counts once, in the lane that it began in. Its redirects count only against the limits
// of the lanes that they lead to: the attempt waits for them with the place that it has.
package fairqueue

import (
	"github.com/google/uuid"

	"herald/internal/work"
)

// Limits bound a Window. A zero value means the default.
type Limits struct {
	// Items is the number of slots, 16384 by default: two seconds of work at the full speed of one
	// node, about 10,000 a second.
	Items int
	// Bytes bounds the sum of the sizes of all items, 64 MiB by default: 4 KiB for each of the
	// 16384. A claim can bring larger items than its client had so far. Then there is no room until
	// they are sent.
	Bytes int
	// InFlight bounds the attempts under way, 1024 by default: sockets and buffers for about 10,000
	// a second at 100 ms each. One client gets half of them, or fewer beside others.
	InFlight int
	// InFlightPerLane bounds those of one lane, 128 by default: 1,000 a second at 100 ms each.
	InFlightPerLane int
}

func (l Limits) withDefaults() Limits {
	l.Items = fallback(l.Items, 16384)
	l.Bytes = fallback(l.Bytes, 64<<20)
	l.InFlight = fallback(l.InFlight, 1024)
	l.InFlightPerLane = fallback(l.InFlightPerLane, 128)
	return l
}

func fallback(value, standard int) int {
	if value == 0 {
		return standard
	}
	return value
}

// Window holds items of type T in lanes.
type Window[T any] struct {
	limits  Limits
	lanes   map[work.Lane]*lane[T]
	clients map[uuid.UUID]*clientQueue[T]

	waiting waitingClients[T]
	ticket  uint64        // the last one that was given out
	idle    list[lane[T]] // lanes that hold no slot, the longest idle first

	all     usage
	slow    usage // the part that lanes took while they were slow
	spilled int   // lanes
}

// clientQueue is the window's state of one client. It exists while the client has a lane.
type clientQueue[T any] struct {
	id      uuid.UUID
	lanes   int
	waiting [paces]list[lane[T]]         // its lanes that wait for a turn
	turn    [paces]entry[clientQueue[T]] // its entries in the window's lists
	idle    list[lane[T]]                // its lanes that hold no slot, the longest idle first
	all     usage
	slow    usage // the part that its lanes took while they were slow
	size    int   // the expected size of an item, in bytes; 0 before the first item
}

// lane is one client's deliveries to one origin.
type lane[T any] struct {
	key    work.Lane
	client *clientQueue[T]
	ready  fifo[T]
	turn   entry[lane[T]] // in one of its client's lists
	idle   entry[lane[T]] // in the window's list of idle lanes
	idleOf entry[lane[T]] // in its client's list of idle lanes
	usage
	tookSlow usage // the part of usage that was taken while the lane was slow

	open int // slots that are reserved, or whose attempt has ended
	hops int // redirects under way that lead here

	health
	spill spill
	claim claim
}

// usage is what a lane, a client or the whole window has taken: slots, their bytes, and places in
// flight.
type usage struct{ items, bytes, attempts int }

// Stats are the present numbers of a window: slots taken, their bytes, attempts in flight, those of
// them that began in slow lanes, known lanes, and how many of them have spilled.
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
		Items: w.all.items, Bytes: w.all.bytes,
		InFlight: w.all.attempts, SlowInFlight: w.slow.attempts,
		Lanes: len(w.lanes), Spilled: w.spilled,
	}
}

// lane returns a lane, and makes it if it does not exist. update must follow.
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
	l.turn.owner, l.idle.owner, l.idleOf.owner = l, l, l
	w.lanes[key] = l
	return l
}

// existing returns a lane that must exist, because the caller holds a slot or a place of it.
func (w *Window[T]) existing(key work.Lane, call string) *lane[T] {
	l := w.lanes[key]
	if l == nil {
		misuse(call, key, "the lane holds no slot and no place")
	}
	return l
}

// misuse panics. If a slot or a place was released twice, or released without being taken, every
// bound would be wrong from then on.
func misuse(call string, key work.Lane, what string) {
	panic("fairqueue: " + call + " for client " + key.Client.String() + ", " + key.Origin + ": " + what)
}

// maxIdle bounds the idle lanes that are remembered because of what is known of their receivers, or
// because they have spilled. At about 600 bytes each they take ten megabytes.
const maxIdle = 16384

// update puts a lane into the right list after any change: lanes that wait for a turn, idle lanes,
// or neither. A forgotten lane is as good as new, and so slow until its receiver answers. New
// deliveries of a forgotten spilled lane may overtake the waiting ones, until a claim brings all it
// asked for.
func (w *Window[T]) update(l *lane[T]) {
	w.enqueue(l)
	l.idle.leave()
	l.idleOf.leave()
	switch {
	case l.items > 0 || l.inFlight() > 0 || l.spill.uncommitted > 0 || l.claim.running:
	case !l.spill.on && l.health == (health{limit: w.limits.InFlightPerLane}):
		w.forget(l)
	default:
		w.remember(l)
	}
}

// remember adds a lane to the idle ones. A client has no more of them than are left for others, and
// at least one: beyond that, its longest idle lane is forgotten. So a client with many lanes does
// not push out what is known of the others' lanes.
func (w *Window[T]) remember(l *lane[T]) {
	l.ready.shrink()
	w.idle.join(&l.idle, 0)
	l.client.idle.join(&l.idleOf, 0)
	for c := l.client; c.idle.size > max(1, maxIdle-w.idle.size); {
		w.forget(c.idle.first.owner)
	}
	if w.idle.size > maxIdle {
		w.forget(w.idle.first.owner)
	}
}

// forget drops a lane that holds nothing. With its last lane a client is dropped too.
func (w *Window[T]) forget(l *lane[T]) {
	l.idle.leave()
	l.idleOf.leave()
	w.unspill(l)
	delete(w.lanes, l.key)
	l.client.lanes--
	if l.client.lanes == 0 {
		delete(w.clients, l.client.id)
	}
}
