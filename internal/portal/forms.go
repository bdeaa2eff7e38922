package portal

import (
	"net/http"
	"strings"

	"herald/internal/settings"
)

// formField is a field of a form: what it is, what was typed, and the message about it.
type formField struct {
	// Name is the member's name in the API, without what it is in.
	Name, Label, Hint, Value, Error string
	// Kind is text, password, lines, check or choice.
	Kind        string
	Placeholder string
	Options     []option // to choose from, or suggestions for a text
	Required    bool
	// Shown is a note under the field about its present value.
	Shown string
}

// option is one choice. A disabled one has its reason in its Text.
type option struct {
	Value, Text string
	Disabled    bool
}

// ListID is the id of the suggestions, empty without any.
func (f formField) ListID() string {
	if f.Kind != "text" || len(f.Options) == 0 {
		return ""
	}
	return f.Name + "-options"
}

// Describes are the ids of the elements that describe the field.
func (f formField) Describes() string {
	var ids []string
	if f.Error != "" {
		ids = append(ids, f.Name+"-error")
	}
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	return strings.Join(ids, " ")
}

// formFields are the fields of one form in their order.
type formFields []formField

// Wrong returns the fields with a message.
func (all formFields) Wrong() (wrong formFields) {
	for _, f := range all {
		if f.Error != "" {
			wrong = append(wrong, f)
		}
	}
	return wrong
}

// explain puts each message beside its field. One that belongs to none stands beside the first field.
func (all formFields) explain(problems settings.Problems) {
	for _, p := range problems {
		name := p.Member[strings.LastIndexByte(p.Member, '.')+1:]
		name, _, _ = strings.Cut(name, "[")
		at := 0
		for i := range all {
			if all[i].Name == name {
				at = i
			}
		}
		if all[at].Error == "" {
			all[at].Error = inPortal.Replace(strings.TrimPrefix(p.Message, all[at].Label+": "))
		}
	}
}

// wrongForm is the answer with a form whose input was refused.
func wrongForm(a answer) answer {
	a.status = http.StatusUnprocessableEntity
	return a
}

// lines splits a text area's text into its lines without blanks.
func lines(text string) (all []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}
