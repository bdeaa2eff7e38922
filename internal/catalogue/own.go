package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	if err := t.compiled.validate(spec.Example); err != nil {
		var wrong *herald.Error
		if errors.As(err, &wrong) {
			return herald.Invalid("example", "The example does not meet the schema: %s", wrong.Message)
		}
		return err
	}
	return nil
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

// dataSchema is a compiled JSON Schema; nil means no schema.
type dataSchema struct{ schema *jsonschema.Schema }

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
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	compiler.UseLoader(noLoader{})
	const name = "schema:///" // absolute: the library resolves a relative name against the working directory
	if err := compiler.AddResource(name, document); err != nil {
		return dataSchema{}, herald.Invalid("schema", "schema: %v", err)
	}
	schema, err := compiler.Compile(name)
	var invalid *jsonschema.ValidationError
	var wrong *jsonschema.SchemaValidationError
	if errors.As(err, &wrong) && errors.As(wrong.Err, &invalid) {
		path, reason := innermost("schema", invalid)
		return dataSchema{}, herald.Invalid("schema", "%s: it is not a JSON Schema (2020-12): %s", path, reason)
	}
	if err != nil {
		return dataSchema{}, herald.Invalid("schema", "schema: it is not a JSON Schema (2020-12): %v", err)
	}
	return dataSchema{schema}, nil
}

// validate checks data against the schema, if there is one. Absent data is validated as
// an empty object.
func (s dataSchema) validate(data json.RawMessage) error {
	if s.schema == nil {
		return nil
	}
	if len(data) == 0 || string(data) == "null" {
		data = json.RawMessage("{}")
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return herald.Invalid("data", "data: it is not JSON: %v", err)
	}
	if path, found := unsupportedNumber("data", value); found {
		path = short(path)
		return herald.Invalid(path, "%s: a number of more than %d digits, or an exponent beyond it, cannot be checked.", path, maxDigits)
	}
	err = s.schema.Validate(value)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	member, reason := innermost("data", invalid)
	return herald.Invalid(member, "%s: %s", member, reason)
}

// innermost returns the path, from a root, to the value that caused an error, and the
// reason.
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
