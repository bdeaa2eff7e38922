package unsubscribe

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Limits of a kind of link, which needs no login. Within a window, an address may make so many
// requests, and a mailbox of a client may be changed so many times. The limit for an address is
// high because a mail provider posts the links of all its readers from few addresses (RFC 8058).
const (
	window     = time.Minute
	perAddress = 600
	perMailbox = 10
)

// maxCounts bounds the memory of the counts, to about a megabyte. Callers beyond it share one count.
const maxCounts = 10_000

// limiter counts requests in windows of time. All counts begin together. Each node counts for itself.
type limiter struct {
	mu     sync.Mutex
	began  time.Time
	counts map[string]int
}

// take counts a request, and returns an error with CodeTooMany if there were as many as limit.
func (l *limiter) take(key string, limit int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.began) >= window {
		l.began, l.counts = now, make(map[string]int)
	}
	if _, known := l.counts[key]; !known && len(l.counts) >= maxCounts {
		key = ""
	}
	if l.counts[key] >= limit {
		return &herald.Error{Code: herald.CodeTooMany, RetryAfter: l.began.Add(window).Sub(now),
			Message: "Too many requests for links of mails. Try again in a minute."}
	}
	l.counts[key]++
	return nil
}

// addressKey returns the key of an address. Hosts with IPv6 have a /64 each, so that is one key.
func addressKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return "address " + a.String()
	}
	network, _ := a.Prefix(64) // fails only for an address that is not valid
	return "address " + network.String()
}

func mailboxKey(client uuid.UUID, mailbox string) string {
	return "mailbox " + client.String() + " " + strings.ToLower(mailbox)
}
