package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"

	"herald/internal/egress"
)

// Which of the two ways a request takes is known when there is a connection: in the TLS handshake, the
// receiver chooses HTTP/1.1 or HTTP/2.
//
//	http, or https and HTTP/1.1 was chosen ──▶ the attempt's own (http1.go)
//	https and HTTP/2 was chosen ─────────────▶ http.Transport, which gets the connection
//	through the operator's proxy ────────────▶ http.Transport
//
// A receiver that chose HTTP/2 is remembered with the pool, so its next requests go to http.Transport at
// once, until it chooses HTTP/1.1 there.

// maxHTTP2 bounds how many such receivers are remembered.
const maxHTTP2 = 4096

// choseHTTP2 says that the receiver chose HTTP/2 on a new connection. Nothing was sent on it yet.
type choseHTTP2 struct{ conn *tls.Conn }

func (choseHTTP2) Error() string { return "the receiver chose HTTP/2" }

// errHeaderValue says that a value cannot be sent, as net/http would say. Rules are checked when they are
// saved, so no value has such characters.
var errHeaderValue = errors.New("the Authorization header has a character that no header may have")

// errHandshake says that the receiver did not end the TLS handshake in time.
var errHandshake = errors.New("the receiver did not end the TLS handshake within " + egress.DefaultConnectTimeout.String())

// roundTrip makes a round trip by one way or the other: on a kept-alive connection if there is one and kept,
// and else on a new one.
func (a *attempt) roundTrip(in *pool, target *target, kept bool) (*http.Response, error) {
	if !a.sender.direct || target.Scheme == "https" && in.http2.has(target.address) {
		transport := in.Transport
		if !kept {
			transport = a.sender.unpooled
		}
		response, err := a.through(transport, target)
		if err == nil && response.ProtoMajor == 1 {
			in.http2.forget(target.address)
		}
		return response, err
	}
	response, err := a.direct(in, target, kept)
	var chose choseHTTP2
	if err == nil || !errors.As(err, &chose) {
		return response, err
	}
	in.http2.handOver(target.address, chose.conn)
	defer in.http2.takeBack(target.address, chose.conn)
	// The dial has counted the attempt.
	return in.Transport.RoundTrip(a.request(target, false).WithContext(a.clock.trace(a.within())))
}

// direct makes a round trip that the attempt drives itself, on a kept-alive connection if there is one
// and kept. Nothing was sent if the error is a choseHTTP2, or an *egress.LimitError: the receiver's address
// has had its attempts for now.
func (a *attempt) direct(in *pool, target *target, kept bool) (*http.Response, error) {
	if !a.headers.legal {
		return nil, errHeaderValue
	}
	var c *http1Conn
	if kept {
		c = in.idle.take(target.receiver)
	}
	if c == nil {
		var err error
		if c, err = a.dial(in, target); err != nil {
			return nil, err
		}
		a.clock.got(c.Conn, false)
		return a.exchange(c, target)
	}
	if err := a.sender.Guard.TakeAttempt(c.RemoteAddr()); err != nil {
		in.idle.put(c)
		return nil, err
	}
	a.clock.got(c.Conn, true)
	return a.exchange(c, target)
}

// dial makes a new connection. The guard counts it as an attempt.
func (a *attempt) dial(in *pool, target *target) (*http1Conn, error) {
	guard := a.sender.Guard
	if err := a.checkAttempt(target); err != nil {
		return nil, err
	}
	ctx := a.clock.trace(a.within())
	tcp, err := dial(guard.DialContext)(ctx, "tcp", target.address)
	if err != nil {
		return nil, a.ended(err)
	}
	if guard.Limited() {
		a.sender.known.remotes.set(target.origin, tcp.RemoteAddr())
	}
	if target.Scheme == "http" {
		return newHTTP1Conn(tcp, tcp.(*conn), target.receiver, in.idle), nil
	}
	secure, err := handshake(ctx, tcp, in.tls, target.Hostname())
	if err != nil {
		return nil, a.ended(err)
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		return nil, choseHTTP2{secure}
	}
	return newHTTP1Conn(secure, tcp.(*conn), target.receiver, in.idle), nil
}

// handshake makes a TLS connection. It closes the connection below if it returns an error.
func handshake(ctx context.Context, below net.Conn, config *tls.Config, host string) (*tls.Conn, error) {
	within, cancel := context.WithTimeout(ctx, egress.DefaultConnectTimeout)
	defer cancel()
	config = config.Clone()
	config.ServerName = host
	secure := tls.Client(below, config)
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil {
		trace.TLSHandshakeStart()
	}
	err := secure.HandshakeContext(within)
	if trace != nil {
		trace.TLSHandshakeDone(secure.ConnectionState(), err)
	}
	if err != nil {
		below.Close()
		if within.Err() != nil && !overdue(ctx) {
			err = errHandshake
		}
		return nil, err
	}
	return secure, nil
}

// http2Receivers are the receivers that chose HTTP/2, as host:port, and the connections on which they did,
// until the transport takes them. It is safe for concurrent use.
type http2Receivers struct {
	mu     sync.RWMutex
	known  map[string]bool
	handed map[string][]*tls.Conn
}

func (h *http2Receivers) has(address string) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.known[address]
}

func (h *http2Receivers) forget(address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, address)
}

// handOver remembers a receiver, and keeps the connection for take.
func (h *http2Receivers) handOver(address string, c *tls.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil || len(h.known) >= maxHTTP2 {
		h.known = make(map[string]bool)
	}
	if h.handed == nil {
		h.handed = make(map[string][]*tls.Conn)
	}
	h.known[address] = true
	h.handed[address] = append(h.handed[address], c)
}

// take returns a connection that was handed over, or nil.
func (h *http2Receivers) take(address string) *tls.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if all := h.handed[address]; len(all) > 0 {
		h.drop(address, 0)
		return all[0]
	}
	return nil
}

// takeBack closes a connection that was handed over, if nobody has taken it.
func (h *http2Receivers) takeBack(address string, c *tls.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := slices.Index(h.handed[address], c); n >= 0 {
		h.drop(address, n)
		go c.Close() // it may wait for the receiver to take the end of TLS
	}
}

// drop takes out the nth connection that was handed over. The caller holds mu.
func (h *http2Receivers) drop(address string, n int) {
	all := h.handed[address]
	if len(all) == 1 {
		delete(h.handed, address)
	} else {
		h.handed[address] = slices.Concat(all[:n], all[n+1:])
	}
}
