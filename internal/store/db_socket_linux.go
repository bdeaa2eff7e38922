package store

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall does not have.
const tcpUserTimeout = 0x12

// limitUnacknowledged lets the kernel end a TCP connection whose peer has not acknowledged
// data for so long. Without it, Linux sends the data again for about 15 minutes.
func limitUnacknowledged(network string, c syscall.RawConn, limit time.Duration) error {
	if network != "tcp4" && network != "tcp6" {
		return nil // a Unix socket
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(limit.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
