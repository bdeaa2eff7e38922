package store

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"herald"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// freezingProxy is a proxy before PostgreSQL. freeze makes all connections that are open do
// nothing any more, as after a loss of power. New connections work.
type freezingProxy struct {
	listener net.Listener
	server   string

	mu     sync.Mutex
	frozen chan struct{} // closed by the next freeze
}

func newFreezingFixture(t *testing.T) (*fixture, *freezingProxy) {
	t.Helper()
	address, err := url.Parse(postgres.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &freezingProxy{listener: l, server: address.Host, frozen: make(chan struct{})}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.forward(client)
		}
	}()
	t.Cleanup(func() { l.Close() })
	address.Host = l.Addr().String()
	return newFixture(t, Options{Database: address.String()}), p
}

func (p *freezingProxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.frozen)
	p.frozen = make(chan struct{})
}

func (p *freezingProxy) forward(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	pass := func(to, from net.Conn) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			select {
			case <-frozen: // neither bytes nor the end of the connection pass
				_, _ = io.Copy(io.Discard, from)
				return
			default:
			}
			if err != nil {
				to.Close()
				return
			}
			_, _ = to.Write(buffer[:n])
		}
	}
	go pass(server, client)
	pass(client, server)
}

// within runs fn and fails the test if it takes longer than limit.
func within(t *testing.T, limit time.Duration, doing string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s: no answer after %v", doing, limit)
	}
}

// TestOpenConnectionsFreeze: every kind of work is answered within a stated time while open
// connections are dead and new ones work, and then goes on as before.
func TestOpenConnectionsFreeze(t *testing.T) {
	const limit = batchTimeout + lostAnswerTimeout + 10*time.Second
	for name, do := range map[string]func(*fixture) error{
		"publish": func(f *fixture) error {
			_, err := f.Accept([]work.PreparedEvent{f.prepareOn(f.client, f.version, true)})
			return err
		},
		"heartbeat": func(f *fixture) error {
			_, err := f.Heartbeat(f.t.Context())
			return err
		},
		"version": func(f *fixture) error {
			_, err := f.Version(f.t.Context(), f.client.ID)
			return err
		},
		"change": func(f *fixture) error {
			return f.RenameClient(f.t.Context(), operator, f.client.ID, "Acme")
		},
		"claim": func(f *fixture) error {
			_, err := f.Claim(f.t.Context(), []work.Claim{{Lane: work.Lane{Client: f.client.ID, Origin: origin}, N: 1, Bytes: plenty}}, plenty)
			return err
		},
		"list": func(f *fixture) error {
			_, _, err := f.Events(f.t.Context(), f.client.ID, herald.EventFilter{Limit: 1})
			return err
		},
		"readiness": func(f *fixture) error { return f.Ping(f.t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, proxy := newFreezingFixture(t)
			f.t = t
			var err error
			if f.version, err = f.Version(t.Context(), f.client.ID); err != nil {
				t.Fatal(err)
			}
			if err := do(f); err != nil { // opens the connection that will freeze
				t.Fatal(err)
			}
			proxy.freeze()
			within(t, limit, name, func() {
				if err := do(f); err != nil && herald.CodeOf(err) != herald.CodeUnavailable {
					t.Errorf("%v; want none or CodeUnavailable", err)
				}
			})
			within(t, limit, name+" again", func() {
				if f.version, err = f.Version(t.Context(), f.client.ID); err == nil {
					err = do(f)
				}
				if err != nil {
					t.Errorf("after the freeze: %v", err)
				}
			})
		})
	}
}

// TestFrozenInTheMiddleOfABatch: the connection freezes between the two parts of a batch. The
// publish is answered, and its answer is true.
func TestFrozenInTheMiddleOfABatch(t *testing.T) {
	f, proxy := newFreezingFixture(t)
	prepared := f.prepare(f.client, true)
	begin := f.dialect.begin
	var once sync.Once
	f.dialect.begin = func(ctx context.Context, s *Store, node int64, ask questions) (batchTx, preconditions, error) {
		tx, found, err := begin(ctx, s, node, ask)
		once.Do(proxy.freeze)
		return tx, found, err
	}
	within(t, 2*(batchTimeout+lostAnswerTimeout), "publish", func() {
		_, err := f.Accept([]work.PreparedEvent{prepared})
		events, _, listErr := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 10})
		if listErr != nil {
			t.Error(listErr)
		}
		if stored := len(events) == 1; stored != (err == nil) {
			t.Errorf("answered %v with %d events stored", err, len(events))
		}
	})
}
