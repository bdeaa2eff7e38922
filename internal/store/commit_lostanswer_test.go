package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgproto3"

	"herald"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// cuttingProxy is a proxy before PostgreSQL. When armed, it cuts a connection at the next
// answer to a COMMIT.
type cuttingProxy struct {
	listener    net.Listener
	server      string
	armed       atomic.Bool
	armedBefore atomic.Bool // cuts at the next COMMIT, before the server gets it
	cuts        atomic.Int32
	reply       []byte // sent to the client in place of the answer
}

func newCuttingProxy(t *testing.T, server string) *cuttingProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cuttingProxy{listener: l, server: server}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go c.forward(client)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return c
}

func (c *cuttingProxy) forward(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer server.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			if bytes.Contains(bytes.ToLower(buffer[:n]), []byte("commit\x00")) && c.armedBefore.CompareAndSwap(true, false) {
				c.cuts.Add(1)
				client.Close()
				return
			}
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], []byte("COMMIT\x00")) && c.armed.CompareAndSwap(true, false) {
			c.cuts.Add(1)
			_, _ = client.Write(c.reply)
			return // the server has committed, and the client never gets the answer
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// newCutFixture returns a fixture behind a cuttingProxy that sends reply in place of answers.
func newCutFixture(t *testing.T, reply []byte) (*fixture, *cuttingProxy) {
	t.Helper()
	address, err := url.Parse(postgres.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := newCuttingProxy(t, address.Host)
	proxy.reply = reply
	address.Host = proxy.listener.Addr().String()
	return newFixture(t, Options{Database: address.String()}), proxy
}

// TestLostAnswerToACommit is fault 33: the connection is cut between COMMIT and its answer.
// No event is stored twice and none is lost.
func TestLostAnswerToACommit(t *testing.T) {
	t.Run("cut", func(t *testing.T) { testLostAnswerToACommit(t, nil) })
	// A server that shuts down sends FATAL on every connection, also after a COMMIT
	// that it has carried out.
	fatal := (&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01", Message: "terminating connection"})
	text, err := fatal.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("shut down", func(t *testing.T) { testLostAnswerToACommit(t, text) })
}

func testLostAnswerToACommit(t *testing.T, reply []byte) {
	f, proxy := newCutFixture(t, reply)
	for range 10 {
		prepared := f.prepare(f.client, true)
		proxy.armed.Store(true)
		receipts := f.accept(prepared)
		if receipts[0].EventID != prepared.Event.ID {
			t.Fatalf("the receipt names %v, want %v", receipts[0].EventID, prepared.Event.ID)
		}
		item := prepared.Alerts[0].Items[0]
		if err := f.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeDelivered, 200), State: herald.Delivered}); err != nil {
			t.Fatalf("the delivery is not held by this node: %v", err)
		}
	}
	if n := proxy.cuts.Load(); n != 10 {
		t.Errorf("%d connections were cut, want 10", n)
	}
	events, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 100})
	if err != nil || len(events) != 10 {
		t.Errorf("%d events, %v; want 10", len(events), err)
	}
}

// TestLostAnswerToAClaim: the database is asked whether the claim took place.
func TestLostAnswerToAClaim(t *testing.T) {
	f, proxy := newCutFixture(t, nil)
	f.accept(f.prepare(f.client, false))
	proxy.armed.Store(true)
	if items := f.claim(1); len(items) != 1 {
		t.Fatalf("claimed %+v, want the delivery", items)
	}
	if n := proxy.cuts.Load(); n != 1 {
		t.Fatalf("%d connections were cut, want 1", n)
	}
	if _, err := f.Heartbeat(t.Context()); err != nil {
		t.Errorf("the next heartbeat: %v", err)
	}
}

// TestClaimOfUnknownOutcome: the node may hold a delivery that it does not know of, so its next
// heartbeat makes it register again.
func TestClaimOfUnknownOutcome(t *testing.T) {
	f, proxy := newCutFixture(t, nil)
	f.accept(f.prepare(f.client, false))
	limit := f.dialect.limitLockWait
	f.dialect.limitLockWait = func(context.Context, *sql.Tx) error { return errors.New("the database does not say") }
	proxy.armed.Store(true)
	items, err := f.Claim(t.Context(), []work.Claim{{Lane: work.Lane{Client: f.client.ID, Origin: origin}, N: 1, Bytes: plenty}}, plenty)
	if herald.CodeOf(err) != herald.CodeUnavailable {
		t.Fatalf("the claim: %+v, %v; want CodeUnavailable", items, err)
	}
	f.dialect.limitLockWait = limit
	if _, err := f.Heartbeat(t.Context()); !errors.Is(err, work.ErrDeclaredDead) {
		t.Errorf("the next heartbeat: %v, want ErrDeclaredDead", err)
	}
}

// TestUncertainNodeRegistersAgain: when a node does not know the outcome of a commit, all
// deliveries that it holds become orphans.
func TestUncertainNodeRegistersAgain(t *testing.T) {
	f := newFixture(t, Options{Database: postgres.Database(t)})
	f.accept(f.prepare(f.client, true))
	f.uncertain.Store(true)
	if _, err := f.Heartbeat(t.Context()); err != work.ErrDeclaredDead {
		t.Fatalf("the heartbeat of an uncertain node: %v, want ErrDeclaredDead", err)
	}
	if err := f.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, n, err := f.FreeOrphans(t.Context(), uuid.Nil); n != 1 || err != nil {
		t.Errorf("FreeOrphans = %d, %v; want 1", n, err)
	}
	if _, err := f.Heartbeat(t.Context()); err != nil {
		t.Errorf("the heartbeat after registering again: %v", err)
	}
}

// TestWaitForALostAnswerEnds: while the database does not return the outcome of a commit, the
// wait ends after lostAnswerTimeout and leaves the node uncertain.
func TestWaitForALostAnswerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dir: t.TempDir()})
		f.dialect.pauseBatches = func(context.Context, *sql.Tx) error { return errors.New("the database is away") }
		prepared := f.prepare(f.client, true)
		req := &request{events: []work.PreparedEvent{prepared}, receipts: []herald.Receipt{{EventID: prepared.Event.ID}}}
		began := time.Now()
		lost := &lostAnswer{error: errors.New("the connection broke")}
		if err := f.resolveBatch(t.Context(), lost, []*request{req}); err != lost {
			t.Errorf("the outcome is %v, want the lost answer", err)
		}
		if waited := time.Since(began); waited != lostAnswerTimeout {
			t.Errorf("waited %v, want %v", waited, lostAnswerTimeout)
		}
		if !f.uncertain.Load() {
			t.Error("the node is not uncertain of what it holds")
		}
	})
}
