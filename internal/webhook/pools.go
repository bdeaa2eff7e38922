package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// A kept-alive connection can be of no use although nobody has closed it: its receiver has gone, or its
// name has another address now, or its certificate has expired. So connections are kept in pools, and a
// pool is left when there is evidence against its connections:
//
//	an attempt has timed out on a shared connection ──▶ its receiver gets a pool of its own
//	maxConnAge, or a certificate expires ─────────────▶ all receivers get a new pool
//
// Nothing new is sent on the connections of a pool that was left. What is under way on them ends by
// itself, and then they are closed.

const (
	// maxConnAge bounds how long a connection gets new requests. A receiver that moves to another
	// address is found there after this time at the latest.
	maxConnAge = 5 * time.Minute
	// maxMoved bounds how many receivers have a pool of their own.
	maxMoved = 256
	// movedIdle bounds the idle connections of such a pool.
	movedIdle = 16
	// maxLeft bounds how many pools that were left are remembered, so that Close closes their
	// connections.
	maxLeft = 256
)

// pool is the connections of HTTP/1.1 that attempts drive themselves, and those that one transport keeps.
type pool struct {
	*http.Transport
	idle  *idleConns
	tls   *tls.Config // of the connections that attempts make
	http2 http2Receivers
	born  time.Time
	// expires is when the first of the certificates that were seen expires, in seconds since 1970; 0
	// if there is none.
	expires atomic.Int64
}

// useful reports whether the connections may get new requests.
func (p *pool) useful(now time.Time) bool {
	expires := p.expires.Load()
	return now.Sub(p.born) < maxConnAge && (expires == 0 || now.Unix() <= expires)
}

// sawCertificate is called after each handshake.
func (p *pool) sawCertificate(c tls.ConnectionState) error {
	if len(c.PeerCertificates) > 0 {
		expires := c.PeerCertificates[0].NotAfter.Unix()
		for {
			before := p.expires.Load()
			if before != 0 && before <= expires || p.expires.CompareAndSwap(before, expires) {
				break
			}
		}
	}
	return nil
}

// receiver is a key of pools.
type receiver struct{ scheme, host string }

func receiverOf(u *url.URL) receiver { return receiver{u.Scheme, u.Host} }

// pools is safe for concurrent use.
type pools struct {
	options Options

	mu    sync.RWMutex
	main  *pool
	moved map[receiver]*pool
	left  []*pool // the oldest first
}

func newPools(o Options) *pools {
	p := &pools{options: o, moved: make(map[receiver]*pool)}
	p.main = p.open(idlePerHost)
	return p
}

func (p *pools) open(idle int) *pool {
	made := &pool{Transport: newTransport(p.options), idle: newIdleConns(idle), born: time.Now()}
	made.MaxIdleConnsPerHost = idle
	made.TLSClientConfig.VerifyConnection = made.sawCertificate
	made.tls = made.TLSClientConfig.Clone()
	made.tls.NextProtos = []string{"h2", "http/1.1"}
	if !p.options.Guard.Proxied() {
		made.DialTLSContext = made.dialTLS
	}
	return made
}

// dialTLS returns a connection on which the receiver has chosen HTTP/2, or makes one for the transport.
func (p *pool) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	if c := p.http2.take(address); c != nil {
		return c, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	below, err := p.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	secure, err := handshake(ctx, below, p.tls, host)
	if err != nil {
		return nil, err // and no *tls.Conn that is nil
	}
	return secure, nil
}

// closeIdle closes the connections that are not in use.
func (p *pool) closeIdle() {
	p.idle.close()
	p.CloseIdleConnections()
}

// of returns the pool for the next request to a receiver.
func (p *pools) of(r receiver) *pool {
	now := time.Now()
	p.mu.RLock()
	current, useful := p.current(r), p.main.useful(now)
	p.mu.RUnlock()
	if useful && (current == p.main || current.useful(now)) {
		return current
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.main.useful(now) {
		p.leave(p.main)
		for _, moved := range p.moved {
			p.leave(moved)
		}
		clear(p.moved)
		p.main = p.open(idlePerHost)
	}
	if current = p.current(r); !current.useful(now) {
		current = p.move(r, current)
	}
	return current
}

// current returns the pool of a receiver. The caller holds mu.
func (p *pools) current(r receiver) *pool {
	if moved, has := p.moved[r]; has {
		return moved
	}
	return p.main
}

// retire keeps new requests to a receiver away from the connections of the pool that was used.
func (p *pools) retire(r receiver, used *pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current(r) == used {
		p.move(r, used)
	}
}

// move gives a receiver a new pool of its own in place of the one that it has. The caller holds mu.
func (p *pools) move(r receiver, from *pool) *pool {
	if from != p.main {
		p.leave(from)
	} else if len(p.moved) >= maxMoved {
		var oldest receiver
		for other, moved := range p.moved {
			if first := p.moved[oldest]; first == nil || moved.born.Before(first.born) {
				oldest = other
			}
		}
		p.leave(p.moved[oldest])
		delete(p.moved, oldest)
	}
	made := p.open(movedIdle)
	p.moved[r] = made
	return made
}

// leave closes the idle connections of a pool. Those in use get no more requests, and are closed when
// they have been idle for idleFor. The caller holds mu.
func (p *pools) leave(old *pool) {
	old.closeIdle()
	if p.left = append(p.left, old); len(p.left) > maxLeft {
		p.left = append(p.left[:0], p.left[1:]...)
	}
	for len(p.left) > 0 && time.Since(p.left[0].born) > maxConnAge+p.options.Timeout+2*idleFor {
		p.left = append(p.left[:0], p.left[1:]...)
	}
}

// close closes all idle connections.
func (p *pools) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.main.closeIdle()
	for _, moved := range p.moved {
		moved.closeIdle()
	}
	for _, old := range p.left {
		old.closeIdle()
	}
}
