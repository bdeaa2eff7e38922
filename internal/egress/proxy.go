package egress

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// ParseProxy parses the address of an egress proxy, http or https, with an optional user
// name and password.
func ParseProxy(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("it is not an address; want http://proxy.internal:3128")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return nil, fmt.Errorf("%s: want an address such as http://proxy.internal:3128", u.Redacted())
	}
	return u, nil
}

// Proxy is for http.Transport.Proxy. It returns the operator's proxy or nil, and ignores the
// environment. The proxy resolves the names, so the proxy must refuse names with forbidden
// addresses. Proxy itself refuses forbidden IP addresses, and names that are certainly
// forbidden, before the proxy gets a request.
func (g *Guard) Proxy(r *http.Request) (*url.URL, error) {
	if g.proxy == nil {
		return nil, nil
	}
	port, err := parsePort(r.URL.Scheme, r.URL.Port())
	if err == nil {
		err = g.checkHost(r.URL.Hostname(), port)
	}
	if err != nil {
		return nil, ErrNotAllowed
	}
	return g.proxy, nil
}

// isProxy reports whether an address to dial is the operator's proxy.
func (g *Guard) isProxy(address string) bool {
	if g.proxy == nil {
		return false
	}
	port := g.proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[g.proxy.Scheme]
	}
	return address == net.JoinHostPort(g.proxy.Hostname(), port)
}

// DenyOwn refuses an address that the service listens on, even if its network is allowed.
// Otherwise a client could make the service call itself. For a listener on all
// addresses it refuses each address of the machine.
func (g *Guard) DenyOwn(listener net.Addr) {
	if tcp, ok := listener.(*net.TCPAddr); ok {
		own := tcp.AddrPort()
		own = netip.AddrPortFrom(own.Addr().Unmap().WithZone(""), own.Port())
		all := []netip.AddrPort{own}
		if before := g.own.Load(); before != nil {
			all = append(all, *before...)
		}
		g.own.Store(&all)
	}
}

// isOwn reports whether the service listens on a resolved address.
func (g *Guard) isOwn(target netip.AddrPort) bool {
	all := g.own.Load()
	if all == nil {
		return false
	}
	for _, own := range *all {
		if own.Port() != target.Port() {
			continue
		}
		if own.Addr() == target.Addr() || (own.Addr().IsUnspecified() || target.Addr().IsUnspecified()) && isLocal(target.Addr()) {
			return true
		}
	}
	return false
}

// isLocal reports whether an address belongs to this machine.
func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // it may be local, so refuse it
	}
	for _, a := range addrs {
		if network, ok := a.(*net.IPNet); ok {
			if has, ok := netip.AddrFromSlice(network.IP); ok && has.Unmap() == addr {
				return true
			}
		}
	}
	return false
}
