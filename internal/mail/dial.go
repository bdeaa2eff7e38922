package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
)

// maxReply bounds what the server may send between two commands, in bytes. Replies have some hundred;
// the certificates of a handshake have some thousand.
const maxReply = 64 << 10

// maxReplyText is how much of a reply is recorded, in bytes.
const maxReplyText = 2 << 10

// errReplyTooLong means that the server sent more than maxReply without a command.
var errReplyTooLong = errors.New("the reply of the mail server is longer than 64 KiB")

// boundedConn is a connection that fails when the server sends more than maxReply between two writes.
// The SMTP client reads a reply whole, however long it is.
type boundedConn struct {
	net.Conn
	unasked atomic.Int64 // bytes read since the last write
	// ended is the first error of Read that classify must know: errReplyTooLong, or a timeout. The
	// SMTP client hides the errors of the connection in texts.
	ended atomic.Pointer[error]
}

// Read reads as net.Conn does. The error is errReplyTooLong when the bound is exceeded.
func (c *boundedConn) Read(p []byte) (n int, err error) {
	err = errReplyTooLong
	if c.unasked.Load() <= maxReply {
		n, err = c.Conn.Read(p)
		c.unasked.Add(int64(n))
	}
	if errors.Is(err, errReplyTooLong) || errors.Is(err, os.ErrDeadlineExceeded) {
		c.ended.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Write writes as net.Conn does, and lets the server send a reply again.
func (c *boundedConn) Write(p []byte) (int, error) {
	c.unasked.Store(0)
	return c.Conn.Write(p)
}

// dialed gets the connection that a dial has opened. The SMTP client does not return it, and does not
// close it when the greeting or the login fails.
type dialed struct{ *boundedConn }

type dialedKey struct{}

// failed closes the connection after an error and returns the error.
func (d *dialed) failed(err error) error {
	if d.boundedConn == nil {
		return err
	}
	_ = d.Close() // it is broken
	switch ended := d.ended.Load(); {
	case ended == nil:
		return err
	case errors.Is(*ended, errReplyTooLong):
		return errReplyTooLong
	default:
		return fmt.Errorf("%w: %w", err, os.ErrDeadlineExceeded)
	}
}

// dial connects to the server, with TLS from the first byte if the server wants it.
func (s *Server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := &boundedConn{Conn: raw}
	if opened, ok := ctx.Value(dialedKey{}).(*dialed); ok {
		opened.boundedConn = conn
	}
	if !s.implicit {
		return conn, nil
	}
	encrypted := tls.Client(conn, &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12})
	if err := encrypted.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("the TLS handshake with the mail server: %w", err)
	}
	return encrypted, nil
}
