package fairqueue

import (
	"time"

	"herald/internal/work"
)

// slowAfter is the mean duration above which a lane is slow. Such an attempt holds its place a
// hundred times longer than one that is answered within 10 ms.
const slowAfter = time.Second

// meanOver is the number of attempts that the moving mean covers, approximately.
const meanOver = 8

// quickestOver is the number of attempts after which the quickest of them is forgotten, approximately: a
// receiver that has become twice as slow is known as such after 45 attempts.
const quickestOver = 64

// health is the state of a lane that follows from its latest attempts.
type health struct {
	limit   int // of attempts and hops in flight
	answers int // since the last change of the limit
	mean    time.Duration
	// quickest is the duration of the quickest of the latest attempts. On a busy machine the mean says
	// more about the machine than about the receiver.
	quickest time.Duration
	known    bool // an attempt has ended
	silent   bool // the last attempt got no answer
	stuck    bool // a publish has waited in vain for room since the last answer
}

// slow reports whether the lane shares half of all places and slots with the other slow lanes. A
// lane is slow before its first answer: otherwise a client could take any number of places with a
// new host name for each delivery.
func (r *health) slow() bool { return !r.known || r.silent || r.mean > slowAfter }

func (r *health) pace() pace {
	if r.slow() {
		return slow
	}
	return fast
}

// observe changes the health after an attempt. Without an answer it halves the limit. After as many
// answers as the limit it raises the limit by one, up to most.
func (r *health) observe(result Result, most int) {
	if !r.known {
		r.known, r.mean, r.quickest = true, result.Took, result.Took
	}
	r.mean += (result.Took - r.mean) / meanOver
	r.quickest = min(result.Took, r.quickest+max(r.quickest, time.Millisecond)/quickestOver)
	r.silent = result.TimedOut
	if r.silent {
		r.limit, r.answers = max(1, r.limit/2), 0
		return
	}
	r.stuck = false
	r.answers++
	if r.answers >= r.limit && r.limit < most {
		r.limit, r.answers = r.limit+1, 0
	}
}

// Slow reports whether a lane shares half of all places and slots with the other slow lanes. A lane that
// the window does not know is slow.
func (w *Window[T]) Slow(key work.Lane) bool {
	l := w.lanes[key]
	return l == nil || l.slow()
}
