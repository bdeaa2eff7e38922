package pace

import (
	"testing"
	"time"
)

var start = time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)

// TestRateHoldsInEverySecond: whatever the rate and however often it is asked, no second has more
// than the rate and a tenth of it, and the rate is used.
func TestRateHoldsInEverySecond(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 5, 100} {
		l := New[string]()
		var taken []time.Time
		const seconds = 10
		for at := start; at.Before(start.Add(seconds * time.Second)); at = at.Add(time.Millisecond) {
			if l.Take("a", rate, at) == 0 {
				taken = append(taken, at)
			}
		}
		most := int(rate*1.1) + 1
		for i, from := range taken {
			n := 0
			for _, at := range taken[i:] {
				if at.Sub(from) < time.Second {
					n++
				}
			}
			if n > most {
				t.Fatalf("rate %v: %d within the second after %v, more than %d", rate, n, from.Sub(start), most)
			}
		}
		if least := int(rate * seconds * 0.9); len(taken) < least {
			t.Errorf("rate %v: %d in %d seconds, fewer than %d", rate, len(taken), seconds, least)
		}
	}
}

func TestWaitersAreToldDifferentTimes(t *testing.T) {
	l := New[string]()
	if wait := l.Take("a", 10, start); wait != 0 {
		t.Fatalf("the first waits %v", wait)
	}
	for n := 1; n <= 20; n++ {
		if wait, want := l.Take("a", 10, start), time.Duration(n)*100*time.Millisecond; wait != want {
			t.Errorf("waiter %d is told %v, want %v", n, wait, want)
		}
	}
	for range 10_000 {
		if wait := l.Take("a", 10, start); wait <= 0 || wait > maxWait {
			t.Fatalf("wait %v, want one up to %v", wait, maxWait)
		}
	}
	if wait := l.Take("b", 10, start); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
}

func TestWaitTakesNothing(t *testing.T) {
	l := New[string]()
	for range 3 {
		if wait := l.Wait("a", 1, start); wait != 0 {
			t.Fatalf("wait %v", wait)
		}
	}
	l.Take("a", 1, start)
	for n := 1; n <= 3; n++ {
		if wait, want := l.Wait("a", 1, start), time.Duration(n)*time.Second; wait != want {
			t.Errorf("waiter %d is told %v, want %v", n, wait, want)
		}
	}
	if wait := l.Take("a", 1, start.Add(time.Second)); wait != 0 {
		t.Errorf("a second later it waits %v", wait)
	}
}

// TestMemoryIsBounded: keys beyond the bound share one bucket, and full buckets make room.
func TestMemoryIsBounded(t *testing.T) {
	l := New[int]()
	l.max = 100
	passed := 0
	for key := range 1000 {
		if l.Take(key, 1, start) == 0 {
			passed++
		}
	}
	if len(l.buckets) != 100 || passed != 101 {
		t.Errorf("%d buckets, %d passed; want 100 and the shared one", len(l.buckets), passed)
	}
	if wait := l.Take(5000, 1, start.Add(time.Second)); wait != 0 || len(l.buckets) != 1 {
		t.Errorf("a second later: wait %v, %d buckets; want room", wait, len(l.buckets))
	}
}
