package fairqueue

import "herald/internal/work"

// Reserve takes a slot for an item of size bytes that is about to be committed. If it returns true,
// Add or Release must follow. If it returns false, the lane has spilled: the item waits in the
// database, and Spilled must follow.
func (w *Window[T]) Reserve(key work.Lane, size int) bool {
	l := w.lane(key)
	l.client.expect(size)
	fits := !l.spill.on && w.room(l) > 0 && w.roomInBytes(l) >= size
	if fits {
		w.charge(l, usage{items: 1, bytes: size})
		l.open++
	} else {
		w.spill(l)
		l.spill.uncommitted++
		l.spill.behind = min(l.spill.behind+1, uncounted)
		l.claim.overtaken = true
	}
	w.update(l)
	return fits
}

// Add makes an item ready whose slot Reserve took.
func (w *Window[T]) Add(key work.Lane, item T) {
	l := w.existing(key, "Add")
	if l.open == 0 {
		misuse("Add", key, "no slot was reserved, or the item was added before")
	}
	l.open--
	l.ready.push(item)
	w.update(l)
}

// Release releases a slot with the size that it was taken with. Either the item's commit failed, or
// its attempt has ended and is recorded.
func (w *Window[T]) Release(key work.Lane, size int) {
	l := w.existing(key, "Release")
	if l.open == 0 || l.bytes < size {
		misuse("Release", key, "the slot was released before, or with another size")
	}
	l.open--
	w.charge(l, usage{items: -1, bytes: -size})
	w.update(l)
}

// Drain removes all ready items, first in, first out within a lane, and releases their slots. size
// returns the size that an item's slot was taken with.
func (w *Window[T]) Drain(size func(T) int) []T {
	var all []T
	for _, l := range w.lanes {
		for l.ready.size > 0 {
			item := l.ready.pop()
			w.charge(l, usage{items: -1, bytes: -size(item)})
			all = append(all, item)
		}
		w.update(l)
	}
	return all
}

// expect updates the expected size of the client's items after an item of size bytes. It is the
// largest size so far, and falls by 1/64 with each item.
func (c *clientQueue[T]) expect(size int) { c.size = max(size, c.size-c.size/64) }
