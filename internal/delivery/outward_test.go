package delivery_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"herald"
	"herald/internal/consent"
	"herald/internal/delivery"
	"herald/internal/fairqueue"
	"herald/internal/policy"
	"herald/internal/webhook"
	"herald/internal/work"
)

// TestWaitForAnAddressHoldsNoPlace: deliveries whose address has had its attempts leave the only place
// in flight to others, and are made when their turn comes, without a retry or an attempt on record.
func TestWaitForAnAddressHoldsNoPlace(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var turn atomic.Bool
		f := newFixture(t, dir, delivery.Options{Limits: fairqueue.Limits{InFlight: 1}}, func(_ context.Context, r webhook.Request) webhook.Result {
			if strings.Contains(r.URL, "busy") && !turn.Load() {
				return webhook.Result{Reason: herald.ReasonAttemptLimit, Error: "busy", Wait: 10 * time.Second}
			}
			return status(200)
		}).withClient("https://busy.example/", "https://free.example/")
		ids := f.publish(20)
		time.Sleep(5 * time.Second)
		free := 0
		for _, r := range f.got() {
			if strings.Contains(r.url, "free") {
				free++
			}
		}
		if free != 20 {
			t.Errorf("the other receiver got %d requests, want 20", free)
		}
		turn.Store(true)
		time.Sleep(10 * time.Second)
		for _, id := range ids {
			if d, attempts := f.delivery(id); d.State != herald.Delivered || len(attempts) != 1 {
				t.Errorf("%s (%s) after %d attempts", d.State, d.Reason, len(attempts))
			}
		}
		f.stop()
	})
}

// TestCancelledWhileItWaitsForAnAddress: it is not sent.
func TestCancelledWhileItWaitsForAnAddress(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{}, func(context.Context, webhook.Request) webhook.Result {
			return webhook.Result{Reason: herald.ReasonAttemptLimit, Error: "busy", Wait: 10 * time.Second}
		}).withClient("https://busy.example/")
		id := f.publish(1)[0]
		time.Sleep(time.Second)
		if _, err := f.control.Cancel(t.Context(), herald.Caller{}, f.client.ID, id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := f.got(); len(got) != 1 {
			t.Errorf("%d requests, want the one that was not made", len(got))
		}
		f.stop()
	})
}

// refusing is a receiver that never consents.
type refusing struct{ checked atomic.Int64 }

func (r *refusing) Check(context.Context, work.Lane, string) (consent.Verdict, error) {
	r.checked.Add(1)
	return consent.Verdict{Wait: 10 * time.Minute, Reason: herald.ReasonNoConsent, Why: work.NoConsent}, nil
}

func (r *refusing) Waits(context.Context, work.Lane, string) error { return nil }

// TestWithoutConsentADeliveryExpires: it waits in the database, visibly, and fails when it is too old.
func TestWithoutConsentADeliveryExpires(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		consents := &refusing{}
		rules := policy.Rules(policy.RulesSchedule())
		rules.MaxAge = 20 * time.Minute
		f := newFixture(t, dir, delivery.Options{Consents: consents, Policy: rules}, always(200)).withClient("https://a.example/")
		id := f.publish(1)[0]
		time.Sleep(15 * time.Minute)
		if d, attempts := f.delivery(id); d.State != herald.Pending || d.Waiting != work.NoConsent || d.InFlight || len(attempts) != 0 || consents.checked.Load() != 2 {
			t.Errorf("%+v after %d attempts and %d checks", d, len(attempts), consents.checked.Load())
		}
		time.Sleep(20 * time.Minute)
		if d, attempts := f.delivery(id); d.State != herald.Failed || d.Reason != herald.ReasonExpired || len(attempts) != 0 {
			t.Errorf("later it is %s (%s)", d.State, d.Reason)
		}
		if got := f.got(); len(got) != 0 {
			t.Errorf("%d requests, want none", len(got))
		}
		f.stop()
	})
}

// verdicts answers Check with a function.
type verdicts func(address string) (consent.Verdict, error)

func (v verdicts) Check(_ context.Context, _ work.Lane, address string) (consent.Verdict, error) {
	return v(address)
}

func (verdicts) Waits(context.Context, work.Lane, string) error { return nil }

// TestWhatStopsARedirect: only a receiver that does not consent uses up retries. What can be called
// later, and a fault of this service, uses up none, and each attempt is on record.
func TestWhatStopsARedirect(t *testing.T) {
	away := errors.New("a row is damaged")
	wait := func(reason, failure herald.Reason, unknown bool) consent.Verdict {
		return consent.Verdict{Wait: 10 * time.Second, Reason: reason, Failure: failure, Unknown: unknown, Why: "because"}
	}
	for name, test := range map[string]struct {
		verdict  consent.Verdict
		err      error
		reason   herald.Reason // of the attempts
		attempts int           // in ten minutes, at least
		state    herald.State
	}{
		"it does not consent":     {wait(herald.ReasonNoConsent, "", false), nil, herald.ReasonNoConsent, 4, herald.Failed},
		"it is not known yet":     {wait(herald.ReasonNoConsent, "", true), nil, herald.ReasonNoConsent, 10, herald.Pending},
		"it has had its requests": {wait(herald.ReasonAttemptLimit, "", false), nil, herald.ReasonAttemptLimit, 10, herald.Pending},
		"no descriptors to ask":   {wait(herald.ReasonNoConsent, herald.ReasonLocal, true), nil, herald.ReasonLocal, 10, herald.Pending},
		"the database refuses":    {consent.Verdict{}, away, herald.ReasonLocal, 10, herald.Pending},
		"it does not answer":      {wait(herald.ReasonNoConsent, herald.ReasonTimeout, false), nil, herald.ReasonNoConsent, 4, herald.Failed},
		"it is called in no case": {consent.Verdict{Wait: 1, Reason: herald.ReasonNoConsent, Failure: herald.ReasonNotAllowed, Never: true}, nil, herald.ReasonNotAllowed, 1, herald.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				consents := verdicts(func(address string) (consent.Verdict, error) {
					if strings.Contains(address, "target") {
						return test.verdict, test.err
					}
					return consent.Verdict{}, nil
				})
				f := newFixture(t, dir, delivery.Options{Consents: consents}, redirecting("https://target.example/")).withClient("https://a.example/")
				id := f.publish(1)[0]
				time.Sleep(10 * time.Minute)
				d, attempts := f.delivery(id)
				if d.State != test.state || len(attempts) < test.attempts || len(attempts) > 40 || len(attempts) != len(f.got()) {
					t.Errorf("%s (%s) after %d attempts and %d requests", d.State, d.Reason, len(attempts), len(f.got()))
				}
				for _, a := range attempts {
					if a.Reason != test.reason || a.Status != 307 {
						t.Fatalf("attempt %+v, want the reason %s", a, test.reason)
					}
				}
				if why := f.engine.Paused(); why != "" {
					t.Errorf("sending pauses: %s", why)
				}
				f.stop()
			})
		})
	}
}

// redirecting is a receiver that redirects: it answers like internal/webhook if Allow refuses.
func redirecting(target string) func(context.Context, webhook.Request) webhook.Result {
	return func(ctx context.Context, r webhook.Request) webhook.Result {
		result := webhook.Result{Status: 307, Response: &herald.ResponseRecord{}, Reason: herald.ReasonLocal}
		err := r.Allow(ctx, target)
		if err == nil {
			return status(200)
		}
		if refusal := (*webhook.Refusal)(nil); errors.As(err, &refusal) {
			result.Reason, result.Wait = refusal.Reason, refusal.Wait
		}
		result.Error = err.Error()
		return result
	}
}
