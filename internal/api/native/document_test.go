package native

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
)

func document(t *testing.T) object {
	t.Helper()
	return newFixture(t).must(http.StatusOK, "", "GET", "/openapi.json", "")
}

// eachOperation calls f for every operation of a document.
func eachOperation(doc object, f func(method, path string, op object)) {
	for path, item := range doc["paths"].(object) {
		for method, op := range item.(object) {
			f(strings.ToUpper(method), path, op.(object))
		}
	}
}

func TestTheDocumentHasEveryCallOfBothSurfaces(t *testing.T) {
	want := []string{
		"GET /healthz", "GET /readyz",
		"GET /rules", "POST /rules", "POST /rules/preview", "GET /rules/{ruleId}", "PUT /rules/{ruleId}", "DELETE /rules/{ruleId}",
		"GET /rules/alerts", "GET /rules/alerts/{alertId}", "GET /rules/{ruleId}/alerts",
		"GET /profile", "PUT /profile", "GET /profile/syncSettings", "GET /apiKeys", "POST /apiKeys", "DELETE /apiKeys/{apiKeyId}",
	}
	for _, c := range calls {
		want = append(want, c.method+" "+c.path)
	}
	var got []string
	eachOperation(document(t), func(method, path string, _ object) { got = append(got, method+" "+path) })
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("described\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestEveryCallOfThisSurfaceIsServed compares the mux with the document in both
// directions. Both come from the same operation.
func TestEveryCallOfThisSurfaceIsServed(t *testing.T) {
	r := newFixture(t)
	for _, c := range calls {
		request := httptest.NewRequest(c.method, strings.NewReplacer("{id}", uuid.NewString(), "{ruleId}", uuid.NewString(), "{keyId}", uuid.NewString(), "{name}", "x").Replace(c.path), nil)
		if _, pattern := r.mux.Handler(request); pattern != c.method+" "+c.path {
			t.Errorf("%s %s is served by %q", c.method, c.path, pattern)
		}
	}
}

func TestTheDocumentHoldsTogether(t *testing.T) {
	doc := document(t)
	if doc["openapi"] != "3.1.0" || doc["info"].(object)["version"] != "1.2.3" {
		t.Errorf("openapi %v, info %v", doc["openapi"], doc["info"])
	}
	resolve(t, doc, doc, "#")
	ids := map[string]string{}
	eachOperation(doc, func(method, path string, op object) {
		at := method + " " + path
		id, _ := op["operationId"].(string)
		if id == "" || ids[id] != "" {
			t.Errorf("%s: operationId %q, which %s has", at, id, ids[id])
		}
		ids[id] = at
		if op["summary"] == nil {
			t.Errorf("%s has no summary", at)
		}
		checkParametersOf(t, at, path, op)
		checkResponsesOf(t, at, op)
	})
	for _, scheme := range doc["security"].([]any) {
		for name := range scheme.(object) {
			if doc["components"].(object)["securitySchemes"].(object)[name] == nil {
				t.Errorf("security scheme %s is not defined", name)
			}
		}
	}
}

// resolve checks that every reference in value has a target.
func resolve(t *testing.T, doc object, value any, at string) {
	switch value := value.(type) {
	case object:
		for name, inner := range value {
			if ref, ok := inner.(string); ok && name == "$ref" {
				var target any = doc
				for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
					target, _ = target.(object)[part]
				}
				if target == nil {
					t.Errorf("%s: %s leads nowhere", at, ref)
				}
			}
			resolve(t, doc, inner, at+"/"+name)
		}
	case []any:
		for i, inner := range value {
			resolve(t, doc, inner, fmt.Sprintf("%s/%d", at, i))
		}
	}
}

func checkParametersOf(t *testing.T, at, path string, op object) {
	var named []string
	parameters, _ := op["parameters"].([]any)
	for _, p := range parameters {
		p := p.(object)
		if p["schema"].(object)["type"] == nil {
			t.Errorf("%s: parameter %v has no type", at, p["name"])
		}
		if p["in"] == "path" {
			named = append(named, "{"+p["name"].(string)+"}")
			if p["required"] != true {
				t.Errorf("%s: path parameter %v is not required", at, p["name"])
			}
		}
	}
	if want := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !slices.Equal(want, named) {
		t.Errorf("%s describes the path parameters %v", at, named)
	}
}

func checkResponsesOf(t *testing.T, at string, op object) {
	succeeds := 0
	for status, response := range op["responses"].(object) {
		if status[0] == '2' {
			succeeds++
		} else if ref := response.(object)["$ref"]; ref != openapi.ErrorRef && !(ref == openapi.TooManyRef && status == "429") {
			t.Errorf("%s: %s has not the one error body", at, status)
		}
	}
	if succeeds != 1 {
		t.Errorf("%s describes %d successes", at, succeeds)
	}
	if open, _ := op["security"].([]any); op["security"] == nil || len(open) > 0 {
		for _, status := range []string{"401", "403"} {
			if op["responses"].(object)[status] == nil {
				t.Errorf("%s needs a key and describes no %s", at, status)
			}
		}
	}
}

func TestRequestsAreDescribedAsClosedAndAnswersAsOpen(t *testing.T) {
	schemas := document(t)["components"].(object)["schemas"].(object)
	for name, closed := range map[string]bool{
		"PublicationRequest": true, "AccountRequest": true, "NewAccountRequest": true, "KeyRequest": true, "RuleSecurity": true, "EventTypeRequest": true,
		"Receipt": false, "Delivery": false, "Rule": false, "RuleRequest": false,
	} {
		if got := schemas[name].(object)["additionalProperties"] == false; got != closed {
			t.Errorf("%s: closed %v, want %v", name, got, closed)
		}
	}
	receipt := schemas["Receipt"].(object)["properties"].(object)
	if got := receipt["id"].(object)["format"]; got != "uuid" {
		t.Errorf("an id has the format %v", got)
	}
	if got := receipt["alertIds"].(object)["type"]; got != "array" {
		t.Errorf("alertIds is described as %v", got)
	}
}

// TestDescribedMembersAreThoseThatAreTaken compares the described members with those that
// the hand-written readers accept.
func TestDescribedMembersAreThoseThatAreTaken(t *testing.T) {
	r := newFixture(t)
	rule := uuid.New()
	r.rules[rule] = acme
	schemas := document(t)["components"].(object)["schemas"].(object)
	for schema, send := range map[string]func(body string) object{
		"PublicationRequest": func(body string) object { return answerTo(r, acmeKey, "POST", "/events", body) },
		"NewAccountRequest":  func(body string) object { return answerTo(r, operatorKey, "POST", "/clients", body) },
		"AccountRequest": func(body string) object {
			return answerTo(r, operatorKey, "PUT", "/clients/"+uuid.NewString(), body)
		},
		"KeyRequest": func(body string) object {
			return answerTo(r, operatorKey, "POST", "/clients/"+uuid.NewString()+"/apiKeys", body)
		},
		"RuleSecurity": func(body string) object {
			return answerTo(r, acmeKey, "PUT", "/rules/"+rule.String()+"/security", body)
		},
		"EventTypeRequest": func(body string) object { return answerTo(r, operatorKey, "PUT", "/eventTypes/x", body) },
	} {
		refusal, _ := send(`{"unheard of":null}`)["error"].(string)
		_, listed, found := strings.Cut(refusal, "there are ")
		if !found {
			t.Fatalf("%s: an unknown member is answered with %q", schema, refusal)
		}
		taken := strings.Split(strings.ReplaceAll(listed, " and ", ", "), ", ")
		described := slices.Collect(maps.Keys(schemas[schema].(object)["properties"].(object)))
		slices.Sort(taken)
		slices.Sort(described)
		if !slices.Equal(taken, described) {
			t.Errorf("%s describes %v, and the call names %v", schema, described, taken)
		}
		for _, member := range described {
			if said, _ := send(`{"` + member + `":null}`)["error"].(string); strings.Contains(said, "no such member") {
				t.Errorf("%s describes %s, and the call says %q", schema, member, said)
			}
		}
	}
}

func answerTo(r *fixture, key, method, path, body string) object {
	_, answer := r.do(key, method, path, body)
	return answer
}

func TestDescribedQueryParametersAreTaken(t *testing.T) {
	r := newFixture(t)
	values := map[string]string{
		"limit": "3", "after": uuid.NewString(), "state": "failed", "receiver": "https://x.example", "type": "Sync Failed",
		"company": uuid.NewString(), "alert": uuid.NewString(), "since": "2026-05-03T09:00:00Z", "until": "2026-05-03T09:00:00Z",
		"client": acme.String(), "reason": "timeout", "status": "5xx", "rule": uuid.NewString(), "body": "true",
		"/issues state": "ended",
	}
	rule := uuid.New()
	r.rules[rule] = acme
	r.publish("Sync Failed")
	r.clients = []herald.Client{{ID: acme}}
	event := r.events[0].ID.String()
	of := func(path string) string {
		for thing, id := range map[string]string{"/events/{id}": event, "/deliveries/{id}": r.deliveries[0].ID.String()} {
			path = strings.Replace(path, thing, strings.Replace(thing, "{id}", id, 1), 1)
		}
		return path
	}
	eachOperation(document(t), func(method, path string, op object) {
		own := func(c aCall) bool { return c.method == method && c.path == path }
		if method != "GET" || !slices.ContainsFunc(calls, own) {
			return
		}
		key := acmeKey
		if strings.HasPrefix(path, "/clients") {
			key = operatorKey
		}
		parameters, _ := op["parameters"].([]any)
		for _, p := range parameters {
			if p := p.(object); p["in"] == "query" {
				name := p["name"].(string)
				value := strings.ReplaceAll(cmp.Or(values[path+" "+name], values[name]), " ", "+")
				if path == "/events/{id}/rules" && name == "after" {
					value = rule.String()
				}
				r.must(http.StatusOK, key, method, of(path)+"?"+name+"="+value, "")
			}
		}
	})
}
