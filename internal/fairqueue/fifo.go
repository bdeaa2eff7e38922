package fairqueue

// fifo is a queue in a circular buffer.
type fifo[T any] struct {
	buffer []T // its length is a power of two, or 0
	first  int
	size   int
}

// keepBuffer is the largest buffer, in items, that an empty queue keeps: a lane
// that had a long backlog once is not to hold on to that much memory.
const keepBuffer = 64

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

// pop takes the first item out; there must be one.
func (q *fifo[T]) pop() T {
	var zero T
	item := q.buffer[q.first]
	q.buffer[q.first] = zero // so that what it refers to can be collected
	q.first = (q.first + 1) & (len(q.buffer) - 1)
	q.size--
	if q.size == 0 && len(q.buffer) > keepBuffer {
		q.buffer, q.first = nil, 0
	}
	return item
}
