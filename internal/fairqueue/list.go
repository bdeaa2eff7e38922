package fairqueue

// entry is its owner's place in a list. The links are in the entry itself, so that
// joining and leaving, from the middle too, take no time and no memory.
type entry[T any] struct {
	owner      *T
	list       *list[T] // nil: it is in none
	prev, next *entry[T]
	ticket     uint64
}

// list has entries in the order of their tickets.
type list[T any] struct {
	first, last *entry[T]
	size        int
}

// join adds an entry that is in no list to the end of this one. Its ticket must not
// be lower than those before it.
func (l *list[T]) join(e *entry[T], ticket uint64) {
	e.list, e.prev, e.ticket = l, l.last, ticket
	if l.last != nil {
		l.last.next = e
	} else {
		l.first = e
	}
	l.last = e
	l.size++
}

// leave takes an entry out of its list, if it is in one.
func (e *entry[T]) leave() {
	if e.list == nil {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		e.list.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		e.list.last = e.prev
	}
	e.list.size--
	e.list, e.prev, e.next = nil, nil, nil
}

// pace says in which of two lists a lane waits, so that all slow ones can be passed
// over when they have all the places they may have.
type pace int

const (
	fast pace = iota
	slow
	paces
)

// lowest returns the owner of the lowest ticket, or nil. Those in the slow list
// count only if they may start.
func lowest[T any](lists *[paces]list[T], slowToo bool) *T {
	first := lists[fast].first
	if other := lists[slow].first; slowToo && other != nil && (first == nil || other.ticket < first.ticket) {
		first = other
	}
	if first == nil {
		return nil
	}
	return first.owner
}
