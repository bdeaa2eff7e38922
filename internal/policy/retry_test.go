package policy_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"herald"
	"herald/internal/policy"
)

const almostOne = 1 - 1e-9

var (
	raised = time.Date(2023, 5, 3, 9, 56, 17, 0, time.UTC)
	now    = raised.Add(2 * time.Second)
	rules  = policy.Rules(policy.RulesSchedule())
)

func TestStatusDecides(t *testing.T) {
	transient := []int{408, 420, 429, 460, 502, 503, 504, 522, 524}
	for status := -1; status <= 1000; status++ {
		want := policy.Decision{Outcome: herald.OutcomeRejected, Reason: herald.ReasonStatus}
		switch {
		case status >= 200 && status <= 299:
			want = policy.Decision{Outcome: herald.OutcomeDelivered}
		case status >= 300 && status <= 399:
			want = policy.Decision{Outcome: herald.OutcomeRejected, Reason: herald.ReasonRedirect}
		case status == 0 || slices.Contains(transient, status):
			want = policy.Decision{Outcome: herald.OutcomeRetry, At: now.Add(20 * time.Second), RetriesUsed: 1}
		}
		for _, reason := range []herald.Reason{herald.ReasonNone, herald.ReasonStatus} {
			got := rules.Decide(policy.Result{Status: status, Reason: reason}, 0, now, raised, 0)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("status %d with reason %q (-want +got):\n%s", status, reason, diff)
			}
		}
	}
}

func TestReasonDecidesWithoutAResponse(t *testing.T) {
	retry := policy.Decision{Outcome: herald.OutcomeRetry, At: now.Add(40 * time.Second), RetriesUsed: 2}
	rejected := func(r herald.Reason) policy.Decision {
		return policy.Decision{Outcome: herald.OutcomeRejected, RetriesUsed: 1, Reason: r}
	}
	for reason, want := range map[herald.Reason]policy.Decision{
		herald.ReasonDNS:            retry,
		herald.ReasonConnectRefused: retry,
		herald.ReasonConnectTimeout: retry,
		herald.ReasonConnect:        retry,
		herald.ReasonTLS:            retry,
		herald.ReasonTimeout:        retry,
		herald.ReasonReset:          retry,
		herald.ReasonProtocol:       retry,
		herald.ReasonNotAllowed:     rejected(herald.ReasonNotAllowed),
		herald.ReasonRedirect:       rejected(herald.ReasonRedirect),
		herald.ReasonAddress:        rejected(herald.ReasonAddress),
		herald.ReasonNoMailServer:   rejected(herald.ReasonNoMailServer),
		herald.ReasonInterrupted:    {Outcome: herald.OutcomeUnknown, At: now, RetriesUsed: 1},
	} {
		got := rules.Decide(policy.Result{Reason: reason}, 1, now, raised, 0)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reason %q (-want +got):\n%s", reason, diff)
		}
	}
}

func TestRefusedRedirectIsRejectedWhateverItsStatus(t *testing.T) {
	got := rules.Decide(policy.Result{Status: 503, Reason: herald.ReasonRedirect, RetryAfter: "1"}, 0, now, raised, 0)
	if diff := cmp.Diff(policy.Decision{Outcome: herald.OutcomeRejected, Reason: herald.ReasonRedirect}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRetriesFollowTheScheduleAndThenAreExhausted(t *testing.T) {
	for _, random := range []float64{0, 0.5, almostOne} {
		at, used := now, 0
		var waits []time.Duration
		for {
			d := rules.Decide(policy.Result{Status: 503}, used, at, raised, random)
			if d.State() != herald.Pending {
				want := policy.Decision{Outcome: herald.OutcomeRejected, RetriesUsed: 3, Reason: herald.ReasonExhausted}
				if diff := cmp.Diff(want, d); diff != "" {
					t.Errorf("random %v: the last decision (-want +got):\n%s", random, diff)
				}
				break
			}
			waits = append(waits, d.At.Sub(at))
			at, used = d.At, d.RetriesUsed
		}
		if len(waits) != 3 || at.Sub(now) > 2*time.Minute {
			t.Errorf("random %v: waits %v; want three within 2 minutes", random, waits)
		}
		for i, wait := range waits {
			if full := rules.Schedule[i]; wait > full || wait < full-full/10 {
				t.Errorf("random %v: wait %d is %v, want %v less up to 10 %%", random, i+1, wait, full)
			}
		}
	}
}

func TestRetriesAreSpread(t *testing.T) {
	for _, result := range []policy.Result{{Status: 503}, {Status: 503, RetryAfter: "20"}, {Reason: herald.ReasonTimeout}} {
		low := rules.Decide(result, 0, now, raised, 0).At
		high := rules.Decide(result, 0, now, raised, almostOne).At
		if gap := low.Sub(high).Abs(); gap < 1900*time.Millisecond || gap > 2*time.Second {
			t.Errorf("%+v: retries are spread over %v, want 2s", result, gap)
		}
	}
}

func TestNoScheduleMakesNoRetries(t *testing.T) {
	got := policy.Rules(nil).Decide(policy.Result{Status: 503, RetryAfter: "1"}, 0, now, raised, 0)
	if diff := cmp.Diff(policy.Decision{Outcome: herald.OutcomeRejected, Reason: herald.ReasonExhausted}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCorruptRetryCountDoesNotPanic(t *testing.T) {
	for _, used := range []int{math.MinInt, -1, 4, math.MaxInt} {
		d := rules.Decide(policy.Result{Status: 503}, used, now, raised, 0)
		if wantRetry := used < 0; (d.Outcome == herald.OutcomeRetry) != wantRetry {
			t.Errorf("%d retries used: outcome %s", used, d.Outcome)
		}
	}
}

func TestRetryAfterOverridesTheInterval(t *testing.T) {
	date := func(after time.Duration) string { return now.Add(after).Format(http.TimeFormat) }
	for _, test := range []struct {
		header   string
		min, max time.Duration // with the least and the most jitter
	}{
		{"2", 2 * time.Second, 2200 * time.Millisecond},
		{"120", 120 * time.Second, 125 * time.Second},
		{"3600", time.Hour, time.Hour + 5*time.Second},
		{"0", time.Second, 1100 * time.Millisecond},
		{"86399", 24*time.Hour - time.Second, 24 * time.Hour},
		{"315360000", 24 * time.Hour, 24 * time.Hour},
		{"99999999999999999999999999", 24 * time.Hour, 24 * time.Hour},
		{date(3 * time.Second), 3 * time.Second, 3300 * time.Millisecond},
		{date(-time.Hour), time.Second, 1100 * time.Millisecond},
		{date(10 * 365 * 24 * time.Hour), 24 * time.Hour, 24 * time.Hour},
		// Invalid values are ignored: the shortened interval of the schedule counts.
		{"-5", 20 * time.Second, 18 * time.Second},
		{"soon", 20 * time.Second, 18 * time.Second},
		{"1.5", 20 * time.Second, 18 * time.Second},
		{"", 20 * time.Second, 18 * time.Second},
	} {
		for random, want := range map[float64]time.Duration{0: test.min, almostOne: test.max} {
			d := rules.Decide(policy.Result{Status: 429, RetryAfter: test.header}, 0, now, raised, random)
			if wait := d.At.Sub(now); d.RetriesUsed != 1 || (wait-want).Abs() > time.Microsecond {
				t.Errorf("Retry-After %q at random %v: %d retries used and a wait of %v, want 1 and %v",
					test.header, random, d.RetriesUsed, wait, want)
			}
		}
	}
}

func TestRetryAfterAddsNoRetry(t *testing.T) {
	for _, result := range []policy.Result{{Status: 500, RetryAfter: "2"}, {Status: 410, RetryAfter: "2"}} {
		if d := rules.Decide(result, 0, now, raised, 0); d.Outcome != herald.OutcomeRejected || !d.At.IsZero() {
			t.Errorf("%+v: %+v, want it rejected", result, d)
		}
	}
	d := rules.Decide(policy.Result{Status: 503, RetryAfter: "2"}, 3, now, raised, 0)
	if d.Reason != herald.ReasonExhausted {
		t.Errorf("after three retries: %+v, want it exhausted", d)
	}
}

func TestDeliveryExpiresWhenTheNextAttemptWouldBeTooLate(t *testing.T) {
	end := raised.Add(rules.MaxAge)
	expired := func(outcome herald.Outcome) policy.Decision {
		return policy.Decision{Outcome: outcome, RetriesUsed: 1, Reason: herald.ReasonExpired}
	}
	for _, test := range []struct {
		name   string
		result policy.Result
		now    time.Time
		want   policy.Decision
	}{
		{"just in time", policy.Result{Status: 503}, end.Add(-40 * time.Second),
			policy.Decision{Outcome: herald.OutcomeRetry, At: end, RetriesUsed: 2}},
		{"too late", policy.Result{Status: 503}, end.Add(-40*time.Second + 1), expired(herald.OutcomeRejected)},
		{"too late by Retry-After", policy.Result{Status: 503, RetryAfter: "3601"}, end.Add(-time.Hour), expired(herald.OutcomeRejected)},
		{"interrupted in time", policy.Result{Reason: herald.ReasonInterrupted}, end,
			policy.Decision{Outcome: herald.OutcomeUnknown, At: end, RetriesUsed: 1}},
		{"interrupted too late", policy.Result{Reason: herald.ReasonInterrupted}, end.Add(1), expired(herald.OutcomeUnknown)},
		{"delivered late", policy.Result{Status: 200}, end.Add(time.Hour),
			policy.Decision{Outcome: herald.OutcomeDelivered, RetriesUsed: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := rules.Decide(test.result, 1, test.now, raised, 0)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStateFollowsTheDecision(t *testing.T) {
	for _, test := range []struct {
		decision policy.Decision
		want     herald.State
	}{
		{policy.Decision{Outcome: herald.OutcomeDelivered}, herald.Delivered},
		{policy.Decision{Outcome: herald.OutcomeRetry, At: now}, herald.Pending},
		{policy.Decision{Outcome: herald.OutcomeUnknown, At: now}, herald.Pending},
		{policy.Decision{Outcome: herald.OutcomeUnknown, Reason: herald.ReasonExpired}, herald.Failed},
		{policy.Decision{Outcome: herald.OutcomeRejected, Reason: herald.ReasonStatus}, herald.Failed},
	} {
		if got := test.decision.State(); got != test.want {
			t.Errorf("state after %+v = %v, want %v", test.decision, got, test.want)
		}
	}
}

func TestMaxAgeOutlastsTheLongestSeries(t *testing.T) {
	for _, test := range []struct {
		schedule        []time.Duration
		longest, maxAge time.Duration
	}{
		{nil, 0, 168 * time.Hour},
		{policy.RulesSchedule(), 72 * time.Hour, 168 * time.Hour},
		{slices.Repeat([]time.Duration{time.Second}, policy.MaxRetries), 480 * time.Hour, 504 * time.Hour},
	} {
		t.Run(fmt.Sprint(len(test.schedule)), func(t *testing.T) {
			p := policy.Rules(test.schedule)
			if got := p.LongestSeries(); got != test.longest {
				t.Errorf("LongestSeries = %v, want %v", got, test.longest)
			}
			if p.MaxAge != test.maxAge {
				t.Errorf("MaxAge = %v, want %v", p.MaxAge, test.maxAge)
			}
		})
	}
}

// TestWaitForAReceiverUsesUpNoRetry: an attempt whose receiver cannot be called yet is made again when
// the wait is over, later and later, and uses up no retry. It ends with the age cap.
func TestWaitForAReceiverUsesUpNoRetry(t *testing.T) {
	p := policy.Rules(nil) // no retries
	for _, test := range []struct{ age, wait, want time.Duration }{
		{0, time.Second, 5 * time.Second},
		{0, time.Minute, time.Minute},
		{time.Hour, time.Second, 15 * time.Minute},
	} {
		now := raised.Add(test.age)
		d := p.Decide(policy.Result{Status: 307, Reason: herald.ReasonAttemptLimit, Wait: test.wait}, 0, now, raised, 0)
		if d.Outcome != herald.OutcomeRetry || d.RetriesUsed != 0 || d.At.Sub(now) != test.want {
			t.Errorf("after %v, to wait %v: %+v; want %v and no retry", test.age, test.wait, d, test.want)
		}
	}
	if d := p.Decide(policy.Result{Reason: herald.ReasonNotAllowed, Wait: time.Minute}, 0, raised, raised, 0); d.Outcome != herald.OutcomeRejected {
		t.Errorf("what is final is %+v", d)
	}
	if d := p.Decide(policy.Result{Reason: herald.ReasonAttemptLimit, Wait: time.Minute}, 0, raised.Add(p.MaxAge), raised, 0); d.State() != herald.Failed || d.Reason != herald.ReasonExpired {
		t.Errorf("too late: %+v", d)
	}
}
