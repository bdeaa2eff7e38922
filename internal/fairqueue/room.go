package fairqueue

import (
	"time"

	"github.com/google/uuid"

	"herald/internal/work"
)

// Need is what the deliveries of one publish take of a lane.
type Need struct {
	Lane         work.Lane
	Items, Bytes int
}

// HasRoom reports whether a client has room for items of so many bytes together, in whatever lanes that
// have not spilled. It compares as if one lane had all that the client holds, so false does not mean that there
// is no room.
func (w *Window[T]) HasRoom(client uuid.UUID, items, bytes int) bool {
	c := w.clients[client]
	return c == nil || w.takes(c.all, c.all, usage{items: items, bytes: bytes}, usage{items: items, bytes: bytes})
}

// Missing returns the place in needs of a lane without room that will have room soon, or -1. A lane that
// has spilled has no room. needs are all lanes of one publish of a client. Lanes that are not quick do
// not count: their items spill. If a client that holds nothing would have no room for the publish, the
// result is -1 too.
func (w *Window[T]) Missing(client uuid.UUID, needs []Need) int {
	c := w.clients[client]
	if c == nil {
		return -1
	}
	var all usage
	for i := range needs {
		all.add(usage{items: needs[i].Items, bytes: needs[i].Bytes})
	}
	others := share{w.limits.Items, w.all.items - c.all.items}
	othersBytes := share{w.limits.Bytes, w.all.bytes - c.all.bytes}
	if !others.takes(0, 0, all.items, all.items) || !othersBytes.takes(0, 0, all.bytes, all.bytes) {
		return -1
	}
	for i, need := range needs {
		l := w.lanes[need.Lane]
		if l != nil && w.quick(l) && (l.spill.on || !w.takes(c.all, l.usage, all, usage{items: need.Items, bytes: need.Bytes})) {
			return i
		}
	}
	return -1
}

// Quick reports whether a lane without room will have room soon: its receiver answers so quickly that
// all the lane holds is sent within emptyWithin, and little of the lane waits in the database.
func (w *Window[T]) Quick(key work.Lane) bool {
	l := w.lanes[key]
	return l != nil && w.quick(l)
}

// Stuck notes that a publish has waited in vain for room in a lane. The lane is not quick until its
// receiver answers again: nobody knows earlier that a receiver hangs.
func (w *Window[T]) Stuck(key work.Lane) {
	if l := w.lanes[key]; l != nil {
		l.stuck = true
	}
}

const (
	// emptyWithin is in how much time a quick lane sends all it holds and what waits behind it. With the
	// default limits, a lane that has filled its third of the window is quick if its receiver can answer
	// within 23 ms. A receiver that is slower than its publisher for longer is not worth waiting for.
	emptyWithin = time.Second
	// behindPart is the part of all slots up to which a backlog is little, 4096 by default: memory has
	// room for it in less than half a second at the full speed of one node.
	behindPart = 4
)

func (w *Window[T]) quick(l *lane[T]) bool {
	return !l.slow() && !l.stuck && l.spill.behind <= w.limits.Items/behindPart &&
		time.Duration(l.items+l.spill.behind)*l.quickest <= time.Duration(l.limit)*emptyWithin
}

// takes reports whether a lane can take its part of what its client takes all together, in items and
// in bytes.
func (w *Window[T]) takes(client, lane, all, part usage) bool {
	return w.items().takes(client.items, lane.items, all.items, part.items) && w.bytes().takes(client.bytes, lane.bytes, all.bytes, part.bytes)
}

// takes reports whether room lets a client take all more, and its lane part of that, one by one and in
// whatever order: there is room for the last one when all others are taken.
func (s share) takes(client, lane, all, part int) bool {
	return lane+part <= s.free()-client-2*all+2 && all <= s.free()-s.kept() ||
		client+all <= s.little() && all <= s.free()
}
