package store

import (
	"bytes"
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

func TestSecretsAreNotInTheFile(t *testing.T) { onBoth(t, testSecretsAreNotInTheFile) }

func testSecretsAreNotInTheFile(t *testing.T, f *fixture) {
	if err := f.SaveProfile(t.Context(), operator, f.client.ID, herald.Profile{Name: "Acme", AlertAuthHeader: "Basic plain-to-see"}); err != nil {
		t.Fatal(err)
	}
	auth, err := first(t.Context(), f.read, func(rows *sql.Rows) (auth []byte, err error) {
		err = rows.Scan(&auth)
		return auth, err
	}, `SELECT auth FROM clients WHERE id = $1`, f.client.ID[:])
	if err != nil || len(auth) == 0 || bytes.Contains(auth, []byte("plain-to-see")) {
		t.Errorf("the database holds %q (%v)", auth, err)
	}
}

func TestRulesAreListedAsAsked(t *testing.T) { onBoth(t, testRulesAreListedAsAsked) }

func testRulesAreListedAsAsked(t *testing.T, f *fixture) {
	company, other := uuid.New(), uuid.New()
	rules := []herald.Rule{f.rule}
	for _, r := range []herald.Rule{
		{Type: "Data sync completed", PostedType: "Data sync completed", CompanyID: company, Webhook: "https://b.example/x"},
		{Type: "Data sync completed", PostedType: "DataSyncCompleted", CompanyID: other, Webhook: "https://a.example/y"},
		{Type: "Sync Failed", PostedType: "Sync Failed", Emails: []string{"a@x.test, b@x.test"}},
	} {
		r.ID, r.ClientID = herald.NewID(), f.client.ID
		if err := f.CreateRule(t.Context(), operator, r); err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	for _, test := range []struct {
		parameters string
		company    uuid.UUID
		want       []int
		total      int
	}{
		{"", uuid.Nil, []int{0, 1, 2, 3}, 4},
		{"page=2&pageSize=3", uuid.Nil, []int{3}, 4},
		{"page=9", uuid.Nil, nil, 4},
		{"", company, []int{1}, 1},
		{"query=type%3DData sync completed", uuid.Nil, []int{1}, 1}, // a rule shows its type as posted
		{"query=id=" + rules[2].ID.String(), uuid.Nil, []int{2}, 1},
		{"query=companyId!=" + company.String(), uuid.Nil, []int{2}, 1},
		{"query=notifiers.webhook~example/x || {type=sync-failed %26%26 notifiers.webhook~hook}", uuid.Nil, []int{0, 1}, 2},
		{"orderBy=-id", uuid.Nil, []int{3, 2, 1, 0}, 4},
		{"orderBy=notifiers.webhook", uuid.Nil, []int{3, 2, 1, 0}, 4},
	} {
		t.Run(test.parameters, func(t *testing.T) {
			got, total, err := f.Rules(t.Context(), f.client.ID, test.company, listOf(t, query.Rules(), test.parameters))
			if err != nil {
				t.Fatal(err)
			}
			var places []int
			for _, r := range got {
				places = append(places, slices.IndexFunc(rules, func(o herald.Rule) bool { return o.ID == r.ID }))
			}
			if diff := cmp.Diff(test.want, places); diff != "" || total != test.total {
				t.Errorf("total %d, want %d; rules (-want +got):\n%s", total, test.total, diff)
			}
		})
	}
	if _, total, err := f.Rules(t.Context(), f.newClient("Other").ID, uuid.Nil, listOf(t, query.Rules(), "")); err != nil || total != 0 {
		t.Errorf("another client sees %d rules (%v)", total, err)
	}
}

func TestUpdatedRuleKeepsItsAuthorization(t *testing.T) {
	onBoth(t, testUpdatedRuleKeepsItsAuthorization)
}

func testUpdatedRuleKeepsItsAuthorization(t *testing.T, f *fixture) {
	if err := f.SetRuleAuthorization(t.Context(), operator, f.client.ID, f.rule.ID, false); err != nil {
		t.Fatal(err)
	}
	want := f.rule
	want.Type, want.PostedType, want.CompanyID, want.Webhook = "Sync Completed", "sync-complete", uuid.New(), "https://new.example"
	want.Emails, want.WithoutAuthorization = []string{"a@x.test"}, true
	sent := want
	sent.WithoutAuthorization = false
	got, err := f.UpdateRule(t.Context(), operator, sent)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rule (-want +got):\n%s", diff)
	}
	if err := f.DeleteRule(t.Context(), operator, f.client.ID, f.rule.ID); err != nil {
		t.Fatal(err)
	}
	_, err = f.UpdateRule(t.Context(), operator, sent)
	wantCode(t, err, herald.CodeNotFound)
	wantCode(t, f.DeleteRule(t.Context(), operator, f.client.ID, f.rule.ID), herald.CodeNotFound)
}

func TestEveryChangeRaisesTheVersion(t *testing.T) { onBoth(t, testEveryChangeRaisesTheVersion) }

func testEveryChangeRaisesTheVersion(t *testing.T, f *fixture) {
	var notified int
	f.changed = func(id uuid.UUID) {
		if id == f.client.ID {
			notified++
		}
	}
	key, _, err := f.CreateKey(t.Context(), operator, f.client.ID, "second", "")
	if err != nil {
		t.Fatal(err)
	}
	notified = 0
	last, err := f.Version(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"rename", func() error { return f.RenameClient(t.Context(), operator, f.client.ID, "New") }},
		{"profile", func() error { return f.SaveProfile(t.Context(), operator, f.client.ID, herald.Profile{Name: "New"}) }},
		{"rule created", func() error { f.newRule(f.client); return nil }},
		{"rule updated", func() error { _, err := f.UpdateRule(t.Context(), operator, f.rule); return err }},
		{"authorization", func() error { return f.SetRuleAuthorization(t.Context(), operator, f.client.ID, f.rule.ID, false) }},
		{"rule deleted", func() error { return f.DeleteRule(t.Context(), operator, f.client.ID, f.rule.ID) }},
		{"key deleted", func() error { return f.DeleteKey(t.Context(), operator, f.client.ID, key.ID) }},
		{"event type", func() error { return f.SaveEventType(t.Context(), operator, herald.EventType{Name: "own"}) }},
	} {
		before := notified
		if err := change.do(); err != nil {
			t.Fatalf("%s: %v", change.name, err)
		}
		now, err := f.Version(t.Context(), f.client.ID)
		if err != nil {
			t.Fatal(err)
		}
		if now <= last || notified != before+1 {
			t.Errorf("%s: version %d after %d, Changed was called %d times", change.name, now, last, notified-before)
		}
		last = now
	}
}

func TestKeysAreLimited(t *testing.T) { onBoth(t, testKeysAreLimited) }

func testKeysAreLimited(t *testing.T, f *fixture) {
	for range herald.MaxKeys - 1 {
		if _, _, err := f.CreateKey(t.Context(), operator, f.client.ID, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := f.CreateKey(t.Context(), operator, f.client.ID, "one too many", "")
	wantCode(t, err, herald.CodeConflict)
	keys, err := f.Keys(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys[1:] {
		if err := f.DeleteKey(t.Context(), operator, f.client.ID, k.ID); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, f.DeleteKey(t.Context(), operator, f.client.ID, keys[0].ID), herald.CodeConflict)
	wantCode(t, f.DeleteKey(t.Context(), operator, f.client.ID, keys[1].ID), herald.CodeNotFound)
	wantCode(t, f.DeleteKey(t.Context(), operator, f.newClient("Other").ID, keys[0].ID), herald.CodeNotFound)
}

// TestRulesOfAClientAreBounded: in number and in bytes, each with an error that says so. A rule can
// always be made smaller.
func TestRulesOfAClientAreBounded(t *testing.T) { onBoth(t, testRulesOfAClientAreBounded) }

func testRulesOfAClientAreBounded(t *testing.T, f *fixture) {
	f.options.MaxRules = 3
	f.newRule(f.client)
	last := f.newRule(f.client)
	fourth := last
	fourth.ID = herald.NewID()
	err := f.CreateRule(t.Context(), operator, fourth)
	wantCode(t, err, herald.CodeConflict)
	if !strings.Contains(err.Error(), "3 rules") || !strings.Contains(err.Error(), "--max-rules") {
		t.Errorf("error %v, want the number and the flag", err)
	}
	if err := f.DeleteRule(t.Context(), operator, f.client.ID, last.ID); err != nil {
		t.Fatal(err)
	}
	fourth.Webhook = "https://receiver.example/" + strings.Repeat("x", maxRulesBytes)
	wantCode(t, f.CreateRule(t.Context(), operator, fourth), herald.CodeConflict)
	fourth.Webhook = "https://receiver.example/" + strings.Repeat("x", maxRulesBytes*3/4)
	if err := f.CreateRule(t.Context(), operator, fourth); err != nil {
		t.Fatalf("after a rule was deleted: %v", err)
	}
	grown := fourth
	grown.Webhook += strings.Repeat("y", maxRulesBytes/2)
	_, err = f.UpdateRule(t.Context(), operator, grown)
	wantCode(t, err, herald.CodeConflict)
	if kept, err := f.Rule(t.Context(), f.client.ID, fourth.ID); err != nil || len(kept.Webhook) != len(fourth.Webhook) {
		t.Errorf("the rule has a webhook of %d bytes, %v; want %d", len(kept.Webhook), err, len(fourth.Webhook))
	}
	if _, err := f.write.ExecContext(t.Context(), `UPDATE rules SET webhook = $1 WHERE id = $2`, grown.Webhook, fourth.ID[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := f.UpdateRule(t.Context(), operator, fourth); err != nil {
		t.Errorf("a rule that becomes smaller: %v", err)
	}
}
