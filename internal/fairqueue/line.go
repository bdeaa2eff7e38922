package fairqueue

// place is where its owner stands in a line. The links are in the place itself,
// so that joining and leaving, from the middle too, take no time and no memory.
type place[T any] struct {
	owner      *T
	line       *line[T] // nil: it stands in none
	prev, next *place[T]
	ticket     uint64
}

// line is a queue of places in the order of their tickets.
type line[T any] struct {
	first, last *place[T]
	size        int
}

// join puts a place that stands in no line at the end of this one. Its ticket
// must not be lower than those before it.
func (l *line[T]) join(p *place[T], ticket uint64) {
	p.line, p.prev, p.ticket = l, l.last, ticket
	if l.last != nil {
		l.last.next = p
	} else {
		l.first = p
	}
	l.last = p
	l.size++
}

// leave takes a place out of its line, if it stands in one.
func (p *place[T]) leave() {
	if p.line == nil {
		return
	}
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		p.line.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		p.line.last = p.prev
	}
	p.line.size--
	p.line, p.prev, p.next = nil, nil, nil
}

// pace says in which of two lines a lane waits, so that the slow ones can be
// passed over together when they have all the places they may have.
type pace int

const (
	fast pace = iota
	slow
	paces
)

// lowest returns who has the lowest ticket of all in line, or nil; those in the
// slow line count only if they may start.
func lowest[T any](lines *[paces]line[T], slowToo bool) *T {
	first := lines[fast].first
	if other := lines[slow].first; slowToo && other != nil && (first == nil || other.ticket < first.ticket) {
		first = other
	}
	if first == nil {
		return nil
	}
	return first.owner
}
