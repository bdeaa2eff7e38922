package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync"
	"time"

	"herald"
)

// clock records when the phases of the last hop happened. A dial and the transport may call it from
// goroutines that run longer than the attempt, hence the mutex.
type clock struct {
	mu     sync.Mutex
	conn   net.Conn // that of the last hop; nil if it got none
	reused bool

	dnsStart, dnsDone, connectStart, connectDone time.Time
	tlsStart, tlsDone, wrote, firstByte          time.Time
}

// trace returns a context for what calls the hooks of httptrace: a dial, and the transport.
func (c *clock) trace(ctx context.Context) context.Context {
	done := func(t *time.Time) {
		if !overdue(ctx) { // else it is the phase in which the time was over
			c.stamp(t)
		}
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { c.stamp(&c.dnsStart) },
		DNSDone:           func(httptrace.DNSDoneInfo) { done(&c.dnsDone) },
		ConnectStart:      func(string, string) { c.stamp(&c.connectStart) },
		ConnectDone:       func(string, string, error) { done(&c.connectDone) },
		TLSHandshakeStart: func() { c.stampFirst(&c.tlsStart) },
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			if !overdue(ctx) {
				c.stampFirst(&c.tlsDone)
			}
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { c.stamp(&c.wrote) },
		GotFirstResponseByte: func() { c.stamp(&c.firstByte) },
		GotConn:              func(info httptrace.GotConnInfo) { c.got(info.Conn, info.Reused) },
	})
}

func (c *clock) stamp(t *time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*t = time.Now()
}

// stampFirst is stamp the first time. The transport calls the hooks once more for a handshake that it did
// not make itself.
func (c *clock) stampFirst(t *time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() {
		*t = time.Now()
	}
}

// got is called when the hop has its connection.
func (c *clock) got(conn net.Conn, reused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.reused = conn, reused
}

// reset forgets the hop before.
func (c *clock) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.reused = nil, false
	for _, t := range []*time.Time{&c.dnsStart, &c.dnsDone, &c.connectStart, &c.connectDone, &c.tlsStart, &c.tlsDone, &c.wrote, &c.firstByte} {
		*t = time.Time{}
	}
}

// phase returns what the attempt was waiting for when it ended.
func (c *clock) phase() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.wrote.IsZero():
		return "waiting for the response's headers"
	case !c.tlsStart.IsZero() && c.tlsDone.IsZero():
		return "in the TLS handshake"
	case !c.connectStart.IsZero() && c.connectDone.IsZero():
		return "connecting"
	case !c.dnsStart.IsZero() && c.dnsDone.IsZero():
		return "resolving the name"
	default:
		return "sending the request"
	}
}

// connected reports whether the last hop got a connection. From then on something may have been sent.
func (c *clock) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil
}

// idleBefore reports whether the last hop was on a kept-alive connection, and nothing of a response came.
func (c *clock) idleBefore() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reused && c.firstByte.IsZero()
}

// onShared reports whether the last hop was on a connection that others use too, or that is one of
// several kept-alive ones: they may be of no use for the same cause. net/http itself closes a connection
// of HTTP/1.1 on which a request was not answered.
func (c *clock) onShared() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	secure, ok := c.conn.(*tls.Conn)
	return c.reused || ok && secure.ConnectionState().NegotiatedProtocol == "h2"
}

func (c *clock) timings(started time.Time) herald.Timings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return herald.Timings{
		DNS:       between(c.dnsStart, c.dnsDone),
		Connect:   between(c.connectStart, c.connectDone),
		TLS:       between(c.tlsStart, c.tlsDone),
		FirstByte: between(c.wrote, c.firstByte),
		Total:     between(started, time.Now()),
	}
}

// between returns the milliseconds between two times, cut to microseconds. It is 0 if a phase did
// not happen or did not end.
func between(from, to time.Time) float64 {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return float64(to.Sub(from).Microseconds()) / 1000
}
