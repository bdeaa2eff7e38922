package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"herald"
)

// Limits on an operator's own type, in characters and bytes.
const (
	maxName     = 100
	maxTemplate = 1000
	maxSchema   = 64 << 10
)

// Check returns an error for an operator's event type that is not valid. It is CodeInvalid
// with the member, or CodeConflict when a built-in type has the name.
func Check(spec herald.EventType) error {
	for _, text := range []struct{ member, value string }{{"name", spec.Name}, {"label", spec.Label}} {
		for _, r := range text.value {
			if !unicode.IsPrint(r) {
				return herald.Invalid(text.member, "%s: %q is not a character that can be seen.", text.member, r)
			}
		}
	}
	switch n := utf8.RuneCountInString(spec.Name); {
	case strings.TrimSpace(spec.Name) != spec.Name || n == 0:
		return herald.Invalid("name", "name %q: want a name without blanks at its ends.", spec.Name)
	case n > maxName:
		return herald.Invalid("name", "name: %d characters are more than %d.", n, maxName)
	case utf8.RuneCountInString(spec.Label) > maxName:
		return herald.Invalid("label", "label: more than %d characters.", maxName)
	case utf8.RuneCountInString(spec.Message) > maxTemplate:
		return herald.Invalid("message", "message: more than %d characters.", maxTemplate)
	case strings.Contains(spec.Message, "\x00"):
		return herald.Invalid("message", "message: it holds the character U+0000, which cannot be stored.")
	case len(spec.Schema) > maxSchema:
		return herald.Invalid("schema", "schema: more than %d bytes.", maxSchema)
	}
	common, err := New(nil, Options{})
	if err != nil {
		return err
	}
	if t, taken := common.Lookup(spec.Name); taken {
		return herald.Errorf(herald.CodeConflict, "%s is a built-in type of event, or a spelling of one: %s. It cannot be changed; choose another name.", spec.Name, t.Name)
	}
	t, err := newOwn(spec)
	if err != nil {
		return err
	}
	if t.compiled.unusable != nil {
		return t.compiled.unusable
	}
	if err := t.compiled.validate(NewBudget(context.Background()), spec.Example); err != nil {
		var wrong *herald.Error
		if errors.As(err, &wrong) {
			return herald.Invalid("example", "The example does not meet the schema: %s", wrong.Message)
		}
		return err
	}
	return nil
}

// CheckSave is Check for a type that is to be added to the catalogue, or to replace the type of its name. The error
// is also CodeConflict when its name is another spelling of a type that there is.
func (c *Catalogue) CheckSave(spec herald.EventType) error {
	if err := Check(spec); err != nil {
		return err
	}
	if t, taken := c.Lookup(spec.Name); taken && t.Name != spec.Name {
		return herald.Errorf(herald.CodeConflict, "%q is taken for another spelling of the event type %q. Choose another name, or change that one.", spec.Name, t.Name)
	}
	return nil
}

// CheckDelete returns the type that a spelling names, if it can be deleted. The error is CodeNotFound when there is
// none, and CodeConflict for a built-in one.
func (c *Catalogue) CheckDelete(spelling string) (*Type, error) {
	t, ok := c.Lookup(spelling)
	switch {
	case !ok:
		return nil, herald.Errorf(herald.CodeNotFound, "There is no event type %q.%s GET /eventTypes lists those there are.", short(spelling), c.Hint(spelling))
	case t.BuiltIn:
		return nil, herald.Errorf(herald.CodeConflict, "%q is a built-in event type. Only types that were added can be deleted.", t.Name)
	}
	return t, nil
}

func newOwn(spec herald.EventType) (*Type, error) {
	message, err := parseTemplate(spec.Message)
	if err != nil {
		return nil, herald.Invalid("message", "message: %v.", err)
	}
	compiled, err := compile(spec.Schema)
	if err != nil {
		return nil, err
	}
	label := spec.Label
	if label == "" {
		label = spec.Name
	}
	return &Type{
		Name: spec.Name, Delivered: spec.Name, Label: label, Company: spec.Company, Connection: spec.Connection,
		Example: spec.Example, message: message, stamp: stampOwn, own: &spec, compiled: compiled,
	}, nil
}

// dataSchema is a compiled JSON Schema. The zero value has no schema and accepts everything.
type dataSchema struct {
	schema *jsonschema.Schema
	// unusable is why a schema cannot be checked within bounds. Check refuses such a schema.
	// One that was stored before a limit was made refuses its type's events, and no others.
	unusable error
}

// maxSchemaDepth bounds how deeply the objects and arrays of a schema are nested. The library
// takes quadratic time for a deep one.
const maxSchemaDepth = 200

// noLoader refuses to load other schemas.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a $ref to %s leads out of the schema", url)
}

func compile(text json.RawMessage) (dataSchema, error) {
	if len(text) == 0 || string(text) == "null" {
		return dataSchema{}, nil
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return dataSchema{}, herald.Invalid("schema", "schema: it is not JSON: %v", err)
	}
	if path, found := unsupportedNumber("schema", document); found {
		return dataSchema{}, herald.Invalid("schema", "%s: a number of more than %d digits, or an exponent beyond it, cannot be checked against.", short(path), maxDigits)
	}
	if isDeeper(document, maxSchemaDepth) {
		return unusable("it has more than %d objects and arrays in each other", maxSchemaDepth), nil
	}
	if reason := ambiguous(document); reason != "" {
		return unusable("%s, and what a dynamic reference then means cannot be checked", reason), nil
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(noLoader{})
	sized := new(patterns)
	compiler.UseRegexpEngine(sized.compile)
	const name = "schema:///" // absolute: the library resolves a relative name against the working directory
	if err := compiler.AddResource(name, document); err != nil {
		return dataSchema{}, herald.Invalid("schema", "schema: %v", err)
	}
	schema, err := compiler.Compile(name)
	if sized.done = true; sized.tooLarge {
		return unusable("its patterns have more than %d parts together, where a repetition such as x{1000} counts as often as it repeats", maxPatterns), nil
	}
	var invalid *jsonschema.ValidationError
	var wrong *jsonschema.SchemaValidationError
	if errors.As(err, &wrong) && errors.As(wrong.Err, &invalid) {
		path, reason := innermost("schema", invalid)
		return dataSchema{}, herald.Invalid("schema", "%s: it is not a JSON Schema (2020-12): %s", path, reason)
	}
	if err != nil {
		return dataSchema{}, herald.Invalid("schema", "schema: it is not a JSON Schema (2020-12): %v", err)
	}
	return dataSchema{schema: schema}, nil
}

func unusable(format string, args ...any) dataSchema {
	return dataSchema{unusable: herald.Invalid("schema", "schema: "+format+"; simplify it.", args...)}
}

// isDeeper reports whether a JSON value has more than n objects and arrays in each other.
func isDeeper(value any, n int) bool {
	switch v := value.(type) {
	case []any:
		return n == 0 || slices.ContainsFunc(v, func(item any) bool { return isDeeper(item, n-1) })
	case map[string]any:
		if n == 0 {
			return true
		}
		for _, item := range v {
			if isDeeper(item, n-1) {
				return true
			}
		}
	}
	return false
}

// validate checks data against the schema, if there is one. Absent data is validated as
// an empty object. An error is CodeInvalid and names the member, or says why the check did
// not come to its end.
func (s dataSchema) validate(b *Budget, data json.RawMessage) error {
	if s.unusable != nil {
		return herald.Invalid("data", "The event type's schema cannot be checked (%v). Its operator must change it.", s.unusable)
	}
	if s.schema == nil {
		return nil
	}
	if len(data) == 0 || string(data) == "null" {
		data = json.RawMessage("{}")
	}
	b.grant(stepsPerByte * len(data))
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return herald.Invalid("data", "data: it is not JSON: %v", err)
	}
	if path, found := unsupportedNumber("data", value); found {
		path = short(path)
		return herald.Invalid(path, "%s: a number of more than %d digits, or an exponent beyond it, cannot be checked.", path, maxDigits)
	}
	c := checker{budget: b}
	_, wrong := c.check(s.schema, value, &frame{schema: s.schema}, false)
	switch {
	case b.err != nil:
		return b.err
	case wrong == nil:
		return nil
	}
	member, reason := wrong.reason("data")
	return herald.Invalid(member, "%s: %s", member, reason)
}

// innermost returns the path, from a root, to the value that caused an error of the library,
// and the reason.
func innermost(root string, e *jsonschema.ValidationError) (path, reason string) {
	for len(e.Causes) > 0 {
		e = e.Causes[0]
	}
	return short(strings.Join(append([]string{root}, e.InstanceLocation...), ".")), short(lastLine(e.Error()))
}

// maxShown bounds how much of a publisher's text an error repeats, in bytes.
const maxShown = 300

// short truncates a text for an error; an event may have a megabyte of it.
func short(text string) string {
	if len(text) <= maxShown {
		return text
	}
	return strings.ToValidUTF8(text[:maxShown], "") + "…"
}

// lastLine returns the last line of the library's error, which states the fault.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	line := text[strings.LastIndexByte(text, '\n')+1:]
	if _, after, found := strings.Cut(line, "': "); found {
		return after
	}
	return strings.TrimPrefix(line, "- ")
}
