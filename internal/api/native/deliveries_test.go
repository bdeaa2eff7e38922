package native

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

func TestADeliveryShowsItsAttempts(t *testing.T) {
	r := newFixture(t)
	rule := uuid.New()
	r.rules[rule] = acme
	r.publish("Sync Failed")
	d := r.deliveries[0]
	path := "/deliveries/" + d.ID.String()
	if attempts := r.must(http.StatusOK, acmeKey, "GET", path, "")["attempts"].([]any); len(attempts) != 0 {
		t.Errorf("attempts of a new delivery: %v", attempts)
	}
	r.attempts[d.ID] = []herald.Attempt{{DeliveryID: d.ID, N: 1, At: r.now, Outcome: herald.OutcomeRetry, Status: 503, Reason: herald.ReasonStatus}}
	want := object{
		"id": d.ID.String(), "clientId": acme.String(), "alertId": d.AlertID.String(), "eventId": d.EventID.String(),
		"ruleId": rule.String(), "eventType": "Sync Failed", "receiver": d.Address, "state": "pending", "attemptCount": 0.0,
		"raisedAt": d.RaisedAt.Format(time.RFC3339Nano),
		"attempts": []any{object{
			"n": 1.0, "at": "2026-05-03T09:00:00Z", "outcome": "retry", "status": 503.0, "reason": "status",
			"timings": object{"dnsMs": 0.0, "connectMs": 0.0, "tlsMs": 0.0, "firstByteMs": 0.0, "totalMs": 0.0},
		}},
	}
	if diff := cmp.Diff(want, r.must(http.StatusOK, acmeKey, "GET", path, "")); diff != "" {
		t.Error(diff)
	}
}

func TestDeliveriesAreFiltered(t *testing.T) {
	r := newFixture(t)
	r.rules[uuid.New()], r.rules[uuid.New()] = acme, acme
	r.publish("Sync Failed")
	r.must(http.StatusAccepted, acmeKey, "POST", "/events", `{"type":"Sync Completed","companyId":"`+company.String()+`"}`)
	first, second, third, fourth := &r.deliveries[0], &r.deliveries[1], &r.deliveries[2], &r.deliveries[3]
	second.State = herald.Failed
	first.RaisedAt, second.RaisedAt = r.now, r.now.Add(time.Hour)
	third.RaisedAt, fourth.RaisedAt = r.now.Add(2*time.Hour), r.now.Add(3*time.Hour)
	at := func(h int) string { return r.now.Add(time.Duration(h) * time.Hour).Format(time.RFC3339) }
	for _, test := range []struct {
		filter url.Values
		want   []*herald.Delivery
	}{
		{url.Values{}, []*herald.Delivery{fourth, third, second, first}},
		{url.Values{"state": {"pending"}}, []*herald.Delivery{fourth, third, first}},
		{url.Values{"state": {"failed"}}, []*herald.Delivery{second}},
		{url.Values{"state": {"cancelled"}}, nil},
		{url.Values{"receiver": {first.Address}}, []*herald.Delivery{third, first}},
		{url.Values{"type": {"Sync Completed"}}, []*herald.Delivery{fourth, third}},
		{url.Values{"type": {"sync-complete"}}, []*herald.Delivery{fourth, third}},
		{url.Values{"company": {company.String()}}, []*herald.Delivery{fourth, third}},
		{url.Values{"alert": {second.AlertID.String()}}, []*herald.Delivery{second}},
		{url.Values{"since": {at(1)}}, []*herald.Delivery{fourth, third, second}},
		{url.Values{"until": {at(1)}}, []*herald.Delivery{first}},
		{url.Values{"since": {at(1)}, "until": {at(3)}, "state": {"pending"}}, []*herald.Delivery{third}},
	} {
		t.Run(test.filter.Encode(), func(t *testing.T) {
			var want []string
			for _, d := range test.want {
				want = append(want, d.ID.String())
			}
			var got []string
			for _, result := range r.must(http.StatusOK, acmeKey, "GET", "/deliveries?"+test.filter.Encode(), "")["results"].([]any) {
				got = append(got, result.(object)["id"].(string))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	want := [][]string{{fourth.ID.String(), third.ID.String(), second.ID.String()}, {first.ID.String()}}
	if diff := cmp.Diff(want, r.pages(acmeKey, "/deliveries", "3")); diff != "" {
		t.Error(diff)
	}
}

func TestAWrongFilterIsNamed(t *testing.T) {
	r := newFixture(t)
	for _, test := range []struct{ name, value, text string }{
		{"state", "done", "not one of pending, delivered, failed and cancelled"},
		{"type", "unheard of", "event type"},
		{"company", "acme", "not a GUID"},
		{"alert", "7", "not a GUID"},
		{"alert", uuid.Nil.String(), "the GUID of zeros"}, // it would select every alert
		{"company", uuid.Nil.String(), "the GUID of zeros"},
		{"after", uuid.Nil.String(), "the GUID of zeros"},
		{"reason", "timedout", "not one of"},
		{"receiver", "acme.example", "such as https://acme.example/hook"},
		{"receiver", "ops@", `"ops@" is not an e-mail address`},
		{"since", "yesterday", "not a date-time"},
		{"company", uuid.Nil.String(), "the id of nothing"},
		{"alert", uuid.Nil.String(), "the id of nothing"},
		{"since", "9999-12-31T23:59:59-01:00", "want a year from 0001 to 9999"},
		{"until", "0001-01-01T00:00:00+01:00", "want a year from 0001 to 9999"},
		{"until", "2026-05-03", "not a date-time"},
		{"limit", "0", "from 1 to 500"},
		{"status", "failed", "no status such as 503"},
		{"status", "99", "no status such as 503"},
		{"status", "0xx", "no status such as 503"},
		{"status", "+9xx", "no status such as 503"},
		{"rule", "7", "not a GUID"},
		{"code", "503", "no such parameter; this call has state, receiver, type, company, alert, event, rule, reason, status, since, until, limit, after"},
	} {
		r.refused(http.StatusBadRequest, test.name, test.text, acmeKey, "GET", "/deliveries?"+url.Values{test.name: {test.value}}.Encode(), "")
	}
}

func TestAnAlertIsSentAgain(t *testing.T) {
	r := newFixture(t)
	r.rules[uuid.New()] = acme
	r.publish("Sync Failed")
	d := &r.deliveries[0]
	d.State = herald.Delivered
	alert, id := d.AlertID, d.ID
	again := r.must(http.StatusAccepted, acmeKey, "POST", "/deliveries/"+id.String()+"/redeliver", "")
	if again["alertId"] != alert.String() || again["id"] == id.String() || again["state"] != "pending" {
		t.Errorf("redelivered as %v", again)
	}
	if got := r.must(http.StatusOK, acmeKey, "GET", "/deliveries/"+again["id"].(string), ""); got["id"] != again["id"] {
		t.Errorf("the new delivery reads %v", got)
	}
}

func TestAPendingDeliveryIsCancelledOnce(t *testing.T) {
	r := newFixture(t)
	r.rules[uuid.New()] = acme
	r.publish("Sync Failed")
	path := "/deliveries/" + r.deliveries[0].ID.String() + "/cancel"
	if got := r.must(http.StatusOK, acmeKey, "POST", path, ""); got["state"] != "cancelled" || got["reason"] != "cancelled" {
		t.Errorf("cancelled as %v", got)
	}
	r.refused(http.StatusConflict, "", "has ended: it is cancelled", acmeKey, "POST", path, "")
}

func TestADeliveryShowsItsBodyOnRequest(t *testing.T) {
	r := newFixture(t)
	r.rules[uuid.New()] = acme
	r.publish("Sync Failed")
	path := "/deliveries/" + r.deliveries[0].ID.String()
	for query, want := range map[string]any{"": nil, "?body=false": nil, "?body=true": `{"AlertId": "1"}`} {
		if got := r.must(http.StatusOK, acmeKey, "GET", path+query, "")["requestBody"]; got != want {
			t.Errorf("%s: the body is %v, want %v", query, got, want)
		}
	}
	r.refused(http.StatusBadRequest, "body", "not true or false", acmeKey, "GET", path+"?body=yes", "")
	r.refused(http.StatusNotFound, "", "was found with ID", rivalKey, "GET", path+"?body=true", "")
}

func TestWhatFailedIsSentAgain(t *testing.T) {
	r := newFixture(t)
	answer := r.must(http.StatusAccepted, acmeKey, "POST", "/deliveries/redeliver", `{"receiver":"https://a.example/","type":"sync-failed","company":"`+company.String()+
		`","reason":"timeout","since":"2026-05-03T09:00:00Z","until":"2026-05-03T10:00:00Z","after":"`+acme.String()+`","dryRun":true}`)
	if diff := cmp.Diff(object{"count": 7.0, "skipped": 2.0, "next": company.String()}, answer); diff != "" {
		t.Error(diff)
	}
	at := time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)
	want := recovery{acme, herald.DeliveryFilter{Receiver: "https://a.example/", Type: "Sync Failed", Company: company, Reason: herald.ReasonTimeout,
		Since: at, Until: at.Add(time.Hour), After: acme}, true}
	if diff := cmp.Diff(want, r.recovered, cmp.AllowUnexported(recovery{})); diff != "" {
		t.Error(diff)
	}
	r.must(http.StatusAccepted, acmeKey, "POST", "/deliveries/redeliver", `{"type":"Sync Failed"}`)
	if r.recovered.dryRun {
		t.Error("without dryRun it only counts")
	}
	r.recovered = recovery{}
	for body, test := range map[string]struct{ member, text string }{
		``:                                  {"", "empty"},
		`{}`:                                {"", "Give at least one of receiver"},
		`{"dryRun":true}`:                   {"", "Give at least one of receiver"},
		`{"after":"` + acme.String() + `"}`: {"", "Give at least one of receiver"},
		`{"receiver":""}`:                   {"receiver", "empty"},
		`{"type":"Sync Faild"}`:             {"type", `Did you mean "Sync Failed"?`},
		`{"receiver":"acme.example"}`:       {"receiver", "such as https://acme.example/hook"},
		`{"reason":"timedout"}`:             {"reason", "not one of"},
		`{"since":"2h"}`:                    {"since", "not a date-time"},
		`{"company":"acme"}`:                {"company", "not a GUID"},
		`{"type":"Sync Failed","company":"` + uuid.Nil.String() + `"}`: {"company", "the GUID of zeros"},
		`{"type":"Sync Failed","after":"` + uuid.Nil.String() + `"}`:   {"after", "the GUID of zeros"},
		`{"dryRun":"yes"}`:   {"dryRun", "want true or false"},
		`{"state":"failed"}`: {"state", "no such member"},
		`{"since":"2026-05-03T09:00:00Z","since":"2026-05-03T09:00:00Z"}`: {"since", "twice"},
	} {
		r.refused(http.StatusBadRequest, test.member, test.text, acmeKey, "POST", "/deliveries/redeliver", body)
	}
	if r.recovered.client != uuid.Nil {
		t.Errorf("a refused call recovered %v", r.recovered)
	}
}
