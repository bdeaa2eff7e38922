package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
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

// ProxyError says that the operator's proxy refused to connect to a receiver. The receiver got nothing.
type ProxyError struct {
	// Status is what the proxy answered; 0 if it closed the connection or did not answer in HTTP.
	Status int
	// Header is that of its answer, nil if there was none. It shows what the proxy's own answers look like.
	Header http.Header
}

// Error says it to a person.
func (e *ProxyError) Error() string {
	switch e.Status {
	case 0:
		return "the egress proxy of this service did not answer in HTTP"
	case http.StatusProxyAuthRequired:
		return "the egress proxy of this service does not take its credentials: it answered 407 Proxy Authentication Required"
	}
	return strings.TrimSpace(fmt.Sprintf("the egress proxy of this service answered %d %s", e.Status, http.StatusText(e.Status)))
}

// maxProxyHeader bounds the headers of the proxy's answer, in bytes.
const maxProxyHeader = 64 << 10

// tunnel asks the operator's proxy for a connection to host:port, with CONNECT for http too: what comes
// through a tunnel is the receiver's, so the proxy's own answers are told apart. The proxy resolves the
// names, so it must refuse names with forbidden addresses. tunnel itself refuses forbidden IP addresses,
// and names that are certainly forbidden, before the proxy gets a request.
//
// The error's chain has ErrNotAllowed, ErrConnectTimeout or a *ProxyError. It has a *net.OpError
// "proxyconnect", as that of net/http, if the proxy cannot be reached.
func (g *Guard) tunnel(ctx context.Context, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, ErrNotAllowed
	}
	port, err := parsePort("", portText)
	if err != nil || g.checkHost(host, port) != nil {
		return nil, ErrNotAllowed
	}
	conn, err := g.DialProxy(ctx, "tcp", g.proxyAddress())
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
	}
	if g.proxy.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: g.proxy.Hostname(), RootCAs: g.proxyRoots})
	}
	_ = conn.SetDeadline(time.Now().Add(g.direct.Timeout)) // an error shows at the next write
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = g.connect(ctx, conn, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// connect makes a tunnel of a connection to the proxy.
func (g *Guard) connect(ctx context.Context, conn net.Conn, address string) error {
	if secure, ok := conn.(*tls.Conn); ok {
		if err := secure.HandshakeContext(ctx); err != nil {
			return &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
		}
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: make(http.Header)}
	if user := g.proxy.User; user != nil {
		password, _ := user.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	err := request.Write(conn)
	var response *http.Response
	reader := bufio.NewReader(io.LimitReader(conn, maxProxyHeader))
	if err == nil {
		response, err = http.ReadResponse(reader, request)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w within %v: %w", ErrConnectTimeout, g.direct.Timeout, err)
	case err != nil:
		return fmt.Errorf("%w: %w", &ProxyError{}, err)
	case response.StatusCode < 200 || response.StatusCode > 299:
		return &ProxyError{Status: response.StatusCode, Header: response.Header}
	case reader.Buffered() > 0: // a receiver says nothing before it is asked
		return &ProxyError{}
	default:
		return nil
	}
}

// Proxied reports whether the operator's proxy makes the connections.
func (g *Guard) Proxied() bool { return g.proxy != nil }

// Proxy is for http.Transport.Proxy of a transport that hands whole http requests to the operator's proxy,
// with DialProxy. It returns the proxy or nil, and ignores the environment. It refuses what tunnel
// refuses.
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

// DialProxy connects to the operator's proxy, which may have any address, and to nothing else.
func (g *Guard) DialProxy(ctx context.Context, network, address string) (net.Conn, error) {
	if g.proxy == nil || address != g.proxyAddress() {
		return nil, ErrNotAllowed
	}
	return g.direct.DialContext(ctx, network, address)
}

func (g *Guard) proxyAddress() string {
	port := g.proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[g.proxy.Scheme]
	}
	return net.JoinHostPort(g.proxy.Hostname(), port)
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
