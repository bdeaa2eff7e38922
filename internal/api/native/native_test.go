package native

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/codat"
	"herald/internal/api/openapi"
	"herald/internal/catalogue"
)

// fixture is the surface over a fake, without the middleware.
type fixture struct {
	*fake
	t    *testing.T
	mux  *http.ServeMux
	head http.Header // of the next requests
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fake{
		now:      time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC),
		receipts: map[string]herald.Receipt{},
		attempts: map[uuid.UUID][]herald.Attempt{},
		rules:    map[uuid.UUID]uuid.UUID{},
		unsent:   map[uuid.UUID]bool{},
		notified: map[uuid.UUID]herald.Notifications{},
	}
	mux := http.NewServeMux()
	described := openapi.New(mux, "1.2.3")
	codat.Describe(described.OpenAPI())
	err := Register(Options{
		Auth: f, Publisher: f, Events: f, Explainer: f, Deliveries: f, Owners: f, Sender: f, Rules: f, Clients: f, Keys: f, Audit: f, EventTypes: f, Backups: f, PortalLinks: f, Sessions: f, Statistics: f, Issues: f, Notifications: f,
		Now: func() time.Time { return f.now },
		CheckURL: func(raw string) error {
			if !strings.HasPrefix(raw, "https://") {
				return herald.Invalid("", "%q is no https address", raw)
			}
			return nil
		},
		PortalURL: func(r *http.Request, secret string) string { return "http://" + r.Host + "/portal/link#" + secret },
		Catalogue: func(context.Context) (*catalogue.Catalogue, error) {
			return catalogue.New(f.eventTypes, catalogue.Options{})
		},
		SendsMail: true,
		Status: func(context.Context) (herald.Status, error) {
			return herald.Status{Attention: []string{}, Version: "1.2.3", SlowReceivers: []herald.SlowReceiver{}}, nil
		},
		Ready:  func(context.Context) error { return f.notReady },
		Notice: func() string { return f.notice },
		API:    described,
		Mux:    mux,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{fake: f, t: t, mux: mux, head: http.Header{}}
}

// object is a decoded JSON object.
type object = map[string]any

// do makes a request and returns the status and the body, an object or nil.
func (r *fixture) do(key, method, target, body string) (int, object) {
	r.t.Helper()
	request := httptest.NewRequest(method, target, strings.NewReader(body))
	request.Header = r.head.Clone()
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	recorder := httptest.NewRecorder()
	r.mux.ServeHTTP(recorder, request)
	answer, err := io.ReadAll(recorder.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(answer) == 0 {
		return recorder.Code, nil
	}
	if got := recorder.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		r.t.Errorf("%s %s: Content-Type %q", method, target, got)
	}
	var read object
	if err := json.Unmarshal(answer, &read); err != nil {
		r.t.Fatalf("%s %s: %v in %s", method, target, err, answer)
	}
	return recorder.Code, read
}

// must makes a request. The answer must have the given status.
func (r *fixture) must(status int, key, method, target, body string) object {
	r.t.Helper()
	got, answer := r.do(key, method, target, body)
	if got != status {
		r.t.Fatalf("%s %s: status %d, want %d: %v", method, target, got, status, answer)
	}
	return answer
}

// refused makes a request. The answer must have the given status, name member, and have
// text in its error.
func (r *fixture) refused(status int, member, text, key, method, target, body string) {
	r.t.Helper()
	answer := r.must(status, key, method, target, body)
	said, _ := answer["error"].(string)
	if !strings.Contains(said, text) {
		r.t.Errorf("%s %s: error %q, want …%s…", method, target, said, text)
	}
	if answer["statusCode"] != float64(status) {
		r.t.Errorf("%s %s: statusCode %v, want %d", method, target, answer["statusCode"], status)
	}
	var about any
	if v, ok := answer["validation"].(object); ok {
		about = v["errors"].([]any)[0].(object)["itemId"]
	}
	if member != "" && about != member {
		r.t.Errorf("%s %s: itemId %v, want %q", method, target, about, member)
	}
	if !strings.Contains(said, member) {
		r.t.Errorf("%s %s: error %q does not name %q", method, target, said, member)
	}
}

// publish publishes an event of a type for acme and returns its id.
func (r *fixture) publish(kind string) string {
	r.t.Helper()
	answer := r.must(http.StatusAccepted, acmeKey, "POST", "/events", `{"type":"`+kind+`"}`)
	return answer["id"].(string)
}

// pages follows a list's cursors. It returns the ids of the results, page by page.
func (r *fixture) pages(key, path string, limit string) [][]string {
	r.t.Helper()
	var pages [][]string
	query := url.Values{"limit": {limit}}
	for {
		answer := r.must(http.StatusOK, key, "GET", path+"?"+query.Encode(), "")
		var ids []string
		for _, result := range answer["results"].([]any) {
			ids = append(ids, result.(object)["id"].(string))
		}
		pages = append(pages, ids)
		next, more := answer["next"].(string)
		if !more || len(pages) > 10 {
			return pages
		}
		query.Set("after", next)
	}
}

type aCall struct {
	method, path string
	who          access
	body         string
}

// calls are all calls except the health checks and the document.
var calls = []aCall{
	{"POST", "/events", withAnyKey, `{"type":"Data sync completed","clientId":"` + acme.String() + `"}`},
	{"GET", "/events", aboutOneClient, ""},
	{"GET", "/events/{id}", aboutOneClient, ""},
	{"GET", "/events/{id}/rules", aboutOneClient, ""},
	{"GET", "/deliveries", aboutOneClient, ""},
	{"GET", "/deliveries/{id}", aboutOneClient, ""},
	{"POST", "/deliveries/{id}/redeliver", aboutOneClient, ""},
	{"POST", "/deliveries/redeliver", aboutOneClient, `{"since":"2026-05-03T09:00:00Z"}`},
	{"POST", "/deliveries/{id}/retry", aboutOneClient, ""},
	{"POST", "/deliveries/{id}/cancel", aboutOneClient, ""},
	{"GET", "/unsubscribed", withClientKey, ""},
	{"DELETE", "/unsubscribed/{address}", withClientKey, ""},
	{"PUT", "/rules/{ruleId}/security", withClientKey, `{"authorization":"none"}`},
	{"POST", "/rules/{ruleId}/test", withClientKey, `{}`},
	{"POST", "/clients", withOperatorKey, `{"name":"Acme"}`},
	{"GET", "/clients", withOperatorKey, ""},
	{"GET", "/clients/{id}", withOperatorKey, ""},
	{"PUT", "/clients/{id}", withOperatorKey, `{"name":"Acme"}`},
	{"DELETE", "/clients/{id}", withOperatorKey, ""},
	{"POST", "/clients/{id}/apiKeys", withOperatorKey, `{"role":"analyst"}`},
	{"GET", "/clients/{id}/apiKeys", withOperatorKey, ""},
	{"DELETE", "/clients/{id}/apiKeys/{keyId}", withOperatorKey, ""},
	{"GET", "/status", withOperatorKey, ""},
	{"POST", "/clients/{id}/portalLinks", withOperatorKey, `{"role":"analyst"}`},
	{"DELETE", "/sessions", withAnyKey, ""},
	{"GET", "/audit", withAnyKey, ""},
	{"GET", "/statistics", withAnyKey, ""},
	{"GET", "/issues", withAnyKey, ""},
	{"GET", "/issues/{id}", withAnyKey, ""},
	{"POST", "/issues/{id}/acknowledge", withAnyKey, `{"note":"n"}`},
	{"GET", "/notifications", withClientKey, ""},
	{"PUT", "/notifications", withClientKey, `{"failingAfterMinutes":10,"mailboxes":["ann@acme.example"]}`},
	{"DELETE", "/notifications", withClientKey, ""},
	{"POST", "/backup", withOperatorKey, ""},
	{"GET", "/eventTypes", withAnyKey, ""},
	{"GET", "/eventTypes/{name}", withAnyKey, ""},
	{"PUT", "/eventTypes/{name}", withOperatorKey, `{"message":"m"}`},
	{"DELETE", "/eventTypes/{name}", withOperatorKey, ""},
	{"GET", "/capabilities", withAnyKey, ""},
}

func TestEveryCallNeedsAKey(t *testing.T) {
	r := newFixture(t)
	for _, c := range calls {
		for _, key := range []string{"", "unknown"} {
			r.refused(http.StatusUnauthorized, "", "Unauthorized", key, c.method, strings.Replace(c.path, "{id}", uuid.NewString(), 1), c.body)
		}
	}
}

func TestTheWrongKindOfKeyIsToldWhichIsNeeded(t *testing.T) {
	r := newFixture(t)
	for _, c := range calls {
		switch c.who {
		case withClientKey:
			r.refused(http.StatusForbidden, "", "needs a client's API key", operatorKey, c.method, c.path, c.body)
		case withOperatorKey:
			r.refused(http.StatusForbidden, "", "needs the operator's key", acmeKey, c.method, c.path, c.body)
		case withAnyKey, aboutOneClient:
			for _, key := range []string{operatorKey, acmeKey} {
				if status, _ := r.do(key, c.method, c.path, c.body); status == http.StatusForbidden {
					t.Errorf("%s %s is forbidden to %s", c.method, c.path, key)
				}
			}
		}
	}
}

func TestOtherClientsIdsAreNotFound(t *testing.T) {
	r := newFixture(t)
	rule := uuid.New()
	r.rules[rule] = acme
	event := r.publish("Data sync completed")
	delivery := r.deliveries[0].ID.String()
	for path, id := range map[string]string{
		"GET /events/{}": event, "GET /events/{}/rules": event, "GET /deliveries/{}": delivery, "POST /deliveries/{}/redeliver": delivery,
		"POST /deliveries/{}/cancel": delivery, "POST /deliveries/{}/retry": delivery, "PUT /rules/{}/security": rule.String(), "POST /rules/{}/test": rule.String(),
	} {
		method, pattern, _ := strings.Cut(path, " ")
		for _, wrong := range []struct{ key, id string }{
			{rivalKey, id}, {acmeKey, uuid.NewString()}, {acmeKey, "no-guid"}, {acmeKey, "%7B" + id + "%7D"}, {acmeKey, uuid.Nil.String()},
		} {
			target := strings.Replace(pattern, "{}", wrong.id, 1)
			r.refused(http.StatusNotFound, "", "was found with ID", wrong.key, method, target, map[bool]string{true: `{"authorization":"none"}`}[method == "PUT"])
		}
	}
	for _, filter := range []string{"alert=" + r.deliveries[0].AlertID.String(), "receiver=" + r.deliveries[0].Address, "after=" + delivery} {
		if answer := r.must(http.StatusOK, rivalKey, "GET", "/deliveries?"+filter, ""); len(answer["results"].([]any)) != 0 {
			t.Errorf("%s shows another client's deliveries: %v", filter, answer)
		}
	}
	if r.deliveries[0].State != herald.Pending || len(r.deliveries) != 1 || r.unsent[rule] {
		t.Error("another client's call changed something")
	}
}

// TestTheOperatorLooksAcrossClients makes every call about one client with the operator's key, and with
// clients' keys that name themselves and others.
func TestTheOperatorLooksAcrossClients(t *testing.T) {
	r := newFixture(t)
	r.clients = []herald.Client{{ID: acme}, {ID: rival}}
	r.rules[uuid.New()] = acme
	tried := 0
	for _, c := range calls {
		if c.who != aboutOneClient {
			continue
		}
		tried++
		id := r.publish("Data sync completed")
		if strings.HasPrefix(c.path, "/deliveries") {
			id = r.deliveries[len(r.deliveries)-1].ID.String()
		}
		one := strings.Contains(c.path, "{id}")
		path := strings.Replace(c.path, "{id}", id, 1)
		r.by = herald.Caller{}
		for _, key := range []string{operatorKey, acmeKey} {
			if status, answer := r.do(key, c.method, path+"?client="+acme.String(), c.body); status >= 300 && !(status == http.StatusConflict && key == acmeKey) {
				t.Errorf("%s %s with the key of %s: status %d, %v", c.method, path, key, status, answer)
			}
			if key == operatorKey && c.method == "POST" && (!r.by.Operator || r.by.Client() != acme) {
				t.Errorf("%s %s is made by %+v", c.method, path, r.by)
			}
		}
		if c.method == "GET" && !one {
			answer := r.must(http.StatusOK, operatorKey, c.method, path+"?client="+acme.String(), "")
			if results := answer["results"].([]any); len(results) == 0 {
				t.Errorf("%s %s lists nothing", c.method, path)
			}
			if answer := r.must(http.StatusOK, operatorKey, c.method, path+"?client="+rival.String(), ""); len(answer["results"].([]any)) != 0 {
				t.Errorf("%s %s lists another client's: %v", c.method, path, answer)
			}
		}
		unknown := uuid.NewString()
		r.refused(http.StatusNotFound, "", "No client was found with ID "+unknown, operatorKey, c.method, path+"?client="+unknown, c.body)
		for _, other := range []string{acme.String(), unknown} { // the key is a rival's: another client's id is like an unknown one
			r.refused(http.StatusNotFound, "", "No client was found with ID "+other, rivalKey, c.method, path+"?client="+other, c.body)
		}
		for _, wrong := range []string{"x", uuid.Nil.String()} {
			r.refused(http.StatusBadRequest, "client", "", operatorKey, c.method, path+"?client="+wrong, c.body)
			r.refused(http.StatusBadRequest, "client", "", acmeKey, c.method, path+"?client="+wrong, c.body)
		}
		if one { // its client is found by itself
			if status, answer := r.do(operatorKey, c.method, path, c.body); status >= 300 && status != http.StatusConflict {
				t.Errorf("%s %s without a client: status %d, %v", c.method, path, status, answer)
			}
			r.refused(http.StatusNotFound, "", "was found with ID", operatorKey, c.method, path+"?client="+rival.String(), c.body)
			r.refused(http.StatusNotFound, "", "was found with ID", operatorKey, c.method, strings.Replace(c.path, "{id}", unknown, 1), c.body)
			r.refused(http.StatusNotFound, "", "was found with ID", operatorKey, c.method, strings.Replace(c.path, "{id}", "no-guid", 1), c.body)
		} else {
			r.refused(http.StatusBadRequest, "client", "?client=ID", operatorKey, c.method, path, c.body)
		}
	}
	if tried < 7 {
		t.Errorf("only %d calls are about one client", tried)
	}
}

func TestTheOperatorListsAndRevokesKeys(t *testing.T) {
	r := newFixture(t)
	r.clients = []herald.Client{{ID: acme}, {ID: rival}}
	key := herald.Key{ID: uuid.New(), ClientID: acme, Name: "reports", Role: herald.Analyst, CreatedAt: r.now}
	r.keys = []herald.Key{key}
	listed := r.must(http.StatusOK, operatorKey, "GET", "/clients/"+acme.String()+"/apiKeys", "")
	want := object{"results": []any{object{"id": key.ID.String(), "name": "reports", "role": "analyst", "createdDate": "2026-05-03T09:00:00Z"}}}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(object{"results": []any{}}, r.must(http.StatusOK, operatorKey, "GET", "/clients/"+rival.String()+"/apiKeys", "")); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range []string{uuid.NewString(), "x"} {
		r.refused(http.StatusNotFound, "", "No client was found with ID "+wrong, operatorKey, "GET", "/clients/"+wrong+"/apiKeys", "")
		r.refused(http.StatusNotFound, "", "was found with ID", operatorKey, "DELETE", "/clients/"+acme.String()+"/apiKeys/"+wrong, "")
	}
	r.refused(http.StatusNotFound, "", "No API key was found", operatorKey, "DELETE", "/clients/"+rival.String()+"/apiKeys/"+key.ID.String(), "")
	r.must(http.StatusNoContent, operatorKey, "DELETE", "/clients/"+acme.String()+"/apiKeys/"+key.ID.String(), "")
	if len(r.keys) != 0 {
		t.Error("the key is still there")
	}
}

func TestUnknownAndRepeatedParametersAreNamed(t *testing.T) {
	r := newFixture(t)
	r.refused(http.StatusBadRequest, "colour", "this call has type, company, since, until, limit, after, client", acmeKey, "GET", "/events?colour=red", "")
	r.refused(http.StatusBadRequest, "limit", "this call has none", acmeKey, "GET", "/eventTypes?limit=1", "")
	r.refused(http.StatusBadRequest, "limit", "given 2 times", acmeKey, "GET", "/events?limit=1&limit=2", "")
	r.refused(http.StatusBadRequest, "", "cannot be read", acmeKey, "GET", "/events?limit=%zz", "")
	for _, limit := range []string{"0", "501", "-1", "ten", "1.5", "99999999999999999999"} {
		r.refused(http.StatusBadRequest, "limit", "whole number from 1 to 500", acmeKey, "GET", "/events?limit="+limit, "")
	}
	r.refused(http.StatusBadRequest, "after", "not a GUID", acmeKey, "GET", "/events?after=x", "")
	r.must(http.StatusOK, acmeKey, "GET", "/events?after=", "")
}

func TestTheProbesNeedNoKey(t *testing.T) {
	r := newFixture(t)
	probe := func(path string) (int, string) {
		recorder := httptest.NewRecorder()
		r.mux.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
		return recorder.Code, recorder.Body.String()
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := probe(path); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	r.notice = "the clock has jumped"
	if status, body := probe("/readyz"); status != http.StatusOK || body != "ok\nthe clock has jumped" && body != "ok\nthe clock has jumped\n" {
		t.Errorf("/readyz with a notice: %d %q", status, body)
	}
	r.notReady = errors.New("disk full of secrets")
	if status, _ := probe("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz of a service that is not ready: %d", status)
	}
	status, body := probe("/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "not ready") || strings.Contains(body, "secrets") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	r.notReady = herald.Errorf(herald.CodeUnavailable, "The database does not answer.")
	r.refused(http.StatusServiceUnavailable, "", "The database does not answer.", "", "GET", "/readyz", "")
}

func TestClientsAreMadeListedRenamedAndDeleted(t *testing.T) {
	r := newFixture(t)
	made := r.must(http.StatusCreated, operatorKey, "POST", "/clients", `{"name":"Acme"}`)
	id := made["id"].(string)
	if diff := cmp.Diff(object{"id": id, "name": "Acme", "apiKey": "key of Acme"}, made); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(object{"id": id, "name": "Acme"}, r.must(http.StatusOK, operatorKey, "GET", "/clients/"+id, "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(object{"id": id, "name": "Zoë"}, r.must(http.StatusOK, operatorKey, "PUT", "/clients/"+id, `{"name":"Zoë"}`)); diff != "" {
		t.Error(diff)
	}
	other := r.must(http.StatusCreated, operatorKey, "POST", "/clients", `{"name":"Other"}`)["id"].(string)
	if found := r.must(http.StatusOK, operatorKey, "GET", "/clients?limit=1&search=Oth", "")["results"].([]any); len(found) != 1 || found[0].(object)["id"] != other {
		t.Errorf("the search finds %v", found)
	}
	r.refused(http.StatusBadRequest, "search", "at most 200 are taken", operatorKey, "GET", "/clients?search="+strings.Repeat("x", 201), "")
	r.refused(http.StatusBadRequest, "search", "U+0000", operatorKey, "GET", "/clients?search=a%00", "")
	if diff := cmp.Diff([][]string{{other}, {id}}, r.pages(operatorKey, "/clients", "1")); diff != "" {
		t.Error(diff)
	}
	if answer := r.must(http.StatusNoContent, operatorKey, "DELETE", "/clients/"+id, ""); answer != nil {
		t.Errorf("deleting answers %v", answer)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		r.refused(http.StatusNotFound, "", "No client was found with ID "+id, operatorKey, method, "/clients/"+id, `{"name":"x"}`)
		r.refused(http.StatusNotFound, "", "No client was found with ID x", operatorKey, method, "/clients/x", `{"name":"x"}`)
	}
}

func TestAClientsNameIsChecked(t *testing.T) {
	r := newFixture(t)
	for body, text := range map[string]string{
		`{}`:                     "missing",
		`{"name":null}`:          "missing",
		`{"name":""}`:            "empty",
		`{"name":7}`:             "want a string",
		`{"name":"a","name":""}`: "twice",
		`{"name":"a\u0000"}`:     "U+0000",
		`{"name":"a\ud800"}`:     "half a surrogate pair",
		`{"name":{"name":"a"}}`:  "want a string, got an object",
		`{"name":"` + strings.Repeat("é", 201) + `"}`: "at most 200",
	} {
		r.refused(http.StatusBadRequest, "name", text, operatorKey, "POST", "/clients", body)
	}
	r.refused(http.StatusBadRequest, "apiKey", "no such member; there are name", operatorKey, "POST", "/clients", `{"name":"a","apiKey":"b"}`)
	r.refused(http.StatusBadRequest, "", "want an object", operatorKey, "POST", "/clients", `["a"]`)
	r.refused(http.StatusBadRequest, "", "empty", operatorKey, "POST", "/clients", ``)
	r.refused(http.StatusBadRequest, "Name", "no such member", operatorKey, "POST", "/clients", `{"Name":"a"}`)
	r.refused(http.StatusBadRequest, "", "after top-level value, at byte 13", operatorKey, "POST", "/clients", `{"name":"a"}{"name":"b"}`)
	r.refused(http.StatusBadRequest, "", "UTF-8", operatorKey, "POST", "/clients", "{\"name\":\"\xff\"}")
	r.refused(http.StatusBadRequest, "", "depth", operatorKey, "POST", "/clients", `{"name":`+strings.Repeat("[", 20_000))
	if len(r.clients) != 0 {
		t.Errorf("made %v", r.clients)
	}
}

func TestARulesAuthorizationIsSwitched(t *testing.T) {
	r := newFixture(t)
	rule := uuid.New()
	r.rules[rule] = acme
	path := "/rules/" + rule.String() + "/security"
	for _, word := range []string{without, inherit} {
		answer := r.must(http.StatusOK, acmeKey, "PUT", path, `{"authorization":"`+word+`"}`)
		if diff := cmp.Diff(object{"authorization": word}, answer); diff != "" {
			t.Error(diff)
		}
		if r.unsent[rule] != (word == without) {
			t.Errorf("%s: header withheld %v", word, r.unsent[rule])
		}
	}
	for _, body := range []string{`{}`, `{"authorization":"None"}`, `{"authorization":true}`, `{"authorization":null}`} {
		r.refused(http.StatusBadRequest, "authorization", "want", acmeKey, "PUT", path, body)
	}
	r.refused(http.StatusBadRequest, "auth", "no such member", acmeKey, "PUT", path, `{"auth":"none"}`)
}
