package fairqueue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald/internal/fairqueue"
	"herald/internal/work"
)

var (
	quick    = fairqueue.Result{Took: 5 * time.Millisecond}
	timedOut = fairqueue.Result{Took: 30 * time.Second, TimedOut: true}
)

// laneOf returns the n-th lane of a client.
func laneOf(client byte, n int) work.Lane {
	return work.Lane{Client: uuid.UUID{15: client}, Origin: fmt.Sprintf("https://r%d.example:443", n)}
}

// fill reserves and adds up to n items of one byte until the lane spills, and returns how many it
// added.
func fill(w *fairqueue.Window[int], lane work.Lane, n int) int {
	for i := range n {
		if !w.Reserve(lane, 1) {
			return i
		}
		w.Add(lane, i)
	}
	return n
}

// startAll starts all attempts that may start, and counts them by lane.
func startAll(w *fairqueue.Window[int]) map[work.Lane]int {
	started := map[work.Lane]int{}
	for {
		_, lane, ok := w.Next()
		if !ok {
			return started
		}
		started[lane]++
	}
}

// send sends one item on the lane, which must hold no other item.
func send(t *testing.T, w *fairqueue.Window[int], lane work.Lane, r fairqueue.Result) {
	t.Helper()
	if fill(w, lane, 1) != 1 {
		t.Fatalf("no room for an item of %v", lane)
	}
	if _, got, ok := w.Next(); !ok || got != lane {
		t.Fatalf("the turn is %v's (%v), want %v's", got, ok, lane)
	}
	w.Ended(lane, r)
	w.Release(lane, 1)
}

func TestLanesAndClientsHoldNoMoreThanIsFree(t *testing.T) {
	for _, test := range []struct {
		name  string
		lanes []work.Lane
		want  int // parts of the window in all
		of    int
	}{
		{"one lane a third", []work.Lane{laneOf(1, 1)}, 1, 3},
		{"two lanes of a client two fifths", []work.Lane{laneOf(1, 1), laneOf(1, 2)}, 2, 5},
		{"two clients a quarter each", []work.Lane{laneOf(1, 1), laneOf(2, 1)}, 2, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := fairqueue.New[int](fairqueue.Limits{Items: 6000})
			spilled := map[work.Lane]bool{}
			for len(spilled) < len(test.lanes) {
				for _, l := range test.lanes {
					if !spilled[l] && fill(w, l, 1) == 0 {
						spilled[l] = true
					}
				}
			}
			want := 6000 * test.want / test.of
			if got := w.Stats().Items; got < want-1 || got > want+1 {
				t.Errorf("%d of 6000 slots are taken, want %d", got, want)
			}
			if !w.Reserve(laneOf(9, 1), 1) {
				t.Error("there is no slot for another client")
			}
		})
	}
}

func TestManyLanesOfAClientHoldHalf(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{Items: 6000})
	for n := range 4000 {
		fill(w, laneOf(1, n), 4000)
	}
	if got := w.Stats().Items; got > 3001 || got < 2900 {
		t.Errorf("one client holds %d of 6000 slots, want about half", got)
	}
}

func TestBytesAreSharedLikeItems(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{Bytes: 3000})
	n := 0
	for w.Reserve(laneOf(1, 1), 100) {
		n++
	}
	if n != 10 {
		t.Errorf("one lane holds %d hundred of 3000 bytes, want a third", n)
	}
	if w.Reserve(laneOf(2, 1), 1000) {
		t.Error("another lane holds 1000 of 3000 bytes with 2000 left, want no more than is left after it")
	}
	if !w.Reserve(laneOf(3, 1), 600) {
		t.Error("there is no room left for another client")
	}
}

func TestTurnsGoRoundClientsThenLanes(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	fill(w, laneOf(1, 1), 1000) // a hog
	fill(w, laneOf(1, 2), 2)
	fill(w, laneOf(1, 3), 1)
	fill(w, laneOf(2, 1), 3)
	var got []string
	for range 8 {
		item, lane, ok := w.Next()
		if !ok {
			t.Fatal("no attempt may start")
		}
		got = append(got, fmt.Sprintf("%d/%s #%d", lane.Client[15], lane.Origin[8:10], item))
	}
	want := []string{"1/r1 #0", "2/r1 #0", "1/r2 #0", "2/r1 #1", "1/r3 #0", "2/r1 #2", "1/r1 #1", "1/r2 #1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
}

func TestInFlightIsBoundedForLaneClientAndAll(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{InFlight: 20, InFlightPerClient: 12, InFlightPerLane: 8})
	for client := byte(1); client <= 3; client++ {
		for n := range 3 {
			fill(w, laneOf(client, n), 30)
		}
	}
	got := startAll(w)
	if total := w.Stats().InFlight; total != 20 || got[laneOf(1, 0)] > 3 {
		t.Errorf("%d in flight: %v; want 20, shared", total, got)
	}

	w = fairqueue.New[int](fairqueue.Limits{InFlight: 20, InFlightPerClient: 12, InFlightPerLane: 8})
	fill(w, laneOf(1, 0), 30)
	if got := startAll(w)[laneOf(1, 0)]; got != 8 {
		t.Errorf("a lane alone has %d in flight, want 8", got)
	}
	fill(w, laneOf(1, 1), 30)
	if got := startAll(w)[laneOf(1, 1)]; got != 4 {
		t.Errorf("the client's second lane has %d in flight, want the 4 left to the client", got)
	}
	w.Ended(laneOf(1, 0), quick)
	if _, lane, ok := w.Next(); !ok || lane.Client != (uuid.UUID{15: 1}) {
		t.Errorf("the released place goes to %v, %v; want the same client", lane, ok)
	}
}

func TestLanesThatHangLeavePlacesToOthers(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	for n := range 20 {
		fill(w, laneOf(1, n), 128)
	}
	startAll(w) // none of these attempts ends
	fill(w, laneOf(2, 1), 300)
	if got := startAll(w)[laneOf(2, 1)]; got != 128 {
		t.Errorf("%d attempts of another client start, want 128", got)
	}
}

func TestSlowLanesShareHalfOfThePlaces(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{InFlight: 16, InFlightPerClient: 16, InFlightPerLane: 16})
	for n := range 4 { // makes the lanes slow, with a limit of 8
		send(t, w, laneOf(1, n), timedOut)
	}
	for n := range 4 {
		fill(w, laneOf(1, n), 30)
	}
	want := map[work.Lane]int{laneOf(1, 0): 2, laneOf(1, 1): 2, laneOf(1, 2): 2, laneOf(1, 3): 2}
	if diff := cmp.Diff(want, startAll(w)); diff != "" {
		t.Errorf("slow lanes' places (-want +got):\n%s", diff)
	}
	fill(w, laneOf(1, 9), 30)
	if got := startAll(w)[laneOf(1, 9)]; got != 8 {
		t.Errorf("a fast lane has %d places, want the other half", got)
	}
	w.Ended(laneOf(1, 2), timedOut)
	want = map[work.Lane]int{laneOf(1, 0): 1}
	if diff := cmp.Diff(want, startAll(w)); diff != "" {
		t.Errorf("a released slow place goes to the lane that has waited longest (-want +got):\n%s", diff)
	}
}

func TestLaneWithTimeoutsIsUsedLessUntilItAnswers(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{InFlightPerLane: 16})
	lane := laneOf(1, 1)
	limit := func() int { // the number of attempts that start
		fill(w, lane, 20)
		n := startAll(w)[lane]
		for range n {
			w.Ended(lane, fairqueue.Result{Skipped: true})
			w.Release(lane, 1)
		}
		w.Drain(func(int) int { return 1 })
		return n
	}
	var got []int
	for range 6 {
		send(t, w, lane, timedOut)
		got = append(got, limit())
	}
	if diff := cmp.Diff([]int{8, 4, 2, 1, 1, 1}, got); diff != "" {
		t.Errorf("limits while it times out (-want +got):\n%s", diff)
	}
	got = nil
	for range 1 + 2 + 3 {
		send(t, w, lane, quick)
		got = append(got, limit())
	}
	if diff := cmp.Diff([]int{2, 2, 3, 3, 3, 4}, got); diff != "" {
		t.Errorf("limits while it answers (-want +got):\n%s", diff)
	}
	for range 16 * 16 {
		send(t, w, lane, quick)
	}
	if got := limit(); got != 16 {
		t.Errorf("the limit grew back to %d, want 16", got)
	}
}

func TestLaneIsSlowWhileAttemptsTakeMoreThanASecond(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	lane := laneOf(1, 1)
	slow := func() bool {
		if !w.Enter(lane) {
			t.Fatal("the lane may not be entered")
		}
		defer w.Leave(lane)
		return w.Stats().SlowInFlight > 0
	}
	// A lane without results is dropped when it holds nothing. So one attempt stays in flight.
	fill(w, lane, 1)
	w.Next()
	turnsSlow := 0
	for !slow() && turnsSlow < 100 {
		send(t, w, lane, fairqueue.Result{Took: 2 * time.Second})
		turnsSlow++
	}
	if turnsSlow < 4 || turnsSlow > 10 {
		t.Errorf("it is slow after %d attempts of two seconds, want a few", turnsSlow)
	}
	turnsFast := 0
	for slow() && turnsFast < 100 {
		send(t, w, lane, quick)
		turnsFast++
	}
	if turnsFast < 1 || turnsFast > 10 {
		t.Errorf("it is fast after %d quick attempts, want a few", turnsFast)
	}
}

func TestRedirectCountsAgainstTheLaneItLeadsTo(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{InFlight: 4, InFlightPerLane: 2})
	to := laneOf(1, 2)
	for n := 1; n <= 3; n++ {
		if got, want := w.Enter(to), n <= 2; got != want {
			t.Fatalf("the redirect %d of 2 places: entered %v", n, got)
		}
	}
	fill(w, to, 1)
	if _, _, ok := w.Next(); ok {
		t.Error("an attempt starts, although redirects have all of the lane's places")
	}
	if got := w.Stats().InFlight; got != 0 {
		t.Errorf("%d attempts in flight, want none: a redirect is part of another lane's", got)
	}
	w.Leave(to)
	if _, lane, ok := w.Next(); !ok || lane != to {
		t.Error("no attempt starts after a redirect has left")
	}
}

func TestDrainRemovesItemsThatHaveNotStarted(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	fill(w, laneOf(1, 1), 3)
	w.Next()
	got := w.Drain(func(int) int { return 1 })
	if diff := cmp.Diff([]int{1, 2}, got); diff != "" {
		t.Errorf("drained (-want +got):\n%s", diff)
	}
	if s := w.Stats(); s.Items != 1 || s.Bytes != 1 || s.InFlight != 1 {
		t.Errorf("%+v, want the one in flight", s)
	}
	if _, _, ok := w.Next(); ok {
		t.Error("an attempt starts after the drain")
	}
}

func TestOnlySlowOrSpilledLanesAreRemembered(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{InFlightPerLane: 2})
	lane := laneOf(1, 1)
	send(t, w, lane, quick)
	w.Enter(lane)
	w.Leave(lane)
	if got := w.Stats().Lanes + w.Clients(); got != 0 {
		t.Errorf("%d lanes and clients are known that hold nothing", got)
	}
	send(t, w, lane, timedOut)
	if got := w.Stats().Lanes; got != 1 {
		t.Errorf("%d lanes are known, want the one that timed out", got)
	}
	for range 30 {
		send(t, w, lane, quick)
	}
	if got := w.Stats().Lanes; got != 0 {
		t.Errorf("%d lanes are known, want none after it has answered for a while", got)
	}
}

func TestRememberedLanesAreBounded(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	committing := laneOf(9, 1)
	w.MarkSpilled(committing)
	w.Reserve(committing, 1)
	for n := range fairqueue.MaxIdle {
		w.MarkSpilled(laneOf(byte(n%7), n))
	}
	w.MarkSpilled(laneOf(0, 0)) // now the latest one
	for n := range 10 {
		send(t, w, laneOf(8, n), timedOut)
	}
	w.Spilled(committing) // a lane with a commit under way is not idle
	want := fairqueue.Stats{Lanes: fairqueue.MaxIdle, Spilled: fairqueue.MaxIdle - 10}
	if got := w.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for n, forgotten := range []bool{false, true} {
		if got := w.Reserve(laneOf(byte(n), n), 1); got != forgotten {
			t.Errorf("lane %d is forgotten: %v, want %v: the longest idle one is the first", n, got, forgotten)
		}
	}
}

func TestMisuseEndsInAClearPanic(t *testing.T) {
	lane := laneOf(1, 1)
	for _, test := range []struct {
		name string
		do   func(w *fairqueue.Window[int])
		want string
	}{
		{"a slot released twice", func(w *fairqueue.Window[int]) { w.Reserve(lane, 1); w.Release(lane, 1); w.Release(lane, 1) }, "Release"},
		{"a slot released in flight", func(w *fairqueue.Window[int]) { fill(w, lane, 1); w.Next(); w.Release(lane, 1) }, "Release"},
		{"another size released", func(w *fairqueue.Window[int]) { w.Reserve(lane, 1); w.Release(lane, 2) }, "size"},
		{"an item added twice", func(w *fairqueue.Window[int]) { fill(w, lane, 1); w.Add(lane, 0) }, "Add"},
		{"an attempt ended twice", func(w *fairqueue.Window[int]) { fill(w, lane, 1); w.Next(); w.Ended(lane, quick); w.Ended(lane, quick) }, "Ended"},
		{"a redirect that leaves without entering", func(w *fairqueue.Window[int]) { w.Leave(lane) }, "Leave"},
		{"a redirect that leaves with an attempt's place", func(w *fairqueue.Window[int]) { fill(w, lane, 1); w.Next(); w.Leave(lane) }, "Leave"},
		{"a spill that ended without one", func(w *fairqueue.Window[int]) { w.MarkSpilled(lane); w.Spilled(lane) }, "Spilled"},
		{"a claim ended without one", func(w *fairqueue.Window[int]) { w.MarkSpilled(lane); w.EndClaim(lane, 1, 0, true) }, "EndClaim"},
		{"a claim that brings too much", func(w *fairqueue.Window[int]) {
			for range w.BeginClaim(lane) + 1 {
				w.AddClaimed(lane, 0, 1)
			}
		}, "AddClaimed"},
		{"a claim with other numbers", func(w *fairqueue.Window[int]) { w.EndClaim(lane, w.BeginClaim(lane), 1, true) }, "EndClaim"},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				text := fmt.Sprint(recover())
				for _, want := range []string{"fairqueue: ", test.want, lane.Origin, lane.Client.String()} {
					if !strings.Contains(text, want) {
						t.Errorf("panic %q does not say %q", text, want)
					}
				}
			}()
			test.do(fairqueue.New[int](fairqueue.Limits{}))
		})
	}
}

func BenchmarkDelivery(b *testing.B) {
	for _, lanes := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			w := fairqueue.New[*int](fairqueue.Limits{})
			keys := make([]work.Lane, lanes)
			for n := range keys {
				keys[n] = laneOf(byte(n%100), n)
			}
			item := new(int)
			inFlight := make([]work.Lane, 0, 64)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				lane := keys[i%lanes]
				if !w.Reserve(lane, 500) {
					b.Fatal("no room")
				}
				w.Add(lane, item)
				_, started, _ := w.Next()
				if inFlight = append(inFlight, started); len(inFlight) == cap(inFlight) {
					for _, l := range slices.Backward(inFlight) {
						w.Ended(l, quick)
						w.Release(l, 500)
					}
					inFlight = inFlight[:0]
				}
			}
		})
	}
}
