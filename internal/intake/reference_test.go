package intake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"herald/internal/catalogue"
)

// TestReferenceOfEventTypesIsUpToDate compares the reference page with the catalogue and with the
// bodies that are delivered; -update writes it.
func TestReferenceOfEventTypesIsUpToDate(t *testing.T) {
	const page = "../../docs/reference/event-types.md"
	types, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := referencePage(t, types.Types())
	if *update {
		if err := os.WriteFile(page, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the page is out of date; run go test ./internal/intake -update (-page +catalogue):\n%s", diff)
	}
}

func referencePage(t *testing.T, types []*catalogue.Type) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprint(&b, `# Event types

The built-in types of events: what an event must have, and the body that a webhook gets. This page is made from
the catalogue (`+"`go test ./internal/intake -update`"+`). `+"`GET /eventTypes`"+` also shows the operator's own types.
How to [add your own](../how-to/add-an-event-type.md).

Rules and events may name a type in any spelling listed with it. Case and runs of blanks do not matter. The
delivered body has the spelling of the heading as `+"`RuleType`"+`.

| Type | Company | Connection | Data |
| --- | --- | --- | --- |
`)
	for _, kind := range types {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", kind.Name, slug(kind.Name), yes(kind.Company), yes(kind.Connection), summary(kind))
	}
	fmt.Fprint(&b, "\nCompany and connection say whether an event must have `companyId` and `dataConnectionId`.\n")
	for _, kind := range types {
		describe(t, &b, kind)
	}
	return b.Bytes()
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// summary lists the members of a type's data.
func summary(kind *catalogue.Type) string {
	var names []string
	for _, m := range kind.Members() {
		names = append(names, "`"+m.Name+"`")
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

func describe(t *testing.T, b *bytes.Buffer, kind *catalogue.Type) {
	t.Helper()
	fmt.Fprintf(b, "\n## %s\n\n%s. Message:\n\n> %s\n", kind.Name, kind.Label, kind.MessageTemplate())
	if len(kind.Spellings) > 0 {
		fmt.Fprintf(b, "\nOther spellings: `%s`.\n", strings.Join(kind.Spellings, "`, `"))
	}
	if members := kind.Members(); len(members) > 0 {
		fmt.Fprint(b, "\n| Data member | Value |\n| --- | --- |\n")
		for _, m := range members {
			value := m.Kind
			if m.Values != nil {
				value = "`" + strings.Join(m.Values, "`, `") + "`"
			}
			if m.Optional {
				value += "; optional"
			}
			fmt.Fprintf(b, "| `%s` | %s |\n", m.Name, value)
		}
	}
	var body bytes.Buffer
	if err := json.Indent(&body, bodyOf("Acme", kind, exampleOf(kind)), "", "  "); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(b, "\nDelivered body:\n\n```json\n%s\n```\n", body.Bytes())
}

// slug is the anchor of a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r >= 'a' && r <= 'z', r == '-':
			return r
		default:
			return -1
		}
	}, strings.ToLower(heading))
}
