// Package egress is the guarded way out: its dialer connects only to addresses
// that receivers may have. The guard stands at the dial, after the name has
// been resolved and for every address of it, so that neither the way an address
// is written, nor a name that resolves elsewhere the second time, nor a
// redirect gets around it. CheckURL is a courtesy to who saves a rule: it
// refuses early what the dial would refuse for certain.
//
// Which networks are special is kept by code.dny.dev/ssrf after the IANA
// registries. Making requests lies in internal/webhook.
package egress

import (
	"context"
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
)

// ErrNotAllowed says that an address may not be called. It does not say what is
// behind the address.
var ErrNotAllowed = errors.New("the address is not allowed as a receiver")

// ErrConnectTimeout says that nobody answered the connection in time.
var ErrConnectTimeout = errors.New("no answer to the connection")

// DefaultConnectTimeout bounds one connection's making.
const DefaultConnectTimeout = 10 * time.Second

// azureWireServer answers a cloud's virtual machines with their secrets, from
// a public range, which is why no registry lists it.
var azureWireServer = netip.MustParsePrefix("168.63.129.16/32")

// Options say what is allowed; the zero value allows all public addresses.
type Options struct {
	// Allow are networks that may be called although they are private,
	// loopback or otherwise special, on any port.
	Allow []netip.Prefix
	// Deny are networks that may not be called, although they are public or
	// allowed.
	Deny []netip.Prefix
	// Ports are those that receivers may have outside of what Allow says; nil
	// are 80, 443 and those from 1024 on.
	Ports Ports
	// Proxy makes the connections, and resolves the names, in this program's
	// stead; nil is none. See Guard.Proxy.
	Proxy *url.URL
	// ConnectTimeout bounds the making of one connection; 0 is
	// DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// Resolver resolves names; nil is Go's own. The system's C library takes
	// numbers such as 0177.1 for addresses and must not be used.
	Resolver *net.Resolver
}

// Guard dials. It is safe for concurrent use.
type Guard struct {
	allow, deny []netip.Prefix
	ports       Ports
	public      *ssrf.Guardian
	dialer      net.Dialer
	proxy       *url.URL
	direct      net.Dialer // to the proxy
	own         atomic.Pointer[netip.AddrPort]
}

// New returns a Guard.
func New(o Options) *Guard {
	g := &Guard{
		allow: o.Allow, deny: o.Deny, ports: o.Ports, proxy: o.Proxy,
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

// control runs before each connection, with the resolved address.
func (g *Guard) control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return ErrNotAllowed
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil || !g.allowed(target) {
		return ErrNotAllowed
	}
	return nil
}

// allowed decides on a resolved address. Zones and IPv4 in IPv6 come first:
// no prefix contains them, so that no list would find them.
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

// DialContext connects to host:port. ErrNotAllowed is in the error's chain when
// the guard refused, ErrConnectTimeout when nobody answered.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &g.dialer
	if g.isProxy(address) {
		dialer = &g.direct
	}
	conn, err := dialer.DialContext(ctx, network, address)
	var op *net.OpError
	var dns *net.DNSError
	if errors.As(err, &op) && op.Op == "dial" && op.Timeout() && !errors.As(err, &dns) && ctx.Err() == nil {
		return nil, fmt.Errorf("%w within %v: %w", ErrConnectTimeout, g.dialer.Timeout, err)
	}
	return conn, err
}

// ParsePrefixes reads networks such as 10.0.0.0/8, or single addresses.
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
