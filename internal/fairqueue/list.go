package fairqueue

// entry is its owner's place in a list. The links are in the entry itself, so that join and leave
// need no search and no memory, also in the middle of the list.
type entry[T any] struct {
	owner      *T
	list       *list[T] // nil if it is in no list
	prev, next *entry[T]
	ticket     uint64
}

// list holds entries in the order of their tickets.
type list[T any] struct {
	first, last *entry[T]
	size        int
}

// join adds an entry that is in no list to the end of this one. Its ticket must not be lower than
// that of the last entry.
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

// leave removes an entry from its list, if it is in one.
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

// pace selects one of two lists that a lane can wait in. When slow lanes have all their places, the
// slow list is skipped.
type pace int

const (
	fast pace = iota
	slow
	paces
)

// lowest returns the owner of the lowest ticket, or nil. It skips the slow list unless slowToo.
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
