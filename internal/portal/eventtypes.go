package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"herald"
	"herald/internal/catalogue"
)

// Where the operator's event types are. A name can have any character, so it is in the query.
const (
	eventTypesPath = Path + "event-types"
	eventTypePath  = Path + "event-type"
)

// eventTypeRow is an event type in a list.
type eventTypeRow struct {
	*catalogue.Type
	Href string
}

// Needs says what an event of the type must name.
func (t eventTypeRow) Needs() string {
	switch {
	case t.Company && t.Connection:
		return "a company and a data connection"
	case t.Company:
		return "a company"
	case t.Connection:
		return "a data connection"
	}
	return ""
}

// Checked says how the data is checked.
func (t eventTypeRow) Checked() string {
	switch spec := t.Spec(); {
	case t.BuiltIn && len(t.Members()) > 0:
		return plural(len(t.Members()), "member", "members")
	case spec != nil && len(spec.Schema) > 0:
		return "JSON Schema"
	}
	return "anything"
}

// eventTypeListView is what the list of event types shows.
type eventTypeListView struct{ Own, BuiltIn []eventTypeRow }

// eventTypes lists the event types.
func (p *portal) eventTypes(r *http.Request, _ visit) (answer, error) {
	known, err := p.Catalogue(r.Context())
	if err != nil {
		return answer{}, err
	}
	var list eventTypeListView
	for _, t := range known.Types() {
		row := eventTypeRow{t, eventTypeAddress(t.Name)}
		if t.BuiltIn {
			list.BuiltIn = append(list.BuiltIn, row)
		} else {
			list.Own = append(list.Own, row)
		}
	}
	return page("event-types.html", "Event types", list), nil
}

func eventTypeAddress(name string) string {
	return eventTypePath + "?" + url.Values{"name": {name}}.Encode()
}

// eventTypeView is what the page of an event type shows: a built-in one, or the form of an own or a new one.
type eventTypeView struct {
	Type *eventTypeRow // nil for one that is being added
	Form eventTypeForm
	// Checked says that the form was only checked, and is right; Message is what an alert of the example says then.
	Checked bool
	Message string
	// Example is that of a built-in type, indented.
	Example string
}

// eventTypeForm is an operator's own event type as it was typed.
type eventTypeForm struct {
	Name, Label, Schema, Message, Example filterField
	Company, Connection                   bool
	// Conflict is the message about no single field.
	Conflict string
}

// eventType shows an event type, or the form for a new one.
func (p *portal) eventType(r *http.Request, _ visit) (answer, error) {
	name := r.URL.Query().Get("name")
	if name == "" {
		return page("event-type.html", "Add an event type", eventTypeView{}), nil
	}
	t, err := p.typeNamed(r, name)
	if err != nil {
		return answer{}, err
	}
	show := eventTypeView{Type: &eventTypeRow{t, eventTypeAddress(t.Name)}}
	if t.BuiltIn {
		show.Example = indented(t.Example)
		return page("event-type.html", t.Name, show), nil
	}
	spec := *t.Spec()
	show.Form = eventTypeForm{Name: filterField{Value: spec.Name}, Label: filterField{Value: spec.Label}, Message: filterField{Value: spec.Message},
		Schema: filterField{Value: indented(spec.Schema)}, Example: filterField{Value: indented(spec.Example)}, Company: spec.Company, Connection: spec.Connection}
	return page("event-type.html", t.Name, show), nil
}

// typeNamed returns the event type of exactly this name.
func (p *portal) typeNamed(r *http.Request, name string) (*catalogue.Type, error) {
	known, err := p.Catalogue(r.Context())
	if err != nil {
		return nil, err
	}
	t, found := known.Lookup(name)
	if !found || t.Name != name || t.Retired {
		return nil, herald.Errorf(herald.CodeNotFound, "There is no event type %.100q.%s", name, known.Hint(name))
	}
	return t, nil
}

func indented(text json.RawMessage) string {
	var b bytes.Buffer
	if len(text) == 0 || json.Indent(&b, text, "", "  ") != nil {
		return string(text)
	}
	return b.String()
}

// saveEventType saves an event type, or only checks it if the form asks for that.
func (p *portal) saveEventType(r *http.Request, v visit) (answer, error) {
	known, err := p.Catalogue(r.Context())
	if err != nil {
		return answer{}, err
	}
	show := eventTypeView{Form: typedEventType(r.PostForm)}
	title := "Add an event type"
	if former := r.PostForm.Get("former"); former != "" {
		t, err := p.typeNamed(r, former)
		if err != nil {
			return answer{}, err
		}
		title, show.Type, show.Form.Name.Value = t.Name, &eventTypeRow{t, eventTypeAddress(t.Name)}, t.Name
	}
	spec, good := show.Form.spec()
	if good {
		err = known.CheckSave(spec)
		if _, taken := known.Lookup(spec.Name); err == nil && taken && show.Type == nil {
			err = herald.Invalid("name", "name: There is an event type %q already. Open it to change it.", spec.Name)
		}
		if err != nil {
			good = false
			if err = show.Form.place(err); err != nil {
				return answer{}, err
			}
		}
	}
	switch {
	case !good:
		return wrong("event-type.html", title, show), nil
	case r.PostForm.Get("do") == "check":
		show.Checked, show.Message = true, messageOfExample(spec)
		return page("event-type.html", title, show), nil
	}
	err = p.Operator.EventTypes.SaveEventType(r.Context(), v.caller, spec)
	return seeOther("%s&notice=type-saved", eventTypeAddress(spec.Name)), err
}

func typedEventType(f url.Values) eventTypeForm {
	text := func(name string) filterField {
		return filterField{Value: strings.TrimSpace(f.Get(name))}
	}
	return eventTypeForm{Name: text("name"), Label: text("label"), Schema: text("schema"), Message: text("message"), Example: text("example"),
		Company: f.Get("company") != "", Connection: f.Get("connection") != ""}
}

// Wrong returns the messages about what cannot be taken.
func (f eventTypeForm) Wrong() []string {
	return errorsOf(f.Name, f.Label, f.Message, f.Schema, f.Example)
}

// spec returns the event type, and false if the schema or the example cannot be read; the form says why.
func (f *eventTypeForm) spec() (herald.EventType, bool) {
	spec := herald.EventType{Name: f.Name.Value, Label: f.Label.Value, Message: f.Message.Value, Company: f.Company, Connection: f.Connection}
	for _, part := range []struct {
		field *filterField
		into  *json.RawMessage
	}{{&f.Schema, &spec.Schema}, {&f.Example, &spec.Example}} {
		if err := readObject(part.field.Value, part.into); err != nil {
			part.field.Error = messageOf(err)
		}
	}
	return spec, f.Schema.Error == "" && f.Example.Error == ""
}

// readObject reads a JSON object as the API stores it: without blanks. An empty text is none.
func readObject(text string, into *json.RawMessage) error {
	if text == "" {
		return nil
	}
	var whole json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal([]byte(text), &whole); errors.As(err, &syntax) {
		return herald.Invalid("", "This is not JSON, at line %d: %v.", 1+strings.Count(text[:min(int(syntax.Offset), len(text))], "\n"), err)
	}
	if text[0] != '{' {
		return herald.Invalid("", "This must be a JSON object: { … }.")
	}
	var b bytes.Buffer
	err := json.Compact(&b, whole)
	*into = b.Bytes()
	return err
}

// place puts the message of an error beside its field. It returns errors that are about none.
func (f *eventTypeForm) place(err error) error {
	var e *herald.Error
	if !errors.As(err, &e) {
		return err
	}
	fields := map[string]*filterField{"name": &f.Name, "label": &f.Label, "schema": &f.Schema, "message": &f.Message, "example": &f.Example}
	first, _, _ := strings.Cut(e.Member, ".")
	switch field := fields[first]; {
	case field != nil:
		field.Error = messageOf(e)
	case e.Code == herald.CodeConflict:
		f.Name.Error = e.Message
	case e.Code == herald.CodeInvalid:
		f.Conflict = e.Message
	default:
		return err
	}
	return nil
}

// messageOfExample returns what an alert says about an event with the type's example.
func messageOfExample(spec herald.EventType) string {
	known, err := catalogue.New([]herald.EventType{spec}, catalogue.Options{})
	if err != nil {
		return ""
	}
	t, _ := known.Lookup(spec.Name)
	return t.Message(herald.Event{Type: spec.Name, Data: spec.Example})
}

// askDeleteEventType asks whether to delete an event type.
func (p *portal) askDeleteEventType(r *http.Request, _ visit) (answer, error) {
	t, err := p.deletable(r, r.URL.Query().Get("name"))
	if err != nil {
		return answer{}, err
	}
	return page("event-type-delete.html", "Delete "+t.Name, eventTypeRow{t, eventTypeAddress(t.Name)}), nil
}

func (p *portal) deletable(r *http.Request, name string) (*catalogue.Type, error) {
	known, err := p.Catalogue(r.Context())
	if err != nil {
		return nil, err
	}
	return known.CheckDelete(name)
}

// deleteEventType deletes an event type that no rule uses.
func (p *portal) deleteEventType(r *http.Request, v visit) (answer, error) {
	t, err := p.deletable(r, r.PostForm.Get("name"))
	if err != nil {
		return answer{}, err
	}
	return seeOther("%s?notice=type-deleted", eventTypesPath), p.Operator.EventTypes.DeleteEventType(r.Context(), v.caller, t.Name)
}
