package fairqueue_test

import (
	"testing"

	"herald/internal/fairqueue"
	"herald/internal/work"
)

func TestClaimDrainsALaneOnlyIfItReadAllSpilledItems(t *testing.T) {
	lane := laneOf(1, 1)
	type window = fairqueue.Window[int]
	bring := func(w *window, wanted, brought int) {
		for n := range brought {
			w.AddClaimed(lane, n, 1)
		}
		w.EndClaim(lane, wanted, brought, true)
	}
	for _, test := range []struct {
		name    string
		claim   func(w *window)
		drained bool
	}{
		{"it brings less", func(w *window) { bring(w, w.BeginClaim(lane), 1) }, true},
		{"it brings nothing", func(w *window) { bring(w, w.BeginClaim(lane), 0) }, true},
		{"it brings all", func(w *window) { n := w.BeginClaim(lane); bring(w, n, n) }, false},
		{"it fails", func(w *window) { w.EndClaim(lane, w.BeginClaim(lane), 0, false) }, false},
		{"a spill is uncommitted all the while", func(w *window) {
			w.Reserve(lane, 1)
			bring(w, w.BeginClaim(lane), 0)
			w.Spilled(lane)
		}, false},
		{"a spill is committed meanwhile", func(w *window) {
			w.Reserve(lane, 1)
			n := w.BeginClaim(lane)
			w.Spilled(lane)
			bring(w, n, 0)
		}, false},
		{"a spill begins and is committed meanwhile", func(w *window) {
			n := w.BeginClaim(lane)
			w.Reserve(lane, 1)
			w.Spilled(lane)
			bring(w, n, 0)
		}, false},
		{"a backlog is found meanwhile", func(w *window) {
			n := w.BeginClaim(lane)
			w.MarkSpilled(lane)
			bring(w, n, 0)
		}, false},
		{"a spill was committed before", func(w *window) {
			w.Reserve(lane, 1)
			w.Spilled(lane)
			bring(w, w.BeginClaim(lane), 1)
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := fairqueue.New[int](fairqueue.Limits{})
			w.MarkSpilled(lane)
			test.claim(w)
			if got := w.Reserve(lane, 1); got != test.drained {
				t.Errorf("a new delivery is taken into memory: %v, want %v", got, test.drained)
			}
		})
	}
}

func TestLaneThatSpilledStaysInTheDatabase(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{Items: 30})
	lane := laneOf(1, 1)
	fill(w, lane, 100)
	w.Spilled(lane)
	for len(startAll(w)) > 0 {
		for range w.Stats().InFlight {
			w.Ended(lane, quick)
			w.Release(lane, 1)
		}
	}
	if got := w.Stats(); got.Items != 0 || got.Spilled != 1 {
		t.Fatalf("%+v, want an empty window with one lane spilled", got)
	}
	if w.Reserve(lane, 1) {
		t.Error("a new delivery overtakes those in the database")
	}
}

func TestOneClaimOfALaneAtATime(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	lane := laneOf(1, 1)
	n := w.BeginClaim(lane)
	if got := w.BeginClaim(lane); n == 0 || got != 0 {
		t.Errorf("claims of %d and %d at once, want one", n, got)
	}
	w.EndClaim(lane, n, 0, true)
	if got := w.BeginClaim(lane); got != n {
		t.Errorf("the next claim asks for %d, want %d", got, n)
	}
}

// claimAll makes a full claim of items of the given size.
func claimAll(w *fairqueue.Window[int], lane work.Lane, size int) int {
	n := w.BeginClaim(lane)
	for i := range n {
		w.AddClaimed(lane, i, size)
	}
	if n > 0 {
		w.EndClaim(lane, n, n, true)
	}
	return n
}

func TestClaimsKeepOnlySomeOfALongBacklogReady(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{InFlightPerLane: 8})
	lane := laneOf(1, 1)
	send(t, w, lane, timedOut) // halves the limit to 4
	for range 10 {
		claimAll(w, lane, 1)
	}
	if got := w.Stats().Items; got != 16 {
		t.Errorf("%d are in memory, want four times the limit", got)
	}
	startAll(w)
	if got := claimAll(w, lane, 1); got != 4 {
		t.Errorf("%d are claimed, want the number of attempts that started", got)
	}
}

func TestClaimsExpectTheItemSizesOfTheClient(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{}) // 64 MiB
	if got := claimAll(w, laneOf(1, 1), 2<<10); got != 64/3 {
		t.Errorf("the first claim asks for %d, want a third of the bytes in items of the largest size", got)
	}
	if got := claimAll(w, laneOf(1, 2), 2<<10); got < 300 {
		t.Errorf("with small items known, it asks for %d, want hundreds", got)
	}
	if got := w.Stats(); got.Bytes != got.Items*2<<10 {
		t.Errorf("%+v: want 2 KiB an item", got)
	}
	claimAll(w, laneOf(1, 3), 1<<20)
	if got := w.BeginClaim(laneOf(1, 4)); got > 64/3 {
		t.Errorf("with large items known, it asks for %d, want few", got)
	}
}

func TestItemTooLargeForAnyShareIsClaimedAlone(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{Bytes: 1000})
	lane, other := laneOf(1, 1), laneOf(1, 2)
	if w.Reserve(lane, 900) {
		t.Fatal("the item was taken into memory")
	}
	w.Spilled(lane)
	if got := claimAll(w, lane, 900); got != 1 {
		t.Fatalf("%d are claimed, want one", got)
	}
	if got := claimAll(w, lane, 900) + claimAll(w, other, 900); got != 0 {
		t.Errorf("%d more of the client are claimed, want none until it is sent", got)
	}
	if _, got, ok := w.Next(); !ok || got != lane {
		t.Error("the item is not sent")
	}
	w.Ended(lane, quick)
	w.Release(lane, 900)
	if got := claimAll(w, other, 900); got != 1 {
		t.Errorf("%d are claimed after it was sent, want one", got)
	}
}
