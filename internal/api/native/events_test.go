package native

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

func TestOneEventIsAnsweredWithAReceipt(t *testing.T) {
	r := newFixture(t)
	r.rules[uuid.New()] = acme
	answer := r.must(http.StatusAccepted, acmeKey, "POST", "/events", `{"type":"Data sync completed","data":{"datasetId":"d"}}`)
	event := r.events[0]
	want := object{"id": event.ID.String(), "alertCount": 1.0, "alertIds": []any{herald.AlertID(event.ID, 1).String()}}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Error(diff)
	}
	if event.ClientID != acme || string(event.Data) != `{"datasetId":"d"}` {
		t.Errorf("published %+v", event)
	}
}

func TestAnEventThatMeetsNoRuleHasAnEmptyListOfAlerts(t *testing.T) {
	r := newFixture(t)
	answer := r.must(http.StatusAccepted, acmeKey, "POST", "/events", `{"type":"Data sync completed"}`)
	if ids, ok := answer["alertIds"].([]any); !ok || len(ids) != 0 {
		t.Errorf("alertIds %v", answer["alertIds"])
	}
}

func TestAnArrayIsAnsweredWithReceiptsInOrder(t *testing.T) {
	r := newFixture(t)
	answer := r.must(http.StatusAccepted, acmeKey, "POST", "/events", `[{"type":"Data sync completed"},{"type":"Sync Failed"}]`)
	results := answer["results"].([]any)
	for i, event := range r.events {
		if got := results[i].(object)["id"]; got != event.ID.String() {
			t.Errorf("receipt %d is of %v, want %v", i, got, event.ID)
		}
	}
	if one := r.must(http.StatusAccepted, acmeKey, "POST", "/events", `[{"type":"Sync Failed"}]`); len(one["results"].([]any)) != 1 {
		t.Errorf("an array of one is answered with %v", one)
	}
}

func TestWhoseEventItIs(t *testing.T) {
	r := newFixture(t)
	named := func(client uuid.UUID) string { return `{"type":"Sync Failed","clientId":"` + client.String() + `"}` }
	r.must(http.StatusAccepted, acmeKey, "POST", "/events", named(acme))
	r.must(http.StatusAccepted, acmeKey, "POST", "/events", named(uuid.Nil))
	r.must(http.StatusAccepted, operatorKey, "POST", "/events", named(acme))
	for _, e := range r.events {
		if e.ClientID != acme {
			t.Errorf("published for %v", e.ClientID)
		}
	}
	r.refused(http.StatusForbidden, "clientId", "not the client of this API key", rivalKey, "POST", "/events", named(acme))
	r.refused(http.StatusForbidden, "[1].clientId", "not the client", rivalKey, "POST", "/events", "["+named(rival)+","+named(acme)+"]")
	r.refused(http.StatusBadRequest, "clientId", "operator's key must say", operatorKey, "POST", "/events", `{"type":"Sync Failed"}`)
	r.refused(http.StatusBadRequest, "[1].clientId", "must say", operatorKey, "POST", "/events", "["+named(acme)+","+named(uuid.Nil)+"]")
	if len(r.events) != 3 {
		t.Errorf("%d events published", len(r.events))
	}
}

func TestAPublishersErrorNamesTheEventOfAnArray(t *testing.T) {
	r := newFixture(t)
	bad := `{"type":"Data sync completed","data":{"dataType":"invoices"}}`
	r.refused(http.StatusBadRequest, "data.datasetId", "is missing", acmeKey, "POST", "/events", bad)
	r.refused(http.StatusBadRequest, "[3].data.datasetId", "is missing", acmeKey, "POST", "/events",
		"["+strings.Repeat(`{"type":"Sync Failed"},`, 3)+bad+"]")
	r.refused(http.StatusBadRequest, "type", "no event type", acmeKey, "POST", "/events", `{"type":"unheard of"}`)
	if len(r.events) != 0 {
		t.Errorf("%d events published", len(r.events))
	}
	r.publishFail = herald.Errorf(herald.CodeMismatch, "used before with other content")
	r.refused(http.StatusUnprocessableEntity, "", "used before", acmeKey, "POST", "/events", `{"type":"Sync Failed"}`)
	r.publishFail = &herald.ItemError{Index: 1, Err: herald.Errorf(herald.CodeConflict, "under way")}
	r.refused(http.StatusConflict, "", "[1]: under way", acmeKey, "POST", "/events", `[{"type":"Sync Failed"},{"type":"Sync Failed"}]`)
}

func TestTheIdempotencyKeyMayBeAHeader(t *testing.T) {
	r := newFixture(t)
	const event, keyed = `{"type":"Sync Failed"}`, `{"type":"Sync Failed","idempotencyKey":"k"}`
	r.head.Set(idempotencyHeader, "k")
	first := r.must(http.StatusAccepted, acmeKey, "POST", "/events", event)
	again := r.must(http.StatusAccepted, acmeKey, "POST", "/events", keyed)
	if first["id"] != again["id"] {
		t.Errorf("the key as a header and as a member made two events, %v and %v", first["id"], again["id"])
	}
	r.refused(http.StatusBadRequest, idempotencyHeader, "single event", acmeKey, "POST", "/events", "["+event+"]")
	r.head.Set(idempotencyHeader, "l")
	r.refused(http.StatusBadRequest, "idempotencyKey", `"k" differs from "l"`, acmeKey, "POST", "/events", keyed)
	r.head.Set(idempotencyHeader, strings.Repeat("é", herald.MaxIdempotencyKey))
	r.must(http.StatusAccepted, acmeKey, "POST", "/events", event)
	r.head.Set(idempotencyHeader, strings.Repeat("k", herald.MaxIdempotencyKey+1))
	r.refused(http.StatusBadRequest, idempotencyHeader, "1 to 256", acmeKey, "POST", "/events", event)
	r.head.Set(idempotencyHeader, "\xff")
	r.refused(http.StatusBadRequest, idempotencyHeader, "UTF-8", acmeKey, "POST", "/events", event)
	r.head[idempotencyHeader] = []string{"k", "l"}
	r.refused(http.StatusBadRequest, idempotencyHeader, "given 2 times", acmeKey, "POST", "/events", event)
}

func TestPublishesHaveSizeLimits(t *testing.T) {
	r := newFixture(t)
	fill := func(n int) string { return string(bytes.Repeat([]byte{' '}, n)) }
	event := func(n int) string {
		const frame = `{"type":"Sync Failed","data":{"datasetId":""}}`
		return `{"type":"Sync Failed","data":{"datasetId":"` + strings.Repeat("x", n-len(frame)) + `"}}`
	}
	r.must(http.StatusAccepted, acmeKey, "POST", "/events", event(herald.MaxEventSize))
	r.refused(http.StatusRequestEntityTooLarge, "", "1048576", acmeKey, "POST", "/events", event(herald.MaxEventSize+1))
	array := "[" + event(herald.MaxEventSize) + "," + event(herald.MaxEventSize) + "]"
	r.must(http.StatusAccepted, acmeKey, "POST", "/events", array+fill(herald.MaxPublishSize-len(array)))
	status, _ := r.do(acmeKey, "POST", "/events", array+fill(herald.MaxPublishSize-len(array)+1))
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over MaxPublishSize: status %d", status)
	}
}

func TestAnEventShowsItsAlerts(t *testing.T) {
	r := newFixture(t)
	rule := uuid.New()
	r.rules[rule] = acme
	r.must(http.StatusAccepted, operatorKey, "POST", "/events", `{"type":"Data sync completed","clientId":"`+acme.String()+`",
		"companyId":"`+company.String()+`","data":{ "datasetId": "d" },"occurredAt":"2026-05-03T11:00:00+02:00"}`)
	event := r.events[0]
	want := object{
		"id": event.ID.String(), "clientId": acme.String(), "companyId": company.String(), "type": "Data sync completed",
		"data": object{"datasetId": "d"}, "occurredAt": "2026-05-03T09:00:00Z",
		"acceptedAt": herald.TimeOf(event.ID).Format("2006-01-02T15:04:05.999999999Z"),
		"alerts":     []any{object{"id": herald.AlertID(event.ID, 1).String(), "ruleId": rule.String()}},
	}
	if diff := cmp.Diff(want, r.must(http.StatusOK, acmeKey, "GET", "/events/"+event.ID.String(), "")); diff != "" {
		t.Error(diff)
	}
	delete(want, "alerts")
	want["alertCount"] = 1.0
	list := r.must(http.StatusOK, acmeKey, "GET", "/events", "")
	if diff := cmp.Diff(object{"results": []any{want}}, list); diff != "" {
		t.Error(diff)
	}
}

func TestEventsAreListedNewestFirst(t *testing.T) {
	r := newFixture(t)
	var ids []string
	for range 5 {
		ids = append(ids, r.publish("Sync Failed"))
	}
	r.must(http.StatusAccepted, rivalKey, "POST", "/events", `{"type":"Sync Failed"}`)
	want := [][]string{{ids[4], ids[3]}, {ids[2], ids[1]}, {ids[0]}}
	if diff := cmp.Diff(want, r.pages(acmeKey, "/events", "2")); diff != "" {
		t.Error(diff)
	}
	// A full last page has no next.
	if diff := cmp.Diff([][]string{{ids[4], ids[3], ids[2], ids[1], ids[0]}}, r.pages(acmeKey, "/events", "5")); diff != "" {
		t.Error(diff)
	}
}

// TestEventsAreFiltered by type in any spelling, company and time; what is no filter is refused.
func TestEventsAreFiltered(t *testing.T) {
	r := newFixture(t)
	failed := r.publish("Sync Failed")
	r.must(http.StatusAccepted, acmeKey, "POST", "/events", `{"type":"Sync Completed","companyId":"`+company.String()+`"}`)
	at := herald.TimeOf(r.events[0].ID)
	for query, want := range map[string]int{
		"type=sync-failed": 1, "type=Sync+Completed": 1, "type=Sync+Started": 0, "company=" + company.String(): 1, "company=" + uuid.NewString(): 0,
		"since=" + at.Format(time.RFC3339Nano): 2, "until=" + at.Format(time.RFC3339Nano): 0,
	} {
		got := r.must(http.StatusOK, acmeKey, "GET", "/events?"+query, "")["results"].([]any)
		if len(got) != want || query == "type=sync-failed" && got[0].(object)["id"] != failed {
			t.Errorf("%s: %v, want %d", query, got, want)
		}
	}
	for _, query := range []string{"type=nothing", "company=x", "company=" + uuid.Nil.String(), "since=soon", "until=x", "state=failed"} {
		r.must(http.StatusBadRequest, acmeKey, "GET", "/events?"+query, "")
	}
}

func TestAPageHasFiftyResultsUnlessAskedOtherwise(t *testing.T) {
	r := newFixture(t)
	r.must(http.StatusAccepted, acmeKey, "POST", "/events", `[`+strings.Repeat(`{"type":"Sync Failed"},`, 500)+`{"type":"Sync Failed"}]`)
	for query, want := range map[string]int{"": 50, "?limit=": 50, "?limit=500": 500} {
		if got := r.must(http.StatusOK, acmeKey, "GET", "/events"+query, "")["results"].([]any); len(got) != want {
			t.Errorf("%q: %d results, want %d", query, len(got), want)
		}
	}
}

func TestVerdictsArePaged(t *testing.T) {
	r := newFixture(t)
	met, missed, others := uuid.New(), []uuid.UUID{uuid.New(), uuid.New()}, uuid.New()
	r.rules[met] = acme
	event := r.publish("Data sync completed")
	r.rules[missed[0]], r.rules[missed[1]], r.rules[others] = acme, acme, rival
	path := "/events/" + event + "/rules?limit=1"
	var seen []string
	for after := ""; ; {
		answer := r.must(http.StatusOK, acmeKey, "GET", path+after, "")
		if answer["met"] != 1.0 || answer["rules"] != 3.0 {
			t.Fatalf("%v", answer)
		}
		for _, v := range answer["results"].([]any) {
			seen = append(seen, v.(object)["ruleId"].(string))
		}
		next, more := answer["next"].(string)
		if !more || len(seen) > 3 {
			break
		}
		after = "&after=" + next
	}
	if len(seen) != 3 || seen[0] != met.String() || seen[1] == seen[2] || slices.Contains(seen, others.String()) {
		t.Errorf("verdicts on %v", seen)
	}
	r.refused(http.StatusBadRequest, "after", "begin again", acmeKey, "GET", path+"&after="+others.String(), "")
	r.refused(http.StatusBadRequest, "limit", "whole number", acmeKey, "GET", "/events/"+event+"/rules?limit=0", "")
}
