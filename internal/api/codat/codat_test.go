package codat_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/api/codat"
	"herald/internal/catalogue"
	"herald/internal/egress"
)

const (
	acmeKey     = "hkacme"
	rivalKey    = "hkrival"
	operatorKey = "hkoperator"
	zeroID      = "00000000-0000-0000-0000-000000000000"
	someID      = "0f6b5a44-9c1c-4e0a-8f6e-5a2f3a1d7c11"
)

// fixture is the surface in its middleware over the fake, with two clients.
type fixture struct {
	*fake
	t           testing.TB
	handler     http.Handler
	acme, rival uuid.UUID
}

func newFixture(t testing.TB, own ...herald.EventType) *fixture {
	t.Helper()
	types, err := catalogue.New(own, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	r := &fixture{fake: f, t: t, acme: f.addClient("Acme", acmeKey), rival: f.addClient("Rival", rivalKey)}
	mux := http.NewServeMux()
	codat.Register(mux, codat.Options{
		Auth: api.NewAuth(f, []string{operatorKey}), Rules: f, Previewer: f, Alerts: f, Profiles: f, Keys: f,
		Catalogue: func(context.Context) (*catalogue.Catalogue, error) { return types, nil },
		CheckURL:  egress.New(egress.Options{}).CheckURL,
	})
	r.handler = codat.AnyCase(api.NewMiddleware(mux, slog.New(slog.DiscardHandler), nil))
	return r
}

// as makes a request with a key; an empty key sends none.
func (r *fixture) as(key, method, target, body string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, target, strings.NewReader(body))
	if key != "" {
		request.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(key)))
	}
	recorder := httptest.NewRecorder()
	r.handler.ServeHTTP(recorder, request)
	return recorder
}

// must makes a request as acme. The answer must have the given status and be JSON. It
// returns the body without its final line break.
func (r *fixture) must(status int, method, target, body string) string {
	r.t.Helper()
	got := r.as(acmeKey, method, target, body)
	text := strings.TrimSuffix(got.Body.String(), "\n")
	if got.Code != status {
		r.t.Fatalf("%s %s %.200s: status %d, want %d: %s", method, target, body, got.Code, status, text)
	}
	if kind := got.Header().Get("Content-Type"); text != "" && kind != "application/json" {
		r.t.Errorf("%s %s: Content-Type %q", method, target, kind)
	}
	return text
}

// same fails unless a body equals want byte by byte.
func same(t testing.TB, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var (
	firstID       = regexp.MustCompile(`"id":"[0-9a-f-]{36}"`)
	correlationID = regexp.MustCompile(`"correlationId":"[0-9a-f]{32}"`)
)

// withoutID replaces the value of the first id by ID.
func withoutID(body string) string {
	if at := firstID.FindStringIndex(body); at != nil {
		return body[:at[0]] + `"id":"ID"` + body[at[1]:]
	}
	return body
}

// create makes a rule of acme and returns the stored rule.
func (r *fixture) create(body string) herald.Rule {
	r.t.Helper()
	r.must(200, "POST", "/rules", body)
	return r.rules[len(r.rules)-1]
}

// failure is the part of an error body that tests compare.
type failure struct {
	Status  int
	Service string
	Error   string
	ItemID  string
	Message string
}

// failed parses an answer, which must be an error in the form of spec section 3.
func failed(t testing.TB, answer *httptest.ResponseRecorder) failure {
	t.Helper()
	var body api.ErrorBody
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
		t.Fatalf("%d %q is no error body: %v", answer.Code, answer.Body, err)
	}
	if body.StatusCode != answer.Code || !correlationID.MatchString(answer.Body.String()) || body.CanBeRetried != "Unknown" {
		t.Errorf("status %d with the error body %s", answer.Code, answer.Body)
	}
	f := failure{Status: answer.Code, Service: body.Service, Error: body.Error}
	if v := body.Validation; v != nil && len(v.Errors) == 1 && v.Warnings != nil {
		f.ItemID, f.Message = v.Errors[0].ItemID, v.Errors[0].Message
	}
	return f
}

// refused makes a request as acme. The answer must be a 400 that names a member.
func (r *fixture) refused(member, method, target, body string) {
	r.t.Helper()
	f := failed(r.t, r.as(acmeKey, method, target, body))
	if f.Status != 400 || f.ItemID != member || !strings.HasPrefix(f.Error, "Error processing request - not valid.") {
		r.t.Errorf("%s %s %.200s: %+v, want 400 about %q", method, target, body, f, member)
	}
}

// calls are all calls of the surface, with ids that do not exist.
var calls = []struct{ method, path, body string }{
	{"GET", "/rules", ""},
	{"POST", "/rules", `{"type":"Sync Failed"}`},
	{"POST", "/rules/preview", `{"type":"Sync Failed"}`},
	{"GET", "/rules/" + someID, ""},
	{"PUT", "/rules/" + someID, `{"type":"Sync Failed"}`},
	{"DELETE", "/rules/" + someID, ""},
	{"GET", "/rules/alerts", ""},
	{"GET", "/rules/alerts/" + someID, ""},
	{"GET", "/rules/" + someID + "/alerts", ""},
	{"GET", "/profile", ""},
	{"PUT", "/profile", `{"name":"Acme","redirectUrl":"https://x.example"}`},
	{"GET", "/profile/syncSettings", ""},
	{"GET", "/apiKeys", ""},
	{"POST", "/apiKeys", `{}`},
	{"DELETE", "/apiKeys/" + someID, ""},
}

func TestEveryCallNeedsAClientsKey(t *testing.T) {
	r := newFixture(t)
	for _, c := range calls {
		for _, key := range []string{"", "hkother"} {
			if f := failed(t, r.as(key, c.method, c.path, c.body)); f.Status != 401 {
				t.Errorf("%s %s with the key %q: %+v, want 401", c.method, c.path, key, f)
			}
		}
		f := failed(t, r.as(operatorKey, c.method, c.path, c.body))
		switch {
		case c.method == "GET" && (f.Status != 400 || f.ItemID != "client" || !strings.Contains(f.Error, "?client=")):
			t.Errorf("%s %s with the operator's key: %+v, want 400 that asks for a client", c.method, c.path, f)
		case c.method != "GET" && (f.Status != 403 || !strings.Contains(f.Error, "needs a client's API key")):
			t.Errorf("%s %s with the operator's key: %+v, want 403 that says why", c.method, c.path, f)
		}
		f = failed(t, r.as(operatorKey, c.method, c.path+"?client="+someID, c.body))
		if want := map[bool]int{true: 404, false: 403}[c.method == "GET"]; f.Status != want {
			t.Errorf("%s %s with the operator's key, about an unknown client: %+v, want %d", c.method, c.path, f, want)
		}
		for _, other := range []string{someID, herald.NewID().String(), "x"} { // another client's id is like an unknown one
			if f := failed(t, r.as(acmeKey, c.method, c.path+"?client="+other, c.body)); f.Status != 404 || f.Error != "No client was found with ID "+other {
				t.Errorf("%s %s about another client: %+v, want 404", c.method, c.path, f)
			}
		}
	}
	if len(r.rules) > 0 || len(r.keys) != 2 || r.clients[r.acme].Profile.Name != "Acme" {
		t.Error("a refused call changed something")
	}
}

// TestTheOperatorReadsForAClient makes every reading call for acme, with acme's key and the operator's.
func TestTheOperatorReadsForAClient(t *testing.T) {
	r := newFixture(t)
	r.must(200, "PUT", "/profile", `{"name":"Acme","redirectUrl":"https://acme.example","alertAuthHeader":"Bearer hunter2"}`)
	rule := r.create(`{"type":"Sync Failed"}`)
	alert := r.raise(rule, herald.Event{})
	for _, path := range []string{
		"/rules", "/rules/" + rule.ID.String(), "/rules/alerts", "/rules/alerts/" + alert.ID.String(), "/rules/" + rule.ID.String() + "/alerts",
		"/profile", "/profile/syncSettings", "/apiKeys", "/rules?page=1&pageSize=1",
	} {
		named := path + map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "client=" + r.acme.String()
		own := r.must(200, "GET", path, "")
		if same := r.must(200, "GET", strings.Replace(named, "client", "CLIENT", 1), ""); same != own {
			t.Errorf("%s: acme gets %s, and with its own id %s", path, own, same)
		}
		answer := r.as(operatorKey, "GET", named, "")
		got := strings.TrimSuffix(strings.ReplaceAll(answer.Body.String(), "&client="+r.acme.String(), ""), "\n")
		want := strings.Replace(own, "Bearer hunter2", "…", 1) // the operator needs no secret of a client's
		if answer.Code != 200 || got != want {
			t.Errorf("%s: the operator gets %d %s, want %s", named, answer.Code, got, want)
		}
		if strings.Contains(own, "_links") && !strings.Contains(answer.Body.String(), "&client="+r.acme.String()) {
			t.Errorf("%s: the links do not name the client: %s", named, answer.Body)
		}
	}
	f := failed(t, r.as(operatorKey, "GET", "/rules?client=x", ""))
	if f.Status != 400 || f.ItemID != "client" {
		t.Errorf("an id that is none: %+v", f)
	}
}

func TestUnknownIDsAreNotFound(t *testing.T) {
	r := newFixture(t)
	for _, c := range calls {
		if !strings.Contains(c.path, someID) {
			continue
		}
		for _, id := range []string{someID, "x", "7", "urn:uuid:" + someID, strings.ReplaceAll(someID, "-", ""), "%00", "alerts", strings.Repeat("9", 5000)} {
			path := strings.Replace(c.path, someID, id, 1)
			if path == "/rules/alerts" {
				continue // that is a list, and takes GET alone
			}
			f := failed(t, r.as(acmeKey, c.method, path, c.body))
			if f.Status != 404 || !strings.HasPrefix(f.Error, "No ") || len(f.Error) > 150 {
				t.Errorf("%s %.100s: %+v, want a short 404", c.method, path, f)
			}
		}
	}
}

func TestAnotherClientsThingsAreNotFound(t *testing.T) {
	r := newFixture(t)
	rule := r.create(`{"type":"Sync Failed"}`)
	alert := r.raise(rule, herald.Event{CompanyID: uuid.MustParse(someID)})
	r.must(201, "POST", "/apiKeys", `{}`)
	keys := len(r.keys)
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/rules/" + rule.ID.String(), ""},
		{"PUT", "/rules/" + rule.ID.String(), `{"type":"Sync Completed"}`},
		{"PUT", "/rules/" + rule.ID.String(), `not JSON`},
		{"DELETE", "/rules/" + rule.ID.String(), ""},
		{"GET", "/rules/" + rule.ID.String() + "/alerts", ""},
		{"GET", "/rules/alerts/" + alert.ID.String(), ""},
		{"DELETE", "/apiKeys/" + r.keys[keys-1].ID.String(), ""},
	} {
		if f := failed(t, r.as(rivalKey, c.method, c.path, c.body)); f.Status != 404 {
			t.Errorf("%s %s: %+v, want 404", c.method, c.path, f)
		}
	}
	for _, list := range []string{
		"/rules", "/rules?query=id%3D" + rule.ID.String(), "/rules/alerts", "/rules/alerts?companyId=" + someID,
		"/rules/alerts?query=clientId%3D" + r.acme.String() + "%7C%7CclientId%21%3D" + r.acme.String(),
	} {
		if got := r.as(rivalKey, "GET", list, ""); got.Code != 200 || !strings.HasPrefix(got.Body.String(), `{"results":[],`) {
			t.Errorf("%s: %d %s, want an empty list", list, got.Code, got.Body)
		}
	}
	if len(r.rules) != 1 || r.rules[0].Type != "Sync Failed" || len(r.keys) != keys {
		t.Error("the rival changed something")
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	r := newFixture(t)
	for call, want := range map[string]int{
		"PUT /profile/apiKey":                404, // gone since 2023: spec section 6.1
		"GET /rules/alerts/" + someID + "/x": 404,
		"GET /rules/" + someID + "/other":    404,
		"POST /rules/alerts/" + someID:       405,
		"PUT /rules/alerts":                  405, // the word is no id: spec section 5.8
		"DELETE /rules/alerts":               405,
		"GET /rules/preview":                 405,
		"PUT /rules/preview":                 405,
		"DELETE /rules/preview":              405,
		"PATCH /rules/" + someID:             405, // there is no PATCH: spec section 5.9
		"DELETE /rules":                      405,
		"POST /profile":                      405,
	} {
		method, path, _ := strings.Cut(call, " ")
		if f := failed(t, r.as(acmeKey, method, path, `{}`)); f.Status != want {
			t.Errorf("%s: %+v, want %d", call, f, want)
		}
	}
}

func TestBodyMustBeAnObject(t *testing.T) {
	r := newFixture(t)
	rule := r.create(`{"type":"Sync Failed"}`)
	for _, call := range []string{"POST /rules", "PUT /rules/" + rule.ID.String(), "PUT /profile", "POST /apiKeys"} {
		method, path, _ := strings.Cut(call, " ")
		for _, body := range []string{``, ` `, `{`, `{"type":`, `{"type":"a",}`, `{"type" "a"}`, `{}{}`, `{"a":"\x"}`, "{\"a\":\"\x01\"}",
			`null`, `[]`, `"text"`, `7`, `true`, strings.Repeat(`[`, 20_000), strings.Repeat(`{"a":`, 20_000)} {
			if call == "POST /apiKeys" && (strings.TrimSpace(body) == "" || body == "null") {
				continue // needs none
			}
			r.refused("body", method, path, body)
		}
		long := `{"name":"` + strings.Repeat("x", 1<<20) + `"}`
		if f := failed(t, r.as(acmeKey, method, path, long)); f.Status != 413 || !strings.Contains(f.Error, "1048576 bytes") {
			t.Errorf("%s with a body over a mebibyte: %+v, want 413 that names the limit", call, f)
		}
	}
}

// TestListsArePaged is check B6.
func TestListsArePaged(t *testing.T) {
	r := newFixture(t)
	for range 90 {
		r.create(`{"type":"Sync Failed"}`)
	}
	page := func(target string) (n int, rest string) {
		body := r.must(200, "GET", target, "")
		end := strings.LastIndex(body, `],"pageNumber"`)
		return strings.Count(body[:end], `"notifiers"`), body[end+2:]
	}
	for _, test := range []struct {
		target  string
		results int
		rest    string
	}{
		{"/rules?page=5&pageSize=20", 10, `"pageNumber":5,"pageSize":20,"totalResults":90,"_links":{"current":{"href":"/rules?page=5&pageSize=20"},` +
			`"self":{"href":"/rules"},"previous":{"href":"/rules?page=4&pageSize=20"}}}`},
		{"/rules?pageSize=20", 20, `"pageNumber":1,"pageSize":20,"totalResults":90,"_links":{"current":{"href":"/rules?page=1&pageSize=20"},` +
			`"self":{"href":"/rules"},"next":{"href":"/rules?page=2&pageSize=20"}}}`},
		{"/rules?PAGE=2&pagesize=30&orderby=-type", 30, `"pageNumber":2,"pageSize":30,"totalResults":90,"_links":{"current":{"href":"/rules?page=2&pageSize=30&orderBy=-type"},` +
			`"self":{"href":"/rules"},"next":{"href":"/rules?page=3&pageSize=30&orderBy=-type"},"previous":{"href":"/rules?page=1&pageSize=30&orderBy=-type"}}}`},
		{"/rules", 90, `"pageNumber":1,"pageSize":100,"totalResults":90,"_links":{"current":{"href":"/rules?page=1&pageSize=100"},"self":{"href":"/rules"}}}`},
		{"/rules?page=7&pageSize=5000", 0, `"pageNumber":7,"pageSize":5000,"totalResults":90,"_links":{"current":{"href":"/rules?page=7&pageSize=5000"},` +
			`"self":{"href":"/rules"},"previous":{"href":"/rules?page=6&pageSize=5000"}}}`},
	} {
		n, rest := page(test.target)
		if n != test.results {
			t.Errorf("%s: %d results, want %d", test.target, n, test.results)
		}
		same(t, test.target, test.rest, rest)
	}
}

// TestListsAreFiltered is check B7.
func TestListsAreFiltered(t *testing.T) {
	r := newFixture(t)
	completed := r.create(`{"type":"Data sync completed"}`)
	r.create(`{"type":"Sync Failed"}`)
	want := `{"results":[{"id":"` + completed.ID.String() + `","type":"Data sync completed","notifiers":{"emails":[]}}],"pageNumber":1,"pageSize":100,"totalResults":1,` +
		`"_links":{"current":{"href":"/rules?page=1&pageSize=100&query=type%3DData%20sync%20completed"},"self":{"href":"/rules"}}}`
	same(t, "filtered list", want, r.must(200, "GET", "/rules?query=type%3DData%20sync%20completed", ""))
}

// TestWrongQueryHasTheVendorsTexts is check B8.
func TestWrongQueryHasTheVendorsTexts(t *testing.T) {
	r := newFixture(t)
	for _, list := range []string{"/rules", "/rules/alerts", "/rules/" + r.create(`{"type":"Sync Failed"}`).ID.String() + "/alerts"} {
		kind := "Alert"
		if list == "/rules" {
			kind = "Rule"
		}
		f := failed(t, r.as(acmeKey, "GET", list+"?query=foo%3D1", ""))
		if f.Status != 400 || f.Service != "PullApi" || f.Error != "Error parsing query - Could not resolve property foo on "+kind ||
			f.ItemID != "query" || !strings.HasPrefix(f.Message, "foo cannot be queried; use id, ") {
			t.Errorf("%s: unknown property: %+v", list, f)
		}
		f = failed(t, r.as(acmeKey, "GET", list+"?query=%3D%3D", ""))
		if f.Status != 400 || f.Service != "ClientsApi" || f.Error != "Error parsing query - Malformed query." || f.ItemID != "query" || f.Message == f.Error {
			t.Errorf("%s: malformed: %+v", list, f)
		}
	}
}

func TestWrongParametersAreNamed(t *testing.T) {
	r := newFixture(t)
	for _, list := range []string{"/rules", "/rules/alerts"} {
		for parameters, member := range map[string]string{
			"page=0": "page", "page=x": "page", "pageSize=5001": "pageSize", "orderBy=-notifiers": "orderBy",
			"companyId=x": "companyId", "companyId=" + strings.ReplaceAll(someID, "-", ""): "companyId", "page=1&Page=2": "page",
			// What Go drops silently would widen the list.
			"query=type%3Da;b": "query", "companyId=%zz": "query",
		} {
			if f := failed(t, r.as(acmeKey, "GET", list+"?"+parameters, "")); f.Status != 400 || f.ItemID != member {
				t.Errorf("%s?%s: %+v, want 400 about %s", list, parameters, f, member)
			}
		}
	}
}

func TestNextLinksLeadThroughTheWholeList(t *testing.T) {
	r := newFixture(t)
	for i := range 7 {
		r.create(`{"type":"Sync Failed","companyId":"` + someID + `","notifiers":{"webhook":"https://example.com/` + strconv.Itoa(i) + `?a=b"}}`)
	}
	r.create(`{"type":"Sync Failed"}`)
	next := "/rules?pageSize=3&companyId=" + strings.ToUpper(someID) + "&query=" + url.QueryEscape("notifiers.webhook ~ example.com")
	var pages []int
	for next != "" {
		var body struct {
			Results []json.RawMessage
			Links   struct{ Next struct{ Href string } } `json:"_links"`
		}
		if err := json.Unmarshal([]byte(r.must(200, "GET", next, "")), &body); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, len(body.Results))
		next = body.Links.Next.Href
	}
	if diff := cmp.Diff([]int{3, 3, 1}, pages); diff != "" {
		t.Errorf("results on the pages (-want +got):\n%s", diff)
	}
}
