package webhook

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// conn is a connection to a receiver. It does not report that a write failed because the receiver has
// closed the connection. The receiver may have answered before that, such as with a 413, and net/http
// would drop the answer for the error of the write. So net/http reads on: it finds the answer, or that
// the connection is closed.
type conn struct {
	net.Conn
	closed atomic.Bool // by the receiver; nothing more can be written
}

func (c *conn) Write(p []byte) (int, error) {
	if c.closed.Load() {
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		c.closed.Store(true)
		return len(p), nil
	}
	return n, err
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func dial(with dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := with(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c}, nil
	}
}
