package clientcache

// recent holds values up to a number of bytes. Over it, those that were not used for the longest time are dropped.
// The newest one stays, however large it is.
type recent[K comparable, V any] struct {
	limit   int // bytes
	bytes   int
	entries map[K]*used[K, V]
	ring    used[K, V] // next is the one that was used last, previous the one that was not used for the longest time
}

type used[K comparable, V any] struct {
	key            K
	value          V
	bytes          int
	previous, next *used[K, V]
}

func newRecent[K comparable, V any](limit int) *recent[K, V] {
	r := &recent[K, V]{limit: limit, entries: make(map[K]*used[K, V])}
	r.ring.previous, r.ring.next = &r.ring, &r.ring
	return r
}

// get returns the value of a key, and counts as a use of it.
func (r *recent[K, V]) get(key K) (value V, ok bool) {
	e := r.entries[key]
	if e == nil {
		return value, false
	}
	if r.ring.next != e {
		e.unlink()
		r.link(e)
	}
	return e.value, true
}

// put sets the value of a key, which takes some bytes.
func (r *recent[K, V]) put(key K, value V, bytes int) {
	r.remove(key)
	e := &used[K, V]{key: key, value: value, bytes: bytes}
	r.entries[key] = e
	r.link(e)
	r.bytes += bytes
	for r.bytes > r.limit && r.ring.previous != e {
		r.remove(r.ring.previous.key)
	}
}

func (r *recent[K, V]) remove(key K) {
	if e := r.entries[key]; e != nil {
		e.unlink()
		r.bytes -= e.bytes
		delete(r.entries, key)
	}
}

func (e *used[K, V]) unlink() { e.previous.next, e.next.previous = e.next, e.previous }

func (r *recent[K, V]) link(e *used[K, V]) {
	e.previous, e.next = &r.ring, r.ring.next
	e.previous.next, e.next.previous = e, e
}

// peek returns the value of a key, or none. It is no use of it.
func (r *recent[K, V]) peek(key K) (value V) {
	if e := r.entries[key]; e != nil {
		value = e.value
	}
	return value
}
