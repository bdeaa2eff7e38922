package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"herald/internal/egress"
)

// Attempts for each IP address are bounded (egress.Options.AttemptsPerAddress). The guard counts an
// attempt on a new connection at the dial, where the address is known. An attempt on a kept-alive
// connection is counted here, when the transport has chosen the connection. If there are no attempts
// left then, nothing of the request is written. The connection is lost with HTTP/1.1, so the address
// that the origin had last is asked first.

// maxRemotes bounds how many origins are remembered with the address that they were last called at.
const maxRemotes = 4096

// maxHopWait bounds how long an attempt waits for a turn at an address that a redirect leads to. Its
// first request has been made, so it does not go back to wait.
const maxHopWait = 2 * time.Second

// limitedRoundTrip is a round trip that counts. The error is an *egress.LimitError if nothing was
// sent.
func (a *attempt) limitedRoundTrip(through *http.Transport, target *target) (*http.Response, error) {
	guard := a.sender.Guard
	if err := a.checkAttempt(target); err != nil {
		return nil, err
	}
	// Send ends within when the attempt has ended, so this needs no end of its own.
	ctx, cancel := context.WithCancelCause(a.within())
	var refused atomic.Pointer[egress.LimitError]
	traced := httptrace.WithClientTrace(a.clock.trace(ctx), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		remote := info.Conn.RemoteAddr()
		a.sender.known.remotes.set(target.origin, remote)
		var limit *egress.LimitError
		if info.Reused && errors.As(guard.TakeAttempt(remote), &limit) {
			refused.Store(limit)
			cancel(limit)
			refuse(info.Conn, limit)
		}
	}})
	response, err := through.RoundTrip(a.request(target, through == a.sender.forward).WithContext(traced))
	if limit := refused.Load(); limit != nil && err != nil {
		return nil, limit
	}
	return response, err
}

// checkAttempt returns an *egress.LimitError if the address that the origin had last has had its attempts for
// now.
func (a *attempt) checkAttempt(target *target) error {
	remote, _ := a.sender.known.remotes.get(target.origin)
	return a.sender.Guard.CheckAttempt(remote)
}

// gate is a connection that can be closed to writing, so that nothing is written of a refused request.
// The transport cannot be told so: when it says which connection it has chosen, it writes the request
// next, whether or not its context has ended.
type gate struct {
	net.Conn
	refused atomic.Pointer[egress.LimitError]
}

func (g *gate) Write(p []byte) (int, error) {
	if limit := g.refused.Load(); limit != nil {
		return 0, limit
	}
	return g.Conn.Write(p)
}

// refuse lets nothing more be written to a connection that the transport has chosen for a request. Over
// HTTP/2 other requests use the connection too. There the transport looks whether the request's context
// has ended, before it writes.
func refuse(chosen net.Conn, limit *egress.LimitError) {
	if over, ok := chosen.(*tls.Conn); ok {
		if over.ConnectionState().NegotiatedProtocol == "h2" {
			return
		}
		chosen = over.NetConn()
	}
	if g, ok := chosen.(*gate); ok {
		g.refused.Store(limit)
	}
}

// dialWithGate returns a dialer whose connections can be refused if attempts are bounded.
func dialWithGate(guard *egress.Guard, with dialer) dialer {
	if !guard.Limited() {
		return with
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := with(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &gate{Conn: conn}, nil
	}
}

// postWhenAllowed posts again while err says that the address of a redirect has had its attempts for
// now, for maxHopWait at most.
func (a *attempt) postWhenAllowed(target *target, err error) (response *http.Response, _ error) {
	var limit *egress.LimitError
	for deadline := time.Now().Add(maxHopWait); errors.As(err, &limit) && time.Now().Add(limit.Wait).Before(deadline); {
		timer := time.NewTimer(limit.Wait)
		select {
		case <-a.within().Done():
			timer.Stop()
			return nil, a.within().Err()
		case <-timer.C:
		}
		response, err = a.post(target)
	}
	return response, err
}
