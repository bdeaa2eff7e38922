package webhook

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"herald"
	"herald/internal/egress"
)

// followed is a context that counts who is told of its end.
type followed struct {
	context.Context
	done chan struct{}

	mu    sync.Mutex
	ended bool
	told  map[int]func()
	next  int
}

func newFollowed(t *testing.T) *followed {
	return &followed{Context: t.Context(), done: make(chan struct{}), told: make(map[int]func())}
}

func (f *followed) Done() <-chan struct{} { return f.done }

func (f *followed) Value(any) any { return nil }

func (f *followed) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return context.Canceled
	}
	return nil
}

func (f *followed) AfterFunc(fn func()) (stop func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.next
	f.next++
	f.told[n] = fn
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, has := f.told[n]
		delete(f.told, n)
		return has
	}
}

func (f *followed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	close(f.done)
	for n, fn := range f.told {
		delete(f.told, n)
		go fn()
	}
}

// counts returns how many were told ever, and how many are now.
func (f *followed) counts() (ever, now int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next, len(f.told)
}

// answering is a receiver that hangs if hang is set, and counts its connections.
type answering struct {
	*httptest.Server
	hang        atomic.Bool
	arrived     chan struct{} // gets a value for each request that hangs
	connections atomic.Int32
}

func newAnswering(t *testing.T) *answering {
	a := &answering{arrived: make(chan struct{}, 1)}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if a.hang.Load() {
			a.arrived <- struct{}{}
			<-r.Context().Done()
		}
	}))
	a.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			a.connections.Add(1)
		}
	}
	a.Start()
	t.Cleanup(a.Close)
	return a
}

func directSender(t *testing.T, timeout time.Duration) *Sender {
	s := New(Options{Guard: egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}), Timeout: timeout})
	t.Cleanup(s.Close)
	return s
}

// TestAConnectionFollowsTheServiceUntilItIsClosed: attempts on one kept-alive connection note once that it
// ends with the service. It ends a later attempt on it, and nothing is noted of a connection that is closed.
func TestAConnectionFollowsTheServiceUntilItIsClosed(t *testing.T) {
	receiver, s, ctx := newAnswering(t), directSender(t, 0), newFollowed(t)
	r := Request{URL: receiver.URL, Body: []byte(`{}`)}
	before := 0 // beside the connection, the dial is told too
	for n := range 4 {
		if got := s.Send(ctx, r); got.Status != 200 {
			t.Fatalf("%+v", got)
		}
		ever, now := ctx.counts()
		if n > 0 && ever != before || now != 1 || receiver.connections.Load() != 1 {
			t.Errorf("attempt %d: %d were told of the end, %d are; want %d and 1", n, ever, now, before)
		}
		before = ever
	}
	receiver.hang.Store(true)
	go func() {
		<-receiver.arrived
		ctx.end()
	}()
	if got := s.Send(ctx, r); got.Reason != herald.ReasonInterrupted || receiver.connections.Load() != 1 {
		t.Errorf("%q (%s) over %d connections", got.Reason, got.Error, receiver.connections.Load())
	}
	receiver.hang.Store(false)
	other := newFollowed(t)
	if got := s.Send(other, r); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	s.Close()
	if _, now := other.counts(); now != 0 {
		t.Errorf("%d closed connections follow the service", now)
	}
}

// TestAConnectionIsUsedAfterWhatItFollowedHasEnded: another attempt, which does not end, gets its answer
// although an idle connection was interrupted.
func TestAConnectionIsUsedAfterWhatItFollowedHasEnded(t *testing.T) {
	receiver, s := newAnswering(t), directSender(t, 0)
	for range 10 {
		ctx := newFollowed(t)
		if got := s.Send(ctx, Request{URL: receiver.URL, Body: []byte(`{}`)}); got.Status != 200 {
			t.Fatalf("%+v", got)
		}
		ctx.end()
	}
}

// TestAKeptConnectionOutlivesTheDeadlineOfItsLastAttempt: the next attempt has a deadline of its own.
func TestAKeptConnectionOutlivesTheDeadlineOfItsLastAttempt(t *testing.T) {
	receiver, s := newAnswering(t), directSender(t, 0)
	r := Request{URL: receiver.URL, Body: []byte(`{}`)}
	if got := s.Send(t.Context(), r); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	called, err := s.target(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	idle := s.pools.main.idle
	c := idle.take(called.receiver)
	if c == nil {
		t.Fatal("the connection is not kept")
	}
	if err := c.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	idle.put(c)
	if got := s.Send(t.Context(), r); got.Status != 200 || got.Request.Redialled || receiver.connections.Load() != 1 {
		t.Errorf("status %d (%s), redialled %v, %d connections", got.Status, got.Error, got.Request.Redialled, receiver.connections.Load())
	}
}
