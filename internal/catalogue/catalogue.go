// Package catalogue has the event types: their canonical names and accepted spellings, the
// data that an event of a type must have, its message, and an example. builtin.go has the
// built-in types of spec section 8; own.go handles the types that an operator adds.
//
// internal/intake decides which rules an event meets and renders the delivered body.
package catalogue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"herald"
)

// Type is an event type. It is immutable.
type Type struct {
	// Name is the canonical name, which rules and events store.
	Name string
	// Delivered is the name in delivered bodies. It differs from Name only with
	// Options.AmericanSpelling.
	Delivered string
	// Label is the name that people see.
	Label string
	// Spellings are accepted besides Name.
	Spellings []string
	// Company and Connection say whether an event must name one. An event of
	// a built-in type without a company must not name a company.
	Company, Connection bool
	BuiltIn             bool
	// Retired says that rules may have the type and events may not (spec section
	// 5.3, rows 15 and 16).
	Retired bool
	// Example is data that the type accepts, or nil.
	Example json.RawMessage

	fields   []field  // of a built-in type's data
	message  template // wording
	stamp    string   // layout of {timestamp}
	data     dataForm // what is made of the data for receivers
	own      *herald.EventType
	compiled dataSchema
}

// field is a required member of a built-in type's data.
type field struct {
	name     string
	kind     kind
	values   []string // the only ones, if any
	optional bool
}

// kind is the kind of value that a field requires.
type kind int

const (
	text kind = iota
	number
	textOrNull
	numberOrNull
)

// dataForm says how an event's data is changed for receivers.
type dataForm int

const (
	dataAsIs dataForm = iota
	dataNone          // decisions A11 and A12
	dataWithoutPlatformName
	dataWithBothPushKeys // decision A13
)

// Options change how built-in types are delivered.
type Options struct {
	// AmericanSpelling delivers "New company synchronized" with a z, as the
	// vendor's pages do since 2025 (decision A7).
	AmericanSpelling bool
}

// Catalogue is an immutable set of types. It is safe for concurrent use.
type Catalogue struct {
	types  []*Type
	exact  map[string]*Type
	folded map[string]*Type
}

// New returns a catalogue of the built-in types and an operator's own types. An own
// type that Check refuses is an error.
func New(own []herald.EventType, o Options) (*Catalogue, error) {
	c := &Catalogue{exact: make(map[string]*Type), folded: make(map[string]*Type)}
	for _, t := range builtin() {
		if o.AmericanSpelling && t.Name == newCompany {
			t.Delivered = newCompanyAmerican
		}
		c.add(t)
	}
	own = slices.Clone(own)
	slices.SortFunc(own, func(a, b herald.EventType) int { return strings.Compare(a.Name, b.Name) })
	for _, spec := range own {
		t, err := newOwn(spec)
		if err != nil {
			return nil, fmt.Errorf("event type %q: %w", spec.Name, err)
		}
		c.add(t)
	}
	return c, nil
}

func (c *Catalogue) add(t *Type) {
	if !t.Retired {
		c.types = append(c.types, t)
	}
	for _, spelling := range append([]string{t.Name}, t.Spellings...) {
		c.exact[spelling] = t
		c.folded[fold(spelling)] = t
	}
}

// fold returns the same text for spellings that differ only in case or in runs of blanks.
func fold(spelling string) string {
	return strings.ToLower(strings.Join(strings.Fields(spelling), " "))
}

// Lookup finds a type by any accepted spelling: an exact match first, then a match that
// ignores case and runs of blanks (spec section 5.3).
func (c *Catalogue) Lookup(spelling string) (*Type, bool) {
	t, ok := c.exact[spelling]
	if !ok {
		t, ok = c.folded[fold(spelling)]
	}
	if !ok {
		t, ok = ratio(strings.Join(strings.Fields(spelling), " "))
	}
	return t, ok
}

// Types returns the types that events can have: the built-in ones in the order of
// spec section 8, then the operator's by name.
func (c *Catalogue) Types() []*Type { return slices.Clone(c.types) }

// Required returns the required members of a built-in type's data.
func (t *Type) Required() []string {
	var names []string
	for _, f := range t.fields {
		if !f.optional {
			names = append(names, f.name)
		}
	}
	return names
}

// Spec returns the operator's definition of an own type, nil for a built-in
// type.
func (t *Type) Spec() *herald.EventType { return t.own }

// MessageTemplate returns the message template with its placeholders.
func (t *Type) MessageTemplate() string { return t.message.text }

// Validate checks an event against its type. The checks of one publish share a budget. Errors
// are CodeInvalid and name the member. When the publish takes too long or its caller has gone,
// the error says so.
func (t *Type) Validate(b *Budget, e herald.Event) error {
	switch {
	case t.Retired:
		return herald.Invalid("type", "Events of type %s are not raised any more.", t.Name)
	case t.Company && e.CompanyID == uuid.Nil:
		return herald.Invalid("companyId", "An event of type %s is about a company; companyId is missing.", t.Name)
	case t.BuiltIn && !t.Company && e.CompanyID != uuid.Nil:
		return herald.Invalid("companyId", "An event of type %s is about the client as a whole; leave companyId out.", t.Name)
	case t.Connection && e.ConnectionID == uuid.Nil:
		return herald.Invalid("dataConnectionId", "An event of type %s is about a data connection; dataConnectionId is missing.", t.Name)
	case t.own != nil:
		return t.compiled.validate(b, e.Data)
	case len(t.fields) == 0:
		return nil
	}
	data, ok := parseObject(e.Data)
	if !ok && len(e.Data) > 0 && string(e.Data) != "null" {
		return herald.Invalid("data", "data: want a JSON object.")
	}
	return t.checkFields(&data)
}

func (t *Type) checkFields(data *object) error {
	for _, f := range t.fields {
		value, present := data.get(f.name)
		if alias, ok := pushKeyAliases[f.name]; ok && !present && t.data == dataWithBothPushKeys {
			value, present = data.get(alias)
		}
		if !present && f.optional {
			continue
		}
		if !present {
			return herald.Invalid("data."+f.name, "The data of an event of type %s must have the member %s.", t.Name, f.name)
		}
		if err := f.check(value); err != nil {
			return err
		}
	}
	return nil
}

func (f field) check(value json.RawMessage) error {
	switch null := string(value) == "null"; f.kind {
	case numberOrNull, number:
		if isNumber := value[0] == '-' || '0' <= value[0] && value[0] <= '9'; !isNumber && (!null || f.kind != numberOrNull) {
			return f.invalid("want a number.")
		}
		return nil
	case textOrNull:
		if null {
			return nil
		}
	}
	if value[0] != '"' || string(value) == `""` {
		return f.invalid("want a text that is not empty.")
	}
	if f.values == nil {
		return nil
	}
	if s, _ := stringOf(value); !slices.Contains(f.values, s) {
		return f.invalid("%q is not one of %s.", short(s), strings.Join(f.values, ", "))
	}
	return nil
}

func (f field) invalid(format string, args ...any) error {
	member := "data." + f.name
	return herald.Invalid(member, "%s: %s", member, fmt.Sprintf(format, args...))
}

// Message returns the event's message: the publisher's own, or the type's template with
// its placeholders replaced.
func (t *Type) Message(e herald.Event) string {
	if e.Message != "" {
		return e.Message
	}
	return t.message.fill(t, e)
}

// pushKeyAliases maps each of the two names of a push operation's id to the other. Either
// one stands for both (decision A13).
var pushKeyAliases = map[string]string{"pushOperationKey": "pushOperationGuid", "pushOperationGuid": "pushOperationKey"}

// Data returns the data for receivers; nil means that the body has no data.
func (t *Type) Data(data json.RawMessage) json.RawMessage {
	switch t.data {
	case dataNone:
		return nil
	case dataWithoutPlatformName:
		if bytes.Contains(data, []byte(`"platformName"`)) || bytes.Contains(data, []byte(`\u`)) { // or hidden by an escape
			return edit(data, func(o *object) { o.remove("platformName") })
		}
	case dataWithBothPushKeys:
		return edit(data, func(o *object) {
			for name, alias := range pushKeyAliases {
				if value, ok := o.get(alias); ok {
					o.addMissing(name, value)
				}
			}
		})
	}
	return data
}
