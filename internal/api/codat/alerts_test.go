package codat_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

// TestAlertsAreShownAndListed is check B20.
func TestAlertsAreShownAndListed(t *testing.T) {
	r := newFixture(t)
	company := uuid.MustParse(someID)
	connection := uuid.MustParse("ee2eb431-c0fa-4dc9-93fa-d29781c12bcd")
	rule := r.create(`{"type":"pull-operation-complete","companyId":"` + someID + `"}`)
	other := r.create(`{"type":"Rate Limit Reset"}`)
	alert := r.raise(rule, herald.Event{CompanyID: company, ConnectionID: connection, Message: "Done & dusted", Data: json.RawMessage(`{"dataType":"invoices","n":1.50}`)})
	wide := r.raise(other, herald.Event{Message: "Reset"})

	want := `{"id":"` + alert.ID.String() + `","alertId":"` + alert.ID.String() + `","ruleId":"` + rule.ID.String() + `","ruleType":"Data sync completed",` +
		`"companyId":"` + someID + `","companyName":null,"clientId":"` + r.acme.String() + `","clientName":"Acme","dataConnectionId":"` + connection.String() + `",` +
		`"message":"Done & dusted","data":{"dataType":"invoices","n":1.50},"raisedOnUtc":"` + alert.RaisedAt().Format(time.RFC3339Nano) + `"}`
	wantWide := `{"id":"` + wide.ID.String() + `","alertId":"` + wide.ID.String() + `","ruleId":"` + other.ID.String() + `","ruleType":"Rate Limit Reset",` +
		`"companyName":null,"clientId":"` + r.acme.String() + `","clientName":"Acme","dataConnectionId":null,` +
		`"message":"Reset","data":null,"raisedOnUtc":"` + wide.RaisedAt().Format(time.RFC3339Nano) + `"}`
	same(t, "alert", want, r.must(200, "GET", "/rules/alerts/"+alert.ID.String(), ""))
	same(t, "alert of the client as a whole", wantWide, r.must(200, "GET", "/rules/alerts/"+wide.ID.String(), ""))

	list := func(path, parameters string, total string, results ...string) {
		t.Helper()
		more := ""
		if parameters != "" {
			more = "&" + parameters
		}
		want := `{"results":[` + strings.Join(results, ",") + `],"pageNumber":1,"pageSize":100,"totalResults":` + total +
			`,"_links":{"current":{"href":"` + path + `?page=1&pageSize=100` + more + `"},"self":{"href":"` + path + `"}}}`
		same(t, path+"?"+parameters, want, r.must(200, "GET", path+"?"+parameters, ""))
	}
	list("/rules/alerts", "", "2", wantWide, want) // newest first
	list("/rules/alerts", "orderBy=raisedOnUtc", "2", want, wantWide)
	list("/rules/alerts", "companyId="+someID, "1", want)
	list("/rules/alerts", "companyId="+uuid.NewString(), "0")
	list("/rules/alerts", "query=ruleType%3DRate%20Limit%20Reset", "1", wantWide)
	list("/rules/"+rule.ID.String()+"/alerts", "", "1", want)
	list("/rules/"+other.ID.String()+"/alerts", "companyId="+someID, "0")
}

func TestAlertTimeHasAtMostSevenDigits(t *testing.T) {
	r := newFixture(t)
	alert := r.raise(r.create(`{"type":"Sync Failed"}`), herald.Event{})
	var body struct{ RaisedOnUTC string }
	if err := json.Unmarshal([]byte(r.must(200, "GET", "/rules/alerts/"+alert.ID.String(), "")), &body); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse("2006-01-02T15:04:05.9999999Z", body.RaisedOnUTC)
	_, fraction, _ := strings.Cut(body.RaisedOnUTC, ".")
	if err != nil || len(fraction) > len("1234567Z") || !at.Equal(alert.RaisedAt()) {
		t.Errorf("raisedOnUtc %q, %v; want %v", body.RaisedOnUTC, err, alert.RaisedAt())
	}
}

// TestAlertsOutliveTheirRule is decision A31 and spec section 5.10.
func TestAlertsOutliveTheirRule(t *testing.T) {
	r := newFixture(t)
	rule := r.create(`{"type":"Sync Failed"}`)
	alert := r.raise(rule, herald.Event{})
	r.must(200, "DELETE", "/rules/"+rule.ID.String(), "")
	r.must(200, "GET", "/rules/alerts/"+alert.ID.String(), "")
	if body := r.must(200, "GET", "/rules/alerts", ""); !strings.Contains(body, `"totalResults":1`) {
		t.Errorf("all alerts: %s", body)
	}
	if f := failed(t, r.as(acmeKey, "GET", "/rules/"+rule.ID.String()+"/alerts", "")); f.Status != 404 {
		t.Errorf("the rule's alerts: %+v, want 404", f)
	}
}
