package native

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

func issueOf(client uuid.UUID, state herald.IssueState, receiver string) herald.Issue {
	return herald.Issue{ID: herald.NewID(), ClientID: client, Receiver: receiver, Reason: herald.ReasonStatus, State: state,
		RecoveryFilter: herald.RecoveryFilter{Receiver: receiver, Reason: herald.ReasonStatus, Since: time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)}}
}

// listed follows a list, one result a page, and returns the ids.
func (r *fixture) listed(key, path string) (ids []string) {
	r.t.Helper()
	joiner := "?"
	if strings.Contains(path, "?") {
		joiner = "&"
	}
	for after := ""; len(ids) < 10; {
		answer := r.must(http.StatusOK, key, "GET", path+joiner+"limit=1"+after, "")
		for _, result := range answer["results"].([]any) {
			ids = append(ids, result.(object)["id"].(string))
		}
		next, more := answer["next"].(string)
		if !more {
			break
		}
		after = "&after=" + next
	}
	return ids
}

// TestIssuesAreTheClientsOwn: a client sees its own issues, the operator all or one client's.
func TestIssuesAreTheClientsOwn(t *testing.T) {
	r := newFixture(t)
	r.issues = []herald.Issue{issueOf(acme, herald.IssueEnded, "https://a.example"), issueOf(rival, herald.IssueOpen, "https://r.example"), issueOf(acme, herald.IssueOpen, "https://b.example")}
	id := func(n int) string { return r.issues[n].ID.String() }
	for query, want := range map[string][]string{
		acmeKey + " /issues":                             {id(2), id(0)},
		acmeKey + " /issues?state=all":                   {id(2), id(0)},
		acmeKey + " /issues?state=open":                  {id(2)},
		acmeKey + " /issues?receiver=https://a.example":  {id(0)},
		acmeKey + " /issues?reason=timeout":              nil,
		rivalKey + " /issues?client=" + rival.String():   {id(1)},
		operatorKey + " /issues":                         {id(2), id(1), id(0)},
		operatorKey + " /issues?client=" + acme.String(): {id(2), id(0)},
	} {
		key, path, _ := strings.Cut(query, " ")
		if diff := cmp.Diff(want, r.listed(key, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	r.refused(http.StatusNotFound, "", "No client was found", rivalKey, "GET", "/issues?client="+acme.String(), "")
	r.refused(http.StatusBadRequest, "state", "one of open, ended and all", acmeKey, "GET", "/issues?state=closed", "")
	r.refused(http.StatusBadRequest, "receiver", "neither the address of a webhook", acmeKey, "GET", "/issues?receiver=acme", "")
	r.refused(http.StatusBadRequest, "reason", "is not one of", acmeKey, "GET", "/issues?reason=tiemout", "")
	for _, other := range []string{id(0), uuid.NewString(), "no-guid"} {
		r.refused(http.StatusNotFound, "", "was found with ID", rivalKey, "GET", "/issues/"+other, "")
		r.refused(http.StatusNotFound, "", "was found with ID", rivalKey, "POST", "/issues/"+other+"/acknowledge", `{"note":"n"}`)
	}
	if answer := r.must(http.StatusOK, operatorKey, "GET", "/issues/"+id(0), ""); answer["receiver"] != "https://a.example" ||
		answer["recoveryFilter"].(object)["since"] != "2026-05-03T09:00:00Z" {
		t.Errorf("issue %v", answer)
	}
}

func TestIssueIsAcknowledgedWithANote(t *testing.T) {
	r := newFixture(t)
	r.issues = []herald.Issue{issueOf(acme, herald.IssueOpen, "https://a.example")}
	path := "/issues/" + r.issues[0].ID.String() + "/acknowledge"
	answer := r.must(http.StatusOK, acmeKey, "POST", path, `{"note":"They deploy at nine."}`)
	if said := answer["acknowledged"].(object); said["note"] != "They deploy at nine." || said["actor"] != "apiKey" {
		t.Errorf("acknowledged %v", said)
	}
	if said := r.must(http.StatusOK, operatorKey, "POST", path, "")["acknowledged"].(object); said["note"] != nil || said["actor"] != "operator" {
		t.Errorf("acknowledged %v, want it without a note", said)
	}
	r.must(http.StatusOK, acmeKey, "POST", path, "null\n") // as good as none
	r.refused(http.StatusBadRequest, "note", "empty", acmeKey, "POST", path, `{"note":""}`)
	r.refused(http.StatusBadRequest, "text", "no such member", acmeKey, "POST", path, `{"text":"n"}`)
}

func TestNotificationsAreSetAndOff(t *testing.T) {
	r := newFixture(t)
	off := object{"on": false, "failingAfterMinutes": 0.0, "failingAfterDeliveries": 0.0, "mailboxes": []any{}, "webhooks": []any{}}
	get := func(want object) {
		t.Helper()
		if diff := cmp.Diff(want, r.must(http.StatusOK, acmeKey, "GET", "/notifications", "")); diff != "" {
			t.Errorf("notifications (-want +got):\n%s", diff)
		}
	}
	get(off)
	r.must(http.StatusOK, acmeKey, "PUT", "/notifications", `{"failingAfterMinutes":10,"mailboxes":["ann@acme.example","ann@acme.example"],"webhooks":["https://acme.example/status"]}`)
	get(object{"on": true, "failingAfterMinutes": 10.0, "failingAfterDeliveries": 0.0, "mailboxes": []any{"ann@acme.example"}, "webhooks": []any{"https://acme.example/status"}})
	for body, wrong := range map[string][2]string{
		`{"failingAfterMinutes":10}`:                                      {"", "Nobody would hear"},
		`{"mailboxes":["ann@acme.example"]}`:                              {"failingAfterMinutes", "missing"},
		`{"failingAfterMinutes":-1,"mailboxes":["ann@acme.example"]}`:     {"failingAfterMinutes", "not a whole number from 0 to 10080"},
		`{"failingAfterDeliveries":"5","mailboxes":["ann@acme.example"]}`: {"failingAfterDeliveries", "want a whole number"},
		`{"failingAfterMinutes":1,"mailboxes":["ann"]}`:                   {"mailboxes[0]", "not an e-mail address"},
		`{"failingAfterMinutes":1,"webhooks":["ftp://acme.example"]}`:     {"webhooks[0]", "no https address"},
		`{"failingAfterMinutes":1,"webhooks":[null]}`:                     {"webhooks[0]", "want an address"},
		`{"failingAfterMinutes":1,"email":"ann@acme.example"}`:            {"email", "no such member"},
	} {
		r.refused(http.StatusBadRequest, wrong[0], wrong[1], acmeKey, "PUT", "/notifications", body)
	}
	for range 2 {
		r.must(http.StatusNoContent, acmeKey, "DELETE", "/notifications", "")
	}
	get(off)
}
