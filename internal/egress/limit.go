package egress

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// LimitError says that an address has had its attempts for now. Nothing was sent to it.
type LimitError struct {
	// Wait is how long to wait before the next attempt.
	Wait time.Duration
}

// Error says it to a person. It does not reveal the address: a client must not learn what a name
// resolves to here.
func (e *LimitError) Error() string {
	return fmt.Sprintf("the receiver's IP address has had as many attempts as it gets for now; the next one can be made in %v", e.Wait.Round(time.Millisecond))
}

// Limited reports whether attempts for each IP address are bounded.
func (g *Guard) Limited() bool { return g.attempts > 0 }

// TakeAttempt counts an attempt on a connection that exists already. DialContext counts the first
// attempt on a new one. The error is a *LimitError if the address has had its attempts for now.
func (g *Guard) TakeAttempt(remote net.Addr) error {
	if !g.Limited() {
		return nil
	}
	addr, ok := addrOf(remote)
	if !ok {
		return nil
	}
	return g.take(addr)
}

// CheckAttempt returns a *LimitError if TakeAttempt would now. It counts nothing.
func (g *Guard) CheckAttempt(remote net.Addr) error {
	addr, ok := addrOf(remote)
	if !g.Limited() || !ok {
		return nil
	}
	if wait := g.limiter.Wait(addr, g.attempts, time.Now()); wait > 0 {
		return &LimitError{wait}
	}
	return nil
}

func (g *Guard) take(addr netip.Addr) error {
	if wait := g.limiter.Take(addr, g.attempts, time.Now()); wait > 0 {
		return &LimitError{wait}
	}
	return nil
}

func addrOf(remote net.Addr) (netip.Addr, bool) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return tcp.AddrPort().Addr().Unmap(), true
}
