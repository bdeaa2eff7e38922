package policy_test

import (
	"testing"
	"time"

	"herald"
	"herald/internal/policy"
)

func TestPostponedLongerTheOlder(t *testing.T) {
	for _, test := range []struct {
		age    time.Duration
		random float64
		want   time.Duration
	}{
		{-time.Hour, 0, 5 * time.Second}, {0, 0, 5 * time.Second}, {0, 0.5, 5250 * time.Millisecond}, {20 * time.Second, 0, 5 * time.Second},
		{time.Minute, 0, 15 * time.Second}, {time.Hour, 0, 15 * time.Minute}, {time.Hour, 0.5, 15*time.Minute + 45*time.Second}, {6 * 24 * time.Hour, 0, 15 * time.Minute},
	} {
		if got := policy.PostponeFor(test.age, test.random); got != test.want {
			t.Errorf("at the age of %v: %v, want %v", test.age, got, test.want)
		}
	}
}

// TestOwnFaultUsesUpNoRetry: however often this service cannot make the attempt, all retries are left.
// Only the age ends the delivery, with the reason.
func TestOwnFaultUsesUpNoRetry(t *testing.T) {
	p := policy.Rules(policy.RulesSchedule())
	raised := time.Unix(1e9, 0)
	now, tries := raised, 0
	for ; ; tries++ {
		d := p.Decide(policy.Result{Reason: herald.ReasonLocal}, 2, now, raised, 0)
		if d.RetriesUsed != 2 {
			t.Fatalf("try %d: %d retries are used up, want 2", tries, d.RetriesUsed)
		}
		if d.State() == herald.Failed {
			if d.Reason != herald.ReasonLocal || d.Outcome != herald.OutcomeRejected {
				t.Errorf("it ended as %s (%s)", d.Outcome, d.Reason)
			}
			break
		}
		if d.Outcome != herald.OutcomeRetry || d.Reason != herald.ReasonNone || !d.At.After(now) {
			t.Fatalf("try %d: %+v", tries, d)
		}
		now = d.At
	}
	if now.Sub(raised) < p.MaxAge-time.Hour || tries < 100 || tries > 1000 {
		t.Errorf("it ended after %v and %d tries, want %v and some hundreds", now.Sub(raised), tries, p.MaxAge)
	}
}
