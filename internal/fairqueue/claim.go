package fairqueue

import (
	"math"

	"herald"
	"herald/internal/work"
)

// spill is the state of a lane's backlog in the database.
type spill struct {
	on          bool
	uncommitted int // items that found no room and whose commit is under way
	// behind is how many items wait in the database at most; uncounted if that is not known.
	behind int
}

// uncounted is more than any backlog that is counted.
const uncounted = math.MaxInt32

// claim is the state of a lane's claim.
type claim struct {
	running bool
	asked   int
	left    int // items that were asked for and are not added yet
	size    int // bytes charged for each of those
	behind  int // items in the database when it began, as spill counts them
	// overtaken is true if items may have been spilled that the claim did not read.
	overtaken bool
}

// claimLimits bounds the items of a lane that claims make ready, in units of its limit in flight.
// The number is large enough for 25 ms until the next claim, at 5 ms an attempt. It is so small
// that the backlog of a lane that hangs stays in the database. Of a quick lane it bounds each claim:
// publishes wait until its small backlog is in memory.
const claimLimits = 4

// BeginClaim takes slots for a claim of the lane's deliveries in the database and returns how many.
// If it returns 0, there is no claim. Otherwise EndClaim must follow.
func (w *Window[T]) BeginClaim(key work.Lane) int {
	l := w.lane(key)
	n := w.claimable(l)
	if n > 0 {
		size := l.client.itemSize()
		w.charge(l, usage{items: n, bytes: n * size})
		l.claim = claim{running: true, asked: n, left: n, size: size, behind: l.spill.behind, overtaken: l.spill.uncommitted > 0}
	}
	w.update(l)
	return n
}

// ClaimedBytes returns the bytes that the lane's claim took. What it brings should not exceed them.
func (w *Window[T]) ClaimedBytes(key work.Lane) int {
	l := w.existing(key, "ClaimedBytes")
	return l.claim.left * l.claim.size
}

// FreeBytes returns how many bytes no slot has taken.
func (w *Window[T]) FreeBytes() int { return max(w.bytes().free(), 0) }

func (w *Window[T]) claimable(l *lane[T]) int {
	if l.claim.running {
		return 0
	}
	most := claimLimits * l.limit
	if !w.quick(l) {
		most -= l.ready.size
	}
	n := min(w.room(l), w.roomInBytes(l)/l.client.itemSize(), most)
	if n <= 0 && l.client.all.items == 0 && w.hasRoom(l) {
		return 1 // the item may be larger than any share, and must be sent too
	}
	return max(n, 0)
}

// itemSize returns the expected size of an item, in bytes. Before the first item it is the largest
// allowed size, so that a claim of large items cannot overfill memory.
func (c *clientQueue[T]) itemSize() int {
	if c.size == 0 {
		return herald.MaxEventSize
	}
	return c.size
}

// AddClaimed makes an item of a claim ready.
func (w *Window[T]) AddClaimed(key work.Lane, item T, size int) {
	l := w.existing(key, "AddClaimed")
	if l.claim.left == 0 {
		misuse("AddClaimed", key, "the claim has already added all it asked for, or was not begun")
	}
	l.claim.left--
	if l.spill.behind != uncounted {
		l.spill.behind = max(0, l.spill.behind-1)
	}
	w.charge(l, usage{bytes: size - l.claim.size})
	l.client.expect(size)
	l.ready.push(item)
	w.update(l)
}

// EndClaim ends a claim that asked for wanted items and added brought of them; ok is false if it
// failed. If it brought all, the lane may have more in the database and counts as spilled. If it
// brought fewer, the lane is drained, unless items were spilled that the claim did not read.
func (w *Window[T]) EndClaim(key work.Lane, wanted, brought int, ok bool) {
	l := w.existing(key, "EndClaim")
	if !l.claim.running || wanted != l.claim.asked || brought != wanted-l.claim.left {
		misuse("EndClaim", key, "the claim was not begun, or the numbers are not those of BeginClaim and AddClaimed")
	}
	w.charge(l, usage{items: -l.claim.left, bytes: -l.claim.left * l.claim.size})
	switch {
	case !ok:
	case l.claim.left == 0:
		w.spill(l)
		if brought > l.claim.behind { // there was more than was counted
			l.spill.behind = uncounted
		}
	case !l.claim.overtaken:
		w.unspill(l)
	}
	l.claim = claim{}
	w.update(l)
}

// Spilled ends the commit of an item for which Reserve returned false, whether it succeeded or
// failed.
func (w *Window[T]) Spilled(key work.Lane) {
	l := w.existing(key, "Spilled")
	if l.spill.uncommitted == 0 {
		misuse("Spilled", key, "no commit of a spilled item is under way")
	}
	l.spill.uncommitted--
	w.update(l)
}

// MarkSpilled marks a lane that has a backlog in the database.
func (w *Window[T]) MarkSpilled(key work.Lane) {
	l := w.lane(key)
	w.spill(l)
	l.spill.behind = uncounted
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
		l.spill.on, l.spill.behind = false, 0
		w.spilled--
	}
}
