// Package turns decides whose turn it is and how much memory holds. It is a
// plain data structure: no goroutines, no clock, not safe for concurrent use;
// internal/delivery guards it with its mutex and does what it says.
//
// The window is what memory holds of all that is pending, bounded in items and
// bytes, for all, for each client and for each lane. An item's slot goes
//
//	Reserve ──┬─▶ Add ────────┐
//	          └─▶ Release     ├─▶ ready ─ Next ─▶ in flight ─ Ended ─▶ ended ─ Release ─▶ free
//	BeginClaim ─▶ AddClaimed ─┘     └──── Drain ──────────────────────────────────────▶ free
//
// Clients take turns among each other, the lanes of a client among themselves,
// and within a lane it is first in, first out. A lane has a limit of attempts in
// flight that shrinks while its receiver does not answer; lanes that are slow
// share half of the global bound, so that they cannot hold up the rest.
//
// A lane that finds no room spills: what it is given waits in the database, and
// so does what comes after it, until a claim has found the lane drained there.
// Otherwise fresh work would overtake what waits for ever.
package turns

import (
	"time"

	"github.com/google/uuid"

	"herald"
)

// Limits bound a Window; a zero value gets the default.
type Limits struct {
	// Items is how many items the window holds, 16384: at a few hundred
	// bytes each some megabytes, and two seconds of work at full speed.
	Items int
	// ItemsPerClient and ItemsPerLane are the shares that one client and one
	// lane can have: half and a quarter.
	ItemsPerClient, ItemsPerLane int
	// Bytes bounds the items' sizes together, 64 MiB.
	Bytes int
	// InFlight bounds the attempts under way, 1024, and InFlightPerLane those
	// of one lane, 128: enough for 1,000 a second at 100 ms each.
	InFlight, InFlightPerLane int
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		value    *int
		fallback int
	}{{&l.Items, 16384}, {&l.Bytes, 64 << 20}, {&l.InFlight, 1024}, {&l.InFlightPerLane, 128}} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	if l.ItemsPerClient == 0 {
		l.ItemsPerClient = max(1, l.Items/2)
	}
	if l.ItemsPerLane == 0 {
		l.ItemsPerLane = max(1, l.Items/4)
	}
	return l
}

// slowAfter is the average duration from which on a lane counts as slow: what
// takes a second occupies a place a thousand times as long as a quick one.
const slowAfter = time.Second

// claimLimits is how many of its in-flight limits a lane can claim at once: so
// many that the next claim is done before they are sent, and so few that one
// lane's claim stays short.
const claimLimits = 4

// Window holds items of type T.
type Window[T any] struct {
	limits  Limits
	lanes   map[herald.Lane]*lane[T]
	clients map[uuid.UUID]*client[T]
	ring    fifo[*client[T]] // clients with a lane that may have a turn
	waiting fifo[*lane[T]]   // slow lanes that wait for slow places
	idle    fifo[*lane[T]]   // lanes that hold nothing but a bad reputation

	items, bytes, inFlight, slowInFlight, spilled int
}

type client[T any] struct {
	id     uuid.UUID
	items  int
	lanes  int
	ring   fifo[*lane[T]] // lanes that may have a turn
	listed bool           // stands in the window's ring
}

type lane[T any] struct {
	key    herald.Lane
	client *client[T]
	ready  fifo[T]
	items  int // slots taken: reserved, ready, in flight or being recorded
	listed bool
	parked bool // stands in waiting
	idling bool // stands in idle

	inFlight  int
	limit     int
	successes int // since the limit last changed
	average   time.Duration
	failing   bool // the last attempt got no answer

	spilled     bool
	uncommitted int    // spilled items whose commit is not known yet
	spills      uint64 // so far
	claiming    bool
	claimedAt   uint64 // spills when the claim began
}

// New returns an empty window.
func New[T any](l Limits) *Window[T] {
	return &Window[T]{limits: l.withDefaults(), lanes: make(map[herald.Lane]*lane[T]), clients: make(map[uuid.UUID]*client[T])}
}

// Stats are a window's present numbers.
type Stats struct {
	Items, Bytes, InFlight, SlowInFlight, Lanes, Spilled int
}

// Stats returns the window's present numbers.
func (w *Window[T]) Stats() Stats {
	return Stats{Items: w.items, Bytes: w.bytes, InFlight: w.inFlight, SlowInFlight: w.slowInFlight, Lanes: len(w.lanes), Spilled: w.spilled}
}

func (w *Window[T]) lane(key herald.Lane) *lane[T] {
	if l := w.lanes[key]; l != nil {
		return l
	}
	c := w.clients[key.Client]
	if c == nil {
		c = &client[T]{id: key.Client}
		w.clients[key.Client] = c
	}
	c.lanes++
	l := &lane[T]{key: key, client: c, limit: w.limits.InFlightPerLane}
	w.lanes[key] = l
	return l
}

// known returns a lane that must exist: the caller has something of it.
func (w *Window[T]) known(key herald.Lane, call string) *lane[T] {
	l := w.lanes[key]
	if l == nil {
		panic("turns: " + call + " of a lane that holds nothing: " + key.Origin)
	}
	return l
}

// Reserve takes a slot for an item that is about to be committed. False means
// that the item has to wait in the database: the lane has spilled, and Spilled
// must be called when that commit is over, whatever came of it.
func (w *Window[T]) Reserve(key herald.Lane, size int) bool {
	l := w.lane(key)
	if !l.spilled && w.room(l) > 0 && w.bytes+size <= w.limits.Bytes {
		w.hold(l, 1, size)
		return true
	}
	w.spill(l)
	l.uncommitted++
	l.spills++
	return false
}

// room returns how many more slots a lane can have.
func (w *Window[T]) room(l *lane[T]) int {
	return min(w.limits.Items-w.items, w.limits.ItemsPerClient-l.client.items, w.limits.ItemsPerLane-l.items)
}

func (w *Window[T]) hold(l *lane[T], n, size int) {
	l.items += n
	l.client.items += n
	w.items += n
	w.bytes += size
}

// Release gives a slot back: the item's commit failed, or it is recorded.
func (w *Window[T]) Release(key herald.Lane, size int) {
	l := w.known(key, "Release")
	if l.items == 0 {
		panic("turns: a slot was released twice: " + key.Origin)
	}
	w.hold(l, -1, -size)
	w.forget(l)
}

func (w *Window[T]) spill(l *lane[T]) {
	if !l.spilled {
		l.spilled = true
		w.spilled++
	}
}

func (w *Window[T]) drained(l *lane[T]) {
	if l.spilled {
		l.spilled = false
		w.spilled--
	}
}

// Spilled says that the commit of an item that found no room is over.
func (w *Window[T]) Spilled(key herald.Lane) {
	l := w.known(key, "Spilled")
	if l.uncommitted == 0 {
		panic("turns: a spill was settled twice: " + key.Origin)
	}
	l.uncommitted--
	w.forget(l)
}

// MarkSpilled says that a lane has a backlog in the database.
func (w *Window[T]) MarkSpilled(key herald.Lane) { w.spill(w.lane(key)) }

// Add makes an item ready that has a slot by Reserve.
func (w *Window[T]) Add(key herald.Lane, item T) {
	l := w.known(key, "Add")
	l.ready.push(item)
	w.list(l)
}

// BeginClaim takes slots for a claim of the lane's deliveries in the database
// and returns how many; 0 means that none should be claimed now. Otherwise
// EndClaim must follow.
func (w *Window[T]) BeginClaim(key herald.Lane) int {
	l := w.lane(key)
	n := min(w.room(l), claimLimits*l.limit)
	if l.claiming || n <= 0 || w.bytes >= w.limits.Bytes {
		w.forget(l)
		return 0
	}
	l.claiming, l.claimedAt = true, l.spills
	w.hold(l, n, 0)
	return n
}

// AddClaimed makes an item ready that a claim brought.
func (w *Window[T]) AddClaimed(key herald.Lane, item T, size int) {
	w.bytes += size
	w.Add(key, item)
}

// EndClaim ends a claim of wanted items that brought some, or failed if not ok.
// A claim that brought all leaves more behind; one that brought fewer has
// drained the lane, unless something spilled since it began.
func (w *Window[T]) EndClaim(key herald.Lane, wanted, brought int, ok bool) {
	l := w.known(key, "EndClaim")
	w.hold(l, brought-wanted, 0)
	l.claiming = false
	switch {
	case !ok:
	case brought == wanted:
		w.spill(l)
	case l.uncommitted == 0 && l.spills == l.claimedAt:
		w.drained(l)
	}
	w.forget(l)
}

// Drain takes out all items that are ready, oldest first within a lane, and
// gives their slots back.
func (w *Window[T]) Drain(size func(T) int) []T {
	var all []T
	for _, l := range w.lanes {
		for !l.ready.empty() {
			item := l.ready.pop()
			w.hold(l, -1, -size(item))
			all = append(all, item)
		}
		w.forget(l)
	}
	return all
}
