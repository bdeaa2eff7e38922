package store

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgproto3"

	"herald"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// cutter is a proxy before PostgreSQL that can cut a connection when the answer to
// a COMMIT comes back.
type cutter struct {
	listener net.Listener
	server   string
	armed    atomic.Bool
	cuts     atomic.Int32
	instead  []byte // what the client gets for an answer
}

func newCutter(t *testing.T, server string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, server: server}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go c.pass(client)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return c
}

func (c *cutter) pass(client net.Conn) {
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
			_, _ = client.Write(c.instead)
			return // it is committed, and the answer goes nowhere
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// newCutFixture is a fixture behind a cutter that answers what it is given.
func newCutFixture(t *testing.T, instead []byte) (*fixture, *cutter) {
	t.Helper()
	address, err := url.Parse(postgres.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := newCutter(t, address.Host)
	proxy.instead = instead
	address.Host = proxy.listener.Addr().String()
	return newFixture(t, Options{Database: address.String()}), proxy
}

// TestLostAnswerToACommit is fault 33: the connection is cut between COMMIT and
// its answer; nothing is doubled and nothing is dropped.
func TestLostAnswerToACommit(t *testing.T) {
	t.Run("cut", func(t *testing.T) { testLostAnswerToACommit(t, nil) })
	// A server that is shut down says so to all, and to one whose COMMIT it has
	// just carried out.
	fatal := (&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01", Message: "terminating connection"})
	text, err := fatal.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("shut down", func(t *testing.T) { testLostAnswerToACommit(t, text) })
}

func testLostAnswerToACommit(t *testing.T, instead []byte) {
	f, proxy := newCutFixture(t, instead)
	for range 10 {
		entry := f.entry(f.client, true)
		proxy.armed.Store(true)
		receipts := f.accept(entry)
		if receipts[0].EventID != entry.Event.ID {
			t.Fatalf("the receipt names %v, want %v", receipts[0].EventID, entry.Event.ID)
		}
		due := entry.Alerts[0].Items[0]
		if err := f.Record(work.Result{Item: due, Attempt: attempt(due, herald.OutcomeDelivered, 200), State: herald.Delivered}); err != nil {
			t.Fatalf("the delivery is not held by this node: %v", err)
		}
	}
	if n := proxy.cuts.Load(); n != 10 {
		t.Errorf("%d connections were cut, want 10", n)
	}
	events, err := f.Events(t.Context(), f.client.ID, uuid.Nil, 100)
	if err != nil || len(events) != 10 {
		t.Errorf("%d events, %v; want 10", len(events), err)
	}
}

// TestLostAnswerToAClaim: what was claimed is held by a node that does not know of
// it, so the node begins anew, and it is made.
func TestLostAnswerToAClaim(t *testing.T) {
	f, proxy := newCutFixture(t, nil)
	f.accept(f.entry(f.client, false))
	wants := []work.Claim{{Lane: work.Lane{Client: f.client.ID, Origin: origin}, N: 1}}
	proxy.armed.Store(true)
	if due, err := f.Claim(t.Context(), wants); err == nil {
		t.Fatalf("the claim was answered: %+v", due)
	}
	if due := f.claim(1); len(due) != 0 {
		t.Fatalf("the claim did not take place: %+v", due)
	}
	if _, err := f.Heartbeat(t.Context()); !errors.Is(err, work.ErrDeclaredDead) {
		t.Errorf("the next beat: %v, want ErrBuried", err)
	}
}

// TestNodeInDoubtBeginsAnew: a node that cannot learn what became of a commit
// gives back all that it holds.
func TestNodeInDoubtBeginsAnew(t *testing.T) {
	f := newFixture(t, Options{Database: postgres.Database(t)})
	f.accept(f.entry(f.client, true))
	f.uncertain.Store(true)
	if _, err := f.Heartbeat(t.Context()); err != work.ErrDeclaredDead {
		t.Fatalf("beating in doubt: %v, want ErrBuried", err)
	}
	if err := f.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, n, err := f.FreeOrphans(t.Context(), uuid.Nil); n != 1 || err != nil {
		t.Errorf("FreeOrphans = %d, %v; want 1", n, err)
	}
	if _, err := f.Heartbeat(t.Context()); err != nil {
		t.Errorf("beating anew: %v", err)
	}
}
