package portal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/devinbox"
)

// TestEventsAreFilteredByTheAddress, and what cannot be read is said beside its field.
func TestEventsAreFilteredByTheAddress(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	text := f.page(session, http.StatusOK, of(acme, "/events?type=sync-failed&company="+acme.String()+"&since=2h&until=2026-05-03+11:30"))
	want := herald.EventFilter{Type: "Sync Failed", Company: acme, Since: noon.Add(-2 * time.Hour), Until: noon.Add(-30 * time.Minute), Limit: eventPage + 1, WithoutData: true}
	if f.events != want {
		t.Errorf("filter %+v, want %+v", f.events, want)
	}
	for _, says := range []string{of(acme, "/events/"+eventID(acme).String()), `<option selected>Sync Failed</option>`, `value="2h"`, `data-live="rows"`} {
		if !strings.Contains(strings.NewReplacer("<i>", "", "</i>", "").Replace(text), says) {
			t.Errorf("the page does not have %q", says)
		}
	}
	for query, says := range map[string]string{
		"type=nothing": "There is no event type", "company=x": "is not an id", "since=soon": "is no time", "until=x": "is no time", "company=" + strings.Repeat("a", maxFilter+1): "longer than 2048",
	} {
		f.events = herald.EventFilter{}
		if text := f.page(session, http.StatusUnprocessableEntity, of(acme, "/events?"+query)); !strings.Contains(text, says) || !strings.Contains(text, `aria-invalid="true"`) || f.events.Limit != 0 {
			t.Errorf("%.30s: the page does not say %q, or searched all the same", query, says)
		}
	}
	f.page(session, http.StatusBadRequest, of(acme, "/events?after=x"))
	if text := f.page(session, http.StatusOK, of(acme, "/events?company="+uuid.NewString())); !strings.Contains(text, "Nothing matches") || !strings.Contains(text, "Clear filters") {
		t.Error("an empty search is not told from an empty list")
	}
	f.deliveries = nil
	if text := f.page(session, http.StatusOK, of(acme, "/events")); !strings.Contains(text, "There is no event yet") || !strings.Contains(text, of(acme, "/catalogue")) {
		t.Error("the empty list does not say what to do")
	}
}

// TestEventSaysWhatBecameOfIt has a row for each delivery of a rule that it met, and a reason for each other rule.
func TestEventSaysWhatBecameOfIt(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	other, gone := uuid.New(), uuid.New()
	f.verdicts = []herald.Verdict{
		{RuleID: other, Type: "Sync Failed", Reason: herald.MissCompany, Why: "The rule is for <another> company."},
		{RuleID: gone, Type: "Sync Started", Reason: herald.MissType, Why: "The rule is for another type.", Deleted: true},
	}
	for range eventRules + 2 {
		f.verdicts = append(f.verdicts, herald.Verdict{RuleID: uuid.New(), Type: "Sync Started", Reason: herald.MissType, Why: "The rule is for another type."})
	}
	page := of(acme, "/events/"+eventID(acme).String())
	text := f.page(session, http.StatusOK, page)
	for _, says := range []string{
		of(acme, "/deliveries/"+deliveryID(acme).String()), f.deliveries[0].Address, "Failed", "1 rule<", of(acme, "/rules/"+acme.String()),
		"The rule is for &lt;another&gt; company.", of(acme, "/rules/"+other.String()), fmt.Sprintf("%d rules are for other event types", eventRules+3), "3 more are not shown", of(acme, "/catalogue/Sync%20Failed"),
		"&#34;note&#34;: &#34;secret of " + acme.String(), page + "/data",
	} {
		if !strings.Contains(strings.NewReplacer("<i>", "", "</i>", "").Replace(text), says) {
			t.Errorf("the page does not have %q", says)
		}
	}
	if strings.Contains(text, "/rules/"+gone.String()) {
		t.Error("a deleted rule has a link")
	}
	if strings.Contains(text, "data-live") {
		t.Error("a page on which nothing will change asks for changes")
	}
	f.deliveries[0].State = herald.Pending
	if before := f.page(session, http.StatusOK, page); !strings.Contains(before, `data-live="page"`) {
		t.Error("a page with a pending delivery does not follow it")
	}
	if raw := f.request(session, http.MethodGet, page+"/data", nil); raw.Header().Get("Content-Type") != "text/plain; charset=utf-8" || raw.Body.String() != `{"note":"secret of `+acme.String()+`"}` {
		t.Errorf("the data is %q as %s", raw.Body, raw.Header().Get("Content-Type"))
	}
	for _, id := range []string{"x", uuid.NewString(), eventID(rival).String()} {
		f.page(session, http.StatusNotFound, of(acme, "/events/"+id))
	}
}

// TestCatalogueShowsEveryType, each with a page that says what its events have and what a webhook gets.
func TestCatalogueShowsEveryType(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	known, err := f.portal.Catalogue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := f.page(session, http.StatusOK, of(acme, "/catalogue"))
	for _, kind := range known.Types() {
		address := of(acme, "/catalogue/"+url.PathEscape(kind.Name))
		if !strings.Contains(list, `href="`+address+`"`) {
			t.Errorf("the list has no %q", address)
		}
		text := f.page(session, http.StatusOK, address)
		for _, member := range kind.Members() {
			if !strings.Contains(text, "<code>"+member.Name+"</code>") {
				t.Errorf("%s: no member %s", kind.Name, member.Name)
			}
		}
		if !strings.Contains(text, "ClientName") || strings.Contains(text, `name="company"`) != kind.Company || strings.Contains(text, `name="connection"`) != kind.Connection {
			t.Errorf("%s: the body or the fields of its example are wrong", kind.Name)
		}
	}
	if text := f.page(session, http.StatusOK, of(acme, "/catalogue?search=TIMED+out")); strings.Count(text, `class="whole"`) != 1 {
		t.Errorf("the search finds %d types", strings.Count(text, `class="whole"`))
	}
	if text := f.page(session, http.StatusOK, of(acme, "/catalogue?search=%3Cb%3E")); !strings.Contains(text, "Nothing matches") || strings.Contains(text, "<b>") {
		t.Error("a search for nothing does not say so")
	}
	if text := f.page(session, http.StatusNotFound, of(acme, "/catalogue/Sync%20Faild")); !strings.Contains(text, "Sync Failed") {
		t.Error("an unknown type has no hint")
	}
	f.page(session, http.StatusNotFound, of(acme, "/catalogue/a%2Fb"))
}

// TestExampleIsPublishedAsARealEvent, and what a publish refuses is said beside its field, with what was typed.
func TestExampleIsPublishedAsARealEvent(t *testing.T) {
	f := newFixture(t)
	session, address := f.signedIn("acme"), of(acme, "/catalogue/push-operation-timed-out")
	form := url.Values{"company": {rival.String()}, "connection": {acme.String()}, "data": {" {\"dataType\":\"x\"}\n"}}
	w := f.request(session, http.MethodPost, address, form)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != of(acme, "/events/"+eventID(acme).String())+"?notice=published" || len(f.published) != 1 {
		t.Fatalf("status %d to %q, published %v", w.Code, w.Header().Get("Location"), f.published)
	}
	if e := f.published[0]; e.ClientID != acme || e.Type != "Push Operation Timed Out" || e.CompanyID != rival || e.ConnectionID != acme || string(e.Data) != `{"dataType":"x"}` {
		t.Errorf("published %+v", e)
	}
	if f.request(f.signedIn("operator"), http.MethodPost, address, form); !f.publisher.Operator || f.published[1].ClientID != acme {
		t.Errorf("%+v published %+v", f.publisher, f.published[1])
	}
	for _, test := range []struct {
		name, value string
		fail        error
		status      int
		says        string
	}{
		{"company", "<x>", nil, http.StatusUnprocessableEntity, `id="company-error"`},
		{"connection", "y", nil, http.StatusUnprocessableEntity, `id="connection-error"`},
		{"data", "{<", nil, http.StatusUnprocessableEntity, `id="data-error"`},
		{"data", "{}", &herald.ItemError{Err: herald.Invalid("data.dataType", "It must have dataType.")}, http.StatusUnprocessableEntity, "It must have dataType."},
		{"company", "", &herald.ItemError{Err: herald.Invalid("companyId", "companyId is missing.")}, http.StatusUnprocessableEntity, "companyId is missing."},
		{"data", "{}", herald.Errorf(herald.CodeUnavailable, "Too much is under way."), http.StatusServiceUnavailable, "Too much is under way."},
		{"data", "{}", herald.Errorf(herald.CodeConflict, "It would reach too many."), http.StatusConflict, "It would reach too many."},
	} {
		f.fail = test.fail
		before := len(f.published)
		w := f.request(session, http.MethodPost, address, url.Values{"company": {acme.String()}, "connection": {acme.String()}, "data": {`{"a":1}`}, test.name: {test.value}})
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) || test.fail == nil && len(f.published) != before {
			t.Errorf("%s %q: status %d, want %d with %q; published %d", test.name, test.value, w.Code, test.status, test.says, len(f.published)-before)
		}
		if w.Code == http.StatusUnprocessableEntity && !strings.Contains(w.Body.String(), strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(test.value)) {
			t.Errorf("%s %q: what was typed is gone", test.name, test.value)
		}
	}
}

// TestRefusedFormCanBeSentAgain: a browser sends CR and LF, the page comes back with what was typed, and that can be sent.
func TestRefusedFormCanBeSentAgain(t *testing.T) {
	f := newFixture(t)
	session, address := f.signedIn("acme"), client{ID: acme}.typePath("Push Operation Timed Out")
	form := url.Values{"company": {"not-an-id"}, "connection": {acme.String()}, "data": {"{\r\n  \"a\": 1\r\n}"}}
	for _, fail := range []error{nil, herald.Errorf(herald.CodeTooMany, "Too many publishes.")} {
		f.fail = fail
		w := f.request(session, http.MethodPost, address, form)
		if form = typedIn(t, w.Body.String(), address); w.Code < 400 || form.Get("data") != "{\r\n  \"a\": 1\r\n}" {
			t.Errorf("status %d, and what was typed is %q", w.Code, form.Get("data"))
		}
		form.Set("company", acme.String())
	}
	f.fail, f.published = nil, nil
	if w := f.request(session, http.MethodPost, address, form); w.Code != http.StatusSeeOther || string(f.published[0].Data) != "{\n  \"a\": 1\n}" {
		t.Errorf("sent again: status %d, published %+v", w.Code, f.published)
	}
}

// TestInboxShowsWhatCame to the client that it belongs to, without what names another client, and no secret.
func TestInboxShowsWhatCame(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	body := func(client uuid.UUID) json.RawMessage {
		return json.RawMessage(`{"ClientId":"` + client.String() + `","RuleType":"Sync Failed","AlertId":"` + herald.AlertOf(deliveryID(client)).String() + `","Message":"of ` + client.String() + `"}`)
	}
	f.received = []devinbox.Received{
		{N: 4, At: noon, To: "ops@acme.example", Headers: http.Header{"Subject": {"<b>mail"}}, Body: json.RawMessage(`"text"`)},
		{N: 3, At: noon, Path: "/", Body: json.RawMessage(`"no JSON <i>"`), Unanswered: "hang"},
		{N: 2, At: noon, Path: "/", Body: body(rival), Status: 200},
		{N: 1, At: noon, Path: "/hook", Body: body(acme), Status: 503, Headers: http.Header{"Authorization": {"Bearer s3cret"}, "X-B": {"two"}}},
	}
	text := f.page(session, http.StatusOK, of(acme, "/inbox"))
	for _, says := range []string{"of " + acme.String(), "&lt;b&gt;mail", "no JSON &lt;i&gt;", "No answer", "503", of(acme, "/inbox/1"), `data-live="rows"`} {
		if !strings.Contains(strings.NewReplacer("<i>", "", "</i>", "").Replace(text), says) {
			t.Errorf("the page does not have %q", says)
		}
	}
	if strings.Contains(text, "of "+rival.String()) {
		t.Error("the page shows another client's webhook")
	}
	one := f.page(session, http.StatusOK, of(acme, "/inbox/1"))
	if !strings.Contains(one, "Bearer …") || strings.Contains(one, "s3cret") || !strings.Contains(one, "two") || !strings.Contains(one, "/deliveries?alert="+herald.AlertOf(deliveryID(acme)).String()) {
		t.Error("the page of a webhook has a secret, or lacks a header or its deliveries")
	}
	for _, n := range []string{"2", "5", "x"} {
		f.page(session, http.StatusNotFound, of(acme, "/inbox/"+n))
	}
	if f.page(f.signedIn("rival"), http.StatusNotFound, of(rival, "/inbox")); strings.Contains(f.page(f.signedIn("rival"), http.StatusOK, of(rival, "")), `/inbox"`) {
		t.Error("another client has an inbox")
	}
	without := newFixture(t, func(o *Options) { o.Inbox = nil })
	without.page(without.signedIn("acme"), http.StatusNotFound, of(acme, "/inbox"))
}

// TestInboxIsToldItsAnswer by the form; what makes no sense changes nothing.
func TestInboxIsToldItsAnswer(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	for _, test := range []struct {
		answer, after string
		status        int
		want          devinbox.Answer
	}{
		{"503", " 30 ", http.StatusSeeOther, devinbox.Answer{Status: 503, RetryAfter: 30}}, {"500", "", http.StatusSeeOther, devinbox.Answer{Status: 500}},
		{"hang", "30", http.StatusSeeOther, devinbox.Answer{Hang: true}}, {"close", "", http.StatusSeeOther, devinbox.Answer{Close: true}},
		{"503", "soon", http.StatusUnprocessableEntity, devinbox.Answer{Close: true}}, {"503", "-1", http.StatusUnprocessableEntity, devinbox.Answer{Close: true}},
		{"503", "99999999", http.StatusUnprocessableEntity, devinbox.Answer{Close: true}}, {"", "", http.StatusBadRequest, devinbox.Answer{Close: true}}, {"<b>", "", http.StatusBadRequest, devinbox.Answer{Close: true}},
		{"99", "", http.StatusUnprocessableEntity, devinbox.Answer{Close: true}},
	} {
		w := f.request(session, http.MethodPost, of(acme, "/inbox"), url.Values{"answer": {test.answer}, "retryAfter": {test.after}})
		if w.Code != test.status || f.answer != test.want {
			t.Errorf("%q, %q: status %d and %v, want %d and %v", test.answer, test.after, w.Code, f.answer, test.status, test.want)
		}
	}
	f.answer = devinbox.Answer{Status: 418}
	if text := f.page(session, http.StatusOK, of(acme, "/inbox")); !strings.Contains(text, `<option value="418" selected>`) {
		t.Error("an answer that a command has set is not shown")
	}
}
