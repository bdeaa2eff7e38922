package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardedFor is the header to which each proxy adds whom it got a request
// from, at the right end.
const forwardedFor = "X-Forwarded-For"

// CallerAddress returns the address that a request came from, for logs and
// records: the connection's other end or, where that is a trusted proxy, whom
// the proxy names. It is invalid outside a Middleware.
func CallerAddress(ctx context.Context) netip.Addr { return infoOf(ctx).remote }

// remoteOf is the right-most address in X-Forwarded-For that is no trusted
// proxy, because only what trusted proxies have added is more than a caller's
// own word. When all are trusted it is the left-most. When a proxy has added
// what is no address, nothing can be said beyond the connection's other end.
func remoteOf(r *http.Request, trusted []netip.Prefix) netip.Addr {
	port, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	peer := plain(port.Addr())
	isTrusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	if !isTrusted(peer) {
		return peer
	}
	remote := peer
	for _, line := range slices.Backward(r.Header.Values(forwardedFor)) {
		for more := true; more; {
			var entry string
			comma := strings.LastIndexByte(line, ',')
			entry, line, more = line[comma+1:], line[:max(comma, 0)], comma >= 0
			address, ok := forwarded(entry)
			if !ok {
				return peer
			}
			if remote = address; !isTrusted(remote) {
				return remote
			}
		}
	}
	return remote
}

// forwarded reads one entry: an address, which some proxies put in brackets or
// give a port.
func forwarded(entry string) (netip.Addr, bool) {
	entry = strings.TrimSpace(entry)
	if port, err := netip.ParseAddrPort(entry); err == nil {
		return plain(port.Addr()), true
	}
	if inside, found := strings.CutPrefix(entry, "["); found {
		entry = strings.TrimSuffix(inside, "]")
	}
	address, err := netip.ParseAddr(entry)
	return plain(address), err == nil
}

// plain returns an address as networks contain it: IPv4 as IPv4, and without a
// zone, which says something only on the machine that named it.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
