package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/client"
)

// TestTestGoesToOneRule: a real delivery with a record, marked as a test wherever it is seen.
func TestTestGoesToOneRule(t *testing.T) {
	f := newFixture(t)
	mine, others := newReceiver(t, statuses(503)), newReceiver(t, nil)
	rule := f.rule(mine.URL, uuid.Nil)
	other := f.rule(others.URL, uuid.Nil)
	receipt, err := f.TestRule(t.Context(), rule.ID, client.TestOptions{})
	if err != nil || receipt.AlertCount != 1 || len(receipt.AlertIDs) != 1 {
		t.Fatalf("%+v, %v", receipt, err)
	}
	d := f.ended(receipt)
	if d.State != herald.Delivered || !d.Test || d.AttemptCount != 2 || d.RuleID != rule.ID || d.Type != "Sync Failed" {
		t.Errorf("%+v", d)
	}
	if sent := d.Attempts[0].Request.Headers["Herald-Test"]; sent != "true" {
		t.Errorf("the record has Herald-Test %q", sent)
	}
	requests := mine.got()
	sameBodies(t, requests)
	for _, r := range requests {
		var body struct {
			RuleID    uuid.UUID `json:"RuleId"`
			Message   string
			CompanyID uuid.UUID `json:"CompanyId"`
			Data      map[string]any
		}
		if err := json.Unmarshal(r.body, &body); err != nil || body.RuleID != rule.ID || !strings.HasPrefix(body.Message, "Test: ") || body.CompanyID == uuid.Nil || len(body.Data) == 0 {
			t.Errorf("%s, %v", r.body, err)
		}
		if r.header.Get("Herald-Test") != "true" {
			t.Errorf("headers %v", r.header)
		}
	}
	again, err := f.Redeliver(t.Context(), d.ID)
	if err != nil || !again.Test {
		t.Errorf("a redelivery of a test: %+v, %v", again.Delivery, err)
	}
	tested, err := f.Event(t.Context(), receipt.EventID)
	if err != nil || !tested.Test {
		t.Errorf("%+v, %v", tested, err)
	}
	why, err := f.EventRules(t.Context(), receipt.EventID, client.Cursor{})
	if err != nil || why.Met != 1 || len(why.Results) != 2 || why.Results[1].RuleID != other.ID || why.Results[1].Reason != herald.MissTest {
		t.Errorf("%+v, %v", why, err)
	}
	if preview, err := f.PreviewRule(t.Context(), rule); err != nil || preview.Examined != 0 {
		t.Errorf("a preview counts the test: %+v, %v", preview, err)
	}
	if n := len(others.got()); n != 0 {
		t.Errorf("the other rule got %d", n)
	}
	usual := f.publish(event())
	if d := f.ended(usual); d.Test || d.Attempts[0].Request.Headers["Herald-Test"] != "" {
		t.Errorf("an event of a publisher looks like a test: %+v", d)
	}
	for _, r := range others.got() {
		if r.header.Get("Herald-Test") != "" || strings.Contains(string(r.body), `"Message":"Test: `) {
			t.Errorf("%v %s", r.header, r.body)
		}
	}
}

func TestTestIsCheckedAsAPublish(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	bound := f.rule(hook.URL, company)
	silent := f.rule("", uuid.Nil)
	path := func(id uuid.UUID) string { return "/rules/" + id.String() + "/test" }
	for _, test := range []struct {
		id     uuid.UUID
		body   string
		status int
		says   string
	}{
		{bound.ID, ``, 202, ""}, {bound.ID, `{}`, 202, ""}, {bound.ID, `{"data":null}`, 202, ""}, {bound.ID, `{"companyId":"` + company.String() + `"}`, 202, ""},
		{bound.ID, `{"companyId":"` + uuid.NewString() + `"}`, 400, "is for the company " + company.String()},
		{bound.ID, `{"data":{"syncId":"s"}}`, 400, "syncType"},
		{bound.ID, `{"type":"Sync Completed"}`, 400, "no such member"},
		{bound.ID, `[]`, 400, "want an object"},
		{silent.ID, ``, 409, "has no receiver"},
		{uuid.New(), ``, 404, "No rule was found"}, {uuid.Nil, ``, 404, "No rule was found"},
	} {
		status, _, body := f.call("POST", path(test.id), f.account.APIKey, test.body)
		if status != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %s, want %d with %s", test.body, status, body, test.status, test.says)
		}
	}
	rival, err := f.operator.CreateClient(t.Context(), "Rival")
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "another client's rule", second(f.as(rival.APIKey).TestRule(t.Context(), bound.ID, client.TestOptions{})), 404)
	_, analyst := f.role("analyst")
	wantStatus(t, "an analyst's test", second(analyst.TestRule(t.Context(), bound.ID, client.TestOptions{})), http.StatusForbidden)
}

// TestEveryTypeCanBeTested tests a rule of each built-in type, with its example.
func TestEveryTypeCanBeTested(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	types, err := f.EventTypes(t.Context())
	if err != nil || len(types) < 10 {
		t.Fatalf("%d types, %v", len(types), err)
	}
	for _, kind := range types {
		rule, err := f.CreateRule(t.Context(), client.Rule{Type: kind.Name, Notifiers: client.Notifiers{Webhook: hook.URL}})
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := f.TestRule(t.Context(), rule.ID, client.TestOptions{})
		if err != nil {
			t.Errorf("%s: %v", kind.Name, err)
			continue
		}
		if d := f.ended(receipt); d.State != herald.Delivered || d.Type != kind.Name || !d.Test {
			t.Errorf("%s: %+v", kind.Name, d)
		}
	}
	retired, err := f.CreateRule(t.Context(), client.Rule{Type: "CompanyStatusChanged", Notifiers: client.Notifiers{Webhook: hook.URL}})
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "a retired type", second(f.TestRule(t.Context(), retired.ID, client.TestOptions{})), 400)
}
