package store

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/intake"
	"herald/internal/work"
)

// noEngine is an intake.Engine that sends nothing.
type noEngine struct{}

func (noEngine) Reserve([]work.PreparedEvent)                      {}
func (noEngine) ReserveSoon(context.Context, []work.PreparedEvent) {}
func (noEngine) AfterCommit([]work.PreparedEvent, func(int) bool)  {}

// publisher returns a function that publishes one event for the fixture's client through an intake
// with the given store. All its alerts must be those of the present rules.
func (f *fixture) publisher(s intake.Store) func() error {
	f.t.Helper()
	cache, err := clientcache.New(f.Store, catalogue.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	f.changed = cache.Invalidate
	in := intake.New(cache, s, noEngine{}, func(string) (string, error) { return origin, nil })
	return func() error {
		_, err := in.Publish(f.t.Context(), operator, []herald.Publication{{Event: herald.Event{
			ClientID: f.client.ID, Type: "Sync Failed", CompanyID: uuid.New(), Data: json.RawMessage(`{"syncId":"1","syncType":"Expense","FailureStage":"fetching"}`),
		}}})
		return err
	}
}

// changing is a store on which a rule of the client changes between the preparation and the commit
// of every event.
type changing struct {
	*fixture
	locked bool
	later  sync.WaitGroup
}

func (c *changing) LockClients(ctx context.Context, clients []uuid.UUID) (func(), error) {
	unlock, err := c.Store.LockClients(ctx, clients)
	c.locked = err == nil
	return unlock, err
}

func (c *changing) Accept(events []work.PreparedEvent) ([]herald.Receipt, error) {
	change := func() {
		if _, err := c.UpdateRule(c.t.Context(), operator, c.rule); err != nil {
			c.t.Error(err)
		}
	}
	if c.locked {
		c.later.Go(change)
	} else {
		change()
	}
	return c.Store.Accept(events)
}

// TestEventIsAcceptedThoughTheRulesChangeBeforeEachCommit: the event is prepared again a few times.
// Then the changes wait until it is committed.
func TestEventIsAcceptedThoughTheRulesChangeBeforeEachCommit(t *testing.T) {
	onBoth(t, testEventIsAcceptedThoughTheRulesChangeBeforeEachCommit)
}

func testEventIsAcceptedThoughTheRulesChangeBeforeEachCommit(t *testing.T, f *fixture) {
	store := &changing{fixture: f}
	before, err := f.Version(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.publisher(store)(); err != nil || !store.locked {
		t.Errorf("publish: %v; the client was locked: %v", err, store.locked)
	}
	store.later.Wait()
	after, err := f.Version(t.Context(), f.client.ID)
	if err != nil || after < before+2 {
		t.Errorf("version %d after %d (%v); the change that waited is lost", after, before, err)
	}
}

// openAnother opens a database beside the fixture's, as another node does, or a copy of it.
func openAnother(t *testing.T, o Options) *Store {
	t.Helper()
	o.Box = testBox(t)
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestPublishingGetsThroughHoweverFastRulesChange: several callers change rules and event types
// without pause, on several nodes if there can be. Each publish is accepted, and each change gets its turn.
func TestPublishingGetsThroughHoweverFastRulesChange(t *testing.T) {
	onBoth(t, testPublishingGetsThroughHoweverFastRulesChange)
}

func testPublishingGetsThroughHoweverFastRulesChange(t *testing.T, f *fixture) {
	publish := f.publisher(f.Store)
	var changes atomic.Int64
	var callers sync.WaitGroup
	stop := make(chan struct{})
	repeat := func(change func() error) {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := change(); err != nil {
					t.Errorf("change: %v", err)
					return
				}
				changes.Add(1)
			}
		})
	}
	nodes := []*Store{f.Store}
	if f.Shared() {
		nodes = append(nodes, openAnother(t, Options{Database: f.options.Database}))
	}
	for n := range 6 {
		repeat(func() error {
			_, err := nodes[n%len(nodes)].UpdateRule(t.Context(), operator, f.rule)
			return err
		})
	}
	repeat(func() error {
		return f.SaveEventType(t.Context(), operator, herald.EventType{Name: "own", Message: "late"})
	})
	var publishers sync.WaitGroup
	for range 3 {
		publishers.Go(func() {
			for range 10 {
				if err := publish(); err != nil {
					t.Errorf("publish: %v", err)
				}
			}
		})
	}
	publishers.Wait()
	close(stop)
	callers.Wait()
	if changes.Load() == 0 {
		t.Error("nothing was changed meanwhile")
	}
}

// TestLockEndsWithItsContext: a change that takes too long does not hold up publishing for ever, and
// a change that waits for a lock ends with its context.
func TestLockEndsWithItsContext(t *testing.T) { onBoth(t, testLockEndsWithItsContext) }

func testLockEndsWithItsContext(t *testing.T, f *fixture) {
	clients := []uuid.UUID{f.client.ID}
	unlock, err := f.LockClients(t.Context(), clients)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.UpdateRule(ended, operator, f.rule); err == nil {
		t.Error("the rule was changed although the client is locked")
	}
	other := f.newClient("Other")
	if err := f.RenameClient(t.Context(), operator, other.ID, "New"); err != nil {
		t.Errorf("another client cannot be changed: %v", err)
	}
	unlock()
	leave, err := f.changes.enter(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.LockClients(ended, clients); err == nil {
		t.Error("the client was locked during a change")
	}
	leave()
	if _, err := f.UpdateRule(t.Context(), operator, f.rule); err != nil {
		t.Error(err)
	}
	if len(f.changes.clients) > 0 {
		t.Errorf("%d clients are left in the gate", len(f.changes.clients))
	}
}
