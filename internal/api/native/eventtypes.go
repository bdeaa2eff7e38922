package native

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"herald"
	"herald/internal/api"
	"herald/internal/api/openapi"
	"herald/internal/catalogue"
)

// eventType is an event type in an answer.
type eventType struct {
	Name       string          `json:"name" doc:"The canonical name, delivered as RuleType."`
	Label      string          `json:"label" doc:"What people read."`
	Spellings  []string        `json:"spellings" doc:"What is accepted besides the name, whatever its case."`
	Company    bool            `json:"company" doc:"Whether an event must name a company."`
	Connection bool            `json:"connection" doc:"Whether an event must name a data connection."`
	Required   []string        `json:"required" doc:"The members that the data of a built-in type must have."`
	Schema     json.RawMessage `json:"schema,omitempty" doc:"A JSON Schema (2020-12) that data must meet."`
	Message    string          `json:"message,omitempty" doc:"The wording of the alert's message; {member} stands for a member of the data."`
	Example    json.RawMessage `json:"example,omitempty" doc:"Data that is accepted."`
	BuiltIn    bool            `json:"builtIn" doc:"Whether it comes with Herald and cannot be changed."`
}

// eventTypes is the whole catalogue. It is short, so it has no pages.
type eventTypes struct {
	Results []eventType `json:"results"`
}

// eventTypeRequest describes the body that makes an event type. readEventType reads it;
// catalogue.Check has the limits.
type eventTypeRequest struct {
	_          struct{}        `additionalProperties:"false"`
	Name       string          `json:"name,omitempty" doc:"If given, the name in the path."`
	Label      string          `json:"label,omitempty" maxLength:"100" doc:"What people read; left out, the name."`
	Company    bool            `json:"company,omitempty" doc:"Whether an event must name a company."`
	Connection bool            `json:"connection,omitempty" doc:"Whether an event must name a data connection."`
	Schema     json.RawMessage `json:"schema,omitempty" doc:"A JSON Schema (2020-12) that data must meet."`
	Message    string          `json:"message,omitempty" maxLength:"1000" doc:"The wording of the alert's message; {member} stands for a member of the data."`
	Example    json.RawMessage `json:"example,omitempty" doc:"Data that the schema takes."`
}

func eventTypeOf(t *catalogue.Type) eventType {
	shown := eventType{
		Name: t.Name, Label: t.Label, Spellings: t.Spellings, Company: t.Company, Connection: t.Connection,
		Required: t.Required(), Message: t.MessageTemplate(), Example: t.Example, BuiltIn: t.BuiltIn,
	}
	if spec := t.Spec(); spec != nil {
		shown.Schema = spec.Schema
	}
	// Empty lists in JSON, not null.
	if shown.Spellings == nil {
		shown.Spellings = []string{}
	}
	if shown.Required == nil {
		shown.Required = []string{}
	}
	return shown
}

func (s *surface) registerEventTypes() {
	tags := []string{"Event types"}
	call(s, huma.Operation{
		OperationID: "listEventTypes", Method: http.MethodGet, Path: "/eventTypes", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "List the event types", Description: "The built-in ones, then the operator's own by name.",
	}, withAnyKey, s.listEventTypes)
	call(s, huma.Operation{
		OperationID: "getEventType", Method: http.MethodGet, Path: "/eventTypes/{name}", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "Look up an event type", Description: "By its name or any accepted spelling.",
	}, withAnyKey, s.getEventType)
	call(s, huma.Operation{
		OperationID: "saveEventType", Method: http.MethodPut, Path: "/eventTypes/{name}", Tags: tags,
		DefaultStatus: http.StatusOK, Errors: []int{http.StatusConflict},
		Summary:     "Add an event type, or replace one that was added",
		Description: "It applies to all clients, from the next event on. The name of a built-in type is a 409.",
		RequestBody: openapi.RequestOf[eventTypeRequest](s.API.OpenAPI()),
	}, withOperatorKey, s.saveEventType)
	call(s, huma.Operation{
		OperationID: "deleteEventType", Method: http.MethodDelete, Path: "/eventTypes/{name}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusConflict},
		Summary:     "Delete an event type that was added",
		Description: "By its name or any accepted spelling. While rules use the type it is a 409 that says how many. A built-in type is a 409 too.",
	}, withOperatorKey, s.deleteEventType)
}

func (s *surface) listEventTypes(r *http.Request, _ herald.Caller) (eventTypes, error) {
	known, err := s.Catalogue(r.Context())
	if err != nil {
		return eventTypes{}, err
	}
	list := eventTypes{Results: []eventType{}}
	for _, t := range known.Types() {
		list.Results = append(list.Results, eventTypeOf(t))
	}
	return list, nil
}

func (s *surface) getEventType(r *http.Request, _ herald.Caller) (eventType, error) {
	return s.eventType(r.Context(), r.PathValue("name"))
}

func (s *surface) eventType(ctx context.Context, name string) (eventType, error) {
	known, err := s.Catalogue(ctx)
	if err != nil {
		return eventType{}, err
	}
	t, ok := known.Lookup(name)
	if !ok || t.Retired {
		return eventType{}, herald.Errorf(herald.CodeNotFound, "There is no event type %q.%s GET /eventTypes lists those there are.", short(name), known.Hint(name))
	}
	return eventTypeOf(t), nil
}

// canonicalType returns the canonical name of a type from any accepted spelling.
func (s *surface) canonicalType(ctx context.Context, spelling string) (string, error) {
	known, err := s.Catalogue(ctx)
	if err != nil {
		return "", err
	}
	t, ok := known.Lookup(spelling)
	if !ok {
		return "", herald.Invalid("", "%q is no event type.%s GET /eventTypes lists those there are", short(spelling), known.Hint(spelling))
	}
	return t.Name, nil
}

func (s *surface) saveEventType(r *http.Request, caller herald.Caller) (eventType, error) {
	spec, err := readEventType(r)
	if err != nil {
		return eventType{}, err
	}
	known, err := s.Catalogue(r.Context())
	if err != nil {
		return eventType{}, err
	}
	if err := known.CheckSave(spec); err != nil {
		return eventType{}, err
	}
	if err := s.EventTypes.SaveEventType(r.Context(), caller, spec); err != nil {
		return eventType{}, err
	}
	return s.eventType(r.Context(), spec.Name)
}

func (s *surface) deleteEventType(r *http.Request, caller herald.Caller) (openapi.NoBody, error) {
	none, name := openapi.NoBody{}, r.PathValue("name")
	known, err := s.Catalogue(r.Context())
	if err != nil {
		return none, err
	}
	t, err := known.CheckDelete(name)
	if err != nil {
		return none, err
	}
	return none, s.EventTypes.DeleteEventType(r.Context(), caller, t.Name)
}

func readEventType(r *http.Request) (herald.EventType, error) {
	spec := herald.EventType{Name: r.PathValue("name")}
	if !api.IsText(spec.Name) {
		return spec, nameMember(herald.Invalid("name", "%q holds U+0000, or is not UTF-8", short(spec.Name)))
	}
	err := readObject(r, func(c *cursor, member string) (err error) {
		switch member {
		case "name":
			var name string
			if name, err = c.text(0, maxTypeName); err == nil && name != "" && name != spec.Name {
				err = herald.Invalid("", "%q is not the name in the path, %q; leave it out", name, short(spec.Name))
			}
		case "label":
			spec.Label, err = c.text(0, maxTypeName)
		case "company":
			spec.Company, err = c.flag()
		case "connection":
			spec.Connection, err = c.flag()
		case "schema":
			spec.Schema, err = c.compact()
		case "message":
			spec.Message, err = c.text(0, maxMessage)
		case "example":
			spec.Example, err = c.compact()
		default:
			err = unknown("name, label, company, connection, schema, message and example")
		}
		return err
	})
	return spec, err
}
