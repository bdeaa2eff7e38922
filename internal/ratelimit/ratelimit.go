// Package ratelimit bounds how many requests each client makes in a window of time.
// A window begins with a client's first request and ends when its time is over;
// the next request begins another. Windows lie in memory: each node counts for
// itself, and a restart forgets.
package ratelimit

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
)

// The headers of every answer to a client's call.
const (
	headerLimit     = "X-Rate-Limit-Limit"
	headerRemaining = "X-Rate-Limit-Remaining"
	headerReset     = "X-Rate-Limit-Reset"
)

// Authenticator tells who makes a request.
type Authenticator interface {
	Caller(r *http.Request) (herald.Caller, error)
}

// Limiter is an Authenticator that lets each client make so many requests in a
// window, whichever of its keys it uses. The operator is not limited, not where
// it publishes for a client either: its requests say nothing of the client's.
type Limiter struct {
	auth   Authenticator
	limit  int
	window time.Duration

	mu      sync.Mutex
	clients map[uuid.UUID]*quota
	swept   time.Time // when windows that are over were last forgotten
}

// quota is what one client has made of its requests.
type quota struct {
	ends time.Time
	used int
}

// New returns a Limiter of so many requests, at least one, in a window.
func New(auth Authenticator, limit int, window time.Duration) *Limiter {
	return &Limiter{auth: auth, limit: limit, window: window, clients: make(map[uuid.UUID]*quota)}
}

// Caller returns who makes a request and counts it. Over the limit it is
// CodeTooMany, before anything of the request is read.
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
	header.Set(headerReset, ends.UTC().Format("2006-01-02T15:04:05.000Z"))
	if !ok {
		left := ends.Sub(now)
		return herald.Caller{}, &herald.Error{Code: herald.CodeTooMany, RetryAfter: left,
			Message: "Rate limit reached: " + strconv.Itoa(l.limit) + " requests in " + l.window.String() +
				". Try again in " + strconv.Itoa(int(math.Ceil(left.Seconds()))) + " s."}
	}
	return caller, err // what a role forbids counts too
}

// take counts a request of a client, unless it is one too many, and returns how
// many are left and when the window ends.
func (l *Limiter) take(client uuid.UUID, now time.Time) (remaining int, ends time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	w := l.clients[client]
	if w == nil || !now.Before(w.ends) {
		w = &quota{ends: now.Add(l.window)}
		l.clients[client] = w
	}
	if w.used == l.limit {
		return 0, w.ends, false
	}
	w.used++
	return l.limit - w.used, w.ends, true
}

// sweep forgets windows that are over, once a window: there are never more than
// the clients that called during two.
func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < l.window {
		return
	}
	l.swept = now
	for client, w := range l.clients {
		if !now.Before(w.ends) {
			delete(l.clients, client)
		}
	}
}
