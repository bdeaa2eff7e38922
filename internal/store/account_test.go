package store

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/work"
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

func TestEveryChangeRaisesTheRevision(t *testing.T) { onBoth(t, testEveryChangeRaisesTheRevision) }

// testEveryChangeRaisesTheRevision: the version is raised only by changes that publishing uses.
func testEveryChangeRaisesTheRevision(t *testing.T, f *fixture) {
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
	last := f.state()
	for _, change := range []struct {
		name    string
		version bool
		do      func() error
	}{
		{"rename", true, func() error { return f.RenameClient(t.Context(), operator, f.client.ID, "New") }},
		{"name in the profile", true, func() error { return f.SaveProfile(t.Context(), operator, f.client.ID, herald.Profile{Name: "Newer"}) }},
		{"header in the profile", false, func() error {
			return f.SaveProfile(t.Context(), operator, f.client.ID, herald.Profile{Name: "Newer", AlertAuthHeader: "Bearer x"})
		}},
		{"rule created", true, func() error { f.newRule(f.client); return nil }},
		{"rule updated", true, func() error { _, err := f.UpdateRule(t.Context(), operator, f.rule); return err }},
		{"authorization", false, func() error { return f.SetRuleAuthorization(t.Context(), operator, f.client.ID, f.rule.ID, false) }},
		{"rule deleted", true, func() error { return f.DeleteRule(t.Context(), operator, f.client.ID, f.rule.ID) }},
		{"key created", true, func() error { _, _, err := f.CreateKey(t.Context(), operator, f.client.ID, "third", ""); return err }},
		{"key deleted", true, func() error { return f.DeleteKey(t.Context(), operator, f.client.ID, key.ID) }},
		{"event type", true, func() error { return f.SaveEventType(t.Context(), operator, herald.EventType{Name: "own"}) }},
		{"unsubscribed", false, func() error { return f.Unsubscribe(t.Context(), herald.Caller{}, f.client.ID, "Ann@acme.example") }},
		{"resubscribed", false, func() error { return f.Resubscribe(t.Context(), operator, f.client.ID, "ann@acme.example") }},
	} {
		notified = 0
		if err := change.do(); err != nil {
			t.Fatalf("%s: %v", change.name, err)
		}
		now := f.state()
		if now.Client.Version != last.Client.Version && !change.version || now.Client.Version <= last.Client.Version && change.version {
			t.Errorf("%s: version %d after %d", change.name, now.Client.Version, last.Client.Version)
		}
		if now.Client.Revision <= last.Client.Revision || notified != 1 {
			t.Errorf("%s: revision %d after %d, Changed was called %d times", change.name, now.Client.Revision, last.Client.Revision, notified)
		}
		last = now
	}
}

// state returns the state of the fixture's client, after it has compared its numbers with those of
// Version and Revision.
func (f *fixture) state() work.ClientState {
	f.t.Helper()
	state, err := f.ClientState(f.t.Context(), f.client.ID, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	version, err := f.Version(f.t.Context(), f.client.ID)
	if err != nil || version != state.Client.Version {
		f.t.Errorf("Version: %d, %v; the client has %d", version, err, state.Client.Version)
	}
	revision, err := f.Revision(f.t.Context(), f.client.ID)
	if err != nil || revision != state.Client.Revision {
		f.t.Errorf("Revision: %d, %v; the client has %d", revision, err, state.Client.Revision)
	}
	return state
}

// TestSecondUnsubscribeWritesNothing: a reader may post the link of a mail any number of times.
func TestSecondUnsubscribeWritesNothing(t *testing.T) { onBoth(t, testSecondUnsubscribeWritesNothing) }

func testSecondUnsubscribeWritesNothing(t *testing.T, f *fixture) {
	unsubscribe := func(box string) {
		t.Helper()
		if err := f.Unsubscribe(t.Context(), herald.Caller{}, f.client.ID, box); err != nil {
			t.Fatal(err)
		}
	}
	unsubscribe("ann@acme.example")
	before, audited := f.state(), f.rows("audit")
	var readers sync.WaitGroup
	for range 10 {
		readers.Go(func() { unsubscribe("Ann@acme.example") })
	}
	readers.Wait()
	if now := f.state(); now.Client.Revision != before.Client.Revision {
		t.Errorf("revision %d after %d", now.Client.Revision, before.Client.Revision)
	}
	for range 10 { // all at once: at most one of them finds the mailbox subscribed
		readers.Go(func() { unsubscribe("bob@acme.example") })
	}
	readers.Wait()
	if now := f.state(); now.Client.Version != before.Client.Version || now.Client.Revision != before.Client.Revision+1 {
		t.Errorf("version %d and revision %d after %d and %d, want one more revision",
			now.Client.Version, now.Client.Revision, before.Client.Version, before.Client.Revision)
	}
	if got := f.rows("audit"); got != audited+1 {
		t.Errorf("%d entries of the audit log after %d, want one more", got, audited)
	}
	wantCode(t, f.Unsubscribe(t.Context(), herald.Caller{}, uuid.New(), "ann@acme.example"), herald.CodeNotFound)
	if err := f.DeleteClient(t.Context(), operator, f.client.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.Unsubscribe(t.Context(), herald.Caller{}, f.client.ID, "ann@acme.example"), herald.CodeNotFound)
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

// TestEventTypeKeepsItsText: an operator's schema and example come back as they were written.
func TestEventTypeKeepsItsText(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		want := herald.EventType{Name: "own", Message: "a <b> & c",
			Schema: json.RawMessage(`{"properties":{"a<b>&":{"pattern":"^<"}}}`), Example: json.RawMessage(`{"a<b>&":"<\u00e9"}`)}
		if err := f.SaveEventType(t.Context(), herald.Caller{Operator: true}, want); err != nil {
			t.Fatal(err)
		}
		got, err := f.EventTypes(t.Context())
		if err != nil || len(got) != 1 || string(got[0].Schema) != string(want.Schema) || string(got[0].Example) != string(want.Example) || got[0].Message != want.Message {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	})
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

// TestHeaderIsKeptInOneStep: a profile that is saved without its header does not bring back a header
// that another call replaced meanwhile.
func TestHeaderIsKeptInOneStep(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		save := func(header string) {
			if err := f.SaveProfile(t.Context(), operator, f.client.ID, herald.Profile{Name: "Acme", AlertAuthHeader: header}); err != nil {
				t.Fatal(err)
			}
		}
		save("Bearer old")
		read, err := f.Client(t.Context(), f.client.ID)
		if err != nil {
			t.Fatal(err)
		}
		save("Bearer new")
		read.Profile.RedirectURL = "https://acme.example"
		kept, err := f.SaveProfileKeepingHeader(t.Context(), operator, f.client.ID, read.Profile)
		if err != nil || kept.AlertAuthHeader != "Bearer new" || kept.RedirectURL != "https://acme.example" {
			t.Errorf("saved %+v, %v", kept, err)
		}
		after, err := f.Client(t.Context(), f.client.ID)
		if diff := cmp.Diff(kept, after.Profile); err != nil || diff != "" {
			t.Errorf("%v; stored (-want +got):\n%s", err, diff)
		}
		if _, err := f.SaveProfileKeepingHeader(t.Context(), operator, uuid.New(), read.Profile); herald.CodeOf(err) != herald.CodeNotFound {
			t.Errorf("a client that does not exist: %v", err)
		}
	})
}

// TestHeaderIsSavedAlone: a header that is saved does not bring back a profile that another call replaced meanwhile.
func TestHeaderIsSavedAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		want := herald.Profile{Name: "New name", RedirectURL: "https://acme.example", LogoURL: "https://acme.example/logo.png", WhiteListURLs: []string{"https://acme.example"}, ConfirmCompanyName: true}
		if err := f.SaveProfile(t.Context(), operator, f.client.ID, want); err != nil {
			t.Fatal(err)
		}
		for _, header := range []string{"Bearer one", "Bearer two", ""} {
			before, err := f.Client(t.Context(), f.client.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.SaveAuthorization(t.Context(), operator, f.client.ID, header); err != nil {
				t.Fatal(err)
			}
			want.AlertAuthHeader = header
			after, err := f.Client(t.Context(), f.client.ID)
			if diff := cmp.Diff(want, after.Profile); err != nil || diff != "" || after.Version != before.Version || after.Revision == before.Revision {
				t.Errorf("%q: %v; version %d after %d, revision %d after %d; stored (-want +got):\n%s", header, err, after.Version, before.Version, after.Revision, before.Revision, diff)
			}
			changes, _, err := f.Changes(t.Context(), f.client.ID, herald.ChangeFilter{Limit: 1})
			if err != nil || len(changes) != 1 || changes[0].Action != herald.ProfileUpdated || strings.Contains(string(changes[0].After), "one") || strings.Contains(string(changes[0].After), "(changed)") != (header != "") {
				t.Errorf("%q: the audit log has %+v, %v", header, changes, err)
			}
		}
		if err := f.SaveAuthorization(t.Context(), operator, uuid.New(), "Bearer x"); herald.CodeOf(err) != herald.CodeNotFound {
			t.Errorf("a client that does not exist: %v", err)
		}
	})
}

// TestKeyWithoutANameGetsOneOfItsOwn: a name that another key of the client has is not made up again.
func TestKeyWithoutANameGetsOneOfItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		create := func(name string) herald.Key {
			k, _, err := f.CreateKey(t.Context(), operator, f.client.ID, name, "")
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		second, _ := create(""), create("API key 4")
		if err := f.DeleteKey(t.Context(), operator, f.client.ID, second.ID); err != nil {
			t.Fatal(err)
		}
		create("")
		create("")
		keys, err := f.Keys(t.Context(), f.client.ID)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, k := range keys {
			names = append(names, k.Name)
		}
		if want := []string{"", "API key 4", "API key 3", "API key 5"}; second.Name != "API key 2" || !slices.Equal(names, want) {
			t.Errorf("first %q, then %q; want API key 2, then %q", second.Name, names, want)
		}
	})
}

// TestRuleChangesSinceAnEventAreListedOldestFirst also checks that another client's changes, and other
// changes than those of rules, are left out.
func TestRuleChangesSinceAnEventAreListedOldestFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		event := f.ids.NewEvent()
		if _, _, err := f.CreateKey(t.Context(), operator, f.client.ID, "more", ""); err != nil {
			t.Fatal(err)
		}
		made := f.newRule(f.client)
		f.newRule(f.newClient("Rival"))
		made.CompanyID = uuid.New()
		if _, err := f.UpdateRule(t.Context(), operator, made); err != nil {
			t.Fatal(err)
		}
		if err := f.DeleteRule(t.Context(), operator, f.client.ID, f.rule.ID); err != nil {
			t.Fatal(err)
		}
		changes, complete, err := f.RuleChanges(t.Context(), f.client.ID, event, 3)
		if err != nil || !complete || len(changes) != 3 {
			t.Fatalf("%+v, %v, %v", changes, complete, err)
		}
		for i, want := range []struct {
			action  herald.Action
			subject uuid.UUID
		}{{herald.RuleCreated, made.ID}, {herald.RuleUpdated, made.ID}, {herald.RuleDeleted, f.rule.ID}} {
			if changes[i].Action != want.action || changes[i].Subject != want.subject.String() {
				t.Errorf("change %d is %s of %s, want %s of %s", i, changes[i].Action, changes[i].Subject, want.action, want.subject)
			}
		}
		if some, complete, err := f.RuleChanges(t.Context(), f.client.ID, event, 2); err != nil || complete || len(some) != 2 || some[0].ID != changes[0].ID {
			t.Errorf("two of three: %+v, complete %v, %v", some, complete, err)
		}
		if rest, complete, err := f.RuleChanges(t.Context(), f.client.ID, f.ids.NewEvent(), 3); err != nil || !complete || len(rest) != 0 {
			t.Errorf("after the last: %+v, %v, %v", rest, complete, err)
		}
	})
}
