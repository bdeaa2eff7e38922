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
