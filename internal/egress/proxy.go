package egress

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// ParseProxy reads the address of an egress proxy, http or https, with a user name
// and a password if it wants them.
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

// Proxy is an http.Transport's Proxy: the operator's, if there is one, and never one
// from the environment. With a proxy names are resolved there and not here, so it
// must refuse what they may not resolve to; what is an address already, or a name
// that is plainly forbidden, is refused before the proxy hears of it.
func (g *Guard) Proxy(r *http.Request) (*url.URL, error) {
	if g.proxy == nil {
		return nil, nil
	}
	port, err := portOf(r.URL)
	if err == nil {
		err = g.checkHost(r.URL.Hostname(), port)
	}
	if err != nil {
		return nil, ErrNotAllowed
	}
	return g.proxy, nil
}

// isProxy reports whether an address to be dialled is the operator's proxy.
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

// DenyOwn refuses the address that the service itself listens on, whatever networks
// are allowed: with all of them allowed a client could make the service call itself.
// A listener on all addresses is refused at each that the machine has.
func (g *Guard) DenyOwn(listener net.Addr) {
	if tcp, ok := listener.(*net.TCPAddr); ok {
		own := tcp.AddrPort()
		own = netip.AddrPortFrom(own.Addr().Unmap().WithZone(""), own.Port())
		g.own.Store(&own)
	}
}

// isOwn reports whether a resolved address is the service's own.
func (g *Guard) isOwn(target netip.AddrPort) bool {
	own := g.own.Load()
	if own == nil || own.Port() != target.Port() {
		return false
	}
	if !own.Addr().IsUnspecified() && !target.Addr().IsUnspecified() {
		return own.Addr() == target.Addr()
	}
	return isLocal(target.Addr())
}

// isLocal reports whether an address is this machine's.
func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // which cannot be ruled out
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
