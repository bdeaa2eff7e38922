package app_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"herald"
	"herald/internal/app"
	"herald/internal/clock"
)

// wrongClock is a system's clock that a test sets.
type wrongClock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *wrongClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *wrongClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// TestClockThatJumps on the whole program: publishes, retries and times go on as if the clock had
// not jumped, and readiness and the metric say what happened.
func TestClockThatJumps(t *testing.T) {
	for _, jump := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour, time.Hour, -25 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			wall := &wrongClock{}
			f := newFixture(t, func(c *app.Config) { c.Clock = clock.New(clock.Options{Wall: wall.now}) })
			receiver := newReceiver(t, statuses(503, 200, 503, 200, 503, 200))
			f.rule(receiver.URL, company)
			check := func(when string) {
				t.Helper()
				begun := time.Now()
				receipt := f.publish(event())
				d := f.ended(receipt)
				if d.State != herald.Delivered || len(d.Attempts) != 2 {
					t.Errorf("%s: %s after %d attempts, want delivered after 2", when, d.State, len(d.Attempts))
				}
				for what, at := range map[string]time.Time{"raised": d.RaisedAt, "attempted": d.Attempts[1].At, "done": d.DoneAt} {
					if at.Before(begun.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) {
						t.Errorf("%s: %s at %v", when, what, at)
					}
				}
			}
			check("before the jump")
			wall.jump(jump)
			check("after the jump")
			if status, _, body := f.call("GET", "/readyz", "", ""); status != 200 || !strings.HasPrefix(body, "ok\n") || !strings.Contains(body, "system's clock has jumped by "+jump.String()) {
				t.Errorf("/readyz: %d %q", status, body)
			}
			if _, _, body := f.call("GET", "/metrics", "", ""); !strings.Contains(body, "\nherald_clock_jump_seconds ") || strings.Contains(body, "\nherald_clock_jump_seconds 0\n") {
				t.Error("the metric does not show the jump")
			}
			wall.jump(-jump)
			check("after the jump back")
			if _, _, body := f.call("GET", "/readyz", "", ""); body != "ok" {
				t.Errorf("/readyz: %q after the jump back", body)
			}
		})
	}
}

// TestTimesOutsideOfFourDigitsAreRefused: occurredAt is a 400 that names the member, and lists stay
// readable.
func TestTimesOutsideOfFourDigitsAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, at := range []string{"0001-01-01T00:00:00+00:01", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"} {
		status, header, body := f.call("POST", "/events", f.account.APIKey, eventText+`,"occurredAt":"`+at+`"}`)
		wantError(t, at, status, header, body, 400)
		if !strings.Contains(body, "occurredAt") {
			t.Errorf("%s: the answer does not name the member: %s", at, body)
		}
	}
	for _, at := range []string{"0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999999999Z"} {
		if status, _, body := f.call("POST", "/events", f.account.APIKey, eventText+`,"occurredAt":"`+at+`"}`); status != 202 {
			t.Errorf("%s: %d %s", at, status, body)
		}
	}
	if status, _, body := f.call("GET", "/events", f.account.APIKey, ""); status != 200 || !strings.Contains(body, "9999-12-31T23:59:59") {
		t.Errorf("the list: %d %s", status, body)
	}
}
