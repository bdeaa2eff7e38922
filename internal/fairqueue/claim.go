package fairqueue

import (
	"herald"
	"herald/internal/work"
)

// spill is how a lane's backlog in the database stands.
type spill struct {
	on          bool
	uncommitted int // items that found no room, with a commit that is not over
}

// claim is a lane's taking of deliveries from the database.
type claim struct {
	running bool
	asked   int
	left    int // of what was asked for, not added yet
	size    int // taken for each of those, in bytes
	// overtaken says that something may have come to the database without
	// the claim having seen it.
	overtaken bool
}

// claimLimits is how many of its in-flight limits a lane may have ready by
// claims: so many that they are not all sent before the next claim, 25 ms later
// at 5 ms each, and so few that the backlog of a lane that hangs stays out.
const claimLimits = 4

// BeginClaim takes slots for a claim of the lane's deliveries in the database
// and returns how many; 0 means that none should be claimed now. Otherwise
// EndClaim must follow, when the claim is over.
func (w *Window[T]) BeginClaim(key work.Lane) int {
	l := w.lane(key)
	n := w.claimable(l)
	if n > 0 {
		size := l.client.itemSize()
		w.charge(l, n, n*size)
		l.claim = claim{running: true, asked: n, left: n, size: size, overtaken: l.spill.uncommitted > 0}
	}
	w.update(l)
	return n
}

func (w *Window[T]) claimable(l *lane[T]) int {
	if l.claim.running {
		return 0
	}
	n := min(w.room(l), w.roomInBytes(l)/l.client.itemSize(), claimLimits*l.limit-l.ready.size)
	if n <= 0 && l.client.items == 0 && w.items < w.limits.Items && w.bytes < w.limits.Bytes {
		return 1 // it may be too large for any share, and must be sent all the same
	}
	return max(n, 0)
}

// itemSize returns the size to be expected of an item, in bytes. Before the
// first one it is the largest, so that nobody fills memory with those.
func (c *clientQueue[T]) itemSize() int {
	if c.size == 0 {
		return herald.MaxEventSize
	}
	return c.size
}

// AddClaimed makes an item ready that a claim brought.
func (w *Window[T]) AddClaimed(key work.Lane, item T, size int) {
	l := w.existing(key, "AddClaimed")
	if l.claim.left == 0 {
		misuse("AddClaimed", key, "the claim has brought all it asked for, or was not begun")
	}
	l.claim.left--
	w.charge(l, 0, size-l.claim.size)
	l.client.expect(size)
	l.ready.push(item)
	w.update(l)
}

// EndClaim ends a claim that asked for wanted items and brought some, which
// have been added; not ok, it failed. One that brought all leaves more behind;
// one that brought fewer has drained the lane, unless something spilled
// unseen.
func (w *Window[T]) EndClaim(key work.Lane, wanted, brought int, ok bool) {
	l := w.existing(key, "EndClaim")
	if !l.claim.running || wanted != l.claim.asked || brought != wanted-l.claim.left {
		misuse("EndClaim", key, "the claim was not begun, or the numbers are not those of BeginClaim and AddClaimed")
	}
	w.charge(l, -l.claim.left, -l.claim.left*l.claim.size)
	switch {
	case !ok:
	case l.claim.left == 0:
		w.spill(l)
	case !l.claim.overtaken:
		w.unspill(l)
	}
	l.claim = claim{}
	w.update(l)
}

// Spilled says that the commit of an item is over for which Reserve was false,
// whatever came of it.
func (w *Window[T]) Spilled(key work.Lane) {
	l := w.existing(key, "Spilled")
	if l.spill.uncommitted == 0 {
		misuse("Spilled", key, "no commit of a spilled item is under way")
	}
	l.spill.uncommitted--
	w.update(l)
}

// MarkSpilled says that the lane was found to have a backlog in the database.
func (w *Window[T]) MarkSpilled(key work.Lane) {
	l := w.lane(key)
	w.spill(l)
	l.claim.overtaken = true
	w.update(l)
}

func (w *Window[T]) spill(l *lane[T]) {
	if !l.spill.on {
		l.spill.on = true
		w.spilled++
	}
}

func (w *Window[T]) unspill(l *lane[T]) {
	if l.spill.on {
		l.spill.on = false
		w.spilled--
	}
}
