package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/client"
)

const zeroID = "00000000-0000-0000-0000-000000000000"

// decoded decodes a JSON object. The test fails if the text is not one.
func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%q is not JSON: %v", text, err)
	}
	return value
}

// wantError fails unless an answer is an error body as in spec section 3.
func wantError(t *testing.T, what string, status int, header http.Header, body string, want int) map[string]any {
	t.Helper()
	got := decoded(t, body)
	if status != want || got["statusCode"] != float64(want) {
		t.Errorf("%s: %d %s, want %d", what, status, body, want)
	}
	correlation, _ := got["correlationId"].(string)
	if got["service"] == nil || got["error"] == "" || len(correlation) != 32 || got["canBeRetried"] != "Unknown" || got["detailedErrorCode"] != 0.0 {
		t.Errorf("%s: the error body is %s", what, body)
	}
	if header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: Content-Type %q", what, header.Get("Content-Type"))
	}
	return got
}

// itemID returns the member that the first validation item of an error names.
func itemID(body map[string]any) string {
	validation, _ := body["validation"].(map[string]any)
	items, _ := validation["errors"].([]any)
	if len(items) == 0 {
		return ""
	}
	item, _ := items[0].(map[string]any)
	id, _ := item["itemId"].(string)
	return id
}

// TestMinimalRuleIsForAllCompanies is checks B1 and B2.
func TestMinimalRuleIsForAllCompanies(t *testing.T) {
	f := newFixture(t)
	for _, more := range []string{``, `,"companyId":null`, `,"companyId":""`, `,"companyId":"` + zeroID + `"`, `,"unknown":{"is":"ignored"},"id":"x"`} {
		status, _, body := f.call("POST", "/rules", f.account.APIKey, `{"type":"Data sync completed","notifiers":{}`+more+`}`)
		got := decoded(t, body)
		id, _ := got["id"].(string)
		delete(got, "id")
		want := map[string]any{"type": "Data sync completed", "notifiers": map[string]any{"emails": []any{}}}
		if diff := cmp.Diff(want, got); status != 200 || len(id) != 36 || diff != "" {
			t.Errorf("%s: %d, id %q (-want +got):\n%s", more, status, id, diff)
		}
	}
}

// TestEverySpellingIsAccepted is check B3: the answer has the spelling that was posted.
func TestEverySpellingIsAccepted(t *testing.T) {
	f := newFixture(t)
	types, err := f.EventTypes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(types) != 16 { // 14 of the specification, and Herald's own
		t.Errorf("%d types, want 16", len(types))
	}
	for _, kind := range types {
		for _, spelling := range append(kind.Spellings, kind.Name, strings.ToUpper(kind.Name), "  "+strings.ReplaceAll(kind.Name, " ", "  ")) {
			made, err := f.CreateRule(t.Context(), client.Rule{Type: spelling})
			if err != nil || made.Type != spelling {
				t.Errorf("%q: echoed as %q, %v", spelling, made.Type, err)
			}
		}
	}
	for _, retired := range []string{"CompanyStatusChanged", "CurrentAssetsCurrentLiabilitiesRatio(<,1.5)"} {
		if _, err := f.CreateRule(t.Context(), client.Rule{Type: retired}); err != nil {
			t.Errorf("%q: %v", retired, err)
		}
	}
}

// TestRuleIsRefusedWithItsMember is check B4, with more errors: the answer names the wrong member.
func TestRuleIsRefusedWithItsMember(t *testing.T) {
	f := newFixture(t)
	for body, member := range map[string]string{
		`{"type":"No such type"}`:                                                     "type",
		`{"notifiers":{}}`:                                                            "type",
		`{"type":null}`:                                                               "type",
		`{"type":7}`:                                                                  "type",
		`{"type":"Sync Failed","companyId":"x"}`:                                      "companyId",
		`{"type":"Sync Failed","companyId":5}`:                                        "companyId",
		`{"type":"Sync Failed","notifiers":[]}`:                                       "notifiers",
		`{"type":"Sync Failed","notifiers":{"webhook":"/relative"}}`:                  "notifiers.webhook",
		`{"type":"Sync Failed","notifiers":{"webhook":"ftp://a.example/"}}`:           "notifiers.webhook",
		`{"type":"Sync Failed","notifiers":{"webhook":"http://10.0.0.1/"}}`:           "notifiers.webhook",
		`{"type":"Sync Failed","notifiers":{"emails":["nobody"]}}`:                    "notifiers.emails[0]",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test"," , "]}}`:            "notifiers.emails[1]",
		`{"type":"Sync Failed","notifiers":{"emails":"a@x.test"}}`:                    "notifiers.emails",
		`{"type":"Sync Failed","notifiers":{"emails":["a@x.test\r\nBcc: b@x.test"]}}`: "notifiers.emails[0]",
		`{"type":`: "body",
		`[]`:       "body",
		`null`:     "body",
		``:         "body",
	} {
		status, header, answer := f.call("POST", "/rules", f.account.APIKey, body)
		if got := itemID(wantError(t, body, status, header, answer, 400)); got != member {
			t.Errorf("%s: names %q, want %q", body, got, member)
		}
	}
	status, header, answer := f.call("POST", "/rules", f.account.APIKey, `{"type":"`+strings.Repeat("x", 1<<20)+`"}`)
	wantError(t, "a body of a megabyte", status, header, answer, 413)
}

// TestAuthorizationDecidesTheStatus is check B5.
func TestAuthorizationDecidesTheStatus(t *testing.T) {
	f := newFixture(t)
	key := f.account.APIKey
	encode := base64.StdEncoding.EncodeToString
	for header, want := range map[string]int{
		"":                                       401,
		key:                                      401, // raw, not base64
		"Basic " + key:                           401,
		"Basic " + encode([]byte("wrong")):       401,
		"Basic " + encode([]byte(key+":secret")): 401,
		"Basic !!!":                              401,
		"Basic":                                  401,
		"Digest " + encode([]byte(key)):          401,
		"Basic " + encode([]byte(key)):           200,
		"basic " + encode([]byte(key+":")):       200,
		"BASIC " + encode([]byte(":"+key)):       200,
		"Bearer " + key:                          200,
		"Bearer " + operatorKey:                  400, // it must name a client
	} {
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+f.app.Address()+"/rules", nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			request.Header.Set("Authorization", header)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%.40q: %d, want %d", header, response.StatusCode, want)
		}
	}
}

// TestListsArePaged is checks B6 to B9.
func TestListsArePaged(t *testing.T) {
	f := newFixture(t)
	for n := range 90 {
		rule := client.Rule{Type: "Sync Failed"}
		if n%9 == 0 {
			rule.Type, rule.CompanyID = "Data sync completed", company
		}
		if _, err := f.CreateRule(t.Context(), rule); err != nil {
			t.Fatal(err)
		}
	}
	page := func(path string) (map[string]any, int) {
		t.Helper()
		status, _, body := f.call("GET", path, f.account.APIKey, "")
		if status != 200 {
			t.Fatalf("%s: %d %s", path, status, body)
		}
		got := decoded(t, body)
		results, _ := got["results"].([]any)
		return got, len(results)
	}
	got, results := page("/rules?page=5&pageSize=20")
	links := map[string]any{
		"current": map[string]any{"href": "/rules?page=5&pageSize=20"}, "self": map[string]any{"href": "/rules"},
		"previous": map[string]any{"href": "/rules?page=4&pageSize=20"},
	}
	if diff := cmp.Diff(links, got["_links"]); diff != "" || results != 10 || got["totalResults"] != 90.0 || got["pageNumber"] != 5.0 || got["pageSize"] != 20.0 {
		t.Errorf("page 5: %d results of %v; links (-want +got):\n%s", results, got["totalResults"], diff)
	}
	if got, results := page("/rules?query=type%3DData%20sync%20completed&pageSize=4"); results != 4 || got["totalResults"] != 10.0 ||
		got["_links"].(map[string]any)["next"].(map[string]any)["href"] != "/rules?page=2&pageSize=4&query=type%3DData%20sync%20completed" {
		t.Errorf("with a query: %v", got)
	}
	if got, results := page("/rules?companyId=" + company.String()); results != 10 || got["totalResults"] != 10.0 {
		t.Errorf("of a company: %d of %v", results, got["totalResults"])
	}
	if got, results := page("/rules?page=100"); results != 0 || got["totalResults"] != 90.0 {
		t.Errorf("beyond the end: %d of %v", results, got["totalResults"])
	}
	for query, text := range map[string]string{
		"foo=1": "Error parsing query - Could not resolve property foo on Rule", "==": "Error parsing query - Malformed query.",
		"type": "Error parsing query - Malformed query.", "{type=a": "Error parsing query - Malformed query.",
		strings.Repeat("x", 3000): "Error parsing query - Malformed query.",
	} {
		status, header, body := f.call("GET", "/rules?query="+url.QueryEscape(query), f.account.APIKey, "")
		got := wantError(t, query, status, header, body, 400)
		if got["error"] != text {
			t.Errorf("%.20s: %v, want %s", query, got["error"], text)
		}
		if service := got["service"]; service != "ClientsApi" && service != "PullApi" {
			t.Errorf("%.20s: service %v", query, service)
		}
	}
	for _, parameters := range []string{"page=0", "page=x", "pageSize=0", "pageSize=5001", "orderBy=nothing", "companyId=x"} {
		status, header, body := f.call("GET", "/rules?"+parameters, f.account.APIKey, "")
		wantError(t, parameters, status, header, body, 400)
	}
}

// TestRuleIsReplaced is check B10.
func TestRuleIsReplaced(t *testing.T) {
	f := newFixture(t)
	made := f.rule("https://example.com/one", company)
	path := "/rules/" + made.ID.String()
	status, _, body := f.call("PUT", path, f.account.APIKey, `{"id":"`+made.ID.String()+`","type":"Sync Failed","notifiers":{"webhook":"https://example.com/two"}}`)
	want := `{"id":"` + made.ID.String() + `","type":"Sync Failed","notifiers":{"emails":[],"webhook":"https://example.com/two"}}`
	if status != 200 || body != want {
		t.Errorf("PUT: %d %s, want %s", status, body, want)
	}
	status, header, body := f.call("PUT", path, f.account.APIKey, `{"id":"`+uuid.NewString()+`","type":"Sync Failed"}`)
	wantError(t, "another id", status, header, body, 400)
	for _, unknown := range []string{"/rules/" + uuid.NewString(), "/rules/not-a-guid"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			status, header, body := f.call(method, unknown, f.account.APIKey, `{"type":"Sync Failed"}`)
			wantError(t, method+" "+unknown, status, header, body, 404)
		}
	}
	if status, _, body := f.call("DELETE", path, f.account.APIKey, ""); status != 200 || body != "" {
		t.Errorf("DELETE: %d %q, want 200 and nothing", status, body)
	}
	status, header, body = f.call("DELETE", path, f.account.APIKey, "")
	wantError(t, "deleted twice", status, header, body, 404)
}

// TestRateLimitEventsHaveNoCompany is check B18.
func TestRateLimitEventsHaveNoCompany(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, nil)
	status, _, body := f.call("POST", "/rules", f.account.APIKey,
		`{"type":"Rate Limit Reached","companyId":"`+company.String()+`","notifiers":{"webhook":"`+hook.URL+`"}}`)
	if status != 200 || strings.Contains(body, "companyId") {
		t.Errorf("the rule: %d %s, want no companyId", status, body)
	}
	f.ended(f.publish(client.Event{Type: "ClientRateLimitReached", Data: json.RawMessage(`{"DailyQuota":1000,"ExpiresUtc":"2023-05-03T00:00:00Z"}`)}))
	got := string(hook.got()[0].body)
	if strings.Contains(got, "CompanyId") || strings.Contains(got, "DataConnectionId") || !strings.Contains(got, `"Data":{"DailyQuota":1000,`) {
		t.Errorf("delivered %s", got)
	}
}

// TestEmailsAreEchoedAsPosted is the part of check B19 that concerns the rule.
func TestEmailsAreEchoedAsPosted(t *testing.T) {
	f := newFixture(t)
	status, _, body := f.call("POST", "/rules", f.account.APIKey, `{"type":"Sync Failed","notifiers":{"emails":["a@x.test, b@x.test"],"webhook":null}}`)
	if status != 200 || !strings.Contains(body, `"emails":["a@x.test, b@x.test"]`) || strings.Contains(body, "webhook") {
		t.Errorf("%d %s", status, body)
	}
	many := strings.TrimSuffix(strings.Repeat(`"a%d@x.test",`, 51), ",")
	numbers := make([]any, 51)
	for i := range numbers {
		numbers[i] = i
	}
	status, header, body := f.call("POST", "/rules", f.account.APIKey, `{"type":"Sync Failed","notifiers":{"emails":[`+fmt.Sprintf(many, numbers...)+`]}}`)
	wantError(t, "51 addresses", status, header, body, 400)
}

// TestAlertsAreListed is check B20.
func TestAlertsAreListed(t *testing.T) {
	f := newFixture(t)
	rule := f.rule("", uuid.Nil)
	receipt := f.publish(event())
	alert := receipt.AlertIDs[0].String()
	for _, path := range []string{"/rules/alerts", "/rules/" + rule.ID.String() + "/alerts", "/rules/alerts?companyId=" + company.String(),
		"/rules/alerts?query=id%3D" + alert, "/rules/alerts?query=ruleType%3DSync%20Failed", "/rules/alerts?query=id%253D" + alert} {
		status, _, body := f.call("GET", path, f.account.APIKey, "")
		if status != 200 || !strings.Contains(body, `"id":"`+alert+`","alertId":"`+alert+`","ruleId":"`+rule.ID.String()+`","ruleType":"Sync Failed","companyId":"`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	_, _, body := f.call("GET", "/rules/alerts/"+alert, f.account.APIKey, "")
	got := decoded(t, body)
	for member, want := range map[string]any{
		"companyName": nil, "clientName": "Acme", "dataConnectionId": nil, "clientId": f.account.ID.String(),
		"message": "Sync s-1 for company " + company.String() + " of type Expense has failed at step Pushing.",
	} {
		if value, present := got[member]; !present || value != want {
			t.Errorf("%s is %v, want %v", member, value, want)
		}
	}
	if err := f.DeleteRule(t.Context(), rule.ID); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := f.call("GET", "/rules/alerts/"+alert, f.account.APIKey, ""); status != 200 {
		t.Errorf("the alert of a deleted rule: %d, want 200", status)
	}
	for _, path := range []string{"/rules/" + rule.ID.String() + "/alerts", "/rules/alerts/" + uuid.NewString(), "/rules/alerts/x", "/rules/x/alerts", "/rules/x/y"} {
		status, header, body := f.call("GET", path, f.account.APIKey, "")
		wantError(t, path, status, header, body, 404)
	}
}

func TestProfileAndKeys(t *testing.T) {
	f := newFixture(t)
	key := f.account.APIKey
	// As `herald profile set` does for a client that has no redirectUrl yet.
	first, err := f.Profile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.Name = "Acme Limited"; first.RedirectURL != "" {
		t.Errorf("a new client has the redirectUrl %q", first.RedirectURL)
	}
	if saved, err := f.SaveProfile(t.Context(), first); err != nil || saved.Name != first.Name {
		t.Errorf("a new client's profile is saved as %+v, %v", saved, err)
	}
	status, _, body := f.call("PUT", "/profile", key,
		`{"name":"Acme Ltd","redirectUrl":"https://acme.example/{companyId}","logoUrl":"https://acme.example/l.png","apiKey":"ignored","alertAuthHeader":"Bearer x"}`)
	want := `{"name":"Acme Ltd","logoUrl":"https://acme.example/l.png","redirectUrl":"https://acme.example/{companyId}","whiteListUrls":[],"alertAuthHeader":"Bearer x","confirmCompanyName":false}`
	if status != 200 || body != want {
		t.Errorf("PUT /profile: %d %s, want %s", status, body, want)
	}
	if _, _, got := f.call("GET", "/profile", key, ""); got != want {
		t.Errorf("GET /profile: %s, want %s", got, want)
	}
	for _, header := range []string{`"a\r\nb"`, `"ü"`, `"a\u0000"`, `" a"`, `"` + strings.Repeat("a", 5000) + `"`} {
		status, h, body := f.call("PUT", "/profile", key, `{"name":"A","redirectUrl":"https://x.example","alertAuthHeader":`+header+`}`)
		if got := itemID(wantError(t, header, status, h, body, 400)); got != "alertAuthHeader" {
			t.Errorf("%.20s: names %q", header, got)
		}
	}
	status, h, body := f.call("PUT", "/profile/apiKey", key, "")
	wantError(t, "PUT /profile/apiKey", status, h, body, 404)
	if _, _, body := f.call("GET", "/profile/syncSettings", key, ""); decoded(t, body)["clientId"] != f.account.ID.String() {
		t.Errorf("syncSettings: %s", body)
	}
	f.checkKeys()
}

func (f *fixture) checkKeys() {
	t := f.t
	made, err := f.CreateKey(t.Context(), "second", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.as(made.APIKey).Keys(t.Context()); err != nil {
		t.Errorf("the new key does not work: %v", err)
	}
	status, h, body := f.call("POST", "/apiKeys", f.account.APIKey, `{"name":"`+strings.Repeat("n", 51)+`"}`)
	if got := wantError(t, "a long name", status, h, body, 400); got["error"] != "Max string length (50) for `name` reached." {
		t.Errorf("a long name: %v", got["error"])
	}
	for range herald.MaxKeys - 2 {
		if status, _, body := f.call("POST", "/apiKeys", f.account.APIKey, `{}`); status != 201 {
			t.Fatalf("POST /apiKeys: %d %s", status, body)
		}
	}
	status, h, body = f.call("POST", "/apiKeys", f.account.APIKey, `{}`)
	wantError(t, "the eleventh key", status, h, body, 409)
	if status, _, body := f.call("DELETE", "/apiKeys/"+made.ID.String(), made.APIKey, ""); status != 204 || body != "" {
		t.Errorf("a key deletes itself: %d %s", status, body)
	}
	status, h, body = f.call("GET", "/apiKeys", made.APIKey, "")
	wantError(t, "the deleted key", status, h, body, 401)
	status, h, body = f.call("POST", "/events", made.APIKey, `{"type":"Sync Completed"}`)
	wantError(t, "publishing with the deleted key", status, h, body, 401)
}

func TestUnknownPathsAndMethodsHaveTheErrorBody(t *testing.T) {
	f := newFixture(t)
	for path, want := range map[string]int{"GET /nothing": 404, "GET /": 404, "PATCH /rules": 405, "DELETE /profile": 405, "PUT /events": 405, "GET /events/": 404, "GET /EVENTS": 404} {
		method, path, _ := strings.Cut(path, " ")
		status, header, body := f.call(method, path, f.account.APIKey, "")
		wantError(t, method+" "+path, status, header, body, want)
		if want == 405 && header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow header", method, path)
		}
	}
}

// TestEverySpellingOfAPathIsOneRoute: the spellings that callers use make no series of metrics.
func TestEverySpellingOfAPathIsOneRoute(t *testing.T) {
	f := newFixture(t)
	made, header, body := f.call("POST", "/Rules/", f.account.APIKey, `{"type":"Sync Failed"}`)
	if made != 200 || header.Get("Location") != "" {
		t.Errorf("POST /Rules/: %d %s", made, body)
	}
	id, _ := decoded(t, body)["id"].(string)
	for _, path := range []string{"/rules/" + strings.ToUpper(id), "/RULES/" + id + "/Alerts/", "/rules/ALERTS", "/Profile/SyncSettings/", "/apikeys/"} {
		if status, _, body := f.call("GET", path, f.account.APIKey, ""); status != 200 {
			t.Errorf("GET %s: %d %s", path, status, body)
		}
	}
	_, _, metrics := f.call("GET", "/metrics", "", "")
	for _, route := range []string{`"POST /rules"`, `"GET /rules/{ruleId}"`, `"GET /rules/alerts"`, `"GET /profile/syncSettings"`, `"GET /apiKeys"`} {
		if !strings.Contains(metrics, "route="+route) {
			t.Errorf("no metrics of the route %s", route)
		}
	}
	for line := range strings.Lines(metrics) { // the series of no route exists from the start
		if strings.Contains(line, "RULES") || strings.Contains(line, `route="none"`) && !strings.HasSuffix(line, " 0\n") {
			t.Errorf("a spelling is a route of its own, or none: %s", line)
		}
	}
}
