package fairqueue

import "herald/internal/work"

// Reserve takes a slot for an item of so many bytes that is about to be
// committed; Add or Release must follow. False means that the item has to wait
// in the database: the lane has spilled, and Spilled must follow.
func (w *Window[T]) Reserve(key work.Lane, size int) bool {
	l := w.lane(key)
	l.client.expect(size)
	fits := !l.spill.on && w.room(l) > 0 && w.roomInBytes(l) >= size
	if fits {
		w.charge(l, 1, size)
		l.open++
	} else {
		w.spill(l)
		l.spill.uncommitted++
		l.claim.overtaken = true
	}
	w.update(l)
	return fits
}

// Add makes an item ready that has a slot by Reserve.
func (w *Window[T]) Add(key work.Lane, item T) {
	l := w.existing(key, "Add")
	if l.open == 0 {
		misuse("Add", key, "no slot was reserved, or the item was added before")
	}
	l.open--
	l.ready.push(item)
	w.update(l)
}

// Release gives a slot back, with the size it was taken with: the item's commit
// failed, or its attempt has ended and is recorded.
func (w *Window[T]) Release(key work.Lane, size int) {
	l := w.existing(key, "Release")
	if l.open == 0 || l.bytes < size {
		misuse("Release", key, "the slot was released before, or with another size")
	}
	l.open--
	w.charge(l, -1, -size)
	w.update(l)
}

// Drain takes out all items that are ready, first in, first out within a lane,
// and gives their slots back; size tells what they were taken with.
func (w *Window[T]) Drain(size func(T) int) []T {
	var all []T
	for _, l := range w.lanes {
		for l.ready.size > 0 {
			item := l.ready.pop()
			w.charge(l, -1, -size(item))
			all = append(all, item)
		}
		w.update(l)
	}
	return all
}

// room returns how many more slots a lane can have so that it holds no more
// than its client can have after it, and the client no more than is free then:
//
//	items + n <= free - n - (client's items + n)
//
// The last slot that there is goes to whoever holds none, hence rounding up.
func (w *Window[T]) room(l *lane[T]) int {
	return (w.limits.Items - w.items - l.client.items - l.items + 2) / 3
}

// roomInBytes is room in bytes.
func (w *Window[T]) roomInBytes(l *lane[T]) int {
	return (w.limits.Bytes - w.bytes - l.client.bytes - l.bytes) / 3
}

// charge takes slots, or gives them back if negative.
func (w *Window[T]) charge(l *lane[T], items, bytes int) {
	for _, h := range [...]*usage{&l.usage, &l.client.usage, &w.usage} {
		h.items += items
		h.bytes += bytes
	}
}

// expect learns from the size of an item what the client's next ones may have:
// as much as the largest, which is forgotten slowly.
func (c *clientQueue[T]) expect(size int) { c.size = max(size, c.size-c.size/64) }
