package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"herald"
)

// treeOfTwoKinds is an ordinary recursive schema: a node is of one of two kinds, and both may
// have a child. Where the innermost node is of neither, both are tried at every level, which
// doubles the work with each.
const treeOfTwoKinds = `{"$ref":"#/$defs/node","$defs":{
	"node":{"anyOf":[{"$ref":"#/$defs/folder"},{"$ref":"#/$defs/file"}]},
	"folder":{"type":"object","properties":{"in":{"$ref":"#/$defs/node"},"size":{"type":"integer"}}},
	"file":{"type":"object","properties":{"in":{"$ref":"#/$defs/node"},"size":{"type":"string"}}}}}`

// nested returns n nodes in each other; the innermost is of neither kind.
func nested(n int) string {
	return strings.Repeat(`{"in":`, n) + `{"size":null}` + strings.Repeat(`}`, n)
}

// patient returns a budget of steps only, so that a slow machine changes no outcome.
func patient(t testing.TB) *Budget {
	b := NewBudget(t.Context())
	b.deadline = time.Now().Add(time.Hour)
	return b
}

func compiled(t testing.TB, schema string) dataSchema {
	t.Helper()
	s, err := compile(json.RawMessage(schema))
	if err != nil {
		t.Fatal(err)
	}
	if s.unusable != nil {
		t.Fatal(s.unusable)
	}
	return s
}

// costly are schemas and data that would take seconds, minutes or for ever.
func costly() map[string][2]string {
	long := strings.Repeat("a", 1<<20)
	return map[string][2]string{
		"a tree of two kinds by anyOf":     {treeOfTwoKinds, nested(27)},
		"a tree of two kinds by oneOf":     {strings.ReplaceAll(treeOfTwoKinds, "anyOf", "oneOf"), nested(27)},
		"allOf that doubles":               {`{"$ref":"#/$defs/n","$defs":{"n":{"allOf":[{"properties":{"in":{"$ref":"#/$defs/n"}}},{"properties":{"in":{"$ref":"#/$defs/n"}}}]}}}`, nested(55)},
		"if and then":                      {`{"$ref":"#/$defs/n","$defs":{"n":{"if":{"properties":{"in":{"$ref":"#/$defs/n"}}},"then":{"properties":{"in":{"$ref":"#/$defs/n"}}}}}}`, nested(55)},
		"not of not":                       {`{"$ref":"#/$defs/n","$defs":{"n":{"properties":{"in":{"not":{"$ref":"#/$defs/n"}}},"patternProperties":{"^in$":{"not":{"$ref":"#/$defs/n"}}}}}}`, nested(55)},
		"dependent schemas":                {`{"$ref":"#/$defs/n","$defs":{"n":{"dependentSchemas":{"in":{"properties":{"in":{"$ref":"#/$defs/n"}}}},"properties":{"in":{"$ref":"#/$defs/n"}}}}}`, nested(55)},
		"contains in contains":             {`{"$ref":"#/$defs/n","$defs":{"n":{"contains":{"$ref":"#/$defs/n"},"items":{"$ref":"#/$defs/n"}}}}`, strings.Repeat("[", 55) + "1" + strings.Repeat("]", 55)},
		"a chain that doubles":             {doubling(60), `{}`},
		"a pattern on a long text":         {`{"pattern":"(.*a){200}[^a]$"}`, `"` + long + `"`},
		"a pattern of optional parts":      {`{"pattern":"^(a?){900}(b?){90}$"}`, `"` + long + `"`},
		"many patterns on one text":        {`{"allOf":[` + strings.Repeat(`{"pattern":"a[a-z]{5}$"},`, 500) + `{}]}`, `"` + long + `"`},
		"names that many patterns match":   {`{"patternProperties":{` + manyPatterns(500) + `}}`, `{"` + long + `":1}`},
		"a text that is compiled":          {`{"format":"regex"}`, `"` + strings.Repeat("(a|b)", 200_000) + `"`},
		"an enum of numbers":               {`{"items":{"enum":[` + strings.Repeat("1e300,", 9000) + `1]}}`, `[` + strings.Repeat("10e-1,", 5_000) + `1]`},
		"divisions of long numbers":        {`{"items":{"multipleOf":7e-300}}`, `[` + strings.Repeat("7e300,", 30_000) + `7e300]`},
		"unique items, nested":             {`{"$ref":"#/$defs/n","$defs":{"n":{"uniqueItems":true,"items":{"$ref":"#/$defs/n"}}}}`, strings.Repeat("[0,", 50) + `[` + manyNumbers(20_000) + `]` + strings.Repeat("]", 50)},
		"unevaluated members":              {`{"unevaluatedProperties":false,"allOf":[` + strings.Repeat(`{"minProperties":1},`, 3000) + `{}]}`, manyMembers(5_000)},
		"names checked by a costly schema": {`{"propertyNames":` + doubling(40) + `}`, `{"a":1}`},
	}
}

// doubling is a schema of n levels, each of which checks the next one twice.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString(`{"$id":"schema:///doubling","$ref":"#/$defs/n0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"n%d":{"allOf":[{"$ref":"#/$defs/n%d"},{"$ref":"#/$defs/n%[2]d"}]},`, i, i+1)
	}
	fmt.Fprintf(&b, `"n%d":{}}}`, n)
	return b.String()
}

func manyPatterns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"a[a-z]{5}%d":{},`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

func manyNumbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",1.%de390", i)
	}
	return b.String()[1:]
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":1`, i)
	}
	return `{` + b.String()[1:] + `}`
}

// TestCostlySchemasEndWithinTheirBudget: whatever a schema asks for, the check of an event
// ends after a bounded number of steps and with bounded memory, and the publisher is told.
func TestCostlySchemasEndWithinTheirBudget(t *testing.T) {
	for name, test := range costly() {
		t.Run(name, func(t *testing.T) {
			s := compiled(t, test[0])
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b := patient(t)
			err := s.validate(b, json.RawMessage(test[1]))
			runtime.ReadMemStats(&after)
			if herald.CodeOf(err) != herald.CodeInvalid || !strings.Contains(err.Error(), "steps") || len(err.Error()) > 500 {
				t.Errorf("%v, want an error that says how many steps are too many", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
				t.Errorf("it allocated %d MiB", used>>20)
			}
		})
	}
}

// TestOrdinaryDataFitsTheBudget: what a schema of the usual kind asks of a megabyte fits.
func TestOrdinaryDataFitsTheBudget(t *testing.T) {
	long := strings.Repeat("a", 1<<20)
	for schema, data := range map[string]string{
		`{"items":{"type":"integer"}}`:               `[` + strings.Repeat("1,", 500_000) + `1]`,
		`{"pattern":"^[a-z]+$","maxLength":2000000}`: `"` + long + `"`,
		`{"additionalProperties":{"type":"number"}}`: manyMembers(80_000),
		`{"uniqueItems":true}`:                       `[` + strings.Repeat(`"`+strings.Repeat("x", 1000)+`",`, 1) + `"b"]`,
		`{"items":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}]},` + `"$defs":{"a":{"properties":{"kind":{"const":"a"}},"required":["kind"]},"b":{"properties":{"kind":{"const":"b"}},"required":["kind"]}}}`: `[` + strings.Repeat(`{"kind":"b","value":"some text of an ordinary length"},`, 18_000) + `{"kind":"a"}]`,
		treeOfTwoKinds: strings.Repeat(`{"size":"1 MB","in":`, 10) + `{"size":3}` + strings.Repeat(`}`, 10),
	} {
		b := patient(t)
		if err := compiled(t, schema).validate(b, json.RawMessage(data)); err != nil {
			t.Errorf("%.100s: %v", schema, err)
		}
		if b.left < b.granted/10 {
			t.Errorf("%.100s: only %d of %d steps are left", schema, b.left, b.granted)
		}
	}
}

// TestBudgetIsSharedByThePublish: many events of one publish have no more than one publish.
func TestBudgetIsSharedByThePublish(t *testing.T) {
	s := compiled(t, treeOfTwoKinds)
	b := patient(t)
	var err error
	n := 0
	for ; n < 1000 && (err == nil || !strings.Contains(err.Error(), "steps")); n++ {
		err = s.validate(b, json.RawMessage(nested(12)))
	}
	if n == 1000 {
		t.Errorf("a thousand events of which each takes thousands of steps: %v", err)
	}
}

// TestCheckTakesNoMoreTimeThanItsBudget: on a machine that is too busy the publish is to come
// again.
func TestCheckTakesNoMoreTimeThanItsBudget(t *testing.T) {
	b := NewBudget(t.Context())
	b.deadline = time.Now().Add(-time.Second)
	err := compiled(t, treeOfTwoKinds).validate(b, json.RawMessage(nested(27)))
	if herald.CodeOf(err) != herald.CodeUnavailable || b.granted-b.left > 2*stepsBetweenLooks {
		t.Errorf("%v after %d steps, want CodeUnavailable", err, b.granted-b.left)
	}
}

// TestCheckStopsWithItsCaller: nobody computes for a caller that has gone.
func TestCheckStopsWithItsCaller(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	leave()
	b := NewBudget(ctx)
	err := compiled(t, treeOfTwoKinds).validate(b, json.RawMessage(nested(55)))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the caller has gone", err)
	}
	if used := b.granted - b.left; used > 2*stepsBetweenLooks {
		t.Errorf("it went on for %d steps", used)
	}
}

// TestSchemaThatCannotBeBoundedIsRefused when it is saved; one that was stored before makes
// only its own events fail.
func TestSchemaThatCannotBeBoundedIsRefused(t *testing.T) {
	for name, schema := range map[string]string{
		"patterns with large repetitions": `{"properties":{` + manyLargePatterns(60) + `}}`,
		"one pattern, nested repetitions": `{"pattern":"` + strings.Repeat("x{1000}", 60) + `"}`,
		"too deep":                        strings.Repeat(`{"not":`, 300) + `{}` + strings.Repeat(`}`, 300),
		"two dynamic anchors":             `{"$dynamicAnchor":"n","$defs":{"x":{"$id":"x","$dynamicAnchor":"n"}},"$dynamicRef":"#n"}`,
		"the dynamic meta-schema":         `{"$ref":"https://json-schema.org/draft/2020-12/schema"}`,
	} {
		spec := herald.EventType{Name: "Own", Schema: json.RawMessage(schema)}
		err := Check(spec)
		var known *herald.Error
		if !errors.As(err, &known) || known.Member != "schema" || len(err.Error()) > 500 {
			t.Errorf("%s: %v, want a short error about the schema", name, err)
		}
		c, err := New([]herald.EventType{spec}, Options{})
		if err != nil {
			t.Fatalf("%s: one stored type stops all: %v", name, err)
		}
		k, _ := c.Lookup("Own")
		if err := k.Validate(NewBudget(t.Context()), herald.Event{Type: "Own"}); herald.CodeOf(err) != herald.CodeInvalid {
			t.Errorf("%s: an event of the type: %v", name, err)
		}
	}
}

func manyLargePatterns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"p%d":{"pattern":"%[1]dx{1000}"},`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// agree compares the outcome of a check with the library's. For drafts and keywords see the
// seeds of FuzzChecksAgree.
func agree(t *testing.T, schema, data string) {
	t.Helper()
	s, err := compile(json.RawMessage(schema))
	if err != nil || s.schema == nil {
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(data)))
	if err != nil {
		return
	}
	if _, found := unsupportedNumber("", value); found {
		return
	}
	b := patient(t)
	c := checker{budget: b}
	_, got := c.check(s.schema, value, &frame{schema: s.schema}, false)
	if b.err != nil {
		return
	}
	want := s.schema.Validate(value)
	if (got == nil) != (want == nil) {
		t.Errorf("%s\n%s\ngot %v, the library says %v", schema, data, got, want)
		return
	}
	if got != nil {
		_, _ = got.reason("data") // must not panic
	}
}

// schemas and values are combined with each other: every keyword meets every kind of value.
var agreedSchemas = []string{
	`true`, `false`, `{}`, treeOfTwoKinds, `{"type":"integer"}`, `{"type":["null","boolean"]}`, `{"const":{"a":1.0}}`, `{"enum":[1,"a",null,[1,2]]}`,
	`{"minimum":1,"exclusiveMaximum":3}`, `{"maximum":2,"exclusiveMinimum":0,"multipleOf":0.5}`, `{"minLength":1,"maxLength":2,"pattern":"a"}`,
	`{"format":"date"}`, `{"format":"regex"}`, `{"minProperties":1,"maxProperties":1}`, `{"required":["a"]}`, `{"propertyNames":{"maxLength":1}}`,
	`{"properties":{"a":{"type":"integer"}},"patternProperties":{"^b":false},"additionalProperties":false}`, `{"additionalProperties":{"type":"string"}}`,
	`{"dependentRequired":{"a":["b"]},"dependentSchemas":{"b":{"required":["a"]}}}`, `{"minItems":1,"maxItems":2,"uniqueItems":true}`,
	`{"prefixItems":[{"type":"integer"}],"items":{"type":"string"}}`, `{"prefixItems":[true],"unevaluatedItems":false}`, `{"contains":{"type":"integer"}}`,
	`{"contains":{"const":1},"minContains":0,"maxContains":1,"unevaluatedItems":{"type":"string"}}`, `{"not":{"type":"object"}}`,
	`{"allOf":[{"required":["a"]},{"minProperties":2}]}`, `{"anyOf":[{"required":["a"]},{"type":"array"}]}`, `{"oneOf":[{"required":["a"]},{"required":["b"]},{"type":"array"}]}`,
	`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"type":"array"}}`, `{"unevaluatedProperties":false,"anyOf":[{"properties":{"a":true}},{"properties":{"b":true}}]}`,
	`{"unevaluatedProperties":{"type":"integer"},"allOf":[{"properties":{"a":true}}],"if":{"required":["b"]},"then":{"properties":{"b":true}}}`,
	`{"$ref":"#/$defs/x","$defs":{"x":{"properties":{"a":true}}},"unevaluatedProperties":false}`, `{"$ref":"#"}`, `{"$dynamicAnchor":"n","properties":{"a":{"$dynamicRef":"#n"},"b":false}}`,
	`{"$schema":"http://json-schema.org/draft-04/schema#","maximum":2,"exclusiveMaximum":true,"dependencies":{"a":["b"]}}`,
	`{"$schema":"http://json-schema.org/draft-06/schema#","items":[{"type":"integer"}],"additionalItems":false}`,
	`{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"integer"}],"additionalItems":{"type":"string"},"dependencies":{"a":{"required":["b"]}}}`,
	`{"$schema":"http://json-schema.org/draft-07/schema#","$ref":"#/definitions/x","required":["z"],"definitions":{"x":{"type":["object","array"]}}}`,
	`{"$schema":"http://json-schema.org/draft-07/schema#","$ref":"http://json-schema.org/draft-07/schema#"}`,
	`{"$schema":"https://json-schema.org/draft/2019-09/schema","items":[true],"unevaluatedItems":false,"contains":{"const":1}}`,
	`{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,"properties":{"a":{"$recursiveRef":"#"},"b":{"type":"string"}}}`,
	`{"minContains":2,"contains":true}`, `{"required":["a","b","c"],"minProperties":5}`, `{"uniqueItems":true}`,
}

var agreedValues = []string{
	`null`, `true`, `0`, `1`, `1.0`, `2.5`, `-3e2`, `1e400`, `""`, `"a"`, `"ab("`, `"2026-11-23"`, `[]`, `[1]`, `[1,1.0]`, `[1,"a"]`, `["a",1]`, `[[1,2]]`, `[{"a":1},{"a":1.0}]`,
	`{}`, `{"a":1}`, `{"a":"x"}`, `{"b":1}`, `{"b":"x"}`, `{"a":1,"b":2}`, `{"a":{"a":{"b":1}}}`, `{"":1,"long":2}`, `{"size":1,"in":{"size":"a"}}`, `{"in":{"in":{"size":null}}}`,
	`{"type":"object"}`, `{"type":7}`, `{"properties":{"a":{"minimum":"x"}}}`,
}

// TestChecksAgree holds the bounded check against the library's unbounded one.
func TestChecksAgree(t *testing.T) {
	for _, schema := range agreedSchemas {
		compiled(t, schema) // each is one that is compared
		for _, data := range agreedValues {
			agree(t, schema, data)
		}
	}
}

func FuzzChecksAgree(f *testing.F) {
	for _, schema := range agreedSchemas {
		for _, data := range agreedValues {
			f.Add(schema, data)
		}
	}
	f.Fuzz(func(t *testing.T, schema, data string) {
		if len(schema) > 2000 || len(data) > 200 {
			return // the library has no limits
		}
		agree(t, schema, data)
	})
}
