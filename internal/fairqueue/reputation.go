package fairqueue

import "time"

// slowAfter is the mean duration from which on a lane is slow: it takes a place
// for a hundred times as long as a receiver that answers within 10 ms.
const slowAfter = time.Second

// memory is how many attempts the mean duration looks back on, more or less.
const memory = 8

// reputation is what a lane's attempts have come to lately.
type reputation struct {
	limit   int // of attempts and hops in flight
	answers int // since the limit was changed
	mean    time.Duration
	silent  bool // the last attempt got no answer
}

// slow reports whether the lane is to share half of the global bound with
// others like it.
func (r *reputation) slow() bool { return r.silent || r.mean > slowAfter }

func (r *reputation) pace() pace {
	if r.slow() {
		return slow
	}
	return fast
}

// judge learns from an attempt. Without an answer the limit is halved; with as
// many answers as the limit it grows by one, up to most.
func (r *reputation) judge(result Result, most int) {
	r.mean += (result.Took - r.mean) / memory
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
