package intake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/intake"
)

// same types of events without required data, so that random events are valid.
var randomTypes = []string{"Sync Completed", "Sync Failed", "Sync Started"}

// TestVerdictsAgreeWithWhatAPublishDoes publishes random events to random rules, and asks why.
func TestVerdictsAgreeWithWhatAPublishDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	companies := []uuid.UUID{uuid.Nil, uuid.New(), uuid.New()}
	met, missed := 0, 0
	for range 300 {
		in, f := newIntake(t)
		for range random.IntN(12) {
			f.state.Rules = append(f.state.Rules, herald.Rule{ID: herald.NewID(), ClientID: f.state.Client.ID,
				Type: randomTypes[random.IntN(3)], CompanyID: companies[random.IntN(3)], Webhook: "https://r.example/"})
		}
		p := f.publication(0)
		p.Type, p.CompanyID = randomTypes[random.IntN(3)], companies[1+random.IntN(2)]
		p.Data = []byte(`{"syncId":"s","syncType":"Expense","FailureStage":"Pushing"}`)
		if _, err := in.Publish(t.Context(), operator, []herald.Publication{p}); err != nil {
			t.Fatal(err)
		}
		accepted := f.accepted[0]
		raised := make(map[uuid.UUID]uuid.UUID)
		var alerts []herald.Alert
		for _, a := range accepted.Alerts {
			raised[a.RuleID] = a.ID
			alerts = append(alerts, herald.Alert{ID: a.ID, RuleID: a.RuleID})
		}
		x := intake.Explained{Event: accepted.Event, Rules: slices.Values(f.state.Rules), Complete: true, TypeName: func(s string) string { return s }}
		withoutAlerts := intake.Verdicts(x)
		x.Alerts = alerts
		verdicts := intake.Verdicts(x)
		if len(verdicts) != len(f.state.Rules) || len(withoutAlerts) != len(verdicts) {
			t.Fatalf("%d verdicts on %d rules", len(verdicts), len(f.state.Rules))
		}
		for i, v := range verdicts {
			if v.Met != (raised[v.RuleID] != uuid.Nil) || v.AlertID != raised[v.RuleID] || v.Why == "" {
				t.Errorf("%+v, and the publish raised %v", v, raised)
			}
			if v.Met != (v.Reason == herald.MissNone) || v.Reason == herald.MissUnknown {
				t.Errorf("%+v says no reason of the rule's", v)
			}
			if v.Met {
				met++
			} else {
				missed++
			}
			// What the rule alone says must be the same as what was raised.
			if w := withoutAlerts[i]; w.RuleID != v.RuleID || (w.Reason == herald.MissUnknown) != v.Met {
				t.Errorf("without alerts %+v, with them %+v", w, v)
			}
		}
	}
	if met < 100 || missed < 100 {
		t.Errorf("%d met and %d missed: the test has too few of a kind", met, missed)
	}
}

// history is what a store would know.
type history struct {
	event    herald.Event
	alerts   []herald.Alert
	changes  []herald.Change
	complete bool
	recent   []herald.Event
	kept     time.Time // when the kept history begins
}

func (h *history) RecentEvents(_ context.Context, _ uuid.UUID, since time.Time, limit int) ([]herald.Event, time.Time, error) {
	if since.Before(h.kept) {
		since = h.kept
	}
	return h.recent[:min(limit, len(h.recent))], since, nil
}

func (h *history) Event(context.Context, uuid.UUID, uuid.UUID) (herald.Event, []herald.Alert, error) {
	return h.event, h.alerts, nil
}

func (h *history) RuleChanges(context.Context, uuid.UUID, uuid.UUID, int) ([]herald.Change, bool, error) {
	return h.changes, h.complete, nil
}

func TestVerdictsAreOnRulesAsTheyWere(t *testing.T) {
	client, here, there := uuid.New(), uuid.New(), uuid.New()
	ids := herald.NewIDs(time.Now)
	audited := func(kind string, company uuid.UUID) json.RawMessage {
		text := fmt.Sprintf(`{"type":%q,"companyId":%q,"webhook":"https://r.example/"}`, kind, company)
		return json.RawMessage(strings.ReplaceAll(text, `"companyId":"`+uuid.Nil.String()+`",`, ""))
	}
	rule := func(kind string, company uuid.UUID) herald.Rule {
		return herald.Rule{ID: ids.New(), ClientID: client, Type: kind, CompanyID: company}
	}
	event := herald.Event{ID: ids.NewEvent(), ClientID: client, Type: "Sync Failed", CompanyID: here}
	change := func(action herald.Action, r herald.Rule, before, after json.RawMessage) herald.Change {
		return herald.Change{ID: ids.New(), At: time.Now().UTC(), Action: action, Subject: r.ID.String(), Before: before, After: after}
	}
	fits := audited("sync-failed", uuid.Nil) // as posted
	for name, test := range map[string]struct {
		rules   []herald.Rule // now; the first is judged
		alerted bool
		changes func(r herald.Rule) []herald.Change
		partial bool
		reason  herald.Miss
		says    []string
		none    bool
	}{
		"met": {rules: []herald.Rule{rule("Sync Failed", here)}, alerted: true, says: []string{"raised the alert"}},
		"another type": {rules: []herald.Rule{rule("Sync Completed", here)}, reason: herald.MissType,
			says: []string{"for events of type Sync Completed", "is of type Sync Failed"}},
		"another company": {rules: []herald.Rule{rule("Sync Failed", there)}, reason: herald.MissCompany, says: []string{there.String(), here.String()}},
		"made later": {rules: []herald.Rule{rule("Sync Failed", uuid.Nil)}, reason: herald.MissLater, says: []string{"made at", "after the event came"},
			changes: func(r herald.Rule) []herald.Change { return []herald.Change{change(herald.RuleCreated, r, nil, fits)} }},
		"made later for another company": {rules: []herald.Rule{rule("Sync Failed", there)}, reason: herald.MissCompany, says: []string{there.String()},
			changes: func(r herald.Rule) []herald.Change {
				return []herald.Change{change(herald.RuleCreated, r, nil, audited("Sync Failed", there))}
			}},
		"changed since to fit": {rules: []herald.Rule{rule("Sync Failed", here)}, reason: herald.MissCompany, says: []string{there.String(), "changed since"},
			changes: func(r herald.Rule) []herald.Change {
				return []herald.Change{change(herald.RuleUpdated, r, audited("Sync Failed", there), fits), change(herald.RuleUpdated, r, fits, audited("Sync Failed", here))}
			}},
		"met and changed since": {rules: []herald.Rule{rule("Sync Completed", here)}, alerted: true, says: []string{"raised the alert", "changed since"},
			changes: func(r herald.Rule) []herald.Change {
				return []herald.Change{change(herald.RuleUpdated, r, fits, audited("Sync Completed", here))}
			}},
		"only the webhook changed": {rules: []herald.Rule{rule("Sync Completed", uuid.Nil)}, reason: herald.MissType, says: []string{"this event is of type Sync Failed."},
			changes: func(r herald.Rule) []herald.Change {
				return []herald.Change{change(herald.RuleUpdated, r, audited("Sync Completed", uuid.Nil), audited("Sync Completed", uuid.Nil))}
			}},
		"deleted since": {alerted: true, says: []string{"raised the alert", "deleted since"},
			changes: func(r herald.Rule) []herald.Change { return []herald.Change{change(herald.RuleDeleted, r, fits, nil)} }},
		"deleted since, and missed": {reason: herald.MissCompany, says: []string{there.String(), "deleted since"},
			changes: func(r herald.Rule) []herald.Change {
				return []herald.Change{change(herald.RuleDeleted, r, audited("Sync Failed", there), nil)}
			}},
		"made and deleted since": {none: true, changes: func(r herald.Rule) []herald.Change {
			return []herald.Change{change(herald.RuleCreated, r, nil, fits), change(herald.RuleDeleted, r, fits, nil)}
		}},
		"fits and did not": {rules: []herald.Rule{rule("Sync Failed", here)}, reason: herald.MissUnknown, says: []string{"fits the event", "at about the same time"}},
		"too many changes": {rules: []herald.Rule{rule("Sync Failed", there)}, partial: true, reason: herald.MissCompany, says: []string{"too often"}},
	} {
		t.Run(name, func(t *testing.T) {
			judged := rule("Sync Failed", uuid.Nil)
			_, f := newIntake(t)
			f.state.Client.ID, f.state.Rules = client, test.rules
			if len(test.rules) > 0 {
				judged = test.rules[0]
			}
			h := &history{event: event, complete: !test.partial}
			if test.alerted {
				h.alerts = []herald.Alert{{ID: herald.AlertID(event.ID, 1), RuleID: judged.ID}}
			}
			if test.changes != nil {
				h.changes = test.changes(judged)
			}
			clients, err := clientcache.New(f, catalogue.Options{})
			if err != nil {
				t.Fatal(err)
			}
			verdicts, err := (&intake.Explainer{Clients: clients, History: h}).EventRules(t.Context(), client, event.ID)
			if err != nil || test.none && len(verdicts) != 0 || !test.none && len(verdicts) != 1 {
				t.Fatalf("%+v, %v", verdicts, err)
			}
			if test.none {
				return
			}
			v := verdicts[0]
			if v.RuleID != judged.ID || v.Met != test.alerted || v.Reason != test.reason || v.Deleted != (len(test.rules) == 0) {
				t.Errorf("%+v", v)
			}
			if changed := slices.Contains(test.says, "changed since"); v.Changed != changed {
				t.Errorf("%+v, want changed %v", v, changed)
			}
			for _, says := range test.says {
				if !strings.Contains(v.Why, says) {
					t.Errorf("%q does not say %q", v.Why, says)
				}
			}
		})
	}
}

func TestPreviewSaysHowFarItLooked(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	client, company := uuid.New(), uuid.New()
	ids := herald.NewIDs(func() time.Time { return now.Add(-time.Hour) })
	events := func(n int) (all []herald.Event) {
		for i := range n {
			e := herald.Event{ID: ids.NewEvent(), ClientID: client, Type: randomTypes[i%2], CompanyID: company}
			all = append(all, e)
		}
		return all
	}
	for _, test := range []struct {
		events   int
		kept     time.Time
		matched  int
		complete bool
		summary  string
	}{
		{0, time.Time{}, 0, true, "There were no events in the last 7 days."},
		{1, time.Time{}, 1, true, "The rule would have matched 1 of 1 event in the last 7 days."},
		{40, time.Time{}, 20, true, "The rule would have matched 20 of 40 events in the last 7 days."},
		{2, now.Add(-2 * time.Hour), 1, false, "The rule would have matched 1 of 2 events since " + now.Add(-2*time.Hour).Format(time.RFC3339) + "; older ones are deleted."},
		{herald.MaxPreviewed, time.Time{}, 5000, true, "The rule would have matched 5000 of 10000 events in the last 7 days."},
		{herald.MaxPreviewed + 1, time.Time{}, 5000, false, "it looked at the newest 10000 events only."},
	} {
		h := &history{recent: events(test.events), kept: test.kept}
		x := &intake.Explainer{History: h, Now: func() time.Time { return now }}
		p, err := x.Preview(t.Context(), herald.Rule{ClientID: client, Type: randomTypes[0], CompanyID: company})
		if err != nil || p.Matched != test.matched || p.Complete != test.complete || p.Examined != min(test.events, herald.MaxPreviewed) || !strings.HasSuffix(p.Summary, test.summary) {
			t.Errorf("%d events: %+v, %v; want %+v", test.events, p, err, test)
		}
		if len(p.Examples) != min(test.matched, herald.MaxExamples) || test.matched > 0 && p.Examples[0].ID != h.recent[0].ID {
			t.Errorf("%d events: examples %+v", test.events, p.Examples)
		}
	}
}
