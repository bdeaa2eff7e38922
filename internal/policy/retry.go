// Package policy decides what the result of an attempt means and when the next attempt is made. It
// is pure: it gets the result, the count of retries, the time and a random number, and returns a
// Decision.
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
//	a fault of this service                    retry       again after PostponeFor;
//	                                                       uses up no retry
//	the receiver cannot be called yet          retry       the same, and not before
//	                                                       Wait is over
//
//	               ┌── retry, unknown ──┐
//	               ▼                    │      no retry is left: exhausted
//	raised ──▶ attempt ──▶ Decide ──────┤      next one too late: expired
//	                                    │
//	                                    ├─ delivered ─▶ delivered
//	                                    └─ rejected, exhausted, expired ─▶ failed
//
// The schedule, the transient statuses and the bounds are values of a Policy. Rules returns the
// Policy of the rules service (spec sections 9.2 and 9.3). internal/webhook and internal/mail make
// attempts. internal/delivery carries out a decision.
package policy

import (
	"net/http"
	"slices"
	"time"

	"herald"
)

// Policy says which results lead to a retry, and when it is made.
type Policy struct {
	// Schedule has the interval before each retry, counted from the end of the attempt before it.
	// Its length is the number of retries.
	Schedule []time.Duration
	// Transient are the statuses that lead to a retry.
	Transient []int
	// MinRetryAfter and MaxRetryAfter bound the wait that a Retry-After header asks for.
	MinRetryAfter, MaxRetryAfter time.Duration
	// MaxAge bounds how long a delivery can be pending. An attempt later than this after the alert
	// was raised is not made. MaxAge must be longer than LongestSeries, and the retention of alerts
	// must be longer than MaxAge.
	MaxAge time.Duration
}

const day = 24 * time.Hour

// RulesSchedule returns the schedule of the rules service: at most 3 retries within 2 minutes, with
// rising intervals of at most 60 s (spec section 9.3).
func RulesSchedule() []time.Duration {
	return []time.Duration{20 * time.Second, 40 * time.Second, 60 * time.Second}
}

// Rules returns the policy of the rules service. The schedule is RulesSchedule or one of the
// operator. An empty schedule means no retries.
func Rules(schedule []time.Duration) Policy {
	p := Policy{
		Schedule: schedule,
		Transient: []int{
			http.StatusRequestTimeout, // 408
			420,                       // used by some services for "too many requests"
			http.StatusTooManyRequests,
			460, // a load balancer: the client closed the connection
			http.StatusBadGateway,
			http.StatusServiceUnavailable,
			http.StatusGatewayTimeout,
			522, // a content delivery network: the connection timed out
			524, // a content delivery network: the response took too long
		},
		MinRetryAfter: time.Second,
		MaxRetryAfter: day,
	}
	// A week is enough for receivers that ask for a day before each retry and for the wait for a
	// turn. A longer schedule gets one day more than its longest series.
	p.MaxAge = max(7*day, p.LongestSeries()+day)
	return p
}

// MailSchedule returns the intervals before the retries of a mail. A mail server that refuses a
// mail for now usually accepts it minutes later. RFC 5321 section 4.5.4.1 recommends at least
// thirty minutes.
func MailSchedule() []time.Duration {
	return []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour}
}

// Mail returns the policy of deliveries to mailboxes: a server's 4xx replies are temporary, its 5xx
// are final (RFC 5321 section 4.2.1).
func Mail(schedule []time.Duration) Policy {
	p := Policy{Schedule: schedule, MinRetryAfter: time.Second, MaxRetryAfter: time.Second, MaxAge: 7 * day}
	for status := 400; status < 500; status++ {
		p.Transient = append(p.Transient, status)
	}
	return p
}

// LongestSeries returns the longest time that the retries of one delivery can take, if the receiver
// asks for the longest wait before each. It does not include the attempts themselves and the waits
// for a turn.
func (p Policy) LongestSeries() time.Duration {
	var sum time.Duration
	for _, interval := range p.Schedule {
		sum += max(interval, p.MaxRetryAfter)
	}
	return sum
}

// LongestWait returns the longest wait before one retry.
func (p Policy) LongestWait() time.Duration {
	longest := p.MaxRetryAfter
	for _, interval := range p.Schedule {
		longest = max(longest, interval)
	}
	return longest
}

// Result is the part of an attempt's result that the policy decides on.
type Result struct {
	// Status is the response's status, 0 when there was none.
	Status int
	// Reason is ReasonNone or ReasonStatus if Status decides. Otherwise it says what failed, and
	// Status does not count.
	Reason herald.Reason
	// RetryAfter is the response's Retry-After header as received, or empty.
	RetryAfter string
	// Wait is how long to wait at least, if the receiver that a redirect leads to cannot be called
	// yet; else 0.
	Wait time.Duration
}

// Decision is what follows from a Result.
type Decision struct {
	// Outcome is the outcome of the attempt.
	Outcome herald.Outcome
	// At is when the next attempt is due; zero if there is none.
	At time.Time
	// RetriesUsed is how many retries are used up, including the one at At. An attempt with the
	// outcome unknown does not raise it.
	RetriesUsed int
	// Reason says why the delivery failed; ReasonNone if it did not.
	Reason herald.Reason
}

// State returns the state of the delivery after the decision.
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

// Decide decides on an attempt that ended now, after retriesUsed retries, for an alert raised at
// raised. random is in [0, 1) and spreads the retries.
//
// If a retry is due but none is left, or it would be too late, the outcome is rejected with
// ReasonExhausted or ReasonExpired. An interrupted attempt stays unknown in that case, because it
// may have been sent. An attempt that this service could not make (ReasonLocal) uses up no retry; the
// delivery fails with ReasonLocal when it would be too late. An attempt whose receiver cannot be called
// yet (Wait) uses up no retry either.
func (p Policy) Decide(r Result, retriesUsed int, now, raised time.Time, random float64) Decision {
	retriesUsed = max(retriesUsed, 0)
	d := Decision{RetriesUsed: retriesUsed}
	d.Outcome, d.Reason = p.classify(r)
	expired := herald.ReasonExpired
	switch {
	case r.Reason == herald.ReasonLocal:
		d.At, expired = now.Add(PostponeFor(now.Sub(raised), random)), herald.ReasonLocal
	case d.Outcome == herald.OutcomeRetry && r.Wait > 0:
		d.At = now.Add(max(r.Wait, PostponeFor(now.Sub(raised), random)))
	case d.Outcome == herald.OutcomeRetry:
		if retriesUsed >= len(p.Schedule) {
			d.Outcome, d.Reason = herald.OutcomeRejected, herald.ReasonExhausted
			return d
		}
		d.At = now.Add(p.wait(r, p.Schedule[retriesUsed], now, random))
		d.RetriesUsed++
	case d.Outcome == herald.OutcomeUnknown:
		d.At = now
	default:
		return d
	}
	if d.At.After(raised.Add(p.MaxAge)) {
		d.At, d.RetriesUsed, d.Reason = time.Time{}, retriesUsed, expired
		if d.Outcome == herald.OutcomeRetry {
			d.Outcome = herald.OutcomeRejected
		}
	}
	return d
}

// classify implements the table of spec section 9.2. It also returns the reason of a rejection.
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
		// internal/webhook follows the redirects that may be followed, so this one may not.
		return herald.OutcomeRejected, herald.ReasonRedirect
	case status == 0 || slices.Contains(p.Transient, status):
		// 0 means no response.
		return herald.OutcomeRetry, herald.ReasonNone
	default:
		return herald.OutcomeRejected, herald.ReasonStatus
	}
}

// Jitter spreads the retries to receivers that failed at the same time.
const (
	jitter        = 0.1
	maxLengthened = 5 * time.Second
)

// wait returns how long after now the retry is made. Jitter shortens an interval of the schedule,
// so that the retries stay within 2 minutes. A Retry-After replaces the interval, even if it is
// shorter, and jitter lengthens it: the receiver said that it does not accept an earlier attempt.
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
