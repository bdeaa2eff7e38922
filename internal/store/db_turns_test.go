package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// TestClientsTakeTurns: however many operations of one client wait, it has half of the places,
// and another client's operation is next.
func TestClientsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(4, 2)
		type served struct {
			client uuid.UUID
			done   func()
		}
		all := make(chan served, 100)
		start := func(client uuid.UUID) {
			go func() {
				if done, err := turns.take(t.Context(), client); err == nil {
					all <- served{client, done}
				}
			}()
			synctest.Wait()
		}
		busy, second, third := uuid.New(), uuid.New(), uuid.New()
		for range 20 {
			start(busy)
		}
		if n := len(all); n != 2 {
			t.Fatalf("%d operations of one client run, want 2", n)
		}
		first := <-all
		<-all
		start(second)
		start(second)
		if n := len(all); n != 2 {
			t.Fatalf("%d operations of another client run, want 2: places are free", n)
		}
		<-all
		<-all
		start(third)
		if n := len(all); n != 0 {
			t.Fatal("more than four operations run")
		}
		first.done()
		synctest.Wait()
		if next := <-all; next.client != third {
			t.Error("the busy client got the free place before one that had none")
		}
	})
}

// TestTurnEndsWithItsContext: an operation that does not wait any more takes no place.
func TestTurnEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, 1)
		done, err := turns.take(t.Context(), uuid.Nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.take(ctx, uuid.New()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want DeadlineExceeded", err)
		}
		done()
		if done, err = turns.take(t.Context(), uuid.New()); err != nil {
			t.Error(err)
		}
		done()
		if turns.free != 1 || len(turns.waiting) != 0 || len(turns.running) != 0 {
			t.Errorf("%+v is left", turns)
		}
	})
}

// TestSlowReadersDelayNobody: while the reads of one client take all the places that it may
// have, and a thousand more wait, others read, and heartbeats, look-ups, claims, changes and
// readiness have connections of their own.
func TestSlowReadersDelayNobody(t *testing.T) { onBoth(t, testSlowReadersDelayNobody) }

func testSlowReadersDelayNobody(t *testing.T, f *fixture) {
	other := f.newClient("other")
	f.accept(f.prepare(f.client, false))
	begun, end := make(chan struct{}, 2000), make(chan struct{})
	defer close(end)
	for range 1000 {
		go func() { // each holds its connection until the test ends
			_, done, err := f.readTurn(context.WithoutCancel(t.Context()), f.client.ID)
			if err != nil {
				return
			}
			defer done()
			conn, err := f.lists.Conn(context.Background())
			if err != nil {
				return
			}
			begun <- struct{}{}
			<-end
			conn.Close()
		}()
	}
	<-begun
	<-begun
	for name, do := range map[string]func(ctx context.Context) error{
		"heartbeat": func(ctx context.Context) error { _, err := f.Heartbeat(ctx); return err },
		"version":   func(ctx context.Context) error { _, err := f.Version(ctx, f.client.ID); return err },
		"client":    func(ctx context.Context) error { _, err := f.ClientState(ctx, f.client.ID, 0); return err },
		"readiness": f.Ping,
		"change":    func(ctx context.Context) error { return f.RenameClient(ctx, operator, f.client.ID, "Acme") },
		"list of another": func(ctx context.Context) error {
			_, _, err := f.Events(ctx, other.ID, herald.EventFilter{Limit: 10})
			return err
		},
		"deliveries of another": func(ctx context.Context) error {
			_, _, err := f.Deliveries(ctx, other.ID, herald.DeliveryFilter{Limit: 10})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := do(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	if got := f.claim(1); len(got) != 1 {
		t.Errorf("claimed %+v, want one", got)
	}
}

// TestChangesOfOneClientDelayNobody: the changes of one client, which wait for each other, leave
// connections to claims and to another client.
func TestChangesOfOneClientDelayNobody(t *testing.T) {
	f := newFixture(t, Options{Database: postgres.Database(t)})
	other := f.newClient("other")
	tx, err := f.vital.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM clients WHERE id = $1 FOR UPDATE`, f.client.ID[:]); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 100)
	for range cap(ended) {
		go func() { ended <- f.RenameClient(t.Context(), operator, f.client.ID, "Acme") }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 20 {
		if err := f.RenameClient(ctx, operator, other.ID, "other"); err != nil {
			t.Fatalf("another client's change: %v", err)
		}
		if _, err := f.Lanes(ctx, work.Lane{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
