// Package pace bounds how often something happens for each key: a token bucket for each, in bounded
// memory. It is pure: the caller says what time it is. internal/egress bounds attempts for each IP
// address with it, internal/consent the requests for each receiver.
package pace

import (
	"sync"
	"time"
)

// Bounds.
const (
	// maxKeys bounds the buckets in memory. A full bucket is dropped, because it is as if it had never
	// been there. A second after its last attempt every bucket is full, unless many wait for it.
	maxKeys = 1 << 16
	// burstPart is the part of a second whose tokens a full bucket holds, at least one token. So there
	// are at most a tenth more attempts than the rate in any second.
	burstPart = 100 * time.Millisecond
	// maxWait bounds how long Take tells a caller to wait.
	maxWait = 5 * time.Minute
)

// Limiter is safe for concurrent use.
type Limiter[K comparable] struct {
	mu      sync.Mutex
	buckets map[K]bucket
	// shared is for keys that find no room. It bounds them together, so it is never too generous.
	shared bucket
	max    int
}

// bucket is a token bucket, as times.
type bucket struct {
	full time.Time // when it holds all its tokens again
	turn time.Time // when the next caller that finds no token shall come back
}

// New returns a Limiter whose buckets are full.
func New[K comparable]() *Limiter[K] {
	return &Limiter[K]{buckets: make(map[K]bucket), max: maxKeys}
}

// Take takes a token of a key, of which there are perSecond new ones each second. It returns 0 if it
// got one. Otherwise it returns how long the caller shall wait before it asks again, at most
// maxWait. Callers that wait are told different times, one for each token.
func (l *Limiter[K]) Take(key K, perSecond float64, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[key]
	if known || l.hasRoom(now) {
		wait = b.take(perSecond, now)
		l.buckets[key] = b
		return wait
	}
	return l.shared.take(perSecond, now)
}

// Wait is Take without taking a token: it returns 0 if the key has one.
func (l *Limiter[K]) Wait(key K, perSecond float64, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[key]
	if !known {
		return 0
	}
	if wait = b.wait(perSecond, now); wait > 0 {
		l.buckets[key] = b
	}
	return wait
}

func interval(perSecond float64) time.Duration {
	return time.Duration(float64(time.Second) / perSecond)
}

// next returns when the bucket has a token.
func (b *bucket) next(perSecond float64) time.Time {
	return b.full.Add(-max(0, burstPart-interval(perSecond)))
}

func (b *bucket) take(perSecond float64, now time.Time) time.Duration {
	if wait := b.wait(perSecond, now); wait > 0 {
		return wait
	}
	b.full = later(b.full, now).Add(interval(perSecond))
	return 0
}

// wait returns 0 if the bucket has a token. Otherwise it gives the caller a turn.
func (b *bucket) wait(perSecond float64, now time.Time) time.Duration {
	next := b.next(perSecond)
	if !next.After(now) {
		return 0
	}
	turn := later(b.turn, next)
	if turn.Sub(now) > maxWait {
		return maxWait
	}
	b.turn = turn.Add(interval(perSecond))
	return turn.Sub(now)
}

// hasRoom reports whether there is room for another bucket. It drops the full ones first if need be.
func (l *Limiter[K]) hasRoom(now time.Time) bool {
	if len(l.buckets) < l.max {
		return true
	}
	// The look costs time, so it is made once for each token of the shared bucket at most.
	if l.shared.full.After(now) {
		return false
	}
	for key, b := range l.buckets {
		if !b.full.After(now) && !b.turn.After(now) {
			delete(l.buckets, key)
		}
	}
	return len(l.buckets) < l.max
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
