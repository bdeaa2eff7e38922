package fairqueue

// The last part of every bound is kept for clients that have taken little of it: an eighth, enough
// for so many clients. So any number of clients up to this one can fill a bound, and another client
// still finds something.
const (
	keptPart    = 8
	keptClients = 128
)

// slowPart is the part of all slots and places that slow lanes get together: half of them.
const slowPart = 2

// share is how much of a bound is taken.
type share struct{ total, taken int }

func (s share) free() int { return s.total - s.taken }

// kept is how much of the bound is only for clients that have taken little.
func (s share) kept() int { return s.total / keptPart }

// little is how much a client may take of what is kept.
func (s share) little() int { return max(1, s.kept()/keptClients) }

// room returns n, how much more a lane may take. The lane then has no more than its client can still
// get, and the client no more than is still free:
//
//	lane + n <= free - n - (client + n)
//
// Rounding up gives the last of it to a client that has nothing. What is kept goes to clients that
// have little, and is not more than little for each of them.
func (s share) room(client, lane int) int {
	n := min((s.free()-client-lane+2)/3, s.free()-s.kept())
	if client < s.little() {
		n = max(n, min(s.little()-client, s.free()))
	}
	return n
}

// allows reports whether a client may take one more: it then has no more than is still free. What is
// kept goes to clients that have nothing.
func (s share) allows(client int) bool {
	if client == 0 {
		return s.free() > 0
	}
	return client < s.free() && s.free() > s.kept()
}

func (w *Window[T]) items() share     { return share{w.limits.Items, w.all.items} }
func (w *Window[T]) bytes() share     { return share{w.limits.Bytes, w.all.bytes} }
func (w *Window[T]) places() share    { return share{w.limits.InFlight, w.all.attempts} }
func (w *Window[T]) slowItems() share { return share{half(w.limits.Items), w.slow.items} }
func (w *Window[T]) slowBytes() share { return share{half(w.limits.Bytes), w.slow.bytes} }
func (w *Window[T]) slowPlaces() share {
	return share{half(w.limits.InFlight), w.slow.attempts}
}

func half(total int) int { return max(1, total/slowPart) }

// room returns how many more slots a lane may take.
func (w *Window[T]) room(l *lane[T]) int {
	n := w.items().room(l.client.all.items, l.items)
	if l.slow() {
		n = min(n, w.slowItems().room(l.client.slow.items, l.tookSlow.items))
	}
	return n
}

// roomInBytes returns how many more bytes a lane may take.
func (w *Window[T]) roomInBytes(l *lane[T]) int {
	n := w.bytes().room(l.client.all.bytes, l.bytes)
	if l.slow() {
		n = min(n, w.slowBytes().room(l.client.slow.bytes, l.tookSlow.bytes))
	}
	return n
}

// hasRoom reports whether a lane may take one item of any size.
func (w *Window[T]) hasRoom(l *lane[T]) bool {
	room := w.items().free() > 0 && w.bytes().free() > 0
	if l.slow() {
		room = room && w.slowItems().free() > 0 && w.slowBytes().free() > 0
	}
	return room
}

// charge adds what a lane takes to its usage, its client's and the window's; negative numbers
// release it. What a slow lane takes counts among the slow lanes too. What a lane took before it
// became slow does not: otherwise lanes that hang would leave nothing of the slow part to others.
// It is released first.
func (w *Window[T]) charge(l *lane[T], u usage) {
	l.usage.add(u)
	l.client.all.add(u)
	w.all.add(u)
	tookSlow := l.tookSlow
	if l.slow() {
		tookSlow.add(usage{max(0, u.items), max(0, u.bytes), max(0, u.attempts)})
	}
	w.setSlow(l, usage{min(tookSlow.items, l.items), min(tookSlow.bytes, l.bytes), min(tookSlow.attempts, l.attempts)})
}

// setSlow sets how much of a lane's usage counts among the slow lanes.
func (w *Window[T]) setSlow(l *lane[T], u usage) {
	if u == l.tookSlow {
		return
	}
	change := usage{u.items - l.tookSlow.items, u.bytes - l.tookSlow.bytes, u.attempts - l.tookSlow.attempts}
	l.tookSlow = u
	l.client.slow.add(change)
	w.slow.add(change)
}

// observe changes the health of a lane after an attempt. If the lane is fast now, nothing of it
// counts among the slow lanes any more.
func (w *Window[T]) observe(l *lane[T], r Result) {
	l.health.observe(r, w.limits.InFlightPerLane)
	if !l.slow() {
		w.setSlow(l, usage{})
	}
}

func (u *usage) add(v usage) {
	u.items += v.items
	u.bytes += v.bytes
	u.attempts += v.attempts
}
