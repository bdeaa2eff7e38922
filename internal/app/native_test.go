package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
)

const eventText = `{"type":"Sync Failed","companyId":"8a210b68-6988-11ed-a1eb-0242ac120002","data":{"syncId":"s-1","syncType":"Expense","FailureStage":"Pushing"}`

func TestRepeatedPublishCountsOnce(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	f.rule(hook.URL, uuid.Nil)
	key := f.account.APIKey
	status, _, first := f.call("POST", "/events", key, eventText+`,"idempotencyKey":"k-1"}`)
	if status != 202 {
		t.Fatalf("%d %s", status, first)
	}
	if status, _, again := f.call("POST", "/events", key, eventText+`,"idempotencyKey":"k-1"}`); status != 202 || again != first {
		t.Errorf("again: %d %s, want %s", status, again, first)
	}
	status, header, body := f.call("POST", "/events", key, strings.Replace(eventText, "s-1", "s-2", 1)+`,"idempotencyKey":"k-1"}`)
	wantError(t, "other content", status, header, body, 422)
	status, _, body = f.call("POST", "/events", key, `[`+eventText+`,"idempotencyKey":"k-1"},`+eventText+`,"idempotencyKey":"k-2"},`+eventText+`,"idempotencyKey":"k-2"}]`)
	var array struct{ Results []herald.Receipt }
	if err := json.Unmarshal([]byte(body), &array); err != nil || status != 202 {
		t.Fatalf("array: %d %s", status, body)
	}
	if len(array.Results) != 3 || array.Results[1].EventID != array.Results[2].EventID || !strings.Contains(first, array.Results[0].EventID.String()) {
		t.Errorf("the array's receipts: %s", body)
	}
	f.ended(array.Results[1])
	eventually(t, "two webhooks arrive", func() bool { return len(hook.got()) == 2 })
	events, err := f.Events(t.Context(), client.EventFilter{})
	if err != nil || len(events.Results) != 2 {
		t.Errorf("%d events, %v; want 2", len(events.Results), err)
	}
}

// TestManyAtOnceWithOneKeyRaiseOneAlert: each of the other requests gets the answer of the first,
// or a 409 while it is under way.
func TestManyAtOnceWithOneKeyRaiseOneAlert(t *testing.T) {
	f := newFixture(t)
	f.rule("", uuid.Nil)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if status, _, body := f.call("POST", "/events", f.account.APIKey, eventText+`,"idempotencyKey":"one"}`); status != 202 && status != 409 {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	wg.Wait()
	alerts, err := f.Alerts(t.Context(), client.ListOptions{})
	if err != nil || alerts.TotalResults != 1 {
		t.Errorf("%d alerts, %v; want 1", alerts.TotalResults, err)
	}
}

func TestArrayIsAllOrNothing(t *testing.T) {
	f := newFixture(t)
	f.rule("", uuid.Nil)
	status, header, body := f.call("POST", "/events", f.account.APIKey, `[`+eventText+`},{"type":"Sync Failed","companyId":"`+company.String()+`","data":{"syncId":"s"}}]`)
	got := wantError(t, "array", status, header, body, 400)
	if id := itemID(got); id != "[1].data.syncType" {
		t.Errorf("names %q, want [1].data.syncType", id)
	}
	if alerts, err := f.Alerts(t.Context(), client.ListOptions{}); err != nil || alerts.TotalResults != 0 {
		t.Errorf("%d alerts, %v; want none", alerts.TotalResults, err)
	}
	events := make([]client.Event, herald.MaxEvents)
	for i := range events {
		events[i] = event()
	}
	receipts, err := f.PublishAll(t.Context(), events)
	if err != nil || len(receipts) != herald.MaxEvents {
		t.Fatalf("%d receipts, %v", len(receipts), err)
	}
	for i, receipt := range receipts[1:] {
		if receipt.AlertCount != 1 || receipt.EventID.String() <= receipts[i].EventID.String() {
			t.Fatalf("receipt %d: %+v after %v", i+1, receipt, receipts[i].EventID)
		}
	}
}

func TestPublishIsStrict(t *testing.T) {
	f := newFixture(t)
	id := f.account.ID.String()
	for body, member := range map[string]string{
		eventText + `,"unknown":1}`:          "unknown",
		eventText + `,"type":"Sync Failed"}`: "type",
		`{"type":"No such type"}`:            "type",
		`{}`:                                 "type",
		`{"type":"CompanyStatusChanged","companyId":"` + company.String() + `"}`: "type",
		`{"type":"Sync Failed"}`: "companyId",
		`{"type":"Rate Limit Reached","companyId":"` + company.String() + `"}`:  "companyId",
		`{"type":"Data sync completed","companyId":"` + company.String() + `"}`: "dataConnectionId",
		eventText + `,"occurredAt":"yesterday"}`:                                "occurredAt",
	} {
		status, header, answer := f.call("POST", "/events", f.account.APIKey, body)
		if got := itemID(wantError(t, body, status, header, answer, 400)); got != member {
			t.Errorf("%s: names %q, want %q", body, got, member)
		}
	}
	if status, _, body := f.call("POST", "/events", operatorKey, eventText+`,"clientId":"`+id+`"}`); status != 202 {
		t.Errorf("the operator publishes: %d %s", status, body)
	}
	status, header, body := f.call("POST", "/events", operatorKey, eventText+`}`)
	wantError(t, "the operator without a client", status, header, body, 400)
	status, header, body = f.call("POST", "/events", operatorKey, eventText+`,"clientId":"`+uuid.NewString()+`"}`)
	wantError(t, "an unknown client", status, header, body, 404)
	status, header, body = f.call("POST", "/events", f.account.APIKey, eventText+`,"clientId":"`+uuid.NewString()+`"}`)
	wantError(t, "another client", status, header, body, 403)
	status, header, body = f.call("POST", "/events", f.account.APIKey, `{"type":"Sync Completed","data":{"syncId":"`+strings.Repeat("x", herald.MaxEventSize)+`"}}`)
	wantError(t, "an event of a megabyte", status, header, body, 413)
}

// TestChangedRulesCountAtOnce: an event meets a rule that was made before its publish, and not one
// that was deleted before, a hundred times over.
func TestChangedRulesCountAtOnce(t *testing.T) {
	f := newFixture(t)
	for n := range 100 {
		rule := f.rule("", uuid.Nil)
		if got := f.publish(event()).AlertCount; got != 1 {
			t.Fatalf("round %d: a new rule raised %d alerts", n, got)
		}
		if err := f.DeleteRule(t.Context(), rule.ID); err != nil {
			t.Fatal(err)
		}
		if got := f.publish(event()).AlertCount; got != 0 {
			t.Fatalf("round %d: a deleted rule raised %d alerts", n, got)
		}
	}
}

func TestOwnEventTypes(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	path := "/eventTypes/Invoice%20overdue"
	status, _, body := f.call("PUT", path, operatorKey,
		`{"label":"Invoice overdue","company":true,"message":"Invoice {number} is {days} days overdue","schema":{"type":"object","required":["number"],"properties":{"number":{"type":"string"}}},"example":{"number":"A-1","days":3}}`)
	if status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	status, header, body := f.call("PUT", "/eventTypes/Sync%20Failed", operatorKey, `{"message":"mine"}`)
	wantError(t, "a built-in type", status, header, body, 409)
	status, header, body = f.call("PUT", path, f.account.APIKey, `{"message":"mine"}`)
	wantError(t, "a client", status, header, body, 403)
	if _, err := f.CreateRule(t.Context(), client.Rule{Type: "invoice overdue", Notifiers: client.Notifiers{Webhook: hook.URL}}); err != nil {
		t.Fatal(err)
	}
	status, header, body = f.call("POST", "/events", f.account.APIKey, `{"type":"Invoice overdue","companyId":"`+company.String()+`","data":{"number":7}}`)
	if got := itemID(wantError(t, "data against the schema", status, header, body, 400)); got != "data.number" {
		t.Errorf("names %q, want data.number", got)
	}
	f.ended(f.publish(client.Event{Type: "Invoice overdue", CompanyID: company, Data: json.RawMessage(`{"number":"A-17","days":30}`)}))
	if got := string(hook.got()[0].body); !strings.Contains(got, `"Message":"Invoice A-17 is 30 days overdue"`) || !strings.Contains(got, `"RuleType":"Invoice overdue"`) {
		t.Errorf("delivered %s", got)
	}
}

// TestAnotherClientsIDsAreUnknown makes every call of the OpenAPI document, so that it covers new
// paths too. With the ids of one client, another client gets 404.
func TestAnotherClientsIDsAreUnknown(t *testing.T) {
	f := newFixture(t)
	rule := f.rule(newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }).URL, uuid.Nil)
	receipt := f.publish(event())
	f.ended(receipt)
	issues, err := f.Issues(t.Context(), client.IssueFilter{})
	if err != nil || len(issues.Results) != 1 {
		t.Fatalf("issues %+v, %v", issues, err)
	}
	keys, err := f.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{
		"{ruleId}": rule.ID.String(), "{alertId}": receipt.AlertIDs[0].String(), "{apiKeyId}": keys[0].ID.String(), "{address}": "a@acme.example",
		"/events/{id}": "/events/" + receipt.EventID.String(), "/deliveries/{id}": "/deliveries/" + receipt.AlertIDs[0].String(),
		"/issues/{id}": "/issues/" + issues.Results[0].ID.String(),
	}
	other, err := f.operator.CreateClient(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	_, _, text := f.call("GET", "/openapi.json", "", "")
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	called := 0
	for path, methods := range document.Paths {
		filled := path
		for name, id := range ids {
			filled = strings.ReplaceAll(filled, name, id)
		}
		if filled == path || strings.Contains(filled, "{") {
			if strings.Contains(filled, "{") && !strings.HasPrefix(path, "/clients") && !strings.HasPrefix(path, "/eventTypes") {
				t.Errorf("%s: the test has no id for this path", path)
			}
			continue
		}
		for method := range methods {
			body := ""
			switch {
			case strings.HasSuffix(path, "/security"):
				body = `{"authorization":"none"}`
			case method == "put":
				body = `{"type":"Sync Failed"}`
			}
			status, header, answer := f.call(strings.ToUpper(method), filled, other.APIKey, body)
			wantError(t, method+" "+path, status, header, answer, 404)
			called++
		}
	}
	if called < 10 {
		t.Errorf("only %d calls were made", called)
	}
}

func TestServiceCalls(t *testing.T) {
	f := newFixture(t)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "herald_http_request_duration_seconds", "/openapi.json": `"3.1.`} {
		status, _, body := f.call("GET", path, "", "")
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.100s", path, status, body)
		}
	}
}

func TestClientsAreListedNewestFirst(t *testing.T) {
	f := newFixture(t)
	want := []string{"Acme"}
	for n := range 4 {
		name := fmt.Sprintf("Client %d", n)
		want = append([]string{name}, want...)
		if _, err := f.operator.CreateClient(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for cursor := (client.Cursor{Limit: 2}); ; {
		page, err := f.operator.Clients(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, account := range page.Results {
			got = append(got, account.Name)
		}
		if page.Next == uuid.Nil {
			break
		}
		cursor.After = page.Next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
	if err := f.operator.RenameClient(t.Context(), f.account.ID, "Acme Ltd"); err != nil {
		t.Fatal(err)
	}
	if p, err := f.Profile(t.Context()); err != nil || p.Name != "Acme Ltd" {
		t.Errorf("the name is %q, %v", p.Name, err)
	}
	status, header, body := f.call(http.MethodGet, "/clients", f.account.APIKey, "")
	wantError(t, "a client's key", status, header, body, 403)
}

// TestTheServiceSaysWhetherItSendsMail, from its configuration.
func TestTheServiceSaysWhetherItSendsMail(t *testing.T) {
	for _, mail := range []bool{false, true} {
		var change []func(*app.Config)
		if mail {
			change = append(change, newMailServer(t).config)
		}
		f := newFixture(t, change...)
		if got, err := f.Capabilities(t.Context()); err != nil || got.Mail != mail {
			t.Errorf("with a mail server %v: %+v, %v", mail, got, err)
		}
	}
}

// TestAnEventTypeOutlivesItsRules: it cannot be deleted before them, and afterwards nobody can use it.
func TestAnEventTypeOutlivesItsRules(t *testing.T) {
	f := newFixture(t)
	if _, err := f.operator.PutEventType(t.Context(), herald.EventType{Name: "Invoice paid", Message: "Paid"}); err != nil {
		t.Fatal(err)
	}
	rule, err := f.CreateRule(t.Context(), client.Rule{Type: "INVOICE paid"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Publish(t.Context(), client.Event{Type: "Invoice paid"}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "while a rule uses it", f.operator.DeleteEventType(t.Context(), "Invoice paid"), 409)
	if err := f.DeleteRule(t.Context(), rule.ID); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "with a client's key", f.DeleteEventType(t.Context(), "Invoice paid"), 403)
	if err := f.operator.DeleteEventType(t.Context(), "Invoice paid"); err != nil {
		t.Fatal(err)
	}
	_, err = f.Publish(t.Context(), client.Event{Type: "Invoice paid"})
	wantStatus(t, "an event of a deleted type", err, 400)
	_, err = f.CreateRule(t.Context(), client.Rule{Type: "Sync Faild"})
	if err == nil || !strings.Contains(err.Error(), `Did you mean "Sync Failed"?`) {
		t.Errorf("a rule of a misspelt type: %v", err)
	}
	_, err = f.Publish(t.Context(), client.Event{Type: "Sync Faild"})
	if err == nil || !strings.Contains(err.Error(), `Did you mean "Sync Failed"?`) {
		t.Errorf("an event of a misspelt type: %v", err)
	}
}

// TestStatisticsFollowWhatHappened: what was delivered and what failed is counted within seconds, for its
// client alone, and no answer shows the secret in a receiver's address.
func TestStatisticsFollowWhatHappened(t *testing.T) {
	f := newFixture(t)
	good := newReceiver(t, nil)
	bad := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	f.rule(good.URL+"/hook?token=planted", uuid.Nil)
	f.rule(bad.URL+"/hook?token=planted", uuid.Nil)
	for range 3 {
		if status, _, body := f.call("POST", "/events", f.account.APIKey, eventText+`}`); status != 202 {
			t.Fatalf("%d %s", status, body)
		}
	}
	var found client.Statistics
	eventually(t, "all is counted", func() bool {
		var err error
		if found, err = f.Statistics(t.Context(), client.StatisticsFilter{By: herald.ByReceiver}); err != nil {
			t.Fatal(err)
		}
		return len(found.Results) == 2 && found.Results[0].Deliveries.Total() == 3 && found.Results[1].Deliveries.Total() == 3
	})
	for _, line := range found.Results {
		want := map[string]float64{good.URL + "/hook": 1, bad.URL + "/hook": 0}
		if rate, known := want[line.Receiver]; !known || line.SuccessRate == nil || *line.SuccessRate != rate {
			t.Errorf("%s has the success rate %v; want %v", line.Receiver, line.SuccessRate, want)
		}
	}
	other, err := f.operator.CreateClient(t.Context(), "Other")
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err := f.as(other.APIKey).Statistics(t.Context(), client.StatisticsFilter{By: herald.ByReceiver}); err != nil || len(theirs.Results) != 0 {
		t.Errorf("another client sees %+v, %v", theirs.Results, err)
	}
	status, _, body := f.call("GET", "/statistics?client="+f.account.ID.String(), other.APIKey, "")
	if status != 404 {
		t.Errorf("another client's statistics: %d %s", status, body)
	}
	all, err := f.operator.Statistics(t.Context(), client.StatisticsFilter{By: herald.ByOutcome, Client: f.account.ID})
	if err != nil || len(all.Results) != 2 || all.Results[0].Deliveries.Delivered+all.Results[1].Deliveries.Failed+all.Results[1].Deliveries.Delivered+all.Results[0].Deliveries.Failed != 6 {
		t.Errorf("the operator sees %+v, %v", all.Results, err)
	}
	for _, by := range []string{"hour", "receiver", "outcome"} {
		if status, _, body := f.call("GET", "/statistics?by="+by, f.account.APIKey, ""); status != 200 || strings.Contains(body, "planted") {
			t.Errorf("by %s: %d %s", by, status, body)
		}
	}
}
