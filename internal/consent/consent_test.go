package consent_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/consent"
	"herald/internal/webhook"
	"herald/internal/work"
)

// fixture is a Checker with a store in memory and a receiver that is a function.
type fixture struct {
	*consent.Checker
	t      *testing.T
	answer func(address string) webhook.Consent

	mu       sync.Mutex
	rows     map[string]row
	asked    []time.Time
	released int
}

type row struct {
	work.Consent
	until, askAfter time.Time
}

func newFixture(t *testing.T, answer func(string) webhook.Consent) *fixture {
	f := &fixture{t: t, answer: answer, rows: make(map[string]row)}
	f.Checker = consent.New(consent.Options{Store: f, Asker: f, Origin: "herald.example", PerMinute: 60, Timeout: 30 * time.Second})
	return f
}

func (f *fixture) Consent(_ context.Context, client uuid.UUID, receiver string, lease time.Duration) (work.Consent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rows[client.String()+receiver]
	c := r.Consent
	c.For, c.AskIn = max(0, time.Until(r.until)), max(0, time.Until(r.askAfter))
	if c.For == 0 && c.AskIn == 0 {
		c.Mine, r.askAfter = true, time.Now().Add(lease)
		f.rows[client.String()+receiver] = r
	}
	return c, nil
}

func (f *fixture) SaveConsent(_ context.Context, client uuid.UUID, receiver string, c work.Consent) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows[client.String()+receiver] = row{c, time.Now().Add(c.For), time.Now().Add(c.AskIn)}
	return nil
}

func (f *fixture) ReleaseConsented(context.Context, work.Lane) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released++
	return nil
}

func (f *fixture) AskConsent(_ context.Context, address, origin string, perMinute int) webhook.Consent {
	f.mu.Lock()
	f.asked = append(f.asked, time.Now())
	f.mu.Unlock()
	if origin != "herald.example" || perMinute != 60 {
		f.t.Errorf("asked as %s for %d a minute", origin, perMinute)
	}
	return f.answer(address)
}

var lane = work.Lane{Client: uuid.New(), Origin: "https://a.example:443"}

const address = "https://a.example/hook"

func (f *fixture) check(address string) consent.Verdict {
	f.t.Helper()
	v, err := f.Check(f.t.Context(), lane, address)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// TestConsentIsAskedForOnceInThirtyDays: and whatever the query of the address is.
func TestConsentIsAskedForOnceInThirtyDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(string) webhook.Consent { return webhook.Consent{Given: true} })
		for day := range 90 {
			for _, query := range []string{"", "?a=1"} {
				if v := f.check(address + query); v != (consent.Verdict{}) {
					t.Fatalf("day %d: %+v", day, v)
				}
			}
			time.Sleep(24 * time.Hour)
		}
		if len(f.asked) != 3 || f.released != 3 {
			t.Errorf("asked %d times and released %d times in 90 days, want 3", len(f.asked), f.released)
		}
	})
}

// TestWhyOfARefusalIsBounded and in one line: it may have the texts of a receiver's certificate.
func TestWhyOfARefusalIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(string) webhook.Consent {
			return webhook.Consent{Why: "a\x00\x1b[2J\nb" + strings.Repeat("long", 1000)}
		})
		if v := f.check(address); len(v.Why) > 1000 || strings.ContainsAny(v.Why, "\x00\x1b\n") {
			t.Errorf("%d bytes: %.200q", len(v.Why), v.Why)
		}
	})
}

// TestRefusalIsAskedAgainEverLater: the pauses double up to an hour, and end with a consent.
func TestRefusalIsAskedAgainEverLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		consents := false
		f := newFixture(t, func(string) webhook.Consent {
			return webhook.Consent{Given: consents, Why: "it answered 405", Reason: herald.ReasonNone}
		})
		began := time.Now()
		for time.Since(began) < 24*time.Hour {
			v := f.check(address)
			if v.Reason != herald.ReasonNoConsent || v.Wait <= 0 || v.Wait > time.Hour || !strings.HasPrefix(v.Why, "no_consent: ") || !strings.HasSuffix(v.Why, "it answered 405") {
				t.Fatalf("%+v", v)
			}
			time.Sleep(v.Wait)
		}
		if n := len(f.asked); n < 24 || n > 35 {
			t.Errorf("asked %d times in a day", n)
		}
		if first := f.asked[1].Sub(f.asked[0]); first != time.Minute {
			t.Errorf("asked again after %v", first)
		}
		consents = true
		if v := f.check(address); v.Wait != 0 || f.released != 1 {
			t.Errorf("it consents: %+v, released %d times", v, f.released)
		}
	})
}

// TestAnAddressThatIsBusyIsNoRefusal: it does not lengthen the pause.
func TestAnAddressThatIsBusyIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(string) webhook.Consent {
			return webhook.Consent{Wait: 3 * time.Second, Reason: herald.ReasonAttemptLimit}
		})
		for range 20 {
			v := f.check(address)
			if v.Wait != 3*time.Second {
				t.Fatalf("%+v", v)
			}
			time.Sleep(v.Wait)
		}
	})
}

// TestFaultOfThisServiceIsNoRefusal: nothing is held against the receiver.
func TestFaultOfThisServiceIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(string) webhook.Consent {
			return webhook.Consent{Reason: herald.ReasonLocal, Why: "too many open files"}
		})
		for range 20 {
			v := f.check(address)
			if v.Wait != 10*time.Second || v.Never {
				t.Fatalf("%+v", v)
			}
			time.Sleep(v.Wait)
		}
	})
}

// TestManyPathsAreNotManyQuestions: a client cannot flood a receiver with questions about its paths.
func TestManyPathsAreNotManyQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(string) webhook.Consent { return webhook.Consent{} })
		for n := range 1000 {
			f.check(fmt.Sprintf("https://a.example/%d", n))
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(f.asked); n > 11 || n == 0 {
			t.Errorf("%d questions in ten seconds", n)
		}
	})
}

// TestRateOfTheConsentIsKept: also by a second Checker that reads it from the database.
func TestRateOfTheConsentIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(string) webhook.Consent { return webhook.Consent{Given: true, PerMinute: 6} })
		f.check("https://a.example/first") // so that the receiver has been asked about another path too
		time.Sleep(time.Second)
		for _, checker := range []*consent.Checker{f.Checker, consent.New(f.Options)} {
			f.Checker = checker
			passed := 0
			for range 600 {
				switch v := f.check(address); {
				case v.Wait == 0:
					passed++
				case v.Reason != herald.ReasonAttemptLimit:
					t.Fatalf("%+v", v)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if passed < 6 || passed > 7 {
				t.Errorf("%d requests in a minute, want 6", passed)
			}
		}
	})
}

// TestWhatWaitsGoesOnThoughItCameLate: a delivery that begins to wait after the receiver consented.
func TestWhatWaitsGoesOnThoughItCameLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(string) webhook.Consent { return webhook.Consent{Given: true} })
		if err := f.Waits(t.Context(), lane, address); err != nil || f.released != 0 {
			t.Errorf("without consent: released %d times, %v", f.released, err)
		}
		f.check(address)
		if err := f.Waits(t.Context(), lane, address); err != nil || f.released != 2 {
			t.Errorf("released %d times, %v; want 2", f.released, err)
		}
	})
}

// TestReceiverThatHangsIsAskedEverLater: also if the attempt that asks has less time than the question.
func TestReceiverThatHangsIsAskedEverLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(string) webhook.Consent {
			time.Sleep(30 * time.Second)
			return webhook.Consent{Reason: herald.ReasonTimeout, Why: "no response within 30 s"}
		})
		began := time.Now()
		for time.Since(began) < 12*time.Hour {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			v, err := f.Check(ctx, lane, address)
			cancel()
			if err != nil || v.Wait <= 0 || v.Reason != herald.ReasonNoConsent || v.Unknown {
				t.Fatalf("%+v, %v; want no consent", v, err)
			}
			time.Sleep(v.Wait)
		}
		if n := len(f.asked); n < 12 || n > 20 {
			t.Errorf("asked %d times in 12 hours", n)
		}
	})
}

// TestStopIsNoRefusal: a question that a stop cuts off says nothing of the receiver.
func TestStopIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := newFixture(t, func(string) webhook.Consent {
			cancel()
			return webhook.Consent{Reason: herald.ReasonInterrupted}
		})
		if v, err := f.Check(ctx, lane, address); err != nil || v.Wait > time.Second || !v.Unknown {
			t.Errorf("%+v, %v; want to ask again at once", v, err)
		}
	})
}

// TestWhatIsNotKnownYet: it is not taken for a refusal.
func TestWhatIsNotKnownYet(t *testing.T) {
	for name, test := range map[string]struct {
		answer  webhook.Consent
		unknown bool
	}{
		"it refuses":               {webhook.Consent{Why: "405"}, false},
		"it does not answer":       {webhook.Consent{Reason: herald.ReasonTimeout}, false},
		"its address has its rate": {webhook.Consent{Reason: herald.ReasonAttemptLimit, Wait: 3 * time.Second}, true},
		"a fault of this service":  {webhook.Consent{Reason: herald.ReasonLocal}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, func(string) webhook.Consent { return test.answer })
				for n := range 2 { // the second one does not ask
					if v := f.check(address); v.Unknown != test.unknown || v.Wait <= 0 {
						t.Errorf("check %d: %+v", n+1, v)
					}
				}
				if v := f.check(address + "/other"); !v.Unknown { // its question waits for its turn
					t.Errorf("another path: %+v", v)
				}
			})
		})
	}
}
