package fairqueue

import "time"

// slowAfter is the mean duration above which a lane is slow. Such an attempt holds its place a
// hundred times longer than one that is answered within 10 ms.
const slowAfter = time.Second

// meanOver is the number of attempts that the moving mean covers, approximately.
const meanOver = 8

// health is the state of a lane that follows from its latest attempts.
type health struct {
	limit   int // of attempts and hops in flight
	answers int // since the last change of the limit
	mean    time.Duration
	silent  bool // the last attempt got no answer
}

// slow reports whether the lane shares half of all places with the other slow lanes.
func (r *health) slow() bool { return r.silent || r.mean > slowAfter }

func (r *health) pace() pace {
	if r.slow() {
		return slow
	}
	return fast
}

// observe changes the health after an attempt. Without an answer it halves the limit. After as many
// answers as the limit it raises the limit by one, up to most.
func (r *health) observe(result Result, most int) {
	r.mean += (result.Took - r.mean) / meanOver
	r.silent = result.TimedOut
	if r.silent {
		r.limit, r.answers = max(1, r.limit/2), 0
		return
	}
	r.answers++
	if r.answers >= r.limit && r.limit < most {
		r.limit, r.answers = r.limit+1, 0
	}
}
