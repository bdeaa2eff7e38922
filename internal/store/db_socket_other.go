//go:build !linux

package store

import (
	"syscall"
	"time"
)

// limitUnacknowledged does nothing: only Linux has TCP_USER_TIMEOUT. Elsewhere the deadlines
// of the statements, and keepalive, end connections whose peer is gone.
func limitUnacknowledged(string, syscall.RawConn, time.Duration) error { return nil }
