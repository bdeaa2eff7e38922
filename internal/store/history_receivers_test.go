package store

import (
	"testing"
	"time"

	"herald"
	"herald/internal/egress"
)

// TestReceiverIsFoundInAnySpelling: lists, issues and statistics find a receiver by each spelling that names it,
// whichever the rule has. No other receiver is found with it.
func TestReceiverIsFoundInAnySpelling(t *testing.T) { onBoth(t, testReceiverIsFoundInAnySpelling) }

func testReceiverIsFoundInAnySpelling(t *testing.T, f *fixture) {
	const strange = "HTTP://127.0.0.1:9100/a|b{c}é?x=[1]"
	sent, err := egress.ParseAddress(strange)
	if err != nil {
		t.Fatal(err)
	}
	f.rule.Webhook = strange
	if _, err := f.UpdateRule(t.Context(), operator, f.rule); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{strange, "http://127.0.0.1:9100/f", "mailto:Ops@Acme.example", "mailto:ops@bücher.example", "mailto:other@acme.example"} {
		f.record(failedForGood(f.due(address), herald.ReasonStatus, 500))
	}
	f.foldAll()
	now := time.Now()
	counts := func(receiver string) [3]int {
		t.Helper()
		deliveries := f.listed(herald.DeliveryFilter{Receiver: receiver})
		issues, _, err := f.Issues(t.Context(), f.client.ID, herald.IssueFilter{Receiver: receiver, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		statistics, _, err := f.Statistics(t.Context(), herald.StatisticsFilter{By: herald.ByReceiver, Client: f.client.ID, Receiver: receiver, Since: now.Add(-time.Hour), Until: now.Add(time.Hour), Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return [3]int{len(deliveries), len(issues), len(statistics)}
	}
	for _, receiver := range []string{
		strange, egress.Text(sent), "http://127.1:9100/a|b{c}é?x=[1]",
		"http://127.0.0.1:9100/f", "HTTP://127.0.0.1:9100/f", "http://127.0.0.1:9100/f#top", " http://127.0.0.1:9100/./f",
		"ops@acme.example", "mailto:OPS@acme.example", "MAILTO:ops@acme.example", "ops@xn--bcher-kva.example", "ops@BÜCHER.example",
	} {
		if got := counts(receiver); got != [3]int{1, 1, 1} {
			t.Errorf("%s: %d deliveries, %d issues, %d lines of statistics; want one of each", receiver, got[0], got[1], got[2])
		}
	}
	for _, receiver := range []string{"http://127.0.0.1:9100/F", "https://127.0.0.1:9100/f", "s@acme.example", "nothing", "mailto:"} {
		if got := counts(receiver); got != [3]int{} {
			t.Errorf("%s: %v, want none", receiver, got)
		}
	}
	// Those of all clients are found in the spelling that was sent.
	if issues, _, err := f.Issues(t.Context(), [16]byte{}, herald.IssueFilter{Receiver: "HTTP://127.0.0.1:9100/f", Limit: 10}); err != nil || len(issues) != 1 {
		t.Errorf("issues of all clients: %d, %v", len(issues), err)
	}
}

// TestManyRulesOfOneReceiver: a statement has a bounded number of spellings, however many rules send to one address
// with different queries.
func TestManyRulesOfOneReceiver(t *testing.T) { onBoth(t, testManyRulesOfOneReceiver) }

func testManyRulesOfOneReceiver(t *testing.T, f *fixture) {
	const hook = "https://many.example/hook"
	f.addManyRules(17_000)
	if f.Shared() {
		f.exec(`UPDATE rules SET webhook = '` + hook + `?n=' || id::text`)
	} else {
		f.exec(`UPDATE rules SET webhook = '` + hook + `?n=' || hex(id)`)
	}
	f.record(failedForGood(f.due(hook+"?n=1"), herald.ReasonStatus, 500))
	f.foldAll()
	if found := f.listed(herald.DeliveryFilter{Receiver: hook + herald.AnyQuery}); len(found) != 1 {
		t.Errorf("%d deliveries, want 1", len(found))
	}
	now := time.Now()
	lines, _, err := f.Statistics(t.Context(), herald.StatisticsFilter{By: herald.ByReceiver, Client: f.client.ID, Receiver: hook, Since: now.Add(-time.Hour), Until: now.Add(time.Hour), Limit: 10})
	if err != nil || len(lines) != 1 {
		t.Errorf("%d lines of statistics, %v; want 1", len(lines), err)
	}
}
