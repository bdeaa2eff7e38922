package store

import (
	"strings"
	"testing"
	"time"

	"herald/internal/work"
)

// TestOneAsksForConsentAndAllLearnIt: one caller asks, the others wait, and deliveries go on when the
// receiver has consented.
func TestOneAsksForConsentAndAllLearnIt(t *testing.T) { onBoth(t, testOneAsksForConsentAndAllLearnIt) }

func testOneAsksForConsentAndAllLearnIt(t *testing.T, f *fixture) {
	consent := func(receiver string) work.Consent {
		t.Helper()
		c, err := f.Consent(t.Context(), f.client.ID, receiver, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := consent(hook); !c.Mine || c.For != 0 {
		t.Fatalf("the first caller: %+v", c)
	}
	if c := consent(hook); c.Mine || c.For != 0 || c.AskIn <= 0 || c.AskIn > time.Minute {
		t.Errorf("the second caller: %+v", c)
	}
	if c := consent(hook + "/other"); !c.Mine {
		t.Errorf("another path: %+v", c)
	}
	e := f.prepare(f.client, true)
	f.accept(e)
	d := e.Alerts[0].Items[0]
	if err := f.Postpone(t.Context(), d, time.Hour, work.NoConsent); err != nil {
		t.Fatal(err)
	}
	refused := work.Consent{AskIn: time.Hour, Failures: 1, Why: "poison \x00\xff" + strings.Repeat("x", 10_000)}
	if err := f.SaveConsent(t.Context(), f.client.ID, hook, refused); err != nil {
		t.Fatal(err)
	}
	if c := consent(hook); c.Mine || c.For != 0 || c.Failures != 1 || c.AskIn < 59*time.Minute || !strings.HasPrefix(c.Why, "poison") {
		t.Errorf("refused: %+v", c)
	}
	if got := f.claim(10); len(got) != 0 {
		t.Errorf("%d deliveries go on without consent", len(got))
	}
	if err := f.SaveConsent(t.Context(), f.client.ID, hook, work.Consent{For: time.Hour, PerMinute: 30}); err != nil {
		t.Fatal(err)
	}
	if err := f.ReleaseConsented(t.Context(), d.Lane()); err != nil {
		t.Fatal(err)
	}
	if c := consent(hook); c.Mine || c.For < 59*time.Minute || c.PerMinute != 30 || c.Failures != 0 {
		t.Errorf("consented: %+v", c)
	}
	if got := f.claim(10); len(got) != 1 || got[0].ID != d.ID || got[0].Attempt != 1 {
		t.Errorf("%+v go on, want the delivery", got)
	}
}
