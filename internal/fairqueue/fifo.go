package fairqueue

// fifo is a queue in a circular buffer.
type fifo[T any] struct {
	buffer []T // its length is a power of two, or 0
	first  int
	size   int
}

// maxEmptyBuffer is the largest buffer, in items, that an empty queue keeps. A lane that once had a
// long backlog must not occupy that much memory for ever.
const maxEmptyBuffer = 64

func (q *fifo[T]) push(item T) {
	if q.size == len(q.buffer) {
		grown := make([]T, max(4, 2*len(q.buffer)))
		n := copy(grown, q.buffer[q.first:])
		copy(grown[n:], q.buffer[:q.first])
		q.buffer, q.first = grown, 0
	}
	q.buffer[(q.first+q.size)&(len(q.buffer)-1)] = item
	q.size++
}

// pop removes the first item and returns it. The queue must not be empty.
func (q *fifo[T]) pop() T {
	var zero T
	item := q.buffer[q.first]
	q.buffer[q.first] = zero // so that the garbage collector can free what it refers to
	q.first = (q.first + 1) & (len(q.buffer) - 1)
	q.size--
	if q.size == 0 && len(q.buffer) > maxEmptyBuffer {
		q.buffer, q.first = nil, 0
	}
	return item
}
