package query_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

const (
	malformed = "Error parsing query - Malformed query."
	someID    = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
)

var (
	id      = query.Field{Name: "id", Kind: query.UUID}
	kind    = query.Field{Name: "type", Kind: query.String}
	webhook = query.Field{Name: "notifiers.webhook", Kind: query.String}
	message = query.Field{Name: "message", Kind: query.String}
	raised  = query.Field{Name: "raisedOnUtc", Kind: query.Time}
)

func typeIs(value string) query.Clause {
	return query.Clause{Field: kind, Op: query.Equal, Value: value}
}

func TestQueryOverRules(t *testing.T) {
	a, b, c := typeIs("a"), typeIs("b"), typeIs("c")
	isID := query.Clause{Field: id, Op: query.Equal, Value: uuid.MustParse(someID)}
	for _, test := range []struct {
		name, text string
		want       query.Node
	}{
		{"equals", "type=Data sync completed", typeIs("Data sync completed")},
		{"not equals", "type!=a", query.Clause{Field: kind, Op: query.NotEqual, Value: "a"}},
		{"contains", "type~sync", query.Clause{Field: kind, Op: query.Contains, Value: "sync"}},
		{"blanks around everything", "  type  =\t a  b  ", typeIs("a  b")},
		{"parentheses", "type=Push Operation Status Changed()", typeIs("Push Operation Status Changed()")},
		{"single signs", "type=R&D | Sales! é", typeIs("R&D | Sales! é")},
		{"sign before an operator", "type=R& && type=S| || type=T!", query.Or{
			Left:  query.And{Left: typeIs("R&"), Right: typeIs("S|")},
			Right: typeIs("T!"),
		}},
		{"path with a dot", "notifiers.webhook~https://example.com/", query.Clause{Field: webhook, Op: query.Contains, Value: "https://example.com/"}},
		{"case of the path", "NOTIFIERS.WebHook=x", query.Clause{Field: webhook, Op: query.Equal, Value: "x"}},
		{"id", "id=" + someID, isID},
		{"case of an id", "id=" + strings.ToUpper(someID), isID},
		{"encoded twice", "id%3D" + someID, isID},
		{"encoded twice, all of it", "type%3da%20b%26%26%7Btype%3Dc+c%7D", query.And{Left: typeIs("a b"), Right: typeIs("c c")}},
		{"percent sign in a value", "type=100%3D", typeIs("100%3D")},
		{"and before or", "type=a||type=b&&type=c", query.Or{Left: a, Right: query.And{Left: b, Right: c}}},
		{"and before or, turned", "type=a&&type=b||type=c", query.Or{Left: query.And{Left: a, Right: b}, Right: c}},
		{"braces", "{type=a||type=b}&&type=c", query.And{Left: query.Or{Left: a, Right: b}, Right: c}},
		{"blanks and braces", " { { type = a } } && { type = b || type = c } ", query.And{Left: a, Right: query.Or{Left: b, Right: c}}},
		{"chain", "type=a&&type=b&&type=c", query.And{Left: query.And{Left: a, Right: b}, Right: c}},
		{"deepest", strings.Repeat("{", query.MaxDepth) + "type=a" + strings.Repeat("}", query.MaxDepth), a},
		{"many groups side by side", "type=a" + strings.Repeat("&&{type=a}", 60), chain(a, 61)},
		{"longest", "type=" + strings.Repeat("é", query.MaxLength-5), typeIs(strings.Repeat("é", query.MaxLength-5))},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := query.Parse(test.text, query.Rules())
			if err != nil {
				t.Fatalf("Parse(%q): %v", test.text, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", test.text, diff)
			}
		})
	}
}

func chain(clause query.Node, n int) query.Node {
	tree := clause
	for range n - 1 {
		tree = query.And{Left: tree, Right: clause}
	}
	return tree
}

func TestQueryOverAlerts(t *testing.T) {
	day := time.Date(2023, 5, 3, 0, 0, 0, 0, time.UTC)
	at := time.Date(2023, 5, 3, 9, 56, 17, 435711100, time.UTC)
	for _, test := range []struct {
		text string
		want query.Clause
	}{
		{"alertId=" + someID, query.Clause{Field: id, Op: query.Equal, Value: uuid.MustParse(someID)}},
		{"message~invoices", query.Clause{Field: message, Op: query.Contains, Value: "invoices"}},
		{"raisedOnUtc=2023-05-03", query.Clause{Field: raised, Op: query.Equal, Value: day}},
		{"raisedonutc>2023-05-03", query.Clause{Field: raised, Op: query.Greater, Value: day}},
		{"raisedOnUtc < 2023-05-03T09:56:17", query.Clause{Field: raised, Op: query.Less, Value: at.Truncate(time.Second)}},
		{"raisedOnUtc>=2023-05-03T09:56:17.4357111Z", query.Clause{Field: raised, Op: query.GreaterOrEqual, Value: at}},
		{"raisedOnUtc<=2023-05-03T09:56:17.4357111", query.Clause{Field: raised, Op: query.LessOrEqual, Value: at}},
		{"raisedOnUtc!=2023-05-03T11:56:17.435711100000+02:00", query.Clause{Field: raised, Op: query.NotEqual, Value: at}},
	} {
		got, err := query.Parse(test.text, query.Alerts())
		if err != nil {
			t.Errorf("Parse(%q): %v", test.text, err)
		} else if diff := cmp.Diff(query.Node(test.want), got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", test.text, diff)
		}
	}
}

func TestMalformedQueryIsRefused(t *testing.T) {
	deep := query.MaxDepth + 1
	schema := query.Schema{Type: "Anything", Members: slices.Concat(query.Rules().Members, query.Alerts().Members)}
	for _, test := range []struct {
		text, detail string
	}{
		{"==", `"=" at character 1, where the name of a property`},
		{"", "ends where the name of a property"},
		{"type", "ends where one of != >= <= = ~ > < behind type"},
		{"type x", `"x" at character 6, where one of`},
		{"type=", "ends where a value to compare type with"},
		{"type= && id=" + someID, `"&&" at character 7, where a value`},
		{"type=a&&", "ends where the name"},
		{"type=a|||type=b", `"|" at character 9, where the name`},
		{"type=a||&&type=b", `"&&" at character 9`},
		{"type=é{", `"{" at character 7, where &&, || or the end`},
		{"type=a}", `"}" at character 7`},
		{"{type=a", "ends where &&, || or }"},
		{"{}", `"}" at character 2, where the name`},
		{"{type=a}type=b", `"t" at character 9, where &&`},
		{"type=a=b", `"=" at character 7, where &&`},
		{"type=a!=b", `"!=" at character 7`},
		{"notifiers.webhook=https://example.com/?a=1", `"=" at character 41`},
		{".type=a", `"." at character 1`},
		{"type.=a", `"t" at character 1`},
		{"a..b=a", `"a" at character 1`},
		{"1=1", `"1" at character 1`},
		{"type>a", "type cannot be compared by >; use one of = != ~"},
		{"type<=a", "type cannot be compared by <="},
		{"id~3fa8", "id cannot be compared by ~; use one of = !="},
		{"id>" + someID, "id cannot be compared by >"},
		{"raisedOnUtc~2023", "raisedOnUtc cannot be compared by ~"},
		{"id=1", `id = "1": the value is not a UUID`},
		{"id=null", `"null": the value is not a UUID`},
		{"id=x" + someID + "x", "the value is not a UUID"},
		{"raisedOnUtc>yesterday", `raisedOnUtc > "yesterday": the value is not a date or time`},
		{"raisedOnUtc>2023-02-30", "the value is not a date or time"},
		{"raisedOnUtc>9999-12-31T23:00:00-02:00", "the value is not a date or time"},
		{"raisedOnUtc>0001-01-01T00:00:00+02:00", "the value is not a date or time"},
		{"message=\xff", "not UTF-8"},
		{"message=a\x00", "NUL"},
		{"message%3Da%00", "NUL"},
		{"message%3Da%2", "percent-encoded twice"},
		{strings.Repeat("{", deep) + "message=a" + strings.Repeat("}", deep), "more than 50 deep"},
		{"message=" + strings.Repeat("é", query.MaxLength-7), "has 2048 characters; at most 2047"},
	} {
		_, err := query.Parse(test.text, schema)
		checkSyntaxError(t, test.text, err, malformed, "ClientsApi", test.detail)
	}
}

func TestUnknownPropertyIsNamed(t *testing.T) {
	for _, test := range []struct {
		schema              query.Schema
		text, want, details string
	}{
		{query.Rules(), "foo=1", "Could not resolve property foo on Rule", "use id, type, companyId, notifiers.webhook"},
		{query.Alerts(), "type=a", "Could not resolve property type on Alert", "use id, alertId, companyId, clientId, ruleId"},
		{query.Rules(), "id=" + someID + "&&notifiers.emails~x", "Could not resolve property notifiers.emails on Rule", "notifiers.emails cannot be queried"},
	} {
		_, err := query.Parse(test.text, test.schema)
		checkSyntaxError(t, test.text, err, "Error parsing query - "+test.want, "PullApi", test.details)
	}
}

func checkSyntaxError(t *testing.T, text string, err error, message, service, detail string) {
	t.Helper()
	syntax, ok := errors.AsType[*query.SyntaxError](err)
	if !ok {
		t.Errorf("Parse(%.80q): error %v, want a SyntaxError", text, err)
		return
	}
	public, ok := errors.AsType[*herald.Error](err)
	if !ok || public.Code != herald.CodeInvalid || public.Member != "query" || public.Message != message {
		t.Errorf("Parse(%.80q): herald.Error %+v, want CodeInvalid of query saying %q", text, public, message)
	}
	if syntax.Service != service {
		t.Errorf("Parse(%.80q): service %q, want %q", text, syntax.Service, service)
	}
	if !strings.Contains(syntax.Detail, detail) {
		t.Errorf("Parse(%.80q): detail %q does not say %q", text, syntax.Detail, detail)
	}
}

func FuzzParsedQueryPrintsAsItself(f *testing.F) {
	for _, text := range []string{
		"type=Data sync completed", "id%3D" + someID, "==", "foo=1", "{type=a||type=b}&&type!=c",
		"type=a&&{type=b&&{type=c||type=d}}", "alertId=" + someID, "message~R&D!",
		"raisedOnUtc>=2023-05-03T09:56:17.4357111+02:00 || raisedOnUtc<2023-05-03",
		"notifiers.webhook~https://example.com/ && type=Push Operation Status Changed()",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, schema := range []query.Schema{query.Rules(), query.Alerts()} {
			tree, err := query.Parse(text, schema)
			if err != nil {
				if _, ok := errors.AsType[*query.SyntaxError](err); !ok {
					t.Errorf("Parse(%q): %v is not a SyntaxError", text, err)
				}
				continue
			}
			printed := tree.String()
			if len(printed) > query.MaxLength {
				continue // blanks and written-out times made it too long
			}
			again, err := query.Parse(printed, schema)
			if err != nil {
				t.Errorf("Parse(%q), printed from %q: %v", printed, text, err)
			} else if diff := cmp.Diff(tree, again); diff != "" {
				t.Errorf("%q printed as %q (-parsed +printed and parsed):\n%s", text, printed, diff)
			}
		}
	})
}
