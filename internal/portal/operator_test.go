package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

// TestOperatorsViewsAreRecorded walks every page of a client: each kind is recorded once for a session, before it is
// shown, and not at all for the client's own people.
func TestOperatorsViewsAreRecorded(t *testing.T) {
	f := newFixture(t)
	session, own := f.signedIn("operator"), f.signedIn("acme")
	var want []string
	for _, at := range f.portal.routes() {
		method, target := filled(t, at.pattern, pathValues(acme))
		if at.scope != ofClient || method != http.MethodGet || at.pattern == livePattern {
			continue
		}
		page := strings.NewReplacer("{delivery}", deliveryID(acme).String(), "{event}", eventID(acme).String()).Replace(pageKind(at.pattern))
		if page != pageKind(at.pattern) {
			page = strings.ReplaceAll(page, "{n}", "1")
		}
		if view := acme.String() + " " + page; !slices.Contains(want, view) {
			want = append(want, view)
		}
		for range 2 {
			f.request(session, method, target, nil)
			f.request(own, method, target, nil)
		}
	}
	if !slices.Equal(f.views, want) || !slices.Contains(want, acme.String()+" /deliveries/"+deliveryID(acme).String()+"/attempts/1/body") {
		t.Errorf("recorded %q\nwant %q", f.views, want)
	}
	f.views = nil
	for _, page := range []string{"/deliveries/%3Cscript%3E/body", "/deliveries/" + strings.ToUpper(deliveryID(acme).String()) + "/body", "/deliveries/x/attempts/y/body"} {
		f.request(session, http.MethodGet, of(acme, page), nil)
	}
	if len(f.views) != 2 || strings.Contains(strings.Join(f.views, ""), "<") || !strings.HasSuffix(f.views[0], " /deliveries/{delivery}/body") {
		t.Errorf("what is no id: recorded %q", f.views)
	}
	f.views = nil
	f.page(f.signedIn("operator"), http.StatusOK, of(acme, "/deliveries"))
	f.page(session, http.StatusOK, of(rival, "/deliveries"))
	if len(f.views) != 2 {
		t.Errorf("another session and another client: recorded %q", f.views)
	}
	f.fail = herald.Errorf(herald.CodeUnavailable, "The database does not take requests right now.")
	if text := f.page(f.signedIn("operator"), http.StatusServiceUnavailable, of(acme, "/deliveries/"+deliveryID(acme).String())); strings.Contains(text, "secret of") {
		t.Error("a page is shown that is not on record")
	}
}

// TestAuditLogSaysWhatTheOperatorLookedAt: each page by its name or path, with a link if it is one page.
func TestAuditLogSaysWhatTheOperatorLookedAt(t *testing.T) {
	v := visit{client: client{ID: acme}}
	body := "/deliveries/" + deliveryID(acme).String() + "/body"
	for path, want := range map[string][2]string{"/": {"Overview", of(acme, "")}, "/deliveries": {"Deliveries", of(acme, "/deliveries")}, body: {body, of(acme, body)},
		"/rules/{rule}": {"/rules/{rule}", ""}} {
		row := rowOf(v, herald.Change{Action: herald.ClientViewed, Subject: path}, nil)
		if got := [2]string{row.Subject, row.Href}; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestOperatorMakesClients(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("operator")
	w := f.request(session, http.MethodPost, Path+"clients", url.Values{"name": {" <b>New</b> "}, "role": {"analyst"}})
	if text := w.Body.String(); w.Code != http.StatusCreated || !strings.Contains(text, "hk-secret") || !strings.Contains(text, "&lt;b&gt;New") || strings.Contains(text, "<b>New") {
		t.Errorf("status %d: %s", w.Code, text)
	}
	for name, want := range map[string]string{"": "give the client", "  ": "give the client", strings.Repeat("é", 201): "201 characters"} {
		w := f.request(session, http.MethodPost, Path+"clients", url.Values{"name": {name}})
		if text := w.Body.String(); w.Code != http.StatusUnprocessableEntity || !strings.Contains(text, want) || !strings.Contains(text, `aria-describedby="name-error"`) {
			t.Errorf("name %q: status %d", name, w.Code)
		}
	}
	if w := f.request(session, http.MethodPost, Path+"clients", url.Values{"name": {"x"}, "role": {"king"}}); w.Code != http.StatusBadRequest {
		t.Errorf("an unknown role: status %d", w.Code)
	}
	if want := []string{"create <b>New</b> for analyst"}; !slices.Equal(f.changed, want) {
		t.Errorf("done was %q", f.changed)
	}
}

func TestOperatorManagesAClient(t *testing.T) {
	f := newFixture(t)
	session, at := f.signedIn("operator"), managePath(acme)
	f.deliveries[0].State = herald.Pending
	text := f.page(session, http.StatusOK, at+"/delete")
	for _, want := range []string{"2 API keys", "1 rule", "1 pending delivery", `name="name"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page of deleting does not say %q", want)
		}
	}
	for _, name := range []string{"", "acme", "Rival", "Acme "} {
		w := f.request(session, http.MethodPost, at+"/delete", url.Values{"name": {name}})
		if want := map[bool]int{true: http.StatusSeeOther, false: http.StatusUnprocessableEntity}[name == "Acme "]; w.Code != want {
			t.Errorf("deleting with the name %q: status %d, want %d", name, w.Code, want)
		}
	}
	f.request(session, http.MethodPost, at+"/rename", url.Values{"name": {"Acme 2"}})
	if w := f.request(session, http.MethodPost, at+"/rename", url.Values{}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("no name: status %d", w.Code)
	}
	w := f.request(session, http.MethodPost, at+"/link", url.Values{"role": {"analyst"}, "life": {"1h"}, "path": {"/deliveries?state=failed"}})
	if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), "https://herald.example/portal/link#s3cret") {
		t.Errorf("a link: status %d", w.Code)
	}
	if w := f.request(session, http.MethodPost, at+"/link", url.Values{"path": {"https://evil.example"}}); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "is not a path") {
		t.Errorf("a link to another site: status %d", w.Code)
	}
	if w := f.request(session, http.MethodPost, at+"/link", url.Values{"life": {"100y"}}); w.Code != http.StatusBadRequest {
		t.Errorf("an unknown time: status %d", w.Code)
	}
	want := []string{"delete " + acme.String(), "rename to Acme 2", `link for analyst to "/deliveries?state=failed" for 1h0m0s`}
	if !slices.Equal(f.changed, want) {
		t.Errorf("done was %q, want %q", f.changed, want)
	}
}

func TestSystemPageSaysWhatNeedsAttention(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("operator")
	issues := f.issues
	f.issues = nil
	if text := f.page(session, http.StatusOK, Path+"system"); !strings.Contains(text, "Nothing needs attention") || !strings.Contains(text, "not known") {
		t.Errorf("without figures:\n%s", text)
	}
	due := noon.Add(-3 * time.Minute)
	f.status = herald.Status{At: noon, Version: "1.2.3", Nodes: 2, RetentionDays: 90, Attention: []string{"https://a.example of client " + rival.String() + " has 12 deliveries pending, the oldest since 2026-05-03T11:57:00Z", "no backup was taken <script>"},
		Backlog: &herald.Backlog{Pending: herald.MaxBacklog, AtLeast: true, Ready: 7, OldestDue: &due}, Database: &herald.DatabaseStatus{Kind: "SQLite", Bytes: 3 << 30, Day: &herald.Growth{Bytes: -5 << 20}},
		Clients:       []herald.ClientBacklog{{ClientID: acme, Pending: 7, OldestDue: &due}},
		SlowReceivers: []herald.SlowReceiver{{ClientID: rival, Receiver: "https://a.example", Waiting: 12, Since: due}}}
	text := f.page(session, http.StatusOK, Path+"system")
	for _, want := range []string{"2 things need attention", `https://a.example of <a href="` + of(rival, "") + `"><bdi>Rival</bdi></a> has 12 deliveries pending, the oldest since <time datetime="2026-05-03T11:57:00.000Z"`, "No backup was taken &lt;script&gt;", "at least 20\u202f000", "3 min ago", "SQLite, 3.0 GiB", "Growth in 24 hours: −5.0 MiB; 7 days: not known yet", "90 days", "Rival", "Acme"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	f.issues = issues
	if text := f.page(session, http.StatusOK, Path+"clients"); strings.Count(text, "1 receiver fails") != 4 {
		t.Errorf("the list of clients does not say whose receivers fail:\n%s", text)
	}
	f.issues = nil
	if text := f.page(session, http.StatusOK, Path+"clients"); !strings.Contains(text, "Behind") || !strings.Contains(text, "Not known") {
		t.Errorf("the list of clients does not say who is behind:\n%s", text)
	}
}

// TestOperatorSeesForWhomItFails: clients with failing receivers are the first in the list, however old they are, and the
// system page has each receiver with its client, reason and last delivery.
func TestOperatorSeesForWhomItFails(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("operator")
	for range clientPage + 10 {
		f.clients = append(f.clients, herald.Client{ID: uuid.New(), Profile: herald.Profile{Name: "Fine"}})
	}
	text := f.page(session, http.StatusOK, Path+"clients")
	_, urgent, _ := strings.Cut(text, "Failing or behind")
	urgent, _, _ = strings.Cut(urgent, "</section>")
	has(t, urgent, "Acme", "Rival", "1 receiver fails")
	if strings.Contains(urgent, "Fine") {
		t.Errorf("healthy clients are among those that fail:\n%s", urgent)
	}
	text = f.page(session, http.StatusOK, Path+"system")
	has(t, text, "2 receivers of 2 clients fail.", f.issues[0].Receiver, "Its last answer was 401", "Acme", of(acme, "/deliveries/"+deliveryID(acme).String()))
	for n := range 2 * maxUrgent {
		f.issues = append(f.issues, herald.Issue{ID: uuid.New(), ClientID: uuid.New(), Receiver: "https://" + strconv.Itoa(n) + ".example", State: herald.IssueOpen})
	}
	has(t, f.page(session, http.StatusOK, Path+"clients"), "and 22 more", "a deleted client")
	has(t, f.page(session, http.StatusOK, Path+"system"), "and 22 more", "42 receivers of 42 clients fail.")
	f.page(session, http.StatusOK, Path+"clients?search=Fine")
}

func TestOperatorSavesEventTypes(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("operator")
	schema := "{\n  \"type\": \"object\",\n  \"required\": [\"total\"]\n}"
	post := func(values url.Values) (int, string) {
		w := f.request(session, http.MethodPost, eventTypePath, values)
		return w.Code, w.Body.String()
	}
	if code, text := post(url.Values{"name": {"Invoice paid"}, "schema": {schema}, "example": {`{"total": 3}`}, "message": {"Paid {total}."}, "do": {"check"}}); code != http.StatusOK ||
		!strings.Contains(text, "The example meets the schema.") || !strings.Contains(text, "“Paid 3.”") || len(f.changed) > 0 {
		t.Errorf("checking: status %d, done %q\n%s", code, f.changed, text)
	}
	has(t, f.page(session, http.StatusOK, eventTypePath), `hx-trigger="input delay:600ms" hx-vals='{"do":"check"}' hx-target="#check"`, `<div id="check" role="status"></div>`)
	if _, text := post(url.Values{"name": {"x"}, "schema": {"{"}, "do": {"check"}}); !strings.Contains(text, `<div id="check" role="status"><div class="banner wait">`) || !strings.Contains(text, "<li>This is not JSON") {
		t.Errorf("a check while one types does not say what is wrong:\n%s", text)
	}
	for what, test := range map[string]struct {
		values url.Values
		want   string
	}{
		"no name":                      {url.Values{}, "want a name"},
		"a built-in name":              {url.Values{"name": {"data sync completed"}}, "built-in"},
		"no JSON":                      {url.Values{"name": {"x"}, "schema": {"{\n\n \"a\": }"}}, "at line 3"},
		"no object":                    {url.Values{"name": {"x"}, "example": {"3"}}, "must be a JSON object"},
		"no schema":                    {url.Values{"name": {"x"}, "schema": {`{"type":"king"}`}}, "schema-error"},
		"an example that does not fit": {url.Values{"name": {"x"}, "schema": {schema}, "example": {"{}"}}, "The example does not meet the schema"},
	} {
		if code, text := post(test.values); code != http.StatusUnprocessableEntity || !strings.Contains(text, test.want) {
			t.Errorf("%s: status %d, want %q in\n%s", what, code, test.want, text)
		}
	}
	if code, text := post(url.Values{"name": {"x/y é"}, "schema": {schema}, "example": {`{"total": 3}`}}); code != http.StatusSeeOther {
		t.Errorf("saving: status %d\n%s", code, text)
	}
	if want := []string{`save x/y é {"type":"object","required":["total"]} {"total":3}`}; !slices.Equal(f.changed, want) {
		t.Errorf("done was %q, want %q", f.changed, want)
	}
	f.page(session, http.StatusOK, eventTypePath+"?name=Data+sync+completed")
	f.page(session, http.StatusNotFound, eventTypePath+"?name=nothing")
	f.page(session, http.StatusConflict, eventTypePath+"/delete?name=Data+sync+completed")
	f.page(session, http.StatusNotFound, eventTypePath+"/delete")
}

func TestClientsAreFoundBySearch(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("operator")
	text := f.page(session, http.StatusOK, Path+"clients?search="+url.QueryEscape(" Acme "))
	has(t, text, `value="Acme"`, of(acme, ""))
	if strings.Contains(text, of(rival, "")) || f.clientFilter.Search != "Acme" {
		t.Errorf("searched for %q", f.clientFilter.Search)
	}
	has(t, f.page(session, http.StatusOK, Path+"clients?search=%3Cb%3E"), "Nothing matches", "&lt;b&gt;", "Show all")
	f.nextClient = rival
	has(t, f.page(session, http.StatusOK, Path+"clients?search=zz"), "Nothing matches so far", `href="/portal/clients?after=`+rival.String()+`&amp;search=zz"`)
	f.nextClient = uuid.Nil
	for range clientPage {
		f.clients = append(f.clients, herald.Client{ID: uuid.New(), Profile: herald.Profile{Name: "Acme & more"}})
	}
	last := f.clients[clientPage-2].ID
	older := "/portal/clients?after=" + last.String() + "&amp;search=Acme"
	has(t, f.page(session, http.StatusOK, Path+"clients?search=Acme"), `href="`+older+`" rel="next"`)
	has(t, f.page(session, http.StatusOK, strings.ReplaceAll(older, "&amp;", "&")), `href="/portal/clients?search=Acme">Newest`)
	if f.clientFilter.After != last || f.clientFilter.Limit != clientPage+1 {
		t.Errorf("the next page asks for %+v", f.clientFilter)
	}
	for _, wrong := range []string{"a%00b", "%ff", strings.Repeat("x", herald.MaxClientSearch+1)} {
		has(t, f.page(session, http.StatusUnprocessableEntity, Path+"clients?search="+wrong), "The search cannot be read", `role="alert"`)
	}
	f.page(f.signedIn("acme"), http.StatusForbidden, Path+"clients?search=Acme")
}
