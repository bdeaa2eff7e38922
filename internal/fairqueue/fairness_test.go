package fairqueue_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"herald/internal/fairqueue"
	"herald/internal/work"
)

// hostile publishes for some clients to a new lane each time, as much as the window takes, and starts
// all attempts that may start. They never end.
func hostile(w *fairqueue.Window[int], random *rand.Rand, clients int) {
	for lane := range 4000 {
		client := byte(100 + random.IntN(clients))
		key := laneOf(client, lane)
		fill(w, key, 1+random.IntN(200))
		startAll(w)
	}
}

// TestHangingNewLanesLeaveAPlaceToEachClient: any number of clients fill the window with lanes that
// are new each time and never answer. A client that has nothing in flight gets a slot and a place at
// once, also in a lane that has not answered yet.
func TestHangingNewLanesLeaveAPlaceToEachClient(t *testing.T) {
	for _, clients := range []int{1, 2, 3, 10, 40} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(clients, " clients, seed ", seed), func(t *testing.T) {
				w := fairqueue.New[int](fairqueue.Limits{})
				known, unknown := laneOf(1, 1), laneOf(2, 1)
				send(t, w, known, quick)
				if hostile(w, rand.New(rand.NewPCG(seed, 0)), clients); w.Stats().InFlight < 100 {
					t.Fatalf("only %d attempts hang", w.Stats().InFlight)
				}
				for _, lane := range []work.Lane{known, unknown} {
					if fill(w, lane, 1) != 1 {
						t.Fatalf("no slot for client %d: %+v", lane.Client[15], w.Stats())
					}
					if _, got, ok := w.Next(); !ok || got != lane {
						t.Fatalf("the turn is %v's (%v), want %v's: %+v", got, ok, lane, w.Stats())
					}
				}
			})
		}
	}
}

// TestKnownLaneKeepsItsSpeedBesideHangingNewLanes: lanes that have not answered yet leave enough
// places and slots to one that has.
func TestKnownLaneKeepsItsSpeedBesideHangingNewLanes(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	known := laneOf(1, 1)
	send(t, w, known, quick)
	hostile(w, rand.New(rand.NewPCG(1, 0)), 40)
	if got := fill(w, known, 1000); got != 1000 {
		t.Errorf("there are %d slots, want 1000", got)
	}
	if got := startAll(w)[known]; got != 128 {
		t.Errorf("%d attempts start, want 128", got)
	}
}

// TestLanesThatAnsweredOnceAndHangLeavePlaces: a client cannot get the places of all by lanes that
// answer once, quickly, and hang from then on.
func TestLanesThatAnsweredOnceAndHangLeavePlaces(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	for client := byte(100); client < 120; client++ {
		for n := range 10 {
			send(t, w, laneOf(client, n), quick)
		}
	}
	for client := byte(100); client < 120; client++ {
		for n := range 10 {
			fill(w, laneOf(client, n), 200)
			startAll(w)
		}
	}
	for client := byte(1); client < 100; client++ {
		lane := laneOf(client, 1)
		if fill(w, lane, 1) != 1 {
			t.Fatalf("no slot for client %d: %+v", client, w.Stats())
		}
		if _, got, ok := w.Next(); !ok || got != lane {
			t.Fatalf("client %d has no place: %+v", client, w.Stats())
		}
	}
}

// TestLanesThatBecomeSlowTakeNothingFromNewOnes: the fast lanes of two clients fill their parts of the
// window and hang. When all of them have become slow, there is still room for a new lane.
func TestLanesThatBecomeSlowTakeNothingFromNewOnes(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	var lanes []work.Lane
	for n := range 10 {
		lanes = append(lanes, laneOf(101, n), laneOf(102, n))
	}
	known(t, w, lanes...)
	started := map[work.Lane]int{}
	for _, lane := range lanes {
		fill(w, lane, 2000)
		for lane, n := range startAll(w) {
			started[lane] += n
		}
	}
	for lane := range started {
		w.Ended(lane, timedOut)
	}
	if got := w.Stats(); got.InFlight < 600 || got.Items < 8500 {
		t.Fatalf("%+v, want more than half of the places and slots taken", got)
	}
	lane := laneOf(1, 1)
	if got := fill(w, lane, 100); got != 100 {
		t.Errorf("a new lane gets %d slots, want 100: %+v", got, w.Stats())
	}
	if got := startAll(w)[lane]; got < 50 {
		t.Errorf("%d attempts of a new lane start, want 50 or more: %+v", got, w.Stats())
	}
}

// TestTwoClientsWithHangingLanesLeaveAThird: two clients whose known lanes hang leave a third of the
// places and of the slots.
func TestTwoClientsWithHangingLanesLeaveAThird(t *testing.T) {
	w := fairqueue.New[int](fairqueue.Limits{})
	for n := range 10 {
		for client := byte(101); client <= 102; client++ {
			send(t, w, laneOf(client, n), quick)
		}
	}
	for n := range 10 {
		for client := byte(101); client <= 102; client++ {
			fill(w, laneOf(client, n), 200)
		}
		startAll(w)
	}
	if got := w.Stats().InFlight; got > 1024*2/3+1 {
		t.Errorf("%d attempts of two clients are in flight, want two thirds of 1024", got)
	}
}

// TestNewLaneIsSlowUntilItsFirstAnswer: a lane has its full share as soon as its receiver has
// answered once within a second.
func TestNewLaneIsSlowUntilItsFirstAnswer(t *testing.T) {
	for _, test := range []struct {
		name   string
		result fairqueue.Result
		slow   int
	}{
		{"it answers", quick, 0},
		{"it answers after two seconds", fairqueue.Result{Took: 2 * time.Second}, 99},
		{"it does not answer", timedOut, 99},
		{"no attempt is made", fairqueue.Result{Skipped: true}, 99},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := fairqueue.New[int](fairqueue.Limits{})
			lane := laneOf(1, 1)
			fill(w, lane, 100)
			startAll(w)
			if got := w.Stats().SlowInFlight; got != 100 {
				t.Errorf("%d attempts count as slow before any ended, want 100", got)
			}
			w.Ended(lane, test.result)
			if got := w.Stats().SlowInFlight; got != test.slow {
				t.Errorf("%d count as slow after one ended, want %d", got, test.slow)
			}
		})
	}
}

// happening is something that a simulation does at a time.
type happening struct {
	at time.Duration
	do func()
}

type agenda []happening

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(happening)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// simulation runs a window in virtual time. An item is the time at which it was published.
type simulation struct {
	now    time.Duration
	agenda agenda
	window *fairqueue.Window[time.Duration]
	answer func(work.Lane) fairqueue.Result
	waits  map[byte][]time.Duration // from publish to start, by client
	lost   map[byte]int             // items that found no slot, by client
}

func (s *simulation) after(d time.Duration, do func()) {
	heap.Push(&s.agenda, happening{s.now + d, do})
}

func (s *simulation) publish(lane work.Lane) {
	if !s.window.Reserve(lane, 500) {
		s.window.Spilled(lane)
		s.lost[lane.Client[15]]++
		return
	}
	s.window.Add(lane, s.now)
	s.start()
}

func (s *simulation) start() {
	for {
		published, lane, ok := s.window.Next()
		if !ok {
			return
		}
		s.waits[lane.Client[15]] = append(s.waits[lane.Client[15]], s.now-published)
		result := s.answer(lane)
		s.after(result.Took, func() {
			s.window.Ended(lane, result)
			s.window.Release(lane, 500)
			s.start()
		})
	}
}

// publishEvery publishes without end.
func (s *simulation) publishEvery(d time.Duration, lane func() work.Lane) {
	s.after(d, func() {
		s.publish(lane())
		s.publishEvery(d, lane)
	})
}

func (s *simulation) runFor(d time.Duration) {
	for end := s.now + d; s.agenda[0].at <= end; {
		next := heap.Pop(&s.agenda).(happening)
		s.now = next.at
		next.do()
	}
}

// p99OfAnother returns the 99th percentile of the time from publish to the end of the attempt, for a
// client whose receivers answer within 4 ms, and how many of its items found no slot. Beside it a
// number of clients publish to receivers that hang, each at a new host name.
func p99OfAnother(hostileClients int, tricky bool) (p99 time.Duration, lost int) {
	s := &simulation{
		window: fairqueue.New[time.Duration](fairqueue.Limits{}),
		waits:  map[byte][]time.Duration{}, lost: map[byte]int{},
	}
	answered := map[work.Lane]bool{}
	s.answer = func(lane work.Lane) fairqueue.Result {
		if lane.Client[15] < 100 || tricky && !answered[lane] {
			answered[lane] = true
			return fairqueue.Result{Took: 4 * time.Millisecond}
		}
		return timedOut
	}
	lanes := 0
	for client := range hostileClients {
		s.publishEvery(time.Millisecond, func() work.Lane {
			lanes++
			return laneOf(byte(100+client), lanes/20)
		})
	}
	n := 0
	s.publishEvery(time.Millisecond, func() work.Lane { n++; return laneOf(1, n%5) })
	s.runFor(2 * time.Minute)
	waits := s.waits[1]
	slices.Sort(waits)
	return waits[len(waits)*99/100] + 4*time.Millisecond, s.lost[1]
}

// TestTwoHostileClientsDelayNobodyElse: two clients publish as fast as they can, to receivers with new
// host names that hang. Another client's p99 stays under twice its usual.
func TestTwoHostileClientsDelayNobodyElse(t *testing.T) {
	usual, _ := p99OfAnother(0, false)
	for _, test := range []struct {
		name   string
		tricky bool
	}{{"the receivers hang", false}, {"the receivers answer once and hang then", true}} {
		got, lost := p99OfAnother(2, test.tricky)
		if got >= 2*usual || lost > 0 {
			t.Errorf("%s: p99 is %v, and %d found no slot; want under twice %v, and none", test.name, got, lost, usual)
		}
	}
}
