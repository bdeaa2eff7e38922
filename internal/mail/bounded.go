package mail

import (
	"errors"
	"net"
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
// A reply is read whole, however long it is.
type boundedConn struct {
	net.Conn
	unasked atomic.Int64 // bytes read since the last write
}

// Read reads as net.Conn does. The error is errReplyTooLong when the bound is exceeded.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.unasked.Load() > maxReply {
		return 0, errReplyTooLong
	}
	n, err := c.Conn.Read(p)
	c.unasked.Add(int64(n))
	return n, err
}

// Write writes as net.Conn does, and lets the server send a reply again.
func (c *boundedConn) Write(p []byte) (int, error) {
	c.unasked.Store(0)
	return c.Conn.Write(p)
}
