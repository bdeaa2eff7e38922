// Package policy decides what an attempt came to and when the next one is made.
// It is pure: the result, the count of retries, the time and a random number come
// in, a Decision goes out.
//
//	result of an attempt                       outcome     then
//	─────────────────────────────────────────  ──────────  ─────────────────────────
//	2xx                                        delivered   done
//	a transient status, no response            retry       a retry, if one is left
//	any other status, a redirect that may not  rejected    failed
//	be followed, an address that may not or
//	cannot be called
//	interrupted                                unknown     again at once; uses up no
//	                                                       retry
//
//	               ┌── retry, unknown ──┐
//	               ▼                    │      no retry is left: exhausted
//	raised ──▶ attempt ──▶ Decide ──────┤      next one too late: expired
//	                                    │
//	                                    ├─ delivered ─▶ delivered
//	                                    └─ rejected, exhausted, expired ─▶ failed
//
// The schedule, the transient statuses and the bounds are values of a Policy;
// Rules returns that of the rules service (spec sections 9.2 and 9.3). Making an
// attempt lies in internal/webhook, keeping to a decision in internal/delivery.
package policy

import (
	"net/http"
	"slices"
	"time"

	"herald"
)

// Policy says which results are worth a retry, and when it is made.
type Policy struct {
	// Schedule has the interval before each retry, counted from the failure
	// before it; its length is how many retries there are.
	Schedule []time.Duration
	// Transient are the statuses that are worth a retry.
	Transient []int
	// MinRetryAfter and MaxRetryAfter bound what a Retry-After can ask for.
	MinRetryAfter, MaxRetryAfter time.Duration
	// MaxAge bounds how long a delivery can be pending: an attempt that would
	// be later than this after the alert was raised is not made. It must be
	// longer than LongestSeries, and what is kept of an alert must be kept for
	// longer than this.
	MaxAge time.Duration
}

const day = 24 * time.Hour

// RulesSchedule returns the schedule of the rules service: at most 3 retries
// within 2 minutes, each interval longer, none over 60 s (spec section 9.3).
func RulesSchedule() []time.Duration {
	return []time.Duration{20 * time.Second, 40 * time.Second, 60 * time.Second}
}

// Rules returns the policy of the rules service with a schedule, RulesSchedule
// or an operator's own. An empty schedule makes no retries.
func Rules(schedule []time.Duration) Policy {
	p := Policy{
		Schedule: schedule,
		Transient: []int{
			http.StatusRequestTimeout, // 408
			420,                       // slow down, as some services say it
			http.StatusTooManyRequests,
			460, // a load balancer's client closed the connection
			http.StatusBadGateway,
			http.StatusServiceUnavailable,
			http.StatusGatewayTimeout,
			522, // a content network's connection timed out
			524, // a content network waited too long for the response
		},
		MinRetryAfter: time.Second,
		MaxRetryAfter: day,
	}
	// A week leaves room for receivers that ask for a day each time and for
	// the wait for a turn; a longer schedule gets a day on top for the latter.
	p.MaxAge = max(7*day, p.LongestSeries()+day)
	return p
}

// MailSchedule returns the intervals before the retries of a mail: servers that
// ask to come back later mean minutes (RFC 5321 section 4.5.4.1 would have thirty).
func MailSchedule() []time.Duration {
	return []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour}
}

// Mail returns the policy of deliveries to mailboxes: a server's 4xx replies pass,
// its 5xx are final (RFC 5321 section 4.2.1).
func Mail(schedule []time.Duration) Policy {
	p := Policy{Schedule: schedule, MinRetryAfter: time.Second, MaxRetryAfter: time.Second, MaxAge: 7 * day}
	for status := 400; status < 500; status++ {
		p.Transient = append(p.Transient, status)
	}
	return p
}

// LongestSeries returns how long the retries of one delivery can be spread at
// most, if before each the receiver asks for the longest wait. Neither the
// attempts themselves nor waiting for a turn are in it.
func (p Policy) LongestSeries() time.Duration {
	var sum time.Duration
	for _, interval := range p.Schedule {
		sum += max(interval, p.MaxRetryAfter)
	}
	return sum
}

// Result is what an attempt met with.
type Result struct {
	// Status is the response's status, 0 when there was none.
	Status int
	// Reason is ReasonNone or ReasonStatus when the status is to decide, and
	// otherwise why there is no status to go by.
	Reason herald.Reason
	// RetryAfter is the response's Retry-After header as received, or empty.
	RetryAfter string
}

// Decision is what follows from a Result.
type Decision struct {
	// Outcome is the attempt's.
	Outcome herald.Outcome
	// At is when the next attempt is due; zero when there is none.
	At time.Time
	// RetriesUsed counts the retries with the one due at At. An attempt whose
	// outcome is unknown does not raise it.
	RetriesUsed int
	// Reason says why the delivery failed; ReasonNone when it did not.
	Reason herald.Reason
}

// State returns how the delivery stands after the decision.
func (d Decision) State() herald.State {
	switch {
	case d.Outcome == herald.OutcomeDelivered:
		return herald.Delivered
	case d.At.IsZero():
		return herald.Failed
	default:
		return herald.Pending
	}
}

// Decide decides on an attempt that ended now, after retriesUsed retries, for an
// alert raised at raised. random is in [0, 1) and spreads the retries.
//
// When a retry would come but none is left, or would come too late, the outcome
// is rejected with ReasonExhausted or ReasonExpired. Only an interrupted attempt
// stays unknown even then, as it may have been sent.
func (p Policy) Decide(r Result, retriesUsed int, now, raised time.Time, random float64) Decision {
	retriesUsed = max(retriesUsed, 0)
	d := Decision{RetriesUsed: retriesUsed}
	d.Outcome, d.Reason = p.classify(r)
	switch d.Outcome {
	case herald.OutcomeRetry:
		if retriesUsed >= len(p.Schedule) {
			d.Outcome, d.Reason = herald.OutcomeRejected, herald.ReasonExhausted
			return d
		}
		d.At = now.Add(p.wait(r, p.Schedule[retriesUsed], now, random))
		d.RetriesUsed++
	case herald.OutcomeUnknown:
		d.At = now
	default:
		return d
	}
	if d.At.After(raised.Add(p.MaxAge)) {
		d.At, d.RetriesUsed, d.Reason = time.Time{}, retriesUsed, herald.ReasonExpired
		if d.Outcome == herald.OutcomeRetry {
			d.Outcome = herald.OutcomeRejected
		}
	}
	return d
}

// classify is the table of spec section 9.2, with the reason of a rejection.
func (p Policy) classify(r Result) (herald.Outcome, herald.Reason) {
	switch r.Reason {
	case herald.ReasonNone, herald.ReasonStatus:
		return p.classifyStatus(r.Status)
	case herald.ReasonInterrupted:
		return herald.OutcomeUnknown, herald.ReasonNone
	case herald.ReasonNotAllowed, herald.ReasonRedirect, herald.ReasonAddress, herald.ReasonNoMailServer:
		return herald.OutcomeRejected, r.Reason
	default:
		return herald.OutcomeRetry, herald.ReasonNone
	}
}

func (p Policy) classifyStatus(status int) (herald.Outcome, herald.Reason) {
	switch {
	case 200 <= status && status <= 299:
		return herald.OutcomeDelivered, herald.ReasonNone
	case 300 <= status && status <= 399:
		// A redirect that may be followed was; this one may not.
		return herald.OutcomeRejected, herald.ReasonRedirect
	case status == 0 || slices.Contains(p.Transient, status):
		// 0 is no response, for whatever reason.
		return herald.OutcomeRetry, herald.ReasonNone
	default:
		return herald.OutcomeRejected, herald.ReasonStatus
	}
}

// Jitter keeps receivers that failed together from being called together again.
const (
	jitter        = 0.1
	maxLengthened = 5 * time.Second
)

// wait returns how long after now the retry is made. An interval of the schedule
// is shortened, so that the retries stay within the window of 2 minutes. A
// Retry-After overrides it, whichever is longer, and is lengthened: the receiver
// said that it is of no use before.
func (p Policy) wait(r Result, interval time.Duration, now time.Time, random float64) time.Duration {
	asked, ok := ParseRetryAfter(r.RetryAfter, now)
	if !ok {
		return interval - spread(interval, random)
	}
	asked = min(max(asked, p.MinRetryAfter), p.MaxRetryAfter)
	return min(asked+min(spread(asked, random), maxLengthened), p.MaxRetryAfter)
}

func spread(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * jitter * random)
}
