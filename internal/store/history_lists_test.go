package store

import (
	"net/url"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/work"
)

func listOf(t *testing.T, s query.Schema, parameters string) query.List {
	t.Helper()
	values, err := url.ParseQuery(parameters)
	if err != nil {
		t.Fatal(err)
	}
	l, err := query.ParseList(values, s)
	if err != nil {
		t.Fatal(err)
	}
	return l
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
		{"query=type%3DData sync completed", uuid.Nil, []int{1}, 1}, // as posted, which is what a rule shows
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
	var told int
	f.changed = func(id uuid.UUID) {
		if id == f.client.ID {
			told++
		}
	}
	key, _, err := f.CreateKey(t.Context(), operator, f.client.ID, "second", "")
	if err != nil {
		t.Fatal(err)
	}
	told = 0
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
		before := told
		if err := change.do(); err != nil {
			t.Fatalf("%s: %v", change.name, err)
		}
		now, err := f.Version(t.Context(), f.client.ID)
		if err != nil {
			t.Fatal(err)
		}
		if now <= last || told != before+1 {
			t.Errorf("%s: version %d after %d, told %d times", change.name, now, last, told-before)
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

// TestEveryMemberOfAnAlertCanBeAskedFor runs a query on each member that the
// schema names, so that none lacks a column.
func TestEveryMemberOfAnAlertCanBeAskedFor(t *testing.T) {
	onBoth(t, testEveryMemberOfAnAlertCanBeAskedFor)
}

func testEveryMemberOfAnAlertCanBeAskedFor(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	entry.Event.CompanyID, entry.Event.ConnectionID = uuid.New(), uuid.New()
	f.accept(entry)
	later := f.entry(f.client, true) // without company and connection
	f.accept(later)
	alert, second := entry.Alerts[0], later.Alerts[0]
	at := herald.TimeOf(alert.ID)
	for _, q := range []string{
		"id=" + alert.ID.String(), "alertId=" + alert.ID.String(), "companyId=" + entry.Event.CompanyID.String(),
		"clientId=" + f.client.ID.String() + " && dataConnectionId=" + entry.Event.ConnectionID.String(),
		"ruleId=" + f.rule.ID.String() + " && raisedOnUtc=" + at.Format(time.RFC3339Nano),
		"ruleType=Sync Failed && message~sync && message~failed || raisedOnUtc<=" + at.Format(time.RFC3339Nano),
		"raisedOnUtc!=" + herald.TimeOf(second.ID).Format(time.RFC3339Nano),
		"raisedOnUtc<" + at.Add(time.Microsecond).Format(time.RFC3339Nano) + " && raisedOnUtc>=" + at.Format(time.RFC3339Nano),
	} {
		got, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), "query="+url.QueryEscape(q)))
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		if total != 1 || len(got) != 1 || got[0].ID != alert.ID {
			t.Errorf("%s: %d alerts, want the first alone", q, total)
		}
	}
	all, total, err := f.Alerts(t.Context(), f.client.ID, f.rule.ID, uuid.Nil, listOf(t, query.Alerts(), "orderBy=raisedOnUtc"))
	if err != nil || total != 2 || all[0].ID != alert.ID {
		t.Errorf("oldest first: %d alerts, %v", total, err)
	}
	if _, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.New(), listOf(t, query.Alerts(), "")); err != nil || total != 0 {
		t.Errorf("alerts of an unknown company: %d, %v", total, err)
	}
}

func TestDeliveriesAreFilteredAndPaged(t *testing.T) { onBoth(t, testDeliveriesAreFilteredAndPaged) }

func testDeliveriesAreFilteredAndPaged(t *testing.T, f *fixture) {
	var ids []uuid.UUID // newest first
	for n := range 12 {
		entry := f.entry(f.client, true)
		if n%3 == 0 {
			entry.Event.CompanyID = uuid.MustParse("11111111-1111-4111-8111-111111111111")
		}
		f.accept(entry)
		due := entry.Alerts[0].Items[0]
		ids = append([]uuid.UUID{due.ID}, ids...)
		state := []herald.State{herald.Delivered, herald.Failed, herald.Pending, herald.Delivered}[n%4]
		if err := f.Record(work.Result{Item: due, Attempt: attempt(due, herald.OutcomeRetry, 503), State: state, Delay: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := f.AddDelivery(t.Context(), f.client.ID, herald.AlertOf(ids[5]), origin, "https://moved.example/")
	if err != nil {
		t.Fatal(err)
	}
	ids = slices.Insert(ids, 5, again)

	var walked []uuid.UUID
	for after := uuid.Nil; ; {
		page, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{Limit: 5, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			walked = append(walked, d.ID)
		}
		if len(page) < 5 {
			break
		}
		after = page[len(page)-1].ID
	}
	if diff := cmp.Diff(ids, walked); diff != "" {
		t.Errorf("walked in pages (-want +got):\n%s", diff)
	}

	state := func(s herald.State) *herald.State { return &s }
	for _, test := range []struct {
		name   string
		filter herald.DeliveryFilter
		want   int
	}{
		{"pending", herald.DeliveryFilter{State: state(herald.Pending)}, 4},
		{"failed", herald.DeliveryFilter{State: state(herald.Failed)}, 3},
		{"delivered", herald.DeliveryFilter{State: state(herald.Delivered)}, 6},
		{"receiver", herald.DeliveryFilter{Receiver: "https://moved.example/"}, 1},
		{"type", herald.DeliveryFilter{Type: "Sync Failed"}, 13},
		{"other type", herald.DeliveryFilter{Type: "Sync Completed"}, 0},
		{"company", herald.DeliveryFilter{Company: uuid.MustParse("11111111-1111-4111-8111-111111111111")}, 5}, // a redelivery among them
		{"alert", herald.DeliveryFilter{Alert: herald.AlertOf(again)}, 2},
		{"since", herald.DeliveryFilter{Since: time.Now().Add(time.Hour)}, 0},
		{"until", herald.DeliveryFilter{Until: time.Now().Add(time.Hour), State: state(herald.Failed), Receiver: hook}, 3},
	} {
		test.filter.Limit = 100
		got, _, err := f.Deliveries(t.Context(), f.client.ID, test.filter)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if len(got) != test.want {
			t.Errorf("%s: %d deliveries, want %d", test.name, len(got), test.want)
		}
	}
}

// TestSearchIsBounded: what would be searched one by one is counted first; too many
// alerts are refused with advice that, taken, is enough.
func TestSearchIsBounded(t *testing.T) { onBoth(t, testSearchIsBounded) }

func testSearchIsBounded(t *testing.T, f *fixture) {
	now := time.Now()
	f.makeRoom(now.Add(-30 * time.Hour))
	var entries []work.PreparedEvent
	for i := range 60 { // two an hour
		entries = append(entries, f.entryOf(now.Add(-time.Duration(i)*30*time.Minute), f.rule.ID))
	}
	f.accept(entries...)
	f.tallyAll()
	f.searchLimit = 20
	message := entries[0].Alerts[0].Message
	ask := func(text string) (int, error) {
		_, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), "query="+url.QueryEscape(text)))
		return total, err
	}
	_, err := ask("message~" + message)
	wantCode(t, err, herald.CodeUnavailable)
	advice := regexp.MustCompile(`raisedOnUtc>=[-0-9T:Z]+`).FindString(err.Error())
	if total, err := ask("message~" + message + " && " + advice); err != nil || total < 15 || total > 20 {
		t.Errorf("with the advice %q: %d alerts, %v", advice, total, err)
	}
	for text, want := range map[string]int{
		"raisedOnUtc>=" + now.Add(-24*time.Hour).Add(-time.Second).UTC().Format(time.RFC3339): 49, // needs no looking at
		"ruleId=" + f.rule.ID.String():       60,
		"ruleId=" + uuid.NewString():         0,
		"id=" + alertID(entries[0]).String(): 1,
	} {
		total, err := ask(text)
		if err != nil || total != want {
			t.Errorf("%s: %d, %v; want %d", text, total, err, want)
		}
	}
	_, _, err = f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.New(), listOf(t, query.Alerts(), ""))
	wantCode(t, err, herald.CodeUnavailable)
}

// TestDeliveriesAreSearchedInParts: a filter that finds little in much goes on where
// the page before stopped, and misses nothing.
func TestDeliveriesAreSearchedInParts(t *testing.T) { onBoth(t, testDeliveriesAreSearchedInParts) }

func testDeliveriesAreSearchedInParts(t *testing.T, f *fixture) {
	company := uuid.New()
	var want []uuid.UUID
	for i := range 60 {
		e := f.entry(f.client, false)
		if i%25 == 0 {
			e.Event.CompanyID = company
			want = append(want, e.Alerts[0].Items[0].ID)
		}
		f.accept(e)
	}
	slices.Reverse(want)
	f.searchLimit = 10
	pending := herald.Pending
	for _, state := range []*herald.State{nil, &pending} {
		filter := herald.DeliveryFilter{Company: company, State: state, Limit: 2}
		var got []uuid.UUID
		pages := 0
		for {
			page, next, err := f.Deliveries(t.Context(), f.client.ID, filter)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page {
				got = append(got, d.ID)
			}
			if next == uuid.Nil && len(page) == filter.Limit {
				next = page[len(page)-1].ID
			}
			if pages++; next == uuid.Nil || pages > 60 {
				break
			}
			filter.After = next
		}
		if diff := cmp.Diff(want, got); diff != "" || pages < 5 {
			t.Errorf("%d pages (-want +got):\n%s", pages, diff)
		}
	}
}
