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

// TestGoroutineOfAnAttemptMakesTheNext: and it ends when none comes soon.
func TestGoroutineOfAnAttemptMakesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &brokenStore{}
		e, first := held(t, s)
		e.Clients = noClients{}
		second := &item{Item: first.Item}
		second.ID = uuid.New()
		e.window.Reserve(second.Lane(), size(&second.Item))
		e.add(second)
		e.window.Next()
		for n, i := range []*item{first, second} {
			e.mu.Lock()
			e.begin(i)
			e.mu.Unlock()
			synctest.Wait()
			if idle := e.workers.idle.Load(); idle != 1 || len(s.handedBack) != n+1 {
				t.Errorf("after %d attempts %d goroutines wait; %d deliveries were handed back", n+1, idle, len(s.handedBack))
			}
		}
		time.Sleep(idleFor)
		synctest.Wait()
		if idle := e.workers.idle.Load(); idle != 0 {
			t.Errorf("%d goroutines wait after %v without an attempt", idle, idleFor)
		}
		e.attempts.Wait()
	})
}

// TestGoroutinesThatWaitAreBounded: beyond the bound they end at once, and a stop ends all.
func TestGoroutinesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers()
		began, ended := time.Now(), make(chan time.Duration, 2*maxIdle)
		for range cap(ended) {
			go func() {
				w.wait()
				ended <- time.Since(began)
			}()
		}
		synctest.Wait()
		if n := w.idle.Load(); n != maxIdle || len(ended) != maxIdle {
			t.Errorf("%d goroutines wait and %d have ended, want %d each", n, len(ended), maxIdle)
		}
		close(w.ended)
		for range cap(ended) {
			if after := <-ended; after > 0 {
				t.Fatalf("a goroutine ended after %v", after)
			}
		}
	})
}
