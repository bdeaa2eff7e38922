package app_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/client"
)

// TestWhyNoRuleMatched follows rules through their changes after an event.
func TestWhyNoRuleMatched(t *testing.T) {
	f := newFixture(t)
	other := uuid.New()
	meets, elsewhere := f.rule("", uuid.Nil), f.rule("", other)
	kind, err := f.CreateRule(t.Context(), client.Rule{Type: "Sync Completed"})
	if err != nil {
		t.Fatal(err)
	}
	receipt := f.publish(event())
	later := f.rule("", uuid.Nil)
	elsewhere.CompanyID = uuid.Nil
	if _, err := f.UpdateRule(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := f.DeleteRule(t.Context(), meets.ID); err != nil {
		t.Fatal(err)
	}
	answer, err := f.EventRules(t.Context(), receipt.EventID, client.Cursor{})
	if err != nil || answer.Met != 1 || answer.Rules != 4 || len(answer.Results) != 4 {
		t.Fatalf("%+v, %v", answer, err)
	}
	for i, want := range []herald.Verdict{
		{RuleID: meets.ID, Met: true, AlertID: receipt.AlertIDs[0], Deleted: true, Why: "deleted since"},
		{RuleID: later.ID, Reason: herald.MissLater, Why: "after the event came"},
		{RuleID: elsewhere.ID, Reason: herald.MissCompany, CompanyID: other, Changed: true, Why: other.String()},
		{RuleID: kind.ID, Reason: herald.MissType, Type: "Sync Completed", Why: "Sync Completed"},
	} {
		got := answer.Results[i]
		if got.RuleID != want.RuleID || got.Met != want.Met || got.AlertID != want.AlertID || got.Reason != want.Reason || got.Changed != want.Changed ||
			got.Deleted != want.Deleted || want.CompanyID != got.CompanyID || want.Type != "" && want.Type != got.Type || !strings.Contains(got.Why, want.Why) {
			t.Errorf("verdict %d is %+v, want %+v", i, got, want)
		}
	}
	rival, err := f.operator.CreateClient(t.Context(), "Rival")
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "another client's event", second(f.as(rival.APIKey).EventRules(t.Context(), receipt.EventID, client.Cursor{})), 404)
	_, analyst := f.role("analyst")
	if seen, err := analyst.EventRules(t.Context(), receipt.EventID, client.Cursor{Limit: 1}); err != nil || len(seen.Results) != 1 || seen.Next != meets.ID {
		t.Errorf("an analyst sees %+v, %v", seen, err)
	}
}

// TestPreviewCountsWhatARuleRaised compares a preview with the alerts of the same rule.
func TestPreviewCountsWhatARuleRaised(t *testing.T) {
	f := newFixture(t)
	rule := f.rule("", company)
	var met []herald.Receipt
	for i := range 24 {
		e := event()
		if i%2 == 0 {
			e.CompanyID = uuid.New()
		}
		if receipt := f.publish(e); receipt.AlertCount > 0 {
			met = append(met, receipt)
		}
	}
	rival, err := f.operator.CreateClient(t.Context(), "Rival")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.as(rival.APIKey).Publish(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	rule.Type = "SYNC failed"
	preview, err := f.PreviewRule(t.Context(), rule)
	if err != nil || preview.Matched != len(met) || preview.Matched != 12 || preview.Examined != 24 || len(preview.Examples) != herald.MaxExamples {
		t.Fatalf("%+v, %v; want the %d events", preview, err, len(met))
	}
	for i, e := range preview.Examples {
		if want := met[len(met)-1-i].EventID; e.ID != want || e.CompanyID != company || e.Type != "Sync Failed" {
			t.Errorf("example %d is %+v, want %s", i, e, want)
		}
	}
	if !strings.HasPrefix(preview.Summary, "The rule would have matched 12 of 24 events") {
		t.Error(preview.Summary)
	}
	if rules, err := f.Rules(t.Context(), client.ListOptions{}); err != nil || rules.TotalResults != 1 {
		t.Errorf("%d rules, %v: a preview makes none", rules.TotalResults, err)
	}
}
