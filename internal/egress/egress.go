// Package egress guards outgoing connections: its dialer connects only to addresses that
// receivers may have. It checks every resolved address at the dial. So no unusual spelling of
// an address, no name that resolves differently the second time, and no redirect gets past
// the check. CheckURL is a convenience when a rule is saved: it refuses early what the dial
// would certainly refuse.
//
// code.dny.dev/ssrf has the list of special networks, from the IANA registries. Requests are
// made in internal/webhook.
package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"herald/internal/pace"
)

// ErrNotAllowed says that an address may not be called. It does not reveal what the
// address is or whether anything listens there.
var ErrNotAllowed = errors.New("the address is not allowed as a receiver")

// ErrConnectTimeout says that the connection was not made in time.
var ErrConnectTimeout = errors.New("no answer to the connection")

// DefaultConnectTimeout bounds the making of one connection.
const DefaultConnectTimeout = 10 * time.Second

// azureWireServer gives a virtual machine on Azure its secrets. It is in a public range, so
// no registry lists it.
var azureWireServer = netip.MustParsePrefix("168.63.129.16/32")

// Options configure a Guard; the zero value allows all public addresses.
type Options struct {
	// Allow are networks that may be called on any port although they are private,
	// loopback or otherwise special.
	Allow []netip.Prefix
	// Deny are networks that may not be called even if they are public or in
	// Allow.
	Deny []netip.Prefix
	// Ports are the ports that receivers outside of Allow may have; nil means 80,
	// 443 and 1024 to 65535.
	Ports Ports
	// Proxy makes the connections and resolves the names instead of this program;
	// nil means no proxy. See ProxyError.
	Proxy *url.URL
	// ProxyRootCAs are trusted for a Proxy with https; nil means those of the system.
	ProxyRootCAs *x509.CertPool
	// ConnectTimeout bounds the making of one connection; 0 means
	// DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// AttemptsPerAddress bounds the attempts per second to one IP address, whatever
	// names it has; 0 means any number. It has no effect with a Proxy, which resolves
	// the names.
	AttemptsPerAddress int
	// Resolver resolves names; nil means Go's own resolver. The system's C library
	// reads numbers such as 0177.1 as addresses and must not be used.
	Resolver *net.Resolver
}

// Guard is a dialer that checks addresses. It is safe for concurrent use.
type Guard struct {
	allow, deny []netip.Prefix
	ports       Ports
	public      *ssrf.Guardian
	dialer      net.Dialer
	proxy       *url.URL
	proxyRoots  *x509.CertPool
	direct      net.Dialer // to the proxy
	own         atomic.Pointer[[]netip.AddrPort]
	attempts    float64 // per second to one address; 0: any number
	limiter     *pace.Limiter[netip.Addr]
}

// New returns a Guard.
func New(o Options) *Guard {
	g := &Guard{
		allow: o.Allow, deny: o.Deny, ports: o.Ports, proxy: o.Proxy, proxyRoots: o.ProxyRootCAs,
		attempts: float64(o.AttemptsPerAddress), limiter: pace.New[netip.Addr](),
		public: ssrf.New(ssrf.WithAnyPort(), ssrf.WithNetworks("tcp4", "tcp6"),
			ssrf.WithDeniedV4Prefixes(azureWireServer)),
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.Resolver == nil {
		o.Resolver = &net.Resolver{PreferGo: true}
	}
	if g.ports == nil {
		g.ports = defaultPorts
	}
	g.direct = net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second, Resolver: o.Resolver}
	g.dialer = g.direct
	g.dialer.Control = g.control
	return g
}

// control runs before each connection. It gets the resolved address. A connection is made for an
// attempt, so it counts as one.
func (g *Guard) control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return ErrNotAllowed
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil || !g.allowed(target) {
		return ErrNotAllowed
	}
	if g.Limited() {
		return g.take(target.Addr().Unmap())
	}
	return nil
}

// allowed decides on a resolved address. It handles zones and IPv4-mapped IPv6 first,
// because prefixes do not contain such addresses.
func (g *Guard) allowed(target netip.AddrPort) bool {
	addr := target.Addr()
	if addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	if g.isOwn(netip.AddrPortFrom(addr, target.Port())) || contains(g.deny, addr) {
		return false
	}
	return contains(g.allow, addr) || g.ports.allow(target.Port()) && g.public.SafeAddr(addr) == nil
}

func contains(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// DialContext connects to host:port. The error's chain has ErrNotAllowed when the guard
// refused, ErrConnectTimeout when the connection was not made in time, and a *LimitError
// when all addresses of the host have had their attempts for now. With a proxy the connection is a tunnel
// through it, and the chain can have a *ProxyError.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if g.proxy != nil {
		return g.tunnel(ctx, address)
	}
	conn, err := g.dialer.DialContext(ctx, network, address)
	var op *net.OpError
	var dns *net.DNSError
	if errors.As(err, &op) && op.Op == "dial" && op.Timeout() && !errors.As(err, &dns) && ctx.Err() == nil {
		return nil, fmt.Errorf("%w within %v: %w", ErrConnectTimeout, g.dialer.Timeout, err)
	}
	return conn, err
}

// ParsePrefixes parses networks such as 10.0.0.0/8, and single addresses.
func ParsePrefixes(values []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, value := range values {
		value = strings.TrimSpace(value)
		if addr, err := netip.ParseAddr(value); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(value)
		if err != nil || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is not a network; write it as 10.0.0.0/8, fd00::/8 or 10.1.2.3", value)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}
