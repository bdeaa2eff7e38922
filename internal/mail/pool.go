package mail

import (
	"context"
	"sync"
	"time"
)

// Bounds of the connections to the server. Most servers allow few from one host, close those that are
// idle for some minutes, and refuse mails after some hundred on one connection.
const (
	// MaxConnections is how many mails are sent at once.
	MaxConnections = 4
	idleFor        = 30 * time.Second
	maxMails       = 50
	maxAge         = 5 * time.Minute
)

// resetTimeout bounds the question whether an idle connection can be used. A server that does not
// answer it soon is replaced by a new connection.
const resetTimeout = 10 * time.Second

// quitTimeout bounds the end of a session. Nothing depends on the reply.
const quitTimeout = time.Second

// pool keeps connections open for the next mails:
//
//	open ──▶ transact ──▶ the server's reply decides about the mail ──▶ idle ──▶ RSET ──▶ transact
//	             │                                                        │        │
//	             └─ closed, silent, 421, out of step, or a reply that     │        └─ anything but 2xx
//	                concerns the connection: closed                       └─ idle for long, old, or
//	                                                                         after many mails: QUIT
//
// A connection is used again only after the server has confirmed to RSET that it is clean. So it does
// not matter in which state its last user left it.
type pool struct {
	open         func(context.Context) (*session, error)
	places       chan struct{} // one for each connection that is in use
	resetTimeout time.Duration

	mu       sync.Mutex
	idle     []idleSession // the one that is idle for the longest first
	closed   bool
	quitting sync.WaitGroup
}

// idleSession is a session that ends at its expiry.
type idleSession struct {
	*session
	expiry *time.Timer
}

func newPool(open func(context.Context) (*session, error)) *pool {
	return &pool{open: open, places: make(chan struct{}, MaxConnections), resetTimeout: resetTimeout}
}

// enter waits for a place among the connections. leave releases it.
func (p *pool) enter(ctx context.Context) (leave func(), err error) {
	select {
	case p.places <- struct{}{}:
		return func() { <-p.places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send makes a transaction on an idle connection or on a new one, and a second one on a new connection
// if failure.again says so: then redialled is true. The error is a *failure.
func (p *pool) send(ctx context.Context, m envelope) (r reply, redialled bool, err error) {
	s := p.take(ctx)
	if s == nil {
		if s, err = p.open(ctx); err != nil {
			return r, false, err
		}
	}
	used := s.mails > 0
	r, err = p.transact(ctx, s, m)
	first := failureOf(err)
	if first == nil || ctx.Err() != nil || !first.again(used) {
		return r, false, err
	}
	if s, err = p.open(ctx); err != nil {
		if first.ofMail() && !first.mayBeOfSession() {
			err = first // it says more about this mail
		}
		return r, true, err
	}
	r, err = p.transact(ctx, s, m)
	return r, true, err
}

// transact sends a mail and keeps the connection if it can be used again.
func (p *pool) transact(ctx context.Context, s *session, m envelope) (reply, error) {
	used := s.mails > 0
	interrupt := context.AfterFunc(ctx, s.close) // closing ends a read that waits
	r, err := s.transact(m)
	failed := failureOf(err)
	switch {
	case !interrupt() || s.broken || failed != nil && !failed.keeps():
		s.close()
	case failed != nil && failed.again(used): // it takes no more mails
		p.quitting.Go(s.quit)
	default:
		p.give(s)
	}
	return r, err
}

// take returns an idle session that the server has confirmed to be clean, or nil. If the latest one
// is not clean, the others are not asked.
func (p *pool) take(ctx context.Context) *session {
	s := p.latest()
	if s == nil {
		return nil
	}
	defer context.AfterFunc(ctx, s.close)()
	if !s.isClean(p.resetTimeout) {
		s.close()
		return nil
	}
	return s
}

func (p *pool) latest() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		last := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		switch {
		case !last.expiry.Stop(): // it quits already
		case time.Since(last.opened) > maxAge:
			p.quitting.Go(last.quit)
		default:
			return last.session
		}
	}
	return nil
}

func (p *pool) give(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		s.close()
	case s.mails >= maxMails || time.Since(s.opened) > maxAge:
		p.quitting.Go(s.quit)
	default:
		p.idle = append(p.idle, idleSession{s, time.AfterFunc(idleFor, s.quit)})
	}
}

// close ends all idle sessions at once, and waits until they have ended.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, s := range p.idle {
		if s.expiry.Stop() {
			p.quitting.Go(s.quit)
		}
	}
	p.idle = nil
	p.mu.Unlock()
	p.quitting.Wait()
}
