package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"herald/internal/egress"
)

// Attempts for each IP address are bounded (egress.Options.AttemptsPerAddress). The guard counts an
// attempt on a new connection at the dial, where the address is known. An attempt on a kept-alive
// connection is counted here, when the transport has chosen the connection. If there are no attempts
// left then, nothing of the request is written. The connection is lost with HTTP/1.1, so the address
// that the origin had last is asked first.

// maxRemotes bounds how many origins' addresses are remembered.
const maxRemotes = 4096

// maxHopWait bounds how long an attempt waits for a turn at an address that a redirect leads to. Its
// first request has been made, so it does not go back to wait.
const maxHopWait = 2 * time.Second

// remotes remembers the address that each origin was last called at.
type remotes struct {
	mu sync.Mutex
	at map[string]net.Addr
}

func (r *remotes) get(origin string) net.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[origin]
}

func (r *remotes) set(origin string, remote net.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil || len(r.at) >= maxRemotes {
		r.at = make(map[string]net.Addr)
	}
	r.at[origin] = remote
}

// limitedRoundTrip is a round trip that counts. The error is an *egress.LimitError if nothing was
// sent.
func (a *attempt) limitedRoundTrip(ctx context.Context, through *http.Transport, request *http.Request) (*http.Response, error) {
	guard, known := a.sender.Guard, &a.sender.remotes
	origin := originOf(request.URL)
	if err := guard.CheckAttempt(known.get(origin)); err != nil {
		return nil, err
	}
	// Send ends ctx when the attempt has ended, so this needs no end of its own.
	ctx, cancel := context.WithCancelCause(ctx)
	var refused atomic.Pointer[egress.LimitError]
	traced := httptrace.WithClientTrace(a.clock.trace(ctx), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		remote := info.Conn.RemoteAddr()
		known.set(origin, remote)
		var limit *egress.LimitError
		if info.Reused && errors.As(guard.TakeAttempt(remote), &limit) {
			refused.Store(limit)
			cancel(limit)
			refuse(info.Conn, limit)
		}
	}})
	response, err := through.RoundTrip(request.WithContext(traced))
	if limit := refused.Load(); limit != nil && err != nil {
		return nil, limit
	}
	return response, err
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
func (a *attempt) postWhenAllowed(ctx context.Context, target *url.URL, err error) (response *http.Response, _ error) {
	var limit *egress.LimitError
	for deadline := time.Now().Add(maxHopWait); errors.As(err, &limit) && time.Now().Add(limit.Wait).Before(deadline); {
		timer := time.NewTimer(limit.Wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
		response, err = a.post(ctx, target)
	}
	return response, err
}
