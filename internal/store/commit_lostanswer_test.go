package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
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
	listener net.Listener
	server   string
	armed    atomic.Bool
	cuts     atomic.Int32
	reply    []byte // sent to the client in place of the answer
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
		_, _ = io.Copy(server, client)
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
	events, _, err := f.Events(t.Context(), f.client.ID, uuid.Nil, 100)
	if err != nil || len(events) != 10 {
		t.Errorf("%d events, %v; want 10", len(events), err)
	}
}

// TestLostAnswerToAClaim: the node holds a delivery that it does not know of, so its next
// heartbeat makes it register again.
func TestLostAnswerToAClaim(t *testing.T) {
	f, proxy := newCutFixture(t, nil)
	f.accept(f.prepare(f.client, false))
	claims := []work.Claim{{Lane: work.Lane{Client: f.client.ID, Origin: origin}, N: 1}}
	proxy.armed.Store(true)
	if items, err := f.Claim(t.Context(), claims, plenty); err == nil {
		t.Fatalf("the claim was answered: %+v", items)
	}
	if items := f.claim(1); len(items) != 0 {
		t.Fatalf("the claim did not take place: %+v", items)
	}
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

// TestWaitForALostAnswerEndsWithItsContext: while the database does not return the outcome
// of a commit, the wait ends with its context and leaves the node uncertain.
func TestWaitForALostAnswerEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Dir: t.TempDir()})
		f.dialect.pauseBatches = func(context.Context, *sql.Tx) error { return errors.New("the database is away") }
		prepared := f.prepare(f.client, true)
		req := &request{events: []work.PreparedEvent{prepared}, receipts: []herald.Receipt{{EventID: prepared.Event.ID}}}
		const timeout = 3 * lostAnswerPause / 2
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		began := time.Now()
		if f.wasCommitted(ctx, []*request{req}) {
			t.Error("the event counts as committed")
		}
		if waited := time.Since(began); waited != timeout {
			t.Errorf("waited %v, want %v: the context ends between two attempts", waited, timeout)
		}
		if !f.uncertain.Load() {
			t.Error("the node is not uncertain of what it holds")
		}
	})
}
