package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardedFor is the header to which each proxy appends the address that it got a request
// from.
const forwardedFor = "X-Forwarded-For"

// CallerAddress returns the address that a request came from, for logs and the audit log.
// It is the connection's peer or, when the peer is a trusted proxy, the address that the
// proxy names. Outside a Middleware it is the zero Addr.
func CallerAddress(ctx context.Context) netip.Addr { return infoOf(ctx).remote }

// remoteOf returns the right-most address in X-Forwarded-For that is not a trusted proxy.
// Only trusted proxies append entries that can be trusted; a caller can write the rest. When
// all addresses are trusted it returns the left-most. When an entry on the way is
// not an address, it returns the connection's peer.
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

// forwarded parses one entry. It is an address; some proxies add brackets or a port.
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

// plain returns an address in the form that prefixes contain: IPv4 instead of IPv4-mapped
// IPv6, and no zone, because a zone has a meaning on one machine only.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
