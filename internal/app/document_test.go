package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"herald"
	"herald/internal/app"
)

// walker makes every call of the OpenAPI document, in many forms, and checks the answers against it.
type walker struct {
	*fixture
	document map[string]any
	schemas  *jsonschema.Compiler
	keys     map[string]string          // by who has it; "" has none
	made     int                        // requests
	undo     map[string]func(id string) // by call: deletes what it has made, of which there is a limit
	seen     map[string]bool            // operation and status
}

const documentURL = "https://herald.example/openapi.json"

func newWalker(t *testing.T, setUp func(*app.Config)) *walker {
	t.Helper()
	// Each request comes from an address of its own, so that wrong keys are not slowed down.
	f := newFixture(t, setUp, func(c *app.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	w := &walker{fixture: f, schemas: jsonschema.NewCompiler(), seen: make(map[string]bool)}
	_, _, text := f.call("GET", "/openapi.json", "", "")
	w.document = decoded(t, text)
	w.schemas.AssertFormat()
	if err := w.schemas.AddResource(documentURL, w.document); err != nil {
		t.Fatal(err)
	}
	analyst, err := f.CreateKey(t.Context(), "analyst", "analyst")
	if err != nil {
		t.Fatal(err)
	}
	w.keys = map[string]string{"": "", "nobody": "wrong", "operator": operatorKey, "client": f.account.APIKey, "analyst": analyst.APIKey}
	return w
}

// operation is one call of the document.
type operation struct {
	method, path, id string
	document         map[string]any
	pointer          string // to it in the document
}

func (w *walker) operations() []operation {
	var all []operation
	for path, item := range w.document["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			o := operation{method: strings.ToUpper(method), path: path, document: op.(map[string]any)}
			o.id, _ = o.document["operationId"].(string)
			o.pointer = "#/paths/" + strings.ReplaceAll(path, "/", "~1") + "/" + method
			all = append(all, o)
		}
	}
	// The calls that delete come last, so that the others have something to be about.
	slices.SortFunc(all, func(a, b operation) int {
		if a.deletes() != b.deletes() {
			return map[bool]int{true: 1, false: -1}[a.deletes()]
		}
		return strings.Compare(a.path+a.method, b.path+b.method)
	})
	return all
}

func (o *operation) deletes() bool { return o.method == http.MethodDelete }

// key is who may make the call.
func (o *operation) key() string {
	switch description, _ := o.document["description"].(string); {
	case strings.Contains(description, "Needs the operator's key"):
		return "operator"
	default:
		return "client"
	}
}

// request is one form of a call.
type request struct {
	who, path, kind, body string
	chunked               bool
}

// send makes a call in one form. It fails unless the document has the answer. It returns the status
// and the members that an error names.
func (w *walker) send(o operation, r request) (int, []string) {
	w.t.Helper()
	w.made++
	body := io.Reader(strings.NewReader(strings.Replace(r.body, `"idempotencyKey":"k`, fmt.Sprintf(`"idempotencyKey":"k%d`, w.made), 1)))
	if r.chunked {
		body = io.MultiReader(body) // of unknown length
	}
	asked, err := http.NewRequestWithContext(w.t.Context(), o.method, "http://"+w.app.Address(), body)
	if err != nil {
		w.t.Fatal(err)
	}
	path, query, _ := strings.Cut(r.path, "?")
	asked.URL.Opaque, asked.URL.RawQuery = "//"+w.app.Address()+path, query
	asked.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.%d.%d", w.made/250, w.made%250+1))
	if r.kind != "" {
		asked.Header.Set("Content-Type", r.kind)
	}
	if key := w.keys[r.who]; key != "" {
		asked.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := http.DefaultClient.Do(asked)
	if err != nil {
		w.t.Fatalf("%s %.100s: %v", o.method, r.path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	what := fmt.Sprintf("%s %.100s as %q with %q %.100q: %d %.300s", o.method, r.path, r.who, r.kind, r.body, response.StatusCode, text)
	if response.StatusCode >= 500 {
		w.t.Errorf("%s: a fault of the service", what)
	}
	w.seen[fmt.Sprint(o.id, " ", response.StatusCode)] = true
	w.check(o, what, response, text)
	if undo := w.undo[o.id]; undo != nil && response.StatusCode < 300 {
		id, _ := decoded(w.t, string(text))["id"].(string)
		undo(id)
	}
	var failure struct {
		Validation struct{ Errors []struct{ ItemID string } }
	}
	if response.StatusCode >= 400 {
		if err := json.Unmarshal(text, &failure); err != nil {
			w.t.Errorf("%s: %v", what, err)
		}
	}
	var members []string
	for _, e := range failure.Validation.Errors {
		members = append(members, e.ItemID)
	}
	return response.StatusCode, members
}

// check compares an answer with what the document says of it.
func (w *walker) check(o operation, what string, response *http.Response, body []byte) {
	w.t.Helper()
	status := fmt.Sprint(response.StatusCode)
	pointer := o.pointer + "/responses/" + status
	described, ok := o.document["responses"].(map[string]any)[status].(map[string]any)
	if !ok {
		w.t.Errorf("%s: the document has no such status", what)
		return
	}
	if ref, ok := described["$ref"].(string); ok {
		pointer = ref
		described = w.document["components"].(map[string]any)["responses"].(map[string]any)[ref[strings.LastIndex(ref, "/")+1:]].(map[string]any)
	}
	content, _ := described["content"].(map[string]any)
	if len(content) == 0 {
		if len(body) > 0 {
			w.t.Errorf("%s: the document has no body", what)
		}
		return
	}
	kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if content[kind] == nil {
		w.t.Errorf("%s: Content-Type %q, and the document has %v", what, kind, slices.Collect(maps.Keys(content)))
		return
	}
	if kind != "application/json" {
		return
	}
	schema, err := w.schemas.Compile(documentURL + pointer + "/content/application~1json/schema")
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
}

// TestEveryAnswerIsInTheDocument makes every call of the OpenAPI document with right and with wrong
// input, with every kind of key. Each status and each body must be described, and none be a 5xx.
func TestEveryAnswerIsInTheDocument(t *testing.T) {
	onBothDatabases(t, testEveryAnswerIsInTheDocument)
}

func testEveryAnswerIsInTheDocument(t *testing.T, setUp func(*app.Config)) {
	w := newWalker(t, setUp)
	e := w.examples()
	for _, o := range w.operations() {
		path := e.path(o)
		right := request{who: o.key(), path: path + e.queries[o.id], body: e.bodies[o.id]}
		if right.body != "" {
			right.kind = "application/json"
		} else if o.requestSchema() != nil {
			t.Fatalf("%s: give it a body in examples", o.id)
		}
		if o.deletes() {
			w.wrongForms(o, right) // before what the path names is deleted
		}
		if status, _ := w.send(o, right); status >= 300 && (o.id != "takeBackup" || w.config.Database == "") {
			t.Errorf("%s with right input: %d", o.id, status)
		}
		if !o.deletes() {
			w.wrongInput(o, right)
			w.wrongForms(o, right)
		}
		w.wrongMethods(o, path)
	}
	t.Logf("%d requests, %d pairs of call and status", w.made, len(w.seen))
}

// wrongForms are wrong keys, ids, parameters and media types.
func (w *walker) wrongForms(o operation, right request) {
	for who := range w.keys {
		if r := right; who != r.who || !o.deletes() {
			r.who = who
			if o.deletes() {
				r.path = withIDs(o.path, uuid.NewString())
			}
			w.send(o, r)
		}
	}
	if strings.Contains(o.path, "{") {
		for _, id := range []string{uuid.NewString(), zeroID, "x", "7", "%00", "%ff", "%2F", "null", strings.Repeat("9", 3000), "%7B" + uuid.NewString() + "%7D"} {
			r := right
			r.path = withIDs(o.path, id)
			w.send(o, r)
		}
	}
	harmless := right
	if o.deletes() {
		harmless.path = withIDs(o.path, uuid.NewString())
	}
	for _, query := range []string{"colour=red", "=", "&&", "%zz=1", "a;b", "%00=%00", strings.Repeat("x", 3000) + "=1"} {
		r := harmless
		r.path = strings.Split(r.path, "?")[0] + "?" + query
		w.send(o, r)
	}
	for name := range o.parameters() {
		for _, value := range []string{"", "x", "-1", "0", "1.5", "99999999999999999999", "null", "%00", "%ff", "%F0%9F%98%80", zeroID, uuid.NewString(), "2026-02-30T00:00:00Z", "%7B%7B", "-", "true", strings.Repeat("9", 3000)} {
			r := harmless
			r.path = strings.Split(r.path, "?")[0] + "?" + name + "=" + value
			w.send(o, r)
			r.path += "&" + name + "=" + value
			w.send(o, r)
		}
	}
	for _, kind := range []string{"", "text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"} {
		r := harmless
		r.kind = kind
		w.send(o, r)
	}
}

// wrongInput are wrong bodies: of all kinds, and wrong in each member.
func (w *walker) wrongInput(o operation, right request) {
	tooLarge := 1 << 20
	if o.id == "publish" {
		tooLarge = herald.MaxPublishSize
	}
	for _, body := range []string{"", " ", "null", "[]", "[null]", "{}", "7", `"x"`, "true", "{", "{}{}", `{"a":`, "\xff", `{"a":"\xff"}`, "\ufeff{}", `{"":1}`,
		strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 20_000), `{"x":"` + strings.Repeat("x", tooLarge) + `"}`} {
		r := right
		r.body, r.kind = body, "application/json"
		w.send(o, r)
		if len(body) < 100 {
			r.chunked = true
			w.send(o, r)
		}
	}
	schema := o.requestSchema()
	if schema == nil {
		return
	}
	if !w.seen[o.id+" 400"] || !w.seen[o.id+" 413"] {
		w.t.Errorf("%s takes a body, whatever it is", o.id)
	}
	w.wrongMembers(o, right, w.resolve(schema), func(change func(map[string]any)) string {
		body := decoded(w.t, right.body)
		change(body)
		return encoded(w.t, body)
	}, "")
}

// wrongMembers sends a body with each member of an object left out, wrong, and unknown. build returns
// the body after a change of that object.
func (w *walker) wrongMembers(o operation, right request, schema map[string]any, build func(change func(map[string]any)) string, at string) {
	properties, _ := schema["properties"].(map[string]any)
	if len(properties) == 0 {
		w.t.Fatalf("%s%s: no members in %v", o.id, at, schema)
	}
	send := func(body string) (int, []string) {
		r := right
		r.body = body
		return w.send(o, r)
	}
	send(build(func(m map[string]any) { m["colour"] = "red" }))
	for name, property := range properties {
		without, _ := send(build(func(m map[string]any) { delete(m, name) }))
		for _, wrong := range []any{7, -1.5, "", " ", "x", "\x00", "é", true, []any{}, []any{nil}, []any{7}, map[string]any{}, map[string]any{"a": 1}, zeroID, strings.Repeat("x", 300), strings.Repeat("x", 70_000), "javascript:alert(1)", "0000-00-00"} {
			send(build(func(m map[string]any) { m[name] = wrong }))
		}
		body := build(func(map[string]any) {})
		if value, ok := decodedMember(w.t, body, name); ok {
			send(strings.Replace(body, `"`+name+`":`, `"`+name+`":`+value+`,"`+name+`":`, 1)) // twice
		}
		// A null is declared exactly where it is taken, and then is as good as nothing.
		status, members := send(build(func(m map[string]any) { m[name] = nil }))
		if declared := w.takesNull(property.(map[string]any)); declared && status != without || !declared && status < 400 {
			w.t.Errorf("%s: null for %s%s is declared %v: %d %v, and %d without the member", o.id, at, name, declared, status, members, without)
		}
		inner := w.resolve(property.(map[string]any))
		if _, nested := inner["properties"]; nested {
			w.wrongMembers(o, right, inner, func(change func(map[string]any)) string {
				return build(func(m map[string]any) {
					object, ok := m[name].(map[string]any)
					if !ok {
						w.t.Fatalf("%s: give %s in examples", o.id, name)
					}
					change(object)
				})
			}, strings.TrimPrefix(at+"."+name, "."))
		}
	}
}

// wrongMethods: what a path does not take is a 405 that says what it takes.
func (w *walker) wrongMethods(o operation, path string) {
	w.t.Helper()
	item := w.document["paths"].(map[string]any)[o.path].(map[string]any)
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} {
		if item[strings.ToLower(method)] != nil {
			continue
		}
		w.made++
		status, header, body := w.call(method, path, w.keys[o.key()], "{}")
		wantError(w.t, method+" "+path, status, header, body, http.StatusMethodNotAllowed)
		var allow []string
		for allowed := range item {
			allow = append(allow, strings.ToUpper(allowed))
			if allowed == "get" {
				allow = append(allow, "HEAD")
			}
		}
		slices.Sort(allow)
		if want := strings.Join(allow, ", "); header.Get("Allow") != want {
			w.t.Errorf("%s %s: Allow %q, want %q", method, path, header.Get("Allow"), want)
		}
	}
}
