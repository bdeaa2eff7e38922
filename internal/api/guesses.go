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

// guesses counts the failures to authenticate by address and delays their answers.
type guesses struct {
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
func (g *guesses) slow(ctx context.Context, from netip.Addr) error {
	over, left := g.count(from, time.Now())
	if over == 0 {
		return nil
	}
	delay := maxGuessDelay
	if over < 8 {
		delay = min(firstGuessDelay<<(over-1), maxGuessDelay)
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

// count counts a failure. It returns by how many the address is over its free ones, and when its
// window ends.
func (g *guesses) count(from netip.Addr, now time.Time) (over int, left time.Duration) {
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
		*one = guesser{ends: now.Add(guessWindow)}
	}
	one.n++
	return max(one.n-freeGuesses, 0), one.ends.Sub(now)
}

// add makes a place for an address, if there is one.
func (g *guesses) add(network netip.Prefix, now time.Time) *guesser {
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
