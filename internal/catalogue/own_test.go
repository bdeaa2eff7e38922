package catalogue_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

func own(t testing.TB, spec herald.EventType) *catalogue.Type {
	t.Helper()
	if err := catalogue.Check(spec); err != nil {
		t.Fatal(err)
	}
	c, err := catalogue.New([]herald.EventType{spec}, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, ok := c.Lookup(spec.Name)
	if !ok {
		t.Fatalf("%s is not in the catalogue", spec.Name)
	}
	return k
}

func TestTemplateIsFilled(t *testing.T) {
	data := `{"n":1e3,"big":12345678901234567890,"s":"a \"b\"","yes":true,"none":null,"list":[1,"x"],"in":{"side":{"deep":"d"}},"platformKey":"xero"}`
	for template, want := range map[string]string{
		"plain":                        "plain",
		"{n} {big}":                    "1e3 12345678901234567890",
		"{ s }":                        `a "b"`,
		"{yes}{none}{missing}.":        "true.",
		"{list}":                       `[1,"x"]`,
		"{in.side.deep} {in.no} {s.x}": "d  ",
		"{in}":                         `{"side":{"deep":"d"}}`,
		"{platformName}":               "xero",
		"{dataConnectionId}":           "ee2eb431-c0fa-4dc9-93fa-d29781c12bcd",
		"{companyId}|":                 "|",
		"{timestamp}":                  "2026-11-23T08:00:00Z",
	} {
		k := own(t, herald.EventType{Name: "Own", Message: template})
		e := herald.Event{Data: json.RawMessage(data), ConnectionID: uuid.MustParse("ee2eb431-c0fa-4dc9-93fa-d29781c12bcd"),
			OccurredAt: time.Date(2026, 11, 23, 9, 0, 0, 5, time.FixedZone("", 3600))}
		if got := k.Message(e); got != want {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
		if k.MessageTemplate() != template {
			t.Errorf("the template is given back as %q, not %q", k.MessageTemplate(), template)
		}
	}
}

func TestTemplateErrorsSayWhere(t *testing.T) {
	for template, says := range map[string]string{
		"a {b":      "{b is not closed",
		"a } b":     "} without a {",
		"{}":        "names no member",
		"{ }":       "names no member",
		"{a{b}}":    "names no member",
		"{a} b } c": "} without a {",
		"a\x00b":    "U+0000",
	} {
		err := catalogue.Check(herald.EventType{Name: "Own", Message: template})
		if member(err) != "message" || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want one that says %q", template, err, says)
		}
	}
}

func TestFormatsAreAsserted(t *testing.T) {
	for format, values := range map[string][2]string{
		"date-time": {"2026-11-23T08:00:00Z", "2026-11-23"},
		"date":      {"2026-11-23", "2026-02-30"},
		"uuid":      {"54afd9ed-9a2e-4a0a-a4f1-1b5b2f0d6c1e", "54afd9ed"},
		"email":     {"a@example.com", "a at example"},
		"uri":       {"https://example.com/x", "no uri"},
		"ipv4":      {"192.0.2.1", "192.0.2.256"},
	} {
		k := own(t, herald.EventType{Name: "Own", Schema: json.RawMessage(`{"properties":{"v":{"format":"` + format + `"}}}`)})
		if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, `{"v":"`+values[0]+`"}`)); err != nil {
			t.Errorf("%s %s: %v", format, values[0], err)
		}
		if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, `{"v":"`+values[1]+`"}`)); member(err) != "data.v" {
			t.Errorf("%s %s: %v", format, values[1], err)
		}
	}
}

func TestSchemaErrorsNameThePathInTheData(t *testing.T) {
	schema := `{"$defs":{"line":{"type":"object","required":["sku"],"properties":{"sku":{"type":"string","minLength":2}}}},
		"type":"object","required":["lines"],"additionalProperties":false,
		"properties":{"lines":{"type":"array","items":{"$ref":"#/$defs/line"}},"kind":{"enum":["a","b"]},"pair":{"prefixItems":[{"type":"string"}]}}}`
	k := own(t, herald.EventType{Name: "Own", Schema: json.RawMessage(schema), Example: json.RawMessage(`{"lines":[]}`)})
	for data, want := range map[string][2]string{
		``:                                     {"data", "lines"},
		`null`:                                 {"data", "lines"},
		`{}`:                                   {"data", "lines"},
		`{"lines":[{"sku":"ab"},{"sku":"a"}]}`: {"data.lines.1.sku", "minLength: got 1, want 2"},
		`{"lines":[{}]}`:                       {"data.lines.0", "sku"},
		`{"lines":[],"kind":"c"}`:              {"data.kind", "'a'"},
		`{"lines":[],"more":1}`:                {"data", "more"},
		`{"lines":[],"pair":[1]}`:              {"data.pair.0", "string"}, // 2020-12's prefixItems
	} {
		err := k.Validate(catalogue.NewBudget(t.Context()), event(k, data))
		if member(err) != want[0] || !strings.Contains(err.Error(), want[1]) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v (%s), want one line about %s that says %s", data, err, member(err), want[0], want[1])
		}
	}
	if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, `{"lines":[{"sku":"ab"}]}`)); err != nil {
		t.Error(err)
	}
}

// TestSchemasStayInside: a schema cannot make the service read files or make requests, and
// an error does not contain the service's working directory.
func TestSchemasStayInside(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(dir, "testdata-schema.json")
	for _, schema := range []string{
		`{"$ref":"https://example.com/s.json"}`, `{"$ref":"file:///etc/passwd"}`, `{"$ref":"` + filepath.Base(beside) + `"}`, `{"$ref":"../x"}`,
		`{"$schema":"https://example.com/meta"}`, `{"properties":{"a":{"$ref":"urn:x:y"}}}`, `{"$ref":"#/nowhere"}`, `{"type":"nonsense"}`, `7`, `{`, `{"pattern":"("}`,
		`{"$id":"http://example.com/a","$ref":"b"}`,
	} {
		err := catalogue.Check(herald.EventType{Name: "Own", Schema: json.RawMessage(schema)})
		if member(err) != "schema" {
			t.Errorf("%s: %v, want one about the schema", schema, err)
			continue
		}
		if text := err.Error(); strings.Contains(text, dir) || strings.Contains(text, filepath.Dir(dir)) || strings.Contains(text, "\n") {
			t.Errorf("%s: the error is more than a line or shows the service's directory: %q", schema, text)
		}
	}
}

func TestSchemaThatMeetsItselfEnds(t *testing.T) {
	err := catalogue.Check(herald.EventType{Name: "Own", Schema: json.RawMessage(`{"$ref":"#"}`)})
	if member(err) == "" {
		t.Errorf("a schema that only refers to itself: %v", err)
	}
	k := own(t, herald.EventType{Name: "Own", Schema: json.RawMessage(`{"properties":{"child":{"$ref":"#"}},"maxProperties":1}`)})
	if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, `{"child":{"child":{"a":1,"b":2}}}`)); member(err) != "data.child.child" {
		t.Errorf("a tree: %v", err)
	}
}

func TestOwnTypesHaveLimits(t *testing.T) {
	for name, spec := range map[string]herald.EventType{
		"name":    {Name: strings.Repeat("é", 101)},
		"label":   {Name: "Own", Label: strings.Repeat("é", 101)},
		"message": {Name: "Own", Message: strings.Repeat("é", 1001)},
		"schema":  {Name: "Own", Schema: json.RawMessage(`{"title":"` + strings.Repeat("x", 64<<10) + `"}`)},
	} {
		if err := catalogue.Check(spec); member(err) != name {
			t.Errorf("too long a %s: %v", name, err)
		}
	}
	atTheLimit := herald.EventType{Name: strings.Repeat("é", 100), Label: strings.Repeat("é", 100), Message: strings.Repeat("é", 1000)}
	if err := catalogue.Check(atTheLimit); err != nil {
		t.Error(err)
	}
	if err := catalogue.Check(herald.EventType{Name: "Own", Label: "a\x1b[31m"}); member(err) != "label" {
		t.Errorf("a label with a control character: %v", err)
	}
}

func TestBuiltInSpellingsAreTaken(t *testing.T) {
	names := []string{"CompanyStatusChanged", "CurrentAssetsCurrentLiabilitiesRatio(<,1)", "data  SYNC completed"}
	for _, k := range builtin(t).Types() {
		names = append(append(names, k.Name, strings.ToUpper(k.Name)), k.Spellings...)
	}
	for _, name := range names {
		if err := catalogue.Check(herald.EventType{Name: name}); herald.CodeOf(err) != herald.CodeConflict {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
}

func TestOwnTypesFollowTheBuiltInOnesByName(t *testing.T) {
	c, err := catalogue.New([]herald.EventType{{Name: "Zebra"}, {Name: "Ant", Label: "An ant", Company: true}}, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	types := c.Types()
	ant, zebra := types[len(types)-2], types[len(types)-1]
	if ant.Name != "Ant" || ant.Label != "An ant" || zebra.Label != "Zebra" || zebra.Delivered != "Zebra" || zebra.BuiltIn {
		t.Errorf("the last ones are %+v and %+v", ant, zebra)
	}
	if ant.Spec() == nil || ant.Spec().Label != "An ant" || zebra.Spec().Label != "" || types[0].Spec() != nil {
		t.Error("an own type does not give back what the operator gave")
	}
	if got := member(ant.Validate(catalogue.NewBudget(t.Context()), herald.Event{})); got != "companyId" {
		t.Errorf("an ant without a company: names %q", got)
	}
	if err := zebra.Validate(catalogue.NewBudget(t.Context()), herald.Event{CompanyID: uuid.New(), Data: json.RawMessage(`{"any":"thing"}`)}); err != nil {
		t.Errorf("an own type without a schema refuses data: %v", err)
	}
}

// TestNumbersOutOfReachAreRefused: the library checks schemas with exact fractions. A few
// bytes can make it allocate megabytes or fail.
func TestNumbersOutOfReachAreRefused(t *testing.T) {
	schema := json.RawMessage(`{"properties":{"n":{"minimum":-1e400},"l":{"items":{"multipleOf":3}}}}`)
	k := own(t, herald.EventType{Name: "Own", Schema: schema, Example: json.RawMessage(`{"n":1e400,"l":[3e-0,` + strings.Repeat("3", 400) + `]}`)})
	for data, want := range map[string]string{
		`{"n":1e401}`:                                "data.n",
		`{"n":-1E-401}`:                              "data.n",
		`{"n":1e+10000000}`:                          "data.n",
		`{"n":1e99999999999999999999}`:               "data.n",
		`{"l":[3,` + strings.Repeat("3", 401) + `]}`: "data.l.1",
		`{"more":{"m":[{"x":1e999999}]}}`:            "data.more.m.0.x",
	} {
		if err := k.Validate(catalogue.NewBudget(t.Context()), event(k, data)); member(err) != want || len(err.Error()) > 500 {
			t.Errorf("%.50s: %.600v, want a short error about %s", data, err, want)
		}
	}
	for schema, path := range map[string]string{
		`{"minimum":1e10000000}`:                       "schema.minimum",
		`{"multipleOf":1e-10000000}`:                   "schema.multipleOf",
		`{"properties":{"n":{"enum":[1,1e10000000]}}}`: "schema.properties.n.enum.1",
	} {
		err := catalogue.Check(herald.EventType{Name: "Own", Schema: json.RawMessage(schema)})
		if member(err) != "schema" || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: %v, want one about %s", schema, err, path)
		}
	}
	if err := catalogue.Check(herald.EventType{Name: "Own", Schema: schema, Example: json.RawMessage(`{"n":1e999}`)}); member(err) != "example" {
		t.Errorf("an example out of reach: %v", err)
	}
}

// TestErrorsStayShort: an error must not repeat a megabyte of input.
func TestErrorsStayShort(t *testing.T) {
	long := strings.Repeat("é", 100_000)
	k := own(t, herald.EventType{Name: "Own", Schema: json.RawMessage(`{"properties":{"d":{"format":"date"}},"additionalProperties":{"type":"string"}}`)})
	for _, data := range []string{`{"d":"` + long + `"}`, `{"` + long + `":1}`, `{"` + long + `":1e999}`} {
		err := k.Validate(catalogue.NewBudget(t.Context()), event(k, data))
		if err == nil || len(err.Error()) > 2000 || len(member(err)) > 1000 || !utf8.ValidString(err.Error()) {
			t.Errorf("%.20s…: an error of %d bytes about a member of %d", data, len(err.Error()), len(member(err)))
		}
	}
	status := kind(t, "Push Operation Status Changed()")
	if err := status.Validate(catalogue.NewBudget(t.Context()), event(status, `{"dataType":"a","pushOperationKey":"k","status":"`+long+`"}`)); err == nil || len(err.Error()) > 2000 {
		t.Errorf("a long status: an error of %d bytes", len(err.Error()))
	}
}

// FuzzOwnType: no definition by an operator causes a panic, and every definition that Check
// accepts is usable.
func FuzzOwnType(f *testing.F) {
	f.Add("{a.b} at {timestamp}", `{"type":"object"}`, `{"a":{"b":"\u0000"}}`)
	f.Add("{", `{"$ref":"#"}`, `[]`)
	f.Add("}{", `{"pattern":"("}`, `null`)
	f.Add("a\x00", `{"$dynamicRef":"#x"}`, ``)
	f.Add("{n}", `{"multipleOf":3}`, `1e10000000`)
	f.Fuzz(func(t *testing.T, message, schema, data string) {
		spec := herald.EventType{Name: "Own", Message: message, Schema: json.RawMessage(schema)}
		if err := catalogue.Check(spec); err != nil {
			spec.Schema = nil
			if err = catalogue.Check(spec); err != nil {
				return
			}
		}
		c, err := catalogue.New([]herald.EventType{spec}, catalogue.Options{})
		if err != nil {
			t.Fatalf("it passed Check: %v", err)
		}
		k, _ := c.Lookup("own")
		e := event(k, data)
		_ = k.Validate(catalogue.NewBudget(t.Context()), e) // only must not panic
		if got := k.Message(e); strings.Contains(got, "\x00") || utf8.ValidString(message) && !utf8.ValidString(got) {
			t.Errorf("%q of %q: %q", message, data, got)
		}
	})
}

// TestMessageIsBounded: a template filled from data makes no longer message than a publisher
// may write, however large the data and however often the template names it.
func TestMessageIsBounded(t *testing.T) {
	long := strings.Repeat("é", 400_000)
	for template, data := range map[string]string{
		"{a}":                               `{"a":"` + long + `"}`,
		"x {a}":                             `{"a":"` + strings.Repeat(`\u0000`, 150_000) + `"}`,
		strings.Repeat("{a.b}", 200):        `{"a":{"b":"` + long + `"}}`,
		"{a} behind":                        `{"a":["` + long + `"]}`,
		strings.Repeat("x", 990) + "{a}{a}": `{"a":"` + strings.Repeat("😀", 1000) + `"}`,
	} {
		k := own(t, herald.EventType{Name: "Own", Message: template})
		got := k.Message(event(k, data))
		if n := utf8.RuneCountInString(got); n != herald.MaxMessage || !strings.HasSuffix(got, "…") || !utf8.ValidString(got) {
			t.Errorf("%.20s…: a message of %d characters that ends with %q", template, n, got[len(got)-3:])
		}
	}
	k := own(t, herald.EventType{Name: "Own", Message: "{a}"})
	fits := strings.Repeat("é", herald.MaxMessage)
	if got := k.Message(event(k, `{"a":"`+fits+`"}`)); got != fits {
		t.Errorf("a message that just fits has become one of %d characters", utf8.RuneCountInString(got))
	}
}

// TestMembersAreShownAsWritten: what a template shows of the data is the publisher's text, with
// its names, order and escapes.
func TestMembersAreShownAsWritten(t *testing.T) {
	k := own(t, herald.EventType{Name: "Own", Message: "{o} {o.z} {list}"})
	const data = `{"o":{"z":1e2,"a<b>&":"\u00e9"},"list":[ "<", 1.0 ]}`
	if got, want := k.Message(event(k, data)), `{"z":1e2,"a<b>&":"\u00e9"} 1e2 ["<",1.0]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
