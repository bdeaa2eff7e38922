package webhook

import (
	"context"
	"errors"
	"io"
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
// left then, the request is not written. The connection is lost with HTTP/1.1, so the address that
// the origin had last is asked first.

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
		}
	}})
	body := request.Body
	request.Body = &refusable{body, &refused}
	getBody := request.GetBody
	request.GetBody = func() (io.ReadCloser, error) {
		body, err := getBody()
		return &refusable{body, &refused}, err
	}
	response, err := through.RoundTrip(request.WithContext(traced))
	if limit := refused.Load(); limit != nil && err != nil {
		return nil, limit
	}
	return response, err
}

// refusable is a request's body that cannot be read once the request is refused. The transport reads
// the body before it writes anything, so it then writes nothing.
type refusable struct {
	io.ReadCloser
	refused *atomic.Pointer[egress.LimitError]
}

func (b *refusable) Read(p []byte) (int, error) {
	if limit := b.refused.Load(); limit != nil {
		return 0, limit
	}
	return b.ReadCloser.Read(p)
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
