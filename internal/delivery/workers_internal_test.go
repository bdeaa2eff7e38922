package delivery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/clientcache"
)

// noClients is what is known of clients that are deleted: no attempt is made for them.
type noClients struct{}

func (noClients) Recent(context.Context, uuid.UUID) (*clientcache.Snapshot, error) {
	return nil, &herald.Error{Code: herald.CodeNotFound, Message: "no client"}
}

// waiting returns how many goroutines wait for an attempt.
func (e *Engine) waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.workers.idle)
}

// beginAll begins so many attempts at once, and waits until they have ended.
func beginAll(e *Engine, of *item, n int) {
	e.mu.Lock()
	for range n {
		i := &item{Item: of.Item}
		i.ID = uuid.New()
		e.window.Reserve(i.Lane(), size(&i.Item))
		e.add(i)
		e.window.Next()
		e.begin(i)
	}
	e.mu.Unlock()
	synctest.Wait()
}

// TestGoroutineOfAnAttemptMakesTheNext: and it ends when none comes soon.
func TestGoroutineOfAnAttemptMakesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &brokenStore{}
		e, first := held(t, s)
		e.Clients = noClients{}
		for n := range 2 {
			beginAll(e, first, 1)
			if idle := e.waiting(); idle != 1 || len(s.handedBack) != n+1 {
				t.Errorf("after %d attempts %d goroutines wait; %d deliveries were handed back", n+1, idle, len(s.handedBack))
			}
		}
		time.Sleep(idleFor)
		synctest.Wait()
		if idle := e.waiting(); idle != 0 || e.workers.timer != nil {
			t.Errorf("%d goroutines wait after %v without an attempt", idle, idleFor)
		}
		e.attempts.Wait()
	})
}

// TestGoroutinesThatAreNotNeededEnd: after ten attempts at once there is one at a time, and one goroutine
// makes them all.
func TestGoroutinesThatAreNotNeededEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, first := held(t, &brokenStore{})
		e.Clients = noClients{}
		beginAll(e, first, 10)
		if idle := e.waiting(); idle != 10 {
			t.Errorf("%d goroutines wait, want 10", idle)
		}
		for range 21 {
			time.Sleep(idleFor / 20)
			beginAll(e, first, 1)
		}
		if idle := e.waiting(); idle != 1 {
			t.Errorf("%d goroutines wait although one attempt at a time is made, want 1", idle)
		}
		time.Sleep(idleFor)
		e.attempts.Wait()
	})
}

// TestGoroutinesThatWaitAreBounded: beyond the bound they end at once, and a stop ends all.
func TestGoroutinesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := held(t, &brokenStore{})
		began, ended := time.Now(), make(chan time.Duration, 2*maxIdle)
		for range cap(ended) {
			go func() {
				next := make(chan *item, 1)
				e.wait(next)
				<-next
				ended <- time.Since(began)
			}()
		}
		synctest.Wait()
		if n := e.waiting(); n != maxIdle || len(ended) != maxIdle {
			t.Errorf("%d goroutines wait and %d have ended, want %d each", n, len(ended), maxIdle)
		}
		e.mu.Lock()
		e.stopping = true
		e.workers.end(len(e.workers.idle))
		e.mu.Unlock()
		for range cap(ended) {
			if after := <-ended; after > 0 {
				t.Fatalf("a goroutine ended after %v", after)
			}
		}
		late := make(chan *item, 1)
		e.wait(late)
		if i, open := <-late; i != nil || open {
			t.Error("a goroutine waits although the service stops")
		}
	})
}
