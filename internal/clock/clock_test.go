package clock_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"herald/internal/clock"
)

// world is a reference clock and the elapsed time, both set by the test.
type world struct {
	t       *testing.T
	clock   *clock.Clock
	wall    time.Time
	elapsed time.Duration
	log     bytes.Buffer
	shared  bool
}

const (
	day  = 24 * time.Hour
	year = 365 * day
)

func newWorld(t *testing.T, shared bool) *world {
	w := &world{t: t, wall: time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC), shared: shared}
	w.clock = clock.New(clock.Options{
		Shared: shared, Wall: func() time.Time { return w.wall }, Elapsed: func() time.Duration { return w.elapsed },
		Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	w.observe()
	return w
}

func (w *world) observe() {
	if w.shared {
		w.clock.Observe(w.wall, w.elapsed)
	}
}

// pass lets time pass on the reference and the machine, with a reading every second.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	step := max(d/1000, min(time.Second, d))
	for d > 0 {
		step = min(step, d)
		before := w.clock.Now()
		w.wall, w.elapsed, d = w.wall.Add(step), w.elapsed+step, d-step
		w.observe()
		if now := w.clock.Now(); now.Before(before) && w.clock.Jump() != 0 {
			w.t.Fatalf("the clock ran back from %v to %v", before, now)
		}
	}
}

func (w *world) jump(d time.Duration) {
	w.wall = w.wall.Add(d)
	w.observe()
}

func (w *world) want(want time.Time, what string) {
	w.t.Helper()
	if got := w.clock.Now(); !got.Equal(want) {
		w.t.Errorf("%s: the clock shows %v, want %v", what, got, want)
	}
}

func both(t *testing.T, test func(t *testing.T, shared bool)) {
	t.Run("system", func(t *testing.T) { test(t, false) })
	t.Run("shared", func(t *testing.T) { test(t, true) })
}

// TestJumpsThatDoNotLast is the table of jumps: there, for a while, and back.
func TestJumpsThatDoNotLast(t *testing.T) {
	both(t, func(t *testing.T, shared bool) {
		for _, jump := range []time.Duration{time.Hour, -time.Hour, day, -day, year, -year} {
			w := newWorld(t, shared)
			begun := w.wall
			w.jump(jump)
			w.want(begun, "after the jump")
			w.pass(clock.JumpHold - 2*time.Second)
			w.want(begun.Add(clock.JumpHold-2*time.Second), "while the jump lasts")
			if got := w.clock.Jump(); got != jump {
				t.Errorf("Jump() = %v, want %v", got, jump)
			}
			w.jump(-jump)
			w.want(w.wall, "after it is over")
			w.pass(time.Hour)
			w.want(w.wall, "long after")
			if got := w.clock.Jump(); got != 0 {
				t.Errorf("Jump() = %v after it is over", got)
			}
			if n := strings.Count(w.log.String(), "\n"); n != 2 || !strings.Contains(w.log.String(), "has jumped") {
				t.Errorf("%d lines in the log, want one for the jump and one for its end:\n%s", n, w.log.String())
			}
		}
	})
}

func TestJumpsThatLast(t *testing.T) {
	both(t, func(t *testing.T, shared bool) {
		for _, jump := range []time.Duration{time.Hour, -time.Hour, day, -day, year, -year} {
			w := newWorld(t, shared)
			begun := w.wall
			w.jump(jump)
			w.pass(clock.JumpHold + time.Second)
			w.want(w.wall, "after it has lasted")
			if got := w.clock.Jump(); got != 0 {
				t.Errorf("Jump() = %v", got)
			}
			cautious := w.clock.Cautious()
			if want := begun.Add(clock.JumpHold + time.Second); jump > clock.CautionAfter && !cautious.Equal(want) {
				t.Errorf("%v: the cautious time is %v, want %v", jump, cautious, want)
			}
			w.jump(-jump)
			w.pass(clock.JumpHold + time.Second)
			w.want(w.wall, "back, and that has lasted")
			w.pass(clock.CautionHold + time.Minute)
			if got := w.clock.Cautious(); !got.Equal(w.wall) {
				t.Errorf("%v: the cautious time is %v after a day, want %v", jump, got, w.wall)
			}
		}
	})
}

func TestSmallSteps(t *testing.T) {
	both(t, func(t *testing.T, shared bool) {
		w := newWorld(t, shared)
		w.jump(time.Second)
		w.want(w.wall, "a second ahead is followed at once")
		before := w.clock.Now()
		w.jump(-time.Second)
		w.want(before, "a second behind is not followed at once")
		w.pass(time.Second)
		w.want(before.Add(time.Second/2), "the clock runs half as fast")
		w.pass(2 * time.Second)
		w.want(w.wall, "they agree")
		if w.log.Len() > 0 {
			t.Errorf("small steps are in the log: %s", w.log.String())
		}
	})
}

// TestSlowReadingIsNoJump: a node that stalls between the question and the answer has an old
// reading, which says little.
func TestSlowReadingIsNoJump(t *testing.T) {
	w := newWorld(t, true)
	asked, reading := w.elapsed, w.wall
	w.wall, w.elapsed = w.wall.Add(time.Hour), w.elapsed+time.Hour
	w.clock.Observe(reading, asked)
	w.want(w.wall, "after an hour's stall")
	if w.clock.Jump() != 0 || w.log.Len() > 0 {
		t.Errorf("a jump of %v: %s", w.clock.Jump(), w.log.String())
	}
}

// TestSharedClockIsNotThisMachines: this machine's wall clock does not count.
func TestSharedClockIsNotThisMachines(t *testing.T) {
	w := newWorld(t, true)
	right := w.wall
	w.wall = w.wall.Add(25 * time.Hour)
	w.want(right, "this machine is ahead")
}

func TestCautionAtTheStart(t *testing.T) {
	for _, gap := range []time.Duration{0, time.Minute, 2 * time.Hour, year, -time.Minute, -year} {
		w := newWorld(t, false)
		known := w.wall.Add(-gap)
		if got := w.clock.Remember(known); got != gap {
			t.Errorf("a gap of %v: Remember = %v", gap, got)
		}
		w.pass(time.Hour)
		want := w.wall
		if gap > clock.CautionAfter {
			want = known.Add(time.Hour)
		}
		if got := w.clock.Cautious(); !got.Equal(want) {
			t.Errorf("a gap of %v: the cautious time is %v, want %v", gap, got, want)
		}
		w.want(w.wall, "the clock itself")
		w.pass(clock.CautionHold)
		if got := w.clock.Cautious(); !got.Equal(w.wall) {
			t.Errorf("a gap of %v: the cautious time is %v after a day, want %v", gap, got, w.wall)
		}
	}
}
