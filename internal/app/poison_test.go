package app_test

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald/internal/app"
)

// contract is the part of the OpenAPI document that the test needs.
type contract struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Name, In string
			Schema   struct{ Type, Format string }
		}
		RequestBody struct {
			Content map[string]struct{ Schema schema }
		}
	}
	Components struct{ Schemas map[string]schema }
}

type schema struct {
	Ref        string `json:"$ref"`
	OneOf      []schema
	Properties map[string]json.RawMessage
}

// members returns the members of a request's body.
func (c *contract) members(s schema) (names []string) {
	if name, is := strings.CutPrefix(s.Ref, "#/components/schemas/"); is {
		s = c.Components.Schemas[name]
	}
	for _, one := range s.OneOf {
		names = append(names, c.members(one)...)
	}
	for name := range s.Properties {
		names = append(names, name)
	}
	return names
}

// TestPoisonIsNeverAFault makes every call of the OpenAPI document, so that it covers new calls
// too. Every parameter and every member gets bytes that no database stores, wrong types and invalid
// JSON. No answer may be a 5xx.
func TestPoisonIsNeverAFault(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { poison(t) })
	t.Run("PostgreSQL", func(t *testing.T) { poison(t, onPostgres(t)) })
}

func poison(t *testing.T, change ...func(*app.Config)) {
	f := newFixture(t, change...)
	rule := f.rule("", uuid.Nil)
	var c contract
	_, _, text := f.call("GET", "/openapi.json", "", "")
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	tried := 0
	try := func(method, target, body string) {
		t.Helper()
		for _, key := range []string{f.account.APIKey, operatorKey} {
			tried++
			if status, _, answer := f.call(strings.ToUpper(method), target, key, body); status >= 500 {
				t.Errorf("%s %s %.200q: %d %.300s", method, target, body, status, answer)
			}
		}
	}
	inURL := []string{"%00", "%ff", "a%00b", "%ed%a0%80", "%27%22%5c%3b--", url.QueryEscape(strings.Repeat("\U0001f389", 3000)), "-1", "99999999999999999999", "*"}
	values := []string{
		`"\u0000"`, `"a\u0000b"`, `"\ud800"`, "\"\xff\"", `"` + strings.Repeat("x", 70_000) + `"`, `""`, `null`, `true`, `-1e999`, `[]`, `["\u0000"]`, `[["x"]]`,
		`{}`, `{"\u0000":"\u0000"}`, `{"webhook":"\u0000","emails":["\u0000"]}`, `{"webhook":"https://\ud800/"}`, strings.Repeat("[", 20_000), `"x" "y"`,
	}
	placeholder := regexp.MustCompile(`\{\w+\}`)
	for path, methods := range c.Paths {
		known := placeholder.ReplaceAllString(path, rule.ID.String())
		for method, op := range methods {
			for _, bad := range inURL {
				if known != path {
					try(method, placeholder.ReplaceAllString(path, bad), `{}`)
				}
				for _, p := range op.Parameters {
					if p.In == "query" {
						try(method, known+"?"+p.Name+"="+bad, `{}`)
					}
				}
				try(method, known+"?query=message~"+bad, `{}`)
				try(method, known+"?query=type%3D"+bad, `{}`)
			}
			for _, member := range c.members(op.RequestBody.Content["application/json"].Schema) {
				for _, value := range values {
					try(method, known, `{"`+member+`":`+value+`}`)
					try(method, known, `{"type":"Sync Completed","name":"x","`+member+`":`+value+`}`)
				}
			}
		}
	}
	if tried < 1000 {
		t.Errorf("only %d calls were tried", tried)
	}
}
