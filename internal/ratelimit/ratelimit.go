// Package ratelimit bounds how many requests each client makes in a window of time.
// A window begins with a client's first request and ends after the configured time; the next
// request begins another. Windows are in memory: each node counts for itself, and a restart
// loses the counts.
//
//	first request      limit reached         window ends
//	     │ requests pass  │ requests are 429     │ the next request begins another window
//	     └────────────────┴──────────────────────┘
//	                      Rate Limit Reached     Rate Limit Reset     (Events, once each)
package ratelimit

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
)

// The headers of every answer to a client's request.
const (
	headerLimit     = "X-Rate-Limit-Limit"
	headerRemaining = "X-Rate-Limit-Remaining"
	headerReset     = "X-Rate-Limit-Reset"
)

// Authenticator finds the caller of a request.
type Authenticator interface {
	Caller(r *http.Request) (herald.Caller, error)
}

// Limiter is an Authenticator that allows each client a number of requests in a window,
// counted over all of its keys. It does not limit the operator, nor the operator's
// publishes for a client, because they are not the client's requests.
type Limiter struct {
	auth   Authenticator
	limit  int
	window time.Duration
	events *Events // nil raises none

	mu      sync.Mutex
	clients map[uuid.UUID]*quota
	swept   time.Time // when sweep last ran
}

// quota counts one client's requests in its window.
type quota struct {
	ends    time.Time
	used    int
	refused bool // a request was refused
}

// New returns a Limiter of limit requests, at least one, in a window.
func New(auth Authenticator, limit int, window time.Duration) *Limiter {
	return &Limiter{auth: auth, limit: limit, window: window, clients: make(map[uuid.UUID]*quota)}
}

// WithEvents makes the Limiter raise events. It returns the Limiter, and must be called before Caller.
func (l *Limiter) WithEvents(e *Events) *Limiter {
	l.events = e
	return l
}

// Caller returns the caller of a request and counts the request. Over the limit the error is
// CodeTooMany, before the request's body is read.
func (l *Limiter) Caller(r *http.Request) (herald.Caller, error) {
	caller, err := l.auth.Caller(r)
	if caller.Operator || caller.Key.ID == uuid.Nil {
		return caller, err
	}
	now := time.Now()
	remaining, ends, ok := l.take(caller.Key.ClientID, now)
	header := api.AnswerHeader(r.Context())
	header.Set(headerLimit, strconv.Itoa(l.limit))
	header.Set(headerRemaining, strconv.Itoa(remaining))
	header.Set(headerReset, ends.UTC().Format(timeFormat))
	if !ok {
		return herald.Caller{}, l.refused(ends.Sub(now))
	}
	return caller, err // a request that the role forbids counts too
}

// refused is the error of a request over the limit, in a window that ends after left.
func (l *Limiter) refused(left time.Duration) error {
	return &herald.Error{Code: herald.CodeTooMany, RetryAfter: left,
		Message: "Rate limit reached: " + strconv.Itoa(l.limit) + " requests in " + l.window.String() +
			". Try again in " + strconv.Itoa(int(math.Ceil(left.Seconds()))) + " s."}
}

// Limited returns a Publisher for callers who do not come by Caller, such as a session of the portal. Each publish
// counts as a request of its client; over the limit the error is that of Caller. The operator has no limit.
func (l *Limiter) Limited(p Publisher) Publisher { return limited{l, p} }

type limited struct {
	limiter   *Limiter
	publisher Publisher
}

func (p limited) Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	if !caller.Operator {
		now := time.Now()
		if _, ends, ok := p.limiter.take(caller.Key.ClientID, now); !ok {
			return nil, p.limiter.refused(ends.Sub(now))
		}
	}
	return p.publisher.Publish(ctx, caller, pubs)
}

// take counts a client's request if the limit allows it. It returns how many requests
// remain and when the window ends.
func (l *Limiter) take(client uuid.UUID, now time.Time) (remaining int, ends time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	q := l.clients[client]
	if q == nil || !now.Before(q.ends) {
		q = &quota{ends: now.Add(l.window)}
		l.clients[client] = q
	}
	if q.used == l.limit {
		if !q.refused && l.events != nil {
			l.events.reached(window{client, l.limit, q.ends})
		}
		q.refused = true
		return 0, q.ends, false
	}
	q.used++
	return l.limit - q.used, q.ends, true
}

// sweep deletes the windows that have ended, once in a window's time. So at most the
// clients that called during two windows are in memory.
func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < l.window {
		return
	}
	l.swept = now
	for client, q := range l.clients {
		if !now.Before(q.ends) {
			delete(l.clients, client)
		}
	}
}
