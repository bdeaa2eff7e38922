package mail

import (
	"context"
	"errors"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Bounds of the connections to the server. Most servers allow few from one host, and close those
// that are idle for some minutes.
const (
	maxConnections = 4
	idleFor        = 30 * time.Second
)

// pool keeps connections open for the next messages.
type pool struct {
	client *gomail.Client
	places chan struct{} // one for each connection that is in use

	mu     sync.Mutex
	idle   []*connection // the one that is idle for the longest first
	closed bool
}

type connection struct {
	*smtp.Client
	opened *dialed
	expiry *time.Timer
}

func newPool(client *gomail.Client) *pool {
	return &pool{client: client, places: make(chan struct{}, maxConnections)}
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

// send makes a transaction on an idle connection or on a new one. If the server has closed the idle
// one, that is found before any part of the message is sent, and a new one replaces it.
func (p *pool) send(ctx context.Context, m *gomail.Msg) error {
	if c := p.take(); c != nil {
		err := p.transact(ctx, c, m)
		if broken := (*gomail.SendError)(nil); !errors.As(err, &broken) || broken.Reason != gomail.ErrConnCheck {
			return err
		}
	}
	opened := &dialed{}
	c, err := p.client.DialToSMTPClientWithContext(context.WithValue(ctx, dialedKey{}, opened))
	if err != nil {
		return opened.failed(err)
	}
	return p.transact(ctx, &connection{Client: c, opened: opened}, m)
}

// transact sends the message. It keeps the connection if it can be used again: after any reply but
// 421, also after a refusal.
func (p *pool) transact(ctx context.Context, c *connection, m *gomail.Msg) error {
	interrupt := context.AfterFunc(ctx, func() { _ = c.Client.Close() }) // closing ends a read that waits
	err := p.client.SendWithSMTPClient(c.Client, m)
	refused := (*gomail.SendError)(nil)
	if interrupt() && (err == nil || errors.As(err, &refused) && refused.ErrorCode() > 0 && refused.ErrorCode() != 421) {
		p.give(c)
		return err
	}
	_ = c.Client.Close() // an error means that it is closed already
	if err != nil {
		return c.opened.failed(err)
	}
	return nil
}

func (p *pool) take() *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if c.expiry.Stop() {
			return c
		}
	}
	return nil
}

func (p *pool) give(c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Quit() // the process ends, so an error does not matter
		return
	}
	c.expiry = time.AfterFunc(idleFor, func() { _ = c.Quit() })
	p.idle = append(p.idle, c)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		if c.expiry.Stop() {
			_ = c.Quit()
		}
	}
	p.idle = nil
}
