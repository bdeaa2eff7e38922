package store

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"
)

// A connection can be dead without an error: the machine of the server lost its power, or a
// firewall forgot the connection. New connections may work meanwhile, to the standby that took
// over. So nothing waits for a connection without a limit:
//
//	batchTimeout         a batch of the writer
//	heartbeatTimeout     a heartbeat, and other changes of the table of nodes
//	claimTimeout         a claim
//	changeTimeout        a change that a caller waits for
//	transactionTimeout   any other transaction
//	readDeadline         a read that a caller waits for
//	statementTimeout     any other read
//
// After each limit the server has cancelTimeout to end the statement. If it does not, the
// connection is closed, and all connections that were opened before are not used again
// (distrust). The kernel and keepalive end connections on which nobody waits.
const (
	batchTimeout       = 10 * time.Second
	heartbeatTimeout   = 4 * time.Second // a third of the delivery engine's DefaultDeadAfter, less cancelTimeout
	claimTimeout       = 10 * time.Second
	changeTimeout      = 10 * time.Second
	transactionTimeout = 30 * time.Second
	// cancelTimeout is how long the server has to end a cancelled statement
	// before the connection is closed.
	cancelTimeout = 2 * time.Second
	// unacknowledgedLimit is how long sent data may stay unacknowledged.
	unacknowledgedLimit = 15 * time.Second
	// closeTimeout bounds closing all connections.
	closeTimeout = 5 * time.Second
	// pingTimeout bounds the check of a connection that was idle for a second.
	pingTimeout = 2 * time.Second
)

var statementTimeout = 30 * time.Second // a variable, because tests shorten it

// keepalive ends an idle connection whose peer is gone within 25 s.
var keepalive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// dialDatabase opens a connection to the database.
func dialDatabase(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: keepalive,
		Control: func(network, _ string, c syscall.RawConn) error {
			return limitUnacknowledged(network, c, unacknowledgedLimit)
		},
	}
	return d.DialContext(ctx, network, address)
}

// trust counts how often connections have turned out to be dead. A connection that was opened
// before the last time is not used again: most likely they are all dead.
type trust struct{ generation atomic.Int64 }

// generationKey is the key of a connection's generation in its custom data.
const generationKey = "herald.generation"

// note stores the present generation with a new connection.
func (t *trust) note(c *pgx.Conn) { c.PgConn().CustomData()[generationKey] = t.generation.Load() }

// shouldPing is stdlib's default, except for a connection that is not trusted: its socket is
// closed, so that the ping fails at once.
func (t *trust) shouldPing(_ context.Context, p stdlib.ShouldPingParams) bool {
	if t.has(p.Conn) {
		return p.IdleDuration > time.Second
	}
	_ = p.Conn.PgConn().Conn().Close() // what matters is that it is closed
	return true
}

// lose is called when a connection has turned out to be dead.
func (t *trust) lose() { t.generation.Add(1) }

func (t *trust) has(c *pgx.Conn) bool {
	return c.PgConn().CustomData()[generationKey] == t.generation.Load()
}

// handler returns what a connection does when the context of a statement ends: it cancels the
// statement on the server, so that the connection can run the next one.
func (t *trust) handler(c *pgconn.PgConn) ctxwatch.Handler {
	return &cancelHandler{CancelRequestContextWatcherHandler: pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelTimeout}, trust: t}
}

type cancelHandler struct {
	pgconn.CancelRequestContextWatcherHandler
	trust *trust
	began time.Time
}

func (h *cancelHandler) HandleCancel(ctx context.Context) {
	h.began = time.Now()
	h.CancelRequestContextWatcherHandler.HandleCancel(ctx)
}

func (h *cancelHandler) HandleUnwatchAfterCancel() {
	if time.Since(h.began) >= cancelTimeout { // the server did not answer even that
		h.trust.lose()
	}
	h.CancelRequestContextWatcherHandler.HandleUnwatchAfterCancel()
}
