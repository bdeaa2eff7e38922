package portal

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

// TestATestGoesToOneRule: the button publishes a test of the rule and nothing else, and shows its event.
func TestATestGoesToOneRule(t *testing.T) {
	f := newFixture(t)
	session, rule := f.signedIn("acme"), of(acme, "/rules/"+acme.String())
	has(t, f.page(session, http.StatusOK, rule), `action="`+rule+`/test"`, "Send a test")
	w := f.request(session, http.MethodPost, rule+"/test", url.Values{})
	if want := of(acme, "/events/"+eventID(acme).String()+"?notice=test-sent"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
		t.Errorf("status %d to %q, want %q", w.Code, w.Header().Get("Location"), want)
	}
	if diff := cmp.Diff([]herald.Publication{{TestOf: acme, Event: herald.Event{ClientID: acme}}}, f.published); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	has(t, f.page(f.signedIn("analyst"), http.StatusOK, rule), `disabled aria-describedby="no-edit">Send a test`)
	f.rules[0].Webhook = ""
	has(t, f.page(session, http.StatusOK, rule), `disabled aria-describedby="no-test"`, "The rule has no receiver yet.")
	f.fail = herald.Errorf(herald.CodeConflict, "The rule has no receiver.")
	if w := f.request(session, http.MethodPost, rule+"/test", url.Values{}); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "The rule has no receiver.") {
		t.Errorf("a rule without a receiver: status %d", w.Code)
	}
}

// testOf returns an id as that of a test.
func testOf(id uuid.UUID) uuid.UUID {
	id[6] = 0x80 | id[6]&0x0f
	return id
}

// TestTestsAreMarked: wherever an event or a delivery is named, a test says that it is one; the others do not.
func TestTestsAreMarked(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	pages := func() []string {
		d := f.deliveries[0]
		return []string{of(acme, ""), of(acme, "/events"), of(acme, "/events/"+d.EventID.String()), of(acme, "/deliveries"), of(acme, "/deliveries/"+d.ID.String())}
	}
	for _, at := range pages() {
		if strings.Contains(f.page(session, http.StatusOK, at), `<span class="tag">test</span>`) {
			t.Errorf("%s says that an event is a test that is none", at)
		}
	}
	d, attempts := &f.deliveries[0], f.attempts[f.deliveries[0].ID]
	d.ID, d.EventID, d.AlertID, d.Test = testOf(d.ID), testOf(d.EventID), testOf(d.AlertID), true
	f.attempts[d.ID] = attempts
	if !herald.IsTest(d.EventID) {
		t.Fatal("testOf makes no test")
	}
	for _, at := range pages() {
		if !strings.Contains(f.page(session, http.StatusOK, at), `<span class="tag">test</span>`) {
			t.Errorf("%s does not say that it is a test", at)
		}
	}
}

// TestFormSaysWhatARuleWouldHaveMatched without saving it, and with what was typed.
func TestFormSaysWhatARuleWouldHaveMatched(t *testing.T) {
	f := newFixture(t)
	f.preview = herald.Preview{Matched: 1, Examined: 40, Summary: "The rule would have matched 1 of 40 events in the last 7 days.",
		Examples: []herald.Example{{ID: eventID(acme), Type: "Sync Failed", AcceptedAt: noon}}}
	session := f.signedIn("acme")
	typed := url.Values{"type": {"sync failed"}, "webhook": {"https://a.example/x"}, "preview": {"yes"}}
	for _, target := range []string{"/rules", "/rules/" + acme.String() + "/edit"} {
		f.previewed = nil
		w := f.request(session, http.MethodPost, of(acme, target), typed)
		if w.Code != http.StatusOK || len(f.changed) != 0 {
			t.Errorf("%s: status %d, did %v", target, w.Code, f.changed)
		}
		has(t, w.Body.String(), "would have matched 1 of 40 events", `href="`+of(acme, "/events/"+eventID(acme).String())+`"`, `value="sync failed"`, `value="https://a.example/x"`,
			`formaction="`+of(acme, target)+`#preview"`, `id="preview"`, `hx-trigger="input delay:800ms" hx-vals='{"preview":"yes"}' hx-target="#preview"`)
		if len(f.previewed) != 1 || f.previewed[0].Type != "Sync Failed" || f.previewed[0].ClientID != acme {
			t.Errorf("%s previewed %+v", target, f.previewed)
		}
		wrong := url.Values{"type": {"Sync Faild"}, "preview": {"yes"}}
		if w := f.request(session, http.MethodPost, of(acme, target), wrong); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "Did you mean") || len(f.previewed) != 1 {
			t.Errorf("%s with a wrong type: status %d", target, w.Code)
		}
	}
}

// TestRuleHasASuccessRate: from the counts of its receivers, and none where these are not all known.
func TestRuleHasASuccessRate(t *testing.T) {
	f := newFixture(t)
	session, rule := f.signedIn("acme"), of(acme, "/rules/"+acme.String())
	for _, at := range []string{of(acme, "/rules"), rule} {
		f.counts, f.moreCounts = nil, false
		if strings.Contains(f.page(session, http.StatusOK, at), " %") {
			t.Errorf("%s has a rate of nothing", at)
		}
		f.counts = []herald.Statistics{
			{Receiver: f.rules[0].Webhook, Counts: herald.Counts{Deliveries: herald.DeliveryCounts{Delivered: 3, Failed: 1, Cancelled: 5}}},
			{Receiver: "https://other.example", Counts: herald.Counts{Deliveries: herald.DeliveryCounts{Delivered: 96}}}}
		has(t, f.page(session, http.StatusOK, at), "75 %", "Cancelled and waiting ones do not count.")
		f.moreCounts, f.counts = true, f.counts[1:]
		if strings.Contains(f.page(session, http.StatusOK, at), " %") {
			t.Errorf("%s has a rate, and its receiver is not among the counts", at)
		}
	}
}

// TestChecklistLeadsToThePages: each step that is left has its page beside its command.
func TestChecklistLeadsToThePages(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	f.deliveries = nil
	has(t, f.page(session, http.StatusOK, of(acme, "")), `href="`+of(acme, "/catalogue/Sync%20Failed")+`#send"`, `herald trigger &#34;Sync Failed&#34;`)
	f.rules[0].Webhook = ""
	has(t, f.page(session, http.StatusOK, of(acme, "")), `href="`+of(acme, "/rules/"+acme.String()+"/edit")+`"`, "herald rules update "+acme.String())
	f.rules = nil
	has(t, f.page(session, http.StatusOK, of(acme, "")), `href="`+of(acme, "/rules/new")+`"`, "herald rules create", `href="`+of(acme, "/catalogue")+`"`)
}
