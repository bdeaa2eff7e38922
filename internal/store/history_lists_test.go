package store

import (
	"maps"
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

// TestEveryMemberOfAnAlertCanBeAskedFor queries each member that the schema names: each must
// have a column.
func TestEveryMemberOfAnAlertCanBeAskedFor(t *testing.T) {
	onBoth(t, testEveryMemberOfAnAlertCanBeAskedFor)
}

func testEveryMemberOfAnAlertCanBeAskedFor(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	prepared.Event.CompanyID, prepared.Event.ConnectionID = uuid.New(), uuid.New()
	f.accept(prepared)
	later := f.prepare(f.client, true) // without company and connection
	f.accept(later)
	alert, second := prepared.Alerts[0], later.Alerts[0]
	at := herald.TimeOf(alert.ID)
	for _, q := range []string{
		"id=" + alert.ID.String(), "alertId=" + alert.ID.String(), "companyId=" + prepared.Event.CompanyID.String(),
		"clientId=" + f.client.ID.String() + " && dataConnectionId=" + prepared.Event.ConnectionID.String(),
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
		prepared := f.prepare(f.client, true)
		if n%3 == 0 {
			prepared.Event.CompanyID = uuid.MustParse("11111111-1111-4111-8111-111111111111")
		}
		f.accept(prepared)
		item := prepared.Alerts[0].Items[0]
		ids = append([]uuid.UUID{item.ID}, ids...)
		state := []herald.State{herald.Delivered, herald.Failed, herald.Pending, herald.Delivered}[n%4]
		if err := f.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeRetry, 503), State: state, Delay: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: herald.AlertOf(ids[5]), Origin: origin, Address: "https://moved.example/"})
	if err != nil {
		t.Fatal(err)
	}
	ids = slices.Insert(ids, 0, again) // a redelivery is listed by its own time

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

// TestReceiverWithEveryQuery: an address that ends in AnyQuery stands for itself with every query, and for no other one.
func TestReceiverWithEveryQuery(t *testing.T) { onBoth(t, testReceiverWithEveryQuery) }

func testReceiverWithEveryQuery(t *testing.T, f *fixture) {
	const at = "https://übung.example/flip"
	for _, address := range []string{at, at + "?x=1", at + "?x=_%", at + "#y", at + "per", at + "/?x=1", "https://übung.example/?to=" + at + "?"} {
		f.record(failedForGood(f.due(address), herald.ReasonStatus, 500))
	}
	f.due(at + "?waits")
	for receiver, want := range map[string]int{at + herald.AnyQuery: 5, at: 1, at + "?x=1" + herald.AnyQuery: 1, "https://other.example" + herald.AnyQuery: 0, herald.AnyQuery: 0} {
		got, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{Receiver: receiver, Limit: 100})
		if err != nil || len(got) != want {
			t.Errorf("%q: %d deliveries, %v; want %d", receiver, len(got), err, want)
		}
	}
}

// TestSearchIsBounded: alerts that would be searched one by one are counted first. The error for
// too many gives advice, and a query that follows it succeeds.
func TestSearchIsBounded(t *testing.T) { onBoth(t, testSearchIsBounded) }

func testSearchIsBounded(t *testing.T, f *fixture) {
	now := time.Now()
	f.makeOldPartitions(now.Add(-30 * time.Hour))
	var events []work.PreparedEvent
	for i := range 60 { // two an hour
		events = append(events, f.prepareAt(now.Add(-time.Duration(i)*30*time.Minute), f.rule.ID))
	}
	f.accept(events...)
	f.tallyAll()
	f.searchLimit = 20
	message := events[0].Alerts[0].Message
	ask := func(text string) (int, error) {
		_, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), "query="+url.QueryEscape(text)))
		return total, err
	}
	_, err := ask("message~" + message)
	wantCode(t, err, herald.CodeInvalid) // a 400: a repeat never helps
	advice := regexp.MustCompile(`raisedOnUtc>=[-0-9T:Z]+`).FindString(err.Error())
	if total, err := ask("message~" + message + " && " + advice); err != nil || total < 15 || total > 20 {
		t.Errorf("with the advice %q: %d alerts, %v", advice, total, err)
	}
	for text, want := range map[string]int{
		"raisedOnUtc>=" + now.Add(-24*time.Hour).Add(-time.Second).UTC().Format(time.RFC3339): 49, // counted by tallies, not searched
		"ruleId=" + f.rule.ID.String():      60,
		"ruleId=" + uuid.NewString():        0,
		"id=" + alertID(events[0]).String(): 1,
	} {
		total, err := ask(text)
		if err != nil || total != want {
			t.Errorf("%s: %d, %v; want %d", text, total, err, want)
		}
	}
	// In a last hour that has too many, the advice names an instant within it.
	var crowd []work.PreparedEvent
	for i := range 50 {
		crowd = append(crowd, f.prepareAt(now.Add(-time.Duration(i)*time.Millisecond), f.rule.ID))
	}
	f.accept(crowd...)
	_, err = ask("message~" + message)
	wantCode(t, err, herald.CodeInvalid)
	advice = regexp.MustCompile(`raisedOnUtc>[-0-9T:.Z]+`).FindString(err.Error())
	if total, err := ask("message~" + message + " && " + advice); err != nil || total < 15 || total > 20 {
		t.Errorf("with the advice %q: %d alerts, %v", advice, total, err)
	}
}

// TestDeliveriesAreSearchedInParts: a filter that few deliveries match continues where the page
// before stopped, and misses none.
func TestDeliveriesAreSearchedInParts(t *testing.T) { onBoth(t, testDeliveriesAreSearchedInParts) }

func testDeliveriesAreSearchedInParts(t *testing.T, f *fixture) {
	company := uuid.New()
	var want []uuid.UUID
	for i := range 60 {
		e := f.prepare(f.client, false)
		if i%25 == 0 {
			e.Event.CompanyID = company
			want = append(want, e.Alerts[0].Items[0].ID)
		}
		f.accept(e)
	}
	slices.Reverse(want)
	f.searchLimit = 10
	f.openLimit, f.setLimit = 1, -1 // as while the index of alerts is being made
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

// TestEveryReasonFindsItsDeliveries: each value that the filter takes finds the deliveries that have it, in
// each way that they can: of their own, of their last attempt, or for which they wait. So do redeliveries.
func TestEveryReasonFindsItsDeliveries(t *testing.T) { onBoth(t, testEveryReasonFindsItsDeliveries) }

func testEveryReasonFindsItsDeliveries(t *testing.T, f *fixture) {
	waits := map[herald.Reason]string{
		herald.ReasonUnconfirmed: unconfirmed("ann@acme.example"), herald.ReasonNoConsent: work.NoConsent + ": 405",
		herald.ReasonLocal: "this service has no free file descriptors; nothing was sent",
	}
	want := make(map[herald.Reason]map[uuid.UUID]herald.State)
	next := func(again bool) work.Item {
		prepared := f.prepare(f.client, false)
		f.accept(prepared)
		item := f.claim(1)[0]
		if !again {
			return item
		}
		if err := f.Record(work.Result{Item: item, State: herald.Delivered}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: item.ID, Origin: origin, Address: hook}); err != nil {
			t.Fatal(err)
		}
		return f.claim(1)[0]
	}
	for _, reason := range herald.Reasons() {
		want[reason] = make(map[uuid.UUID]herald.State)
		for _, again := range []bool{false, true} {
			ended, tried := next(again), next(again)
			want[reason][ended.ID], want[reason][tried.ID] = herald.Failed, herald.Pending
			retry := attempt(tried, herald.OutcomeRetry, 0)
			retry.Reason = reason
			for _, r := range []work.Result{
				{Item: ended, State: herald.Failed, Reason: reason},
				{Item: tried, State: herald.Pending, Delay: time.Hour, Attempt: retry},
			} {
				if err := f.Record(r); err != nil {
					t.Fatal(err)
				}
			}
			if why := waits[reason]; why != "" {
				item := next(again)
				want[reason][item.ID] = herald.Pending
				if err := f.Postpone(t.Context(), item, time.Hour, why); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	pending, failed := herald.Pending, herald.Failed
	for _, reason := range herald.Reasons() {
		for _, state := range []*herald.State{nil, &pending, &failed} {
			got := make(map[uuid.UUID]herald.State)
			filter := herald.DeliveryFilter{Reason: reason, State: state, Limit: 1000}
			for more := true; more; more = filter.After != uuid.Nil { // a slow machine answers in parts
				found, next, err := f.Deliveries(t.Context(), f.client.ID, filter)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range found {
					got[d.ID] = d.State
				}
				filter.After = next
			}
			expected := maps.Clone(want[reason])
			maps.DeleteFunc(expected, func(_ uuid.UUID, s herald.State) bool { return state != nil && s != *state })
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("reason %s, state %v (-want +got):\n%s", reason, state, diff)
			}
		}
	}
}

func TestRecentEventsAreTheClientsNewest(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		rival := f.newClient("Rival")
		var ids []uuid.UUID // newest first
		for range 5 {
			prepared := f.prepare(f.client, true)
			prepared.Event.CompanyID = uuid.New()
			f.accept(prepared)
			f.accept(f.prepare(rival, true))
			ids = append([]uuid.UUID{prepared.Event.ID}, ids...)
		}
		since := time.Now().Add(-time.Hour)
		for limit, want := range map[int][]uuid.UUID{10: ids, 3: ids[:3]} {
			events, from, err := f.RecentEvents(t.Context(), f.client.ID, since, limit)
			if err != nil || !from.Equal(since) {
				t.Fatalf("from %v, %v; want %v", from, err, since)
			}
			var got []uuid.UUID
			for _, e := range events {
				if e.ClientID != f.client.ID || e.Type != "Sync Failed" || e.CompanyID == uuid.Nil {
					t.Errorf("%+v", e)
				}
				got = append(got, e.ID)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		if events, _, err := f.RecentEvents(t.Context(), f.client.ID, time.Now().Add(time.Hour), 10); err != nil || len(events) != 0 {
			t.Errorf("since later: %d, %v", len(events), err)
		}
	})
}
