package api

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"herald"
)

// Limits on requests without a valid key. A valid key is never refused or delayed because of the
// others from its address: many callers may share one address behind a proxy.
const (
	// freeGuesses is how many failures an address has in a guessWindow before the next ones are
	// slowed. A client that was given a wrong key makes a few.
	freeGuesses = 30
	guessWindow = time.Minute
	// firstGuessDelay doubles with each further failure, up to maxGuessDelay.
	firstGuessDelay = 20 * time.Millisecond
	maxGuessDelay   = 2 * time.Second
	// maxGuessers bounds the addresses in memory. Those beyond it share one count.
	maxGuessers = 10_000
	// v6Guesser is the part of an IPv6 address that one network has for itself.
	v6Guesser = 64
)

// Guesses counts the failures to authenticate by address, and says how long their answers are
// delayed. It is safe for concurrent use.
type Guesses struct {
	// Free is how many failures an address has in a Window before the next ones are slowed.
	Free   int
	Window time.Duration
	// First is the delay of the first failure that is slowed. It doubles with each further one, up to Most.
	First, Most time.Duration

	mu   sync.Mutex
	by   map[netip.Prefix]*guesser
	rest guesser // of the addresses that have no place in by
}

type guesser struct {
	ends time.Time // of the window
	n    int
}

// slow counts a failure and waits. It returns the error that replaces a failure's own, or nil if
// the address has failures left.
func (g *Guesses) slow(ctx context.Context, from netip.Addr) error {
	delay, left := g.Count(from, time.Now())
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return &herald.Error{Code: herald.CodeTooMany, RetryAfter: left,
		Message: "Too many requests without a valid API key came from this address. Check the key, and try again later."}
}

// Count counts a failure. It returns the delay of its answer, 0 while the address has free ones, and when
// its window ends.
func (g *Guesses) Count(from netip.Addr, now time.Time) (delay, left time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	bits := from.BitLen()
	if from.Is6() {
		bits = v6Guesser
	}
	network, _ := from.Prefix(bits) // the zero Addr has the zero Prefix
	one := g.by[network]
	if one == nil {
		one = g.add(network, now)
	}
	if !now.Before(one.ends) {
		*one = guesser{ends: now.Add(g.Window)}
	}
	one.n++
	left = one.ends.Sub(now)
	switch over := one.n - g.Free; {
	case over <= 0:
		return 0, left
	case over > 16: // it has doubled often enough
		return g.Most, left
	default:
		return min(g.First<<(over-1), g.Most), left
	}
}

// add makes a place for an address, if there is one.
func (g *Guesses) add(network netip.Prefix, now time.Time) *guesser {
	if g.by == nil {
		g.by = make(map[netip.Prefix]*guesser)
	}
	if len(g.by) >= maxGuessers {
		for other, one := range g.by {
			if !now.Before(one.ends) {
				delete(g.by, other)
			}
		}
	}
	if len(g.by) >= maxGuessers {
		return &g.rest
	}
	one := new(guesser)
	g.by[network] = one
	return one
}
