//go:build unix

package webhook

import (
	"net"
	"syscall"
)

// probe looks at an idle connection without reading from it.
type probe struct {
	raw   syscall.RawConn
	look  func(fd uintptr)
	quiet bool
}

func (p *probe) of(c net.Conn) {
	if has, ok := c.(syscall.Conn); ok {
		p.raw, _ = has.SyscallConn() // nil on an error; the next use of the connection finds it
	}
	p.look = func(fd uintptr) {
		// Go's sockets do not block.
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		p.quiet = err == syscall.EAGAIN
	}
}

// silent reports whether nothing has come on the connection: neither bytes nor its end. A receiver says
// nothing before it is asked, unless it is about to close the connection.
func (p *probe) silent() bool {
	if p.raw == nil {
		return true
	}
	p.quiet = false
	return p.raw.Control(p.look) == nil && p.quiet
}
