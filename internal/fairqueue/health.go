package fairqueue

import "time"

// slowAfter is the mean duration from which on a lane is slow: it takes a place
// for a hundred times as long as a receiver that answers within 10 ms.
const slowAfter = time.Second

// meanOver is how many attempts the mean duration looks back on, more or less.
const meanOver = 8

// health is what a lane's attempts have come to lately.
type health struct {
	limit   int // of attempts and hops in flight
	answers int // since the limit was changed
	mean    time.Duration
	silent  bool // the last attempt got no answer
}

// slow reports whether the lane is to share half of the global bound with
// others like it.
func (r *health) slow() bool { return r.silent || r.mean > slowAfter }

func (r *health) pace() pace {
	if r.slow() {
		return slow
	}
	return fast
}

// observe learns from an attempt. Without an answer the limit is halved; with as
// many answers as the limit it grows by one, up to most.
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
