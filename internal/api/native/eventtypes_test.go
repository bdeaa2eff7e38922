package native

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const invoicePaid = `{
	"label": "Invoice paid", "company": true, "connection": false, "message": "Invoice {number} is paid",
	"schema": {"type": "object", "required": ["number"], "properties": {"number": {"type": "string"}}},
	"example": {"number": "A 1"}
}`

func TestAnEventTypeIsAddedAndReplaced(t *testing.T) {
	r := newFixture(t)
	want := object{
		"name": "Invoice paid", "label": "Invoice paid", "spellings": []any{}, "company": true, "connection": false,
		"required": []any{}, "message": "Invoice {number} is paid", "builtIn": false, "example": object{"number": "A 1"},
		"schema": object{"type": "object", "required": []any{"number"}, "properties": object{"number": object{"type": "string"}}},
	}
	if diff := cmp.Diff(want, r.must(http.StatusOK, operatorKey, "PUT", "/eventTypes/Invoice%20paid", invoicePaid)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, r.must(http.StatusOK, acmeKey, "GET", "/eventTypes/Invoice%20paid", "")); diff != "" {
		t.Error(diff)
	}
	r.must(http.StatusOK, operatorKey, "PUT", "/eventTypes/Invoice%20paid", `{"name":"Invoice paid","message":"Paid"}`)
	replaced := object{
		"name": "Invoice paid", "label": "Invoice paid", "spellings": []any{}, "company": false, "connection": false,
		"required": []any{}, "message": "Paid", "builtIn": false,
	}
	if diff := cmp.Diff(replaced, r.must(http.StatusOK, acmeKey, "GET", "/eventTypes/invoice%20PAID", "")); diff != "" {
		t.Error(diff)
	}
	if len(r.eventTypes) != 1 {
		t.Errorf("%d event types are stored", len(r.eventTypes))
	}
}

func TestTheCatalogueIsListed(t *testing.T) {
	r := newFixture(t)
	r.must(http.StatusOK, operatorKey, "PUT", "/eventTypes/Invoice%20paid", invoicePaid)
	for _, key := range []string{operatorKey, acmeKey} {
		types := r.must(http.StatusOK, key, "GET", "/eventTypes", "")["results"].([]any)
		if last := types[len(types)-1].(object); last["name"] != "Invoice paid" {
			t.Errorf("the last type is %v", last["name"])
		}
		first := types[0].(object)
		if first["builtIn"] != true || len(first["spellings"].([]any)) == 0 || len(first["required"].([]any)) == 0 || first["example"] == nil {
			t.Errorf("the first type is %v", first)
		}
	}
}

func TestATypeIsFoundByAnySpelling(t *testing.T) {
	r := newFixture(t)
	for _, spelling := range []string{"Push%20Operation%20Status%20Changed()", "push-operation-complete", "PUSH%20OPERATION%20%20STATUS%20CHANGED"} {
		if got := r.must(http.StatusOK, acmeKey, "GET", "/eventTypes/"+spelling, "")["name"]; got != "Push Operation Status Changed()" {
			t.Errorf("%s is %v", spelling, got)
		}
	}
	// Rules may have a retired type; events may not.
	for _, name := range []string{"unheard-of", "CompanyStatusChanged"} {
		r.refused(http.StatusNotFound, "", "no event type", acmeKey, "GET", "/eventTypes/"+name, "")
	}
}

func TestAWrongEventTypeIsRefused(t *testing.T) {
	r := newFixture(t)
	r.must(http.StatusOK, operatorKey, "PUT", "/eventTypes/Invoice%20paid", invoicePaid)
	for _, test := range []struct {
		path, body   string
		status       int
		member, text string
	}{
		{"Sync%20Failed", `{}`, http.StatusConflict, "", "built-in type"},
		{"sync-failed", `{}`, http.StatusConflict, "", "Sync Failed"},
		{"INVOICE%20PAID", `{}`, http.StatusConflict, "", `another spelling of the event type "Invoice paid"`},
		{"x", `{"name":"y"}`, http.StatusBadRequest, "name", "not the name in the path"},
		{"x%ff", `{}`, http.StatusBadRequest, "name", "not UTF-8"},
		{"x", `{"title":"y"}`, http.StatusBadRequest, "title", "no such member; there are name, label"},
		{"x", `{"builtIn":true}`, http.StatusBadRequest, "builtIn", "no such member"},
		{"x", `{"company":"yes"}`, http.StatusBadRequest, "company", "want true or false"},
		{"x", `{"schema":true}`, http.StatusBadRequest, "schema", "want an object"},
		{"x", `{"schema":{"type":"text"}}`, http.StatusBadRequest, "schema", "not a JSON Schema"},
		{"x", `{"schema":{"type":"object","type":"string"}}`, http.StatusBadRequest, "schema.type", "twice"},
		{"x", `{"schema":{"required":["n"]},"example":{}}`, http.StatusBadRequest, "example", "does not meet"},
		{"x", `{"message":"{n"}`, http.StatusBadRequest, "message", "not closed"},
		{"x", `{"label":"` + strings.Repeat("x", 101) + `"}`, http.StatusBadRequest, "label", "100"},
		{"x%00", `{}`, http.StatusBadRequest, "name", "U+0000"},
	} {
		r.refused(test.status, test.member, test.text, operatorKey, "PUT", "/eventTypes/"+test.path, test.body)
	}
	if len(r.eventTypes) != 1 {
		t.Errorf("%d event types are stored", len(r.eventTypes))
	}
}

func TestAnEventTypeIsDeleted(t *testing.T) {
	r := newFixture(t)
	r.must(http.StatusOK, operatorKey, "PUT", "/eventTypes/Invoice%20paid", invoicePaid)
	r.typeInUse = true
	r.refused(http.StatusConflict, "", "2 rules of 1 client", operatorKey, "DELETE", "/eventTypes/Invoice%20paid", "")
	r.typeInUse = false
	for path, test := range map[string]struct {
		status int
		text   string
	}{
		"Sync%20Failed": {http.StatusConflict, "built-in"},
		"sync-failed":   {http.StatusConflict, "built-in"},
		"Invoce%20paid": {http.StatusNotFound, `Did you mean "Invoice paid"?`},
		"x%00":          {http.StatusNotFound, "no event type"},
	} {
		r.refused(test.status, "", test.text, operatorKey, "DELETE", "/eventTypes/"+path, "")
	}
	if answer := r.must(http.StatusNoContent, operatorKey, "DELETE", "/eventTypes/INVOICE%20paid", ""); answer != nil || len(r.eventTypes) != 0 {
		t.Errorf("deleting answers %v and leaves %v", answer, r.eventTypes)
	}
	r.refused(http.StatusNotFound, "", "no event type", operatorKey, "DELETE", "/eventTypes/Invoice%20paid", "")
}

func TestAMisspeltTypeIsToldTheRightOne(t *testing.T) {
	r := newFixture(t)
	r.refused(http.StatusNotFound, "", `Did you mean "Sync Failed"?`, acmeKey, "GET", "/eventTypes/Sync%20Faild", "")
	r.refused(http.StatusBadRequest, "type", `Did you mean "Sync Failed"?`, acmeKey, "GET", "/deliveries?type=Sync+Faild", "")
}

func TestTheServiceSaysWhetherItSendsMail(t *testing.T) {
	r := newFixture(t)
	for _, key := range []string{operatorKey, acmeKey} {
		if answer := r.must(http.StatusOK, key, "GET", "/capabilities", ""); answer["mail"] != true {
			t.Errorf("answers %v", answer)
		}
	}
}
