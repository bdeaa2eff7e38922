package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald/internal/fairqueue"
	"herald/internal/work"
)

// brokenStore has many waiting lanes and can claim nothing.
type brokenStore struct {
	lanesErr, claimErr error

	mu         sync.Mutex
	lanes      int
	claims     int
	handedBack []uuid.UUID
}

func (s *brokenStore) Record(work.Result) error { return nil }

func (s *brokenStore) LanesLimit() int { return 256 }

func (s *brokenStore) Lanes(_ context.Context, after work.Lane) ([]work.WaitingLane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes++
	if s.lanesErr != nil && s.lanes > 1 {
		return nil, s.lanesErr
	}
	lanes := make([]work.WaitingLane, s.LanesLimit())
	for n := range lanes {
		lanes[n].Lane = work.Lane{Client: after.Client, Origin: fmt.Sprintf("https://%d.example:443", s.lanes*1000+n)}
	}
	return lanes, nil
}

func (s *brokenStore) Claim(context.Context, []work.Claim, int) (work.Claimed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims++
	return work.Claimed{}, s.claimErr
}

func (s *brokenStore) HandBack(_ context.Context, held []work.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range held {
		s.handedBack = append(s.handedBack, held[n].ID)
	}
	return nil
}

func (s *brokenStore) Postpone(context.Context, work.Item, time.Duration, string) error { return nil }

// TestClaimerWaitsAfterAnError: for a second, although there are more lanes after those that it read.
func TestClaimerWaitsAfterAnError(t *testing.T) {
	damaged := errors.New("a page is damaged")
	for name, s := range map[string]*brokenStore{
		"nothing can be claimed": {claimErr: damaged},
		"this node is dead":      {claimErr: work.ErrDeclaredDead},
		"lanes cannot be read":   {lanesErr: damaged},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := New(Options{Store: s})
				c := &claimer{Engine: e}
				e.loops.Go(func() { c.run(e.sending) })
				time.Sleep(20*time.Second + time.Millisecond)
				synctest.Wait()
				if c.after == (work.Lane{}) {
					t.Fatal("there are no more lanes")
				}
				if s.lanes < 15 || s.lanes > 25 {
					t.Errorf("lanes were read %d times in 20 seconds, want once a second", s.lanes)
				}
				if s.claimErr != nil && s.claims != s.lanes {
					t.Errorf("%d claims of %d lists of lanes", s.claims, s.lanes)
				}
				e.abort()
				e.loops.Wait()
			})
		})
	}
}

// held returns an engine and a delivery whose attempt is about to begin.
func held(t *testing.T, s *brokenStore) (*Engine, *item) {
	t.Helper()
	e := New(Options{Store: s})
	e.incarnation = 1
	i := &item{Item: work.Item{ID: uuid.New(), ClientID: uuid.New(), Origin: "https://a.example:443", Node: 1}}
	if !e.window.Reserve(i.Lane(), size(&i.Item)) {
		t.Fatal("there is no room")
	}
	e.add(i)
	if next, _, ok := e.window.Next(); !ok || next != i {
		t.Fatal("it is not its turn")
	}
	return e, i
}

// TestWhatWasClaimedAgainStaysKnown: when an attempt of an earlier claim ends, a cancel still finds the
// delivery that was claimed again since.
func TestWhatWasClaimedAgainStaysKnown(t *testing.T) {
	e, old := held(t, &brokenStore{})
	again := &item{Item: old.Item}
	if !e.window.Reserve(again.Lane(), size(&again.Item)) {
		t.Fatal("there is no room")
	}
	e.add(again)
	e.window.Ended(old.Lane(), fairqueue.Result{Skipped: true})
	e.release(old)
	e.Cancelled(old.ID)
	if !again.cancelled {
		t.Error("the delivery that was claimed again is not known")
	}
	e.window.Next()
	e.window.Ended(again.Lane(), fairqueue.Result{Skipped: true})
	e.release(again)
	if len(e.held) != 0 {
		t.Errorf("%d deliveries are held", len(e.held))
	}
}

// TestTurnOfAnEarlierIncarnationIsNotWaitedFor: this node has registered again while the attempt asked for
// its turn. Others may hold the delivery already, so it is handed back.
func TestTurnOfAnEarlierIncarnationIsNotWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Engine)
		waits  bool
	}{
		"the same incarnation": {func(*Engine) {}, true},
		"a new incarnation":    {func(e *Engine) { e.incarnation = 2 }, false},
		"a stop":               {func(e *Engine) { e.stopping = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &brokenStore{}
				e, i := held(t, s)
				test.change(e)
				e.waitTurn(i, time.Minute)
				if _, waits := e.limited[i]; waits != test.waits || waits == (len(s.handedBack) == 1) {
					t.Errorf("it waits: %v, and is handed back: %v", waits, s.handedBack)
				}
				if stats := e.window.Stats(); !test.waits && (stats != fairqueue.Stats{Lanes: stats.Lanes}) {
					t.Errorf("the window still has it: %+v", stats)
				}
				e.mu.Lock()
				e.takeLimited()
				e.mu.Unlock()
			})
		})
	}
}
