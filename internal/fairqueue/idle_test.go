package fairqueue_test

import (
	"testing"

	"github.com/google/uuid"

	"herald/internal/fairqueue"
	"herald/internal/work"
)

func TestOnlyLanesWithAResultOrASpillAreRemembered(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{InFlightPerLane: 2})
	lane := laneOf(1, 1)
	send(t, w, lane, fairqueue.Result{Skipped: true})
	w.Enter(lane)
	w.Leave(lane)
	if got := w.Stats().Lanes + w.Clients(); got != 0 {
		t.Errorf("%d lanes and clients are known that hold nothing", got)
	}
	send(t, w, lane, timedOut)
	send(t, w, laneOf(1, 2), quick)
	w.MarkSpilled(laneOf(1, 3))
	if got := w.Stats().Lanes; got != 3 {
		t.Errorf("%d lanes are known, want the one that timed out, the one that answered and the one that has spilled", got)
	}
}

func TestRememberedLanesAreBounded(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	for n := range fairqueue.MaxIdle + 5 { // a client each
		client := uuid.UUID{13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
		w.MarkSpilled(work.Lane{Client: client, Origin: "https://r.example:443"})
	}
	if got := w.Stats(); got.Lanes != fairqueue.MaxIdle || got.Spilled != fairqueue.MaxIdle {
		t.Errorf("%+v, want %d lanes", got, fairqueue.MaxIdle)
	}
}

// TestLongestIdleLaneIsForgottenFirst: a client with more idle lanes than are left for others loses
// the one that has been idle for the longest. A lane with a commit under way is not idle.
func TestLongestIdleLaneIsForgottenFirst(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	committing := laneOf(1, fairqueue.MaxIdle)
	w.MarkSpilled(committing)
	w.Reserve(committing, 1)
	half := fairqueue.MaxIdle / 2
	for n := range half {
		w.MarkSpilled(laneOf(1, n))
	}
	w.MarkSpilled(laneOf(1, 0)) // now the latest one
	send(t, w, laneOf(1, half), timedOut)
	w.Spilled(committing)
	if got := w.Stats().Lanes; got != half {
		t.Errorf("%d lanes are remembered, want %d", got, half)
	}
	for n, forgotten := range []bool{false, true, true, false} {
		if got := w.Reserve(laneOf(1, n), 1); got != forgotten {
			t.Errorf("lane %d is forgotten: %v, want %v", n, got, forgotten)
		}
	}
}

// TestKnownLanesAreRememberedBesideAnyNumberOfNewOnes: a client with many lanes does not make the
// window forget which lanes of other clients have answered.
func TestKnownLanesAreRememberedBesideAnyNumberOfNewOnes(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	known := laneOf(1, 1)
	send(t, w, known, quick)
	for n := range 2 * fairqueue.MaxIdle {
		send(t, w, laneOf(2, n), timedOut)
	}
	fill(w, known, 1)
	if w.Next(); w.Stats().SlowInFlight != 0 {
		t.Error("the lane that has answered is forgotten")
	}
	if got := w.Stats().Lanes; got > fairqueue.MaxIdle/2+1 {
		t.Errorf("%d lanes are remembered, want no more of one client than are left for others", got)
	}
}

// TestSlowUntilItAnswers: also a lane that the window does not know is slow.
func TestSlowUntilItAnswers(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	lane := laneOf(1, 1)
	if !w.Slow(lane) {
		t.Error("not slow before the first answer")
	}
	send(t, w, lane, quick)
	if w.Slow(lane) {
		t.Error("slow after an answer")
	}
	send(t, w, lane, timedOut)
	if !w.Slow(lane) {
		t.Error("not slow after an attempt without an answer")
	}
}
