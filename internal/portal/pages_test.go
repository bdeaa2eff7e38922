package portal

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

// hostile are texts that strangers may write into bodies, headers and names.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</pre></section><h1>`, `{{.}} ${x} &lt;`, "javascript:alert(1)",
	"a\u202egnp.exe\u202c\u2066\u200f", "nul\x00 bell\x07 esc\x1b[2J", "broken \xff\xfe\xc3 utf-8", "\ufeff\u00ad\u200b\U000e0041", strings.Repeat("x", 1<<20), strings.Repeat("line\n", 5000),
}

// TestStrangersTextIsText: wherever a page shows what somebody else wrote, it is escaped and bounded.
func TestStrangersTextIsText(t *testing.T) {
	for _, text := range hostile {
		f := newFixture(t)
		id, session := deliveryID(acme), f.signedIn("acme")
		for i := range f.deliveries {
			f.deliveries[i].Type, f.deliveries[i].Waiting = cutText(text, 300), text[:min(len(text), 300)]
			f.deliveries[i].Address = "https://" + cutText(text, 300)
		}
		for i := range f.attempts[id] {
			a := &f.attempts[id][i]
			a.Error = cutText(text, 4000)
			a.Request = &herald.RequestRecord{Method: "POST", URL: "https://x.example/" + cutText(text, 300), Headers: map[string]string{"X-" + cutText(text, 30): cutText(text, 300)},
				Hops: []herald.Hop{{Status: 302, URL: cutText(text, 300)}}}
			a.Response = &herald.ResponseRecord{Headers: map[string][]string{cutText(text, 30): {cutText(text, 300)}}, Body: text, Note: cutText(text, 100)}
		}
		f.body = []byte(text)
		short := cutText(text, 300)
		f.rules[0].Type, f.rules[0].PostedType, f.rules[0].Webhook, f.rules[0].Emails = short, short, short, []string{short}
		f.profile = herald.Profile{LogoURL: short, WhiteListURLs: []string{short}, AlertAuthHeader: short}
		f.unsubscribed = []herald.Unsubscribed{{Address: short}}
		record, err := json.Marshal(map[string]string{"type": short, short: short})
		if err != nil {
			t.Fatal(err)
		}
		f.changes = []herald.Change{{ID: uuid.New(), Action: herald.RuleDeleted, Before: record}, {ID: uuid.New(), Action: herald.MailboxUnsubscribed, Subject: short, Address: short}, {ID: uuid.New(), Action: herald.Action(short)}}
		for token, s := range f.sessions {
			s.ClientName = cutText(text, 100)
			s.Caller.Key.Name = cutText(text, 50)
			f.sessions[token] = s
		}
		one := of(acme, "/deliveries/"+id.String())
		rule := of(acme, "/rules/"+acme.String())
		for _, target := range []string{of(acme, "/rules"), rule, rule + "/edit", rule + "/delete", of(acme, "/settings"), of(acme, "/settings/security"), of(acme, "/settings/mail"), of(acme, "/settings/audit"),
			of(acme, "/rules/new?type="+url.QueryEscape(short)), of(acme, "/settings/mail?find="+url.QueryEscape(short)), of(acme, "/settings/audit?action="+url.QueryEscape(short)),
			of(acme, ""), of(acme, "/deliveries"), one, one + "?all=request", one + "?all=response", one + "/compare", one + "/cancel",
			of(acme, "/deliveries?receiver="+url.QueryEscape(cutText(text, 300))), of(acme, "/find?id="+url.QueryEscape(cutText(text, 300))), Path + "sign-in?next=" + url.QueryEscape(cutText(text, 300))} {
			w := f.request(session, http.MethodGet, target, nil)
			got := w.Body.String()
			shown := withoutValues(got)
			if w.Code >= http.StatusInternalServerError {
				t.Errorf("%.20q: %s: status %d", text, target, w.Code)
			}
			for _, bad := range []string{"<script>alert", "<img src=x", "</pre></section>", `href="javascript:`, "\u202e", "\x00", "\x1b"} {
				if strings.Contains(shown, bad) || bad[0] == '<' && strings.Contains(got, bad) {
					t.Errorf("%.20q: %.100s shows %q as it is", text, target, bad)
				}
			}
			if most := 90_000; !strings.Contains(target, "all=") && len(got) > most || len(got) > 1<<20 || !utf8.ValidString(got) {
				t.Errorf("%.20q: %.100s has %d bytes", text, target, len(got))
			}
		}
		w := f.request(session, http.MethodGet, one+"/body", nil)
		if w.Body.String() != text || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Header().Get("Content-Security-Policy") != "default-src 'none'; sandbox" {
			t.Errorf("%.20q: the raw body is %.50q, %v", text, w.Body, w.Header())
		}
	}
}

func TestOddCharactersAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"plain ü 漢 🙂\n\tx": "plain ü 漢 🙂\n\tx", "a\u202eb": "a‹U+202E›b", "\x00\x1b": "‹U+0000›‹U+001B›", "\ufeff": "‹U+FEFF›", "a\u200fb\u2067": "a‹U+200F›b‹U+2067›",
	} {
		if got := visible(text); got != want {
			t.Errorf("visible(%q) = %q, want %q", text, got, want)
		}
	}
	if got := payloadOf([]byte("a\xffb"), true, false); got.Text != `a\xffb` {
		t.Errorf("a byte that is no UTF-8: %q", got.Text)
	}
	if got := payloadOf([]byte(`{"a":[1,"é"]}`), true, false); got.Text != "{\n  \"a\": [\n    1,\n    \"é\"\n  ]\n}" || got.Note != "" {
		t.Errorf("pretty: %+v", got)
	}
	if got := payloadOf([]byte(strings.Repeat("x\n", 300)), true, false); strings.Count(got.Text, "\n") != foldLines-1 || got.Note == "" {
		t.Errorf("300 lines: %d, %q", strings.Count(got.Text, "\n"), got.Note)
	}
}

func TestFilterIsInTheAddress(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	company := uuid.New()
	text := f.page(session, http.StatusOK, of(acme, "/deliveries?state=failed&type=sync-failed&receiver=https://a.example/%26x&company="+company.String()+
		"&alert="+company.String()+"&reason=status&status=4xx&rule="+company.String()+"&since=2h&until=2026-05-03T11:30:00Z"))
	want := herald.DeliveryFilter{State: new(herald.Failed), Type: "Sync Failed", Receiver: "https://a.example/&x", Company: company, Alert: company, Rule: company, Reason: herald.ReasonStatus, Status: herald.Statuses{From: 400, To: 499},
		Since: noon.Add(-2 * time.Hour), Until: time.Date(2026, 5, 3, 11, 30, 0, 0, time.UTC), Limit: deliveryPage + 1}
	if diff := cmp.Diff(want, f.filter); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
	for _, shown := range []string{`value="failed" selected`, `value="https://a.example/&amp;x"`, `value="2h"`, "Nothing matches", "Clear filters"} {
		if !strings.Contains(text, shown) {
			t.Errorf("the page does not have %s", shown)
		}
	}
	f.page(session, http.StatusOK, of(acme, "/deliveries?state=&type=&receiver=&since="))
	if f.filter.State != nil || f.filter.Type != "" {
		t.Errorf("empty fields select %+v", f.filter)
	}
}

// TestTimesOfFiltersHaveAZone: what is typed with the zone that a script puts behind it, and without one, which the field then says.
func TestTimesOfFiltersHaveAZone(t *testing.T) {
	nine := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string]struct {
		at    time.Time
		shown string
	}{
		"2026-11-23 09:00": {nine, "2026-11-23 09:00 UTC"}, "2026-11-23 09:00 UTC": {nine, "2026-11-23 09:00 UTC"}, "2026-11-23 10:30 +01:30": {nine, "2026-11-23 10:30 +01:30"},
		"2026-11-23 09:00:00": {nine, "2026-11-23 09:00:00 UTC"}, "2026-11-23T04:00-05:00": {nine, "2026-11-23T04:00-05:00"}, "2026-11-23T09:00:00.5Z": {nine.Add(500 * time.Millisecond), "2026-11-23T09:00:00.5Z"},
		"2026-11-23": {nine.Add(-9 * time.Hour), "2026-11-23 UTC"}, "2026-11-23 00:00 +05:45": {nine.Add(-14*time.Hour - 45*time.Minute), "2026-11-23 00:00 +05:45"}, "3d": {noon.AddDate(0, 0, -3), "3d"},
	} {
		var field filterField
		var got time.Time
		r := filterReader{values: url.Values{"since": {text}}}
		if r.read("since", &field, r.moment(noon, &field, &got)); !got.Equal(want.at) || field.Value != want.shown || field.Error != "" {
			t.Errorf("%q is %v, shown as %+v; want %v, %q", text, got, field, want.at, want.shown)
		}
	}
	f := newFixture(t)
	for _, page := range []string{"/deliveries", "/events", "/settings/audit"} {
		text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, page+"?since=2026-05-01+09:00"))
		if !strings.Contains(text, `value="2026-05-01 09:00 UTC" data-moment`) || strings.Count(text, " in <span data-zone>UTC</span>") != 2 {
			t.Errorf("%s does not say which zone a time is in", page)
		}
	}
}

// TestSentencesHaveTimesAsPages: a time in a sentence that the API has too is shown in the reader's zone.
func TestSentencesHaveTimesAsPages(t *testing.T) {
	at := time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)
	want := []toldPart{{"Made at ", at}, {", and at ", at.Add(time.Millisecond)}, {Text: "."}}
	if diff := cmp.Diff(want, told("Made at 2026-05-03T11:00:00+02:00, and at 2026-05-03T09:00:00.001Z.")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]toldPart{{Text: "not 2026-13-03T11:00:00Z"}}, told("not 2026-13-03T11:00:00Z")); diff != "" {
		t.Error(diff)
	}
	f := newFixture(t)
	f.verdicts = []herald.Verdict{{RuleID: uuid.New(), Type: "Sync Failed", Why: "The rule was made at 2026-05-03T09:00:00Z, after the event came."}}
	if text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, "/events/"+eventID(acme).String())); !strings.Contains(text, `The rule was made at <time datetime="2026-05-03T09:00:00.000Z" data-exact>`) {
		t.Error("the reason why a rule was not met has its time in UTC only")
	}
}

func TestWrongFilterIsSaidBesideItsField(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	for _, wrong := range []struct{ query, want string }{
		{"state=open", "want pending, delivered, failed or cancelled"}, {"type=Sync+Faild", "Did you mean"}, {"company=x", "is not an id"},
		{"alert=00000000-0000-0000-0000-000000000000", "is not an id"}, {"reason=statsu", "is not one of"}, {"since=yesterday", "is no time"}, {"until=-2h", "is no time"},
		{"since=99999999999999d", "is no time"}, {"receiver=" + strings.Repeat("x", 2049), "longer than 2048"},
	} {
		f.filter = herald.DeliveryFilter{}
		text := f.page(session, http.StatusUnprocessableEntity, of(acme, "/deliveries?"+wrong.query))
		if !strings.Contains(text, wrong.want) || !strings.Contains(text, `aria-invalid="true"`) || f.filter.Limit != 0 {
			t.Errorf("%.30s: searched %+v; the page does not have %q", wrong.query, f.filter, wrong.want)
		}
	}
	f.page(session, http.StatusBadRequest, of(acme, "/deliveries?after=x"))
}

// TestPagesGoForthAndBack follows the links of a long list to its end and back.
func TestPagesGoForthAndBack(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	var all []herald.Delivery
	for i := range 3*deliveryPage + 7 {
		d := f.deliveries[0]
		id := herald.FirstIDAt(noon.Add(-time.Duration(i) * time.Second))
		id[6], id[8] = 0x70, 0x80
		d.ID = id
		all = append(all, d)
	}
	f.deliveries = all
	link := func(text, rel string) string {
		found := regexp.MustCompile(`href="([^"]*)" rel="` + rel + `"`).FindStringSubmatch(text)
		if found == nil {
			return ""
		}
		return strings.ReplaceAll(found[1], "&amp;", "&")
	}
	rows := regexp.MustCompile(`class="whole" href="([^"]*)"`)
	var forth [][]string
	at, text := of(acme, "/deliveries?state=failed&notice=retried"), ""
	for at != "" {
		text = f.page(session, http.StatusOK, at)
		if len(text) > 55_000 {
			t.Errorf("a whole page of a list has %d bytes", len(text))
		}
		var page []string
		for _, row := range rows.FindAllStringSubmatch(text, -1) {
			page = append(page, row[1])
		}
		forth = append(forth, page)
		at = link(text, "next")
	}
	if len(forth) != 4 || len(forth[3]) != 7 || forth[1][0] == forth[0][0] {
		t.Fatalf("%d pages, the last with %d", len(forth), len(forth[len(forth)-1]))
	}
	for n := 2; n >= 0; n-- {
		at = link(text, "prev")
		text = f.page(session, http.StatusOK, at)
		if got := rows.FindStringSubmatch(text)[1]; got != forth[n][0] || !strings.Contains(at, "state=failed") || strings.Contains(at, "notice") {
			t.Errorf("back on page %d at %s: %s, want %s", n+1, at, got, forth[n][0])
		}
	}
	if link(text, "prev") != "" {
		t.Error("there is something before the first page")
	}
}

func TestListHasItsStates(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	f.fail = &herald.Error{Code: herald.CodeUnavailable, Message: "The database does not take requests right now. Try again.", RetryAfter: time.Second}
	text := f.page(session, http.StatusServiceUnavailable, of(acme, "/deliveries?state=failed"))
	if !strings.Contains(text, "Try again") || !strings.Contains(text, `href="`+of(acme, "/deliveries?state=failed")+`"`) {
		t.Errorf("an error has no way out:\n%s", text)
	}
	f.fail = nil
	f.deliveries = nil
	if text := f.page(session, http.StatusOK, of(acme, "/deliveries")); !strings.Contains(text, "Nothing was delivered yet") {
		t.Error("an empty list does not say what to do")
	}
	if text := f.page(session, http.StatusOK, of(acme, "")); !strings.Contains(text, "Your first webhook") || strings.Count(text, `<li class="done">`) != 2 || !regexp.MustCompile(`<a class="button primary" href="[^"]*/catalogue/[^"]+">Send an example</a>`).MatchString(text) {
		t.Errorf("the overview has no checklist with a rule and its receiver done:\n%s", text)
	}
}

func TestDeliverySaysWhyAndWhatNext(t *testing.T) {
	f := newFixture(t)
	session, one := f.signedIn("acme"), of(acme, "/deliveries/"+deliveryID(acme).String())
	text := f.page(session, http.StatusOK, one)
	for _, want := range []string{"Your server answered 401 in 12 ms. 401 is not retried. The Authorization header was sent (Bearer …).",
		"Nothing was ever delivered to this receiver. The header was changed after this attempt, at <time", "Nothing more happens by itself.", "2 attempts", `aria-label="name look-up 1 ms, connection 2 ms, TLS 3 ms, first byte 4 ms, body and the rest 2 ms"`,
		"curl -X POST &#39;https://x.example&#39;", "Authorization: Bearer …", `action="` + one + `/redeliver"`, "&#34;Message&#34;: &#34;for Acme&#34;", `rel="noreferrer noopener"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page of a failed delivery does not have %s", want)
		}
	}
	if strings.Contains(text, one+"/retry") || strings.Contains(text, "disabled") {
		t.Error("a failed delivery can be retried")
	}
	d := &f.deliveries[0]
	d.State, d.Reason, d.DoneAt, d.NextAttemptAt = herald.Pending, "", time.Time{}, noon.Add(90*time.Second)
	text = f.page(session, http.StatusOK, one)
	for _, want := range []string{"Your server answered 401 in 12 ms. It will be retried. The Authorization header was sent (Bearer …).", `Attempt 3 <time datetime="2026-05-03T12:01:30.000Z" title="3 May 2026, 12:01:30 UTC" data-next>in 1 min</time>, at <time datetime="2026-05-03T12:01:30.000Z" data-exact>3 May 2026, 12:01:30 UTC</time>.`, `action="` + one + `/retry"`, `href="` + one + `/cancel" data-dialog`,
		`disabled aria-describedby="no-redeliver"`, "A retry is scheduled already."} {
		if !strings.Contains(text, want) {
			t.Errorf("the page of a delivery to be retried does not have %s", want)
		}
	}
	success := f.deliveries[0]
	success.ID, success.State, success.DoneAt = herald.DeliveryID(success.AlertID, 1), herald.Delivered, noon.Add(-2*time.Hour)
	f.deliveries = append(f.deliveries, success)
	d = &f.deliveries[0]
	want := `The last success was at <a href="` + of(acme, "/deliveries/"+success.ID.String()) + `"><time datetime="2026-05-03T10:00:00.000Z" data-exact>3 May 2026, 10:00:00 UTC</time></a>`
	if text = f.page(session, http.StatusOK, one); !strings.Contains(text, want+". The header was changed after this attempt") {
		t.Error("the page does not have the last success")
	}
	if text = f.page(f.signedIn("analyst"), http.StatusOK, one); !strings.Contains(text, want+".</p>") {
		t.Error("an analyst sees what the audit log has, or not the last success")
	}
	d.InFlight = true
	if text = f.page(session, http.StatusOK, one); !strings.Contains(text, "An attempt is being made right now.") {
		t.Error("a delivery that is being sent can be retried")
	}
	d.InFlight, d.Repeats, d.RepeatedBy = false, deliveryID(rival), uuid.New()
	if text = f.page(session, http.StatusOK, one); !strings.Contains(text, "an earlier delivery") || !strings.Contains(text, "a later delivery") {
		t.Error("it does not say what it repeats, and what repeats it")
	}
	d.Address, d.AttemptCount = "mailto:ann@acme.example", 0
	f.attempts[d.ID] = nil
	if text = f.page(session, http.StatusOK, one); strings.Contains(text, `href="mailto`) || !strings.Contains(text, "waits for its digest") {
		t.Error("a mail that was not tried can be retried, or is a link")
	}
	f.page(session, http.StatusNotFound, one+"?attempt=7")
	f.page(session, http.StatusNotFound, of(acme, "/deliveries/x"))
	f.page(session, http.StatusNotFound, of(acme, "/deliveries/"+uuid.NewString()))
	f.page(session, http.StatusConflict, one+"/compare")
}

func TestAttemptsAreCompared(t *testing.T) {
	f := newFixture(t)
	id := deliveryID(acme)
	f.attempts[id][1].Status, f.attempts[id][1].Request.Headers = 403, map[string]string{"X-Only": "here"}
	text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, "/deliveries/"+id.String()+"/compare?a=2&b=1"))
	for _, want := range []string{`<tr class="differs"><th scope="row">Status<span class="visually-hidden"> (differs)</span></th><td class="wrapped">403</td><td class="wrapped">401</td></tr>`,
		`<th scope="row">Outcome</th>`, `<td class="wrapped">here</td><td class="wrapped"></td>`} {
		if !strings.Contains(text, want) {
			t.Errorf("the comparison does not have %s:\n%s", want, text)
		}
	}
}

func TestCurlIsQuoted(t *testing.T) {
	request := herald.RequestRecord{Method: "POST", URL: "https://a.example/it's?a=$(id)&b=`id`", Headers: map[string]string{"Authorization": "Bearer …", "X-Y": "a'b\"c", "Content-Length": "3"}}
	want := `curl -X POST 'https://a.example/it'\''s?a=$(id)&b=` + "`id`'" + ` \
  -H 'Authorization: Bearer …' \
  -H 'X-Y: a'\''b"c' \
  --data-raw '{"a":"it'\''s"}'`
	if got := curl(request, []byte(`{"a":"it's"}`)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := curl(request, make([]byte, maxCurlBody+1)); !strings.Contains(got, "--data-binary @body.json") {
		t.Errorf("a large body: %.300s", got)
	}
}

func TestFindLeadsToAnyID(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	alert := herald.AlertOf(deliveryID(acme))
	again := f.deliveries[0]
	again.ID = herald.DeliveryID(alert, 1)
	f.deliveries = append(f.deliveries, again)
	for id, want := range map[string]string{
		deliveryID(acme).String():           "/deliveries/" + deliveryID(acme).String(),
		" " + again.ID.String() + " ":       "/deliveries/" + again.ID.String(),
		eventID(acme).String():              "/events/" + eventID(acme).String(),
		acme.String():                       "/rules/" + acme.String(), // the rule's id
		"https://acme.example/hook?a=1&b=2": "/deliveries?receiver=https%3A%2F%2Facme.example%2Fhook%3Fa%3D1%26b%3D2",
		"ann@acme.example":                  "/deliveries?receiver=mailto%3Aann%40acme.example",
	} {
		w := f.request(session, http.MethodGet, of(acme, "/find?id="+url.QueryEscape(id)), nil)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != of(acme, want) {
			t.Errorf("%s: status %d to %q, want %q", id, w.Code, w.Header().Get("Location"), of(acme, want))
		}
	}
	for id, want := range map[string]string{"": "takes a whole id", "no id": "takes a whole id", uuid.NewString(): "Nothing of this client", strings.Repeat("a1", 16): "correlation id"} {
		if text := f.page(session, http.StatusOK, of(acme, "/find?id="+url.QueryEscape(id))); !strings.Contains(text, want) {
			t.Errorf("%q: the page does not say %q", id, want)
		}
	}
}

// TestWithheldHeaderIsExplainedByTheRule: where the rule is why no Authorization header was sent, the page says so and does
// not point at changes of the header.
func TestWithheldHeaderIsExplainedByTheRule(t *testing.T) {
	f := newFixture(t)
	session, one, d := f.signedIn("acme"), of(acme, "/deliveries/"+deliveryID(acme).String()), deliveryID(acme)
	for i := range f.attempts[d] {
		f.attempts[d][i].Request.Headers = map[string]string{}
	}
	rule := f.rules[0]
	page := func() string { return f.page(session, http.StatusOK, one) }
	check := func(text, want, place string, changes bool) {
		t.Helper()
		has(t, text, "No Authorization header was sent.", want, `href="`+of(acme, place)+`"`)
		if strings.Contains(text, "The header was changed after this attempt") != changes {
			t.Errorf("%q: the page says when the header was changed: %v", want, !changes)
		}
	}
	check(page(), "The profile has no Authorization header.", "/settings/security", true)
	f.profile.AlertAuthHeader = "Bearer hunter2"
	check(page(), "one of the two was changed after the attempt", "/settings/security", true)
	f.rules[0].WithoutAuthorization = true
	check(page(), "the rule leaves it out", "/rules/"+acme.String(), false)
	f.rules[0] = rule
	f.rules[0].Webhook = "https://moved.example/"
	check(page(), "another address now", "/rules/"+acme.String(), false)
	f.rules = f.rules[1:]
	text := page()
	check(text, "a rule that is deleted", "/settings/security", false)
	if strings.Contains(text, "hunter2") {
		t.Error("the page has the secret")
	}
	for i := range f.attempts[d] {
		f.attempts[d][i].Request.Headers = map[string]string{"Authorization": "Bearer …"}
	}
	if text := page(); strings.Contains(text, "The profile has") {
		t.Error("the page explains a header that was sent")
	}
}

// TestFindLeadsToWhatHasNoDelivery: an event that met no rule, an alert without a receiver, a deleted rule, a rule's company.
func TestFindLeadsToWhatHasNoDelivery(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	quiet, company, gone, lone := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	f.quiet = []herald.Event{{ID: herald.FirstIDAt(noon), ClientID: acme, CompanyID: quiet, Type: "Sync Failed"}}
	f.deliveries = append(f.deliveries, f.deliveries[0])
	old := &f.deliveries[len(f.deliveries)-1]
	old.ID, old.RuleID, old.CompanyID = herald.DeliveryID(herald.AlertID(herald.FirstIDAt(noon.Add(-2*time.Hour)), 1), 0), gone, uuid.Nil
	f.rules = append(f.rules, herald.Rule{ID: uuid.New(), ClientID: acme, CompanyID: company})
	alert := herald.AlertID(f.quiet[0].ID, 2)
	f.alerts = []herald.Alert{{ID: alert, ClientID: acme, RuleID: lone}}
	bare := strings.ReplaceAll(deliveryID(acme).String(), "-", "")
	for id, want := range map[string]string{
		quiet.String():         "/events?company=" + quiet.String(),
		alert.String():         "/events/" + f.quiet[0].ID.String(),
		gone.String():          "/deliveries?rule=" + gone.String(),
		lone.String():          "/events/" + f.quiet[0].ID.String(), // a deleted rule that had no receivers
		company.String():       "/rules?company=" + company.String(),
		issueID(acme).String(): "/issues/" + issueID(acme).String() + "/recover",
		bare:                   "/deliveries/" + deliveryID(acme).String(),
		strings.ToUpper(deliveryID(acme).String()): "/deliveries/" + deliveryID(acme).String(),
	} {
		w := f.request(session, http.MethodGet, of(acme, "/find?id="+id), nil)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != of(acme, want) {
			t.Errorf("%s: status %d to %q, want %q", id, w.Code, w.Header().Get("Location"), of(acme, want))
			continue
		}
		if text := f.page(session, http.StatusOK, w.Header().Get("Location")); strings.Contains(text, "Nothing matches") {
			t.Errorf("%s leads to %s, which has nothing", id, want)
		}
		if w := f.request(f.signedIn("rival"), http.MethodGet, of(rival, "/find?id="+id), nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Nothing of this client") {
			t.Errorf("another client's search for %s: status %d", id, w.Code)
		}
	}
	has(t, f.page(session, http.StatusNotFound, of(acme, "/rules/"+gone.String())), "The rule was deleted", `href="`+of(acme, "/deliveries?rule="+gone.String())+`"`)
	has(t, f.page(session, http.StatusOK, of(acme, "/deliveries/"+old.ID.String())), `<span class="tag">deleted</span>`, `href="`+of(acme, "/deliveries?rule="+gone.String())+`"`)
	has(t, f.page(session, http.StatusNotFound, of(acme, "/rules/"+uuid.NewString())), "No rule was found")
}

// TestUnfinishedSearchSaysSo: a search that came to no end does not say that there is nothing.
func TestUnfinishedSearchSaysSo(t *testing.T) {
	f := newFixture(t)
	f.nextDelivery = herald.FirstIDAt(noon)
	id := uuid.NewString()
	text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, "/find?id="+id))
	has(t, text, "was not searched to the end", `href="`+of(acme, "/events?company="+id)+`"`, `href="`+of(acme, "/deliveries?company="+id)+`"`)
	if strings.Contains(text, "Nothing of this client has this id.") {
		t.Error("the page says that nothing has the id")
	}
}

func TestHealthIsASentence(t *testing.T) {
	rows := func(n, attempts int) []deliveryRow {
		all := make([]deliveryRow, n)
		for i := range all {
			all[i].AttemptCount = attempts
		}
		return all
	}
	for _, test := range []struct {
		failed      []deliveryRow
		moreFailed  bool
		waiting     []deliveryRow
		moreWaiting bool
		want        string
		good        bool
	}{
		{nil, false, nil, false, "Nothing failed in the last 24 hours. Nothing waits.", true},
		{nil, false, rows(1, 0), false, "Nothing failed in the last 24 hours. 1 delivery waits for a first attempt.", true},
		{nil, false, rows(2, 1), false, "Nothing failed in the last 24 hours. 2 deliveries wait for a retry.", false},
		{rows(1, 1), false, rows(10, 1), true, "1 delivery failed in the last 24 hours and did not arrive since. More than 10 deliveries wait, some of them for a retry.", false},
		{rows(10, 1), true, nil, false, "More than 10 deliveries failed in the last 24 hours and did not arrive since. Nothing waits.", false},
		{nil, true, nil, false, "Not all of the last 24 hours could be looked through. Nothing waits.", false},
	} {
		if got, good := health(test.failed, test.moreFailed, test.waiting, test.moreWaiting); got != test.want || good != test.good {
			t.Errorf("%q, %v; want %q, %v", got, good, test.want, test.good)
		}
	}
}
