package turns

// fifo is a queue whose memory is used again.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int    { return len(q.items) - q.head }
func (q *fifo[T]) empty() bool { return q.head == len(q.items) }

func (q *fifo[T]) push(item T) { q.items = append(q.items, item) }

// pop takes the first item out; there must be one.
func (q *fifo[T]) pop() T {
	var zero T
	item := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	switch {
	case q.empty():
		q.items, q.head = q.items[:0], 0
	case q.head > 1024 && q.head > len(q.items)/2: // half of it is behind us
		q.items, q.head = append(q.items[:0], q.items[q.head:]...), 0
	}
	return item
}
