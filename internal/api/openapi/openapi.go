// Package openapi makes the OpenAPI document of the API: its general part, the form of
// errors, and the description of a call from the Go types of its answers.
//
// Each surface describes its own calls: internal/api/native where it registers them,
// internal/api/codat in its function Describe. This package serves nothing.
package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
)

// ErrorRef refers to the form of all error answers (spec section 3).
const ErrorRef = "#/components/responses/Error"

// TooManyRef refers to the answer to a client over its rate limit.
const TooManyRef = "#/components/responses/TooMany"

// New returns a huma.API: a document without calls, and the adapter that adds calls to
// mux. It serves none of huma's own pages and schemas.
func New(mux *http.ServeMux, version string) huma.API {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	for from, to := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[uuid.UUID]():       reflect.TypeFor[idForm](),
		reflect.TypeFor[json.RawMessage](): reflect.TypeFor[objectForm](),
		reflect.TypeFor[herald.State]():    reflect.TypeFor[stateForm](),
		reflect.TypeFor[herald.Outcome]():  reflect.TypeFor[outcomeForm](),
		reflect.TypeFor[herald.Reason]():   reflect.TypeFor[reasonForm](),
	} {
		registry.RegisterTypeAlias(from, to)
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:   "Herald",
			Version: version,
			Description: "Events in, alerts out: clients' rules say which events go to which web address or mailbox. " +
				"The calls under /rules, /profile and /apiKeys are those of Codat's rule-based webhooks; they ignore members that they do not know. All others refuse them.",
		},
		Components: &huma.Components{
			Schemas: registry,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"basic":  {Type: "http", Scheme: "basic", Description: "Base64 of the API key alone; key: and :key, as generic clients make them, are accepted too."},
				"bearer": {Type: "http", Scheme: "bearer", Description: "The API key as it is."},
			},
		},
		Security: []map[string][]string{{"basic": {}}, {"bearer": {}}},
	}
	config := huma.Config{OpenAPI: doc}
	// Answers may get more members later. Each request type forbids unknown members itself.
	config.AllowAdditionalPropertiesByDefault = true
	made := humago.New(mux, config)
	doc.Components.Responses = map[string]*huma.Response{
		"Error": {Description: "What is wrong, and with which member.", Content: JSON(SchemaOf[api.ErrorBody](doc))},
		"TooMany": {
			Description: "Over the client's rate limit, where the operator has set one; nothing was accepted. Then all answers to a client's key have these headers, except Retry-After. " +
				"Or many requests without a valid key; then there is only Retry-After.",
			Content: JSON(SchemaOf[api.ErrorBody](doc)),
			Headers: map[string]*huma.Header{
				"Retry-After":            header("integer", "", "Seconds until a request may succeed."),
				"X-Rate-Limit-Limit":     header("integer", "", "The most requests in the current window."),
				"X-Rate-Limit-Remaining": header("integer", "", "How many of them are left."),
				"X-Rate-Limit-Reset":     header("string", "date-time", "When the window ends."),
			},
		},
	}
	return made
}

// Schemas of domain types that reflection cannot derive from the Go types.
type (
	idForm      struct{}
	objectForm  struct{}
	stateForm   struct{}
	outcomeForm struct{}
	reasonForm  struct{}
)

func (idForm) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Format: "uuid"}
}

func (objectForm) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: "object"} }

func (stateForm) Schema(huma.Registry) *huma.Schema { return StateSchema() }

func (outcomeForm) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Enum: []any{
		herald.OutcomeDelivered, herald.OutcomeRetry, herald.OutcomeRejected, herald.OutcomeUnknown,
	}}
}

// Schema does not list the reasons as an enum, because their number may grow.
func (reasonForm) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Examples: []any{herald.ReasonStatus}}
}

// StateSchema returns the schema of a delivery's state.
func StateSchema() *huma.Schema {
	return &huma.Schema{Type: "string", Enum: []any{
		herald.Pending.String(), herald.Delivered.String(), herald.Failed.String(), herald.Cancelled.String(),
	}}
}

// SchemaOf returns the schema of a Go type; a struct's schema is a reference.
func SchemaOf[T any](doc *huma.OpenAPI) *huma.Schema {
	return doc.Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

// JSON returns the description of a JSON body.
func JSON(schema *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: schema}}
}

// QueryParameter returns the description of a query parameter.
func QueryParameter(name string, schema huma.Schema, description string) *huma.Param {
	return &huma.Param{Name: name, In: "query", Schema: &schema, Description: description}
}

// ClientParameter describes the parameter with which the operator's key names a client.
func ClientParameter() *huma.Param {
	return QueryParameter("client", huma.Schema{Type: "string", Format: "uuid"},
		"The client that the call is about, for the operator's key. With a client's key it may be left out; another client's id is a 404.")
}

func header(kind, format, description string) *huma.Header {
	return &huma.Header{Description: description, Schema: &huma.Schema{Type: kind, Format: format}}
}

// RequestOf returns the description of a required JSON body of type T.
func RequestOf[T any](doc *huma.OpenAPI) *huma.RequestBody {
	return &huma.RequestBody{Required: true, Content: JSON(RequestSchemaOf[T](doc))}
}

// OptionalRequestOf returns the description of a JSON body of type T that may be left out.
func OptionalRequestOf[T any](doc *huma.OpenAPI) *huma.RequestBody {
	return &huma.RequestBody{Content: JSON(RequestSchemaOf[T](doc))}
}

// RequestSchemaOf is SchemaOf for a type that describes requests. In every request, null in a member
// that may be left out means the same as leaving it out.
func RequestSchemaOf[T any](doc *huma.OpenAPI) *huma.Schema {
	schema := SchemaOf[T](doc)
	takeNulls(doc, schema)
	return schema
}

// takeNulls adds null to the optional members of a request and of the objects in it.
func takeNulls(doc *huma.OpenAPI, schema *huma.Schema) {
	if schema.Ref != "" {
		schema = doc.Components.Schemas.SchemaFromRef(schema.Ref)
	}
	for name, member := range schema.Properties {
		if member.Ref != "" {
			takeNulls(doc, member)
		}
		if slices.Contains(schema.Required, name) || member.AnyOf != nil {
			continue
		}
		if member.Ref != "" || member.Type == huma.TypeArray {
			schema.Properties[name] = &huma.Schema{AnyOf: []*huma.Schema{member, {Type: "null"}}, Description: member.Description}
			continue
		}
		member.Nullable = true
		if member.Enum != nil && !slices.Contains(member.Enum, nil) {
			member.Enum = append(member.Enum, nil)
		}
	}
}

// NoBody is the type of an answer that has only a status.
type NoBody struct{}

// Caller says who may make a call.
type Caller struct {
	// Needs is a sentence about the key that the call needs.
	Needs string
	// Limited says that clients may make the call, so a client's rate limit applies
	// to it.
	Limited bool
}

// Describe completes an operation and adds it to the document. It adds the path's
// parameters, the sentence about the key, an answer of type Out unless the operation has
// answers, and the errors.
func Describe[Out any](doc *huma.OpenAPI, op *huma.Operation, who Caller) {
	op.Description = strings.TrimSpace(op.Description + " " + who.Needs)
	op.Parameters = append(pathParameters(op.Path), op.Parameters...)
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
		answer := &huma.Response{Description: http.StatusText(op.DefaultStatus)}
		if reflect.TypeFor[Out]() != reflect.TypeFor[NoBody]() {
			answer.Content = JSON(SchemaOf[Out](doc))
		}
		op.Responses[strconv.Itoa(op.DefaultStatus)] = answer
	}
	for _, status := range errorStatuses(op) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: ErrorRef}
	}
	if who.Limited {
		op.Responses[strconv.Itoa(http.StatusTooManyRequests)] = &huma.Response{Ref: TooManyRef}
	}
	doc.AddOperation(op)
}

// errorStatuses returns the error statuses that an operation names, and those that
// follow from its body, parameters and path.
func errorStatuses(op *huma.Operation) []int {
	statuses := append([]int{
		http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError, http.StatusServiceUnavailable,
		http.StatusTooManyRequests, // after many requests without a valid key
	}, op.Errors...)
	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge)
	}
	if slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "query" }) {
		statuses = append(statuses, http.StatusBadRequest)
	}
	if strings.Contains(op.Path, "{") {
		statuses = append(statuses, http.StatusNotFound)
	}
	return statuses
}

func pathParameters(path string) []*huma.Param {
	var params []*huma.Param
	for part := range strings.SplitSeq(path, "/") {
		name, is := strings.CutPrefix(part, "{")
		if !is {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		schema := &huma.Schema{Type: "string", Format: "uuid"}
		if name == "name" {
			schema = &huma.Schema{Type: "string"}
		}
		params = append(params, &huma.Param{Name: name, In: "path", Required: true, Schema: schema})
	}
	return params
}

// Marshal returns the finished document as JSON.
func Marshal(doc *huma.OpenAPI) ([]byte, error) {
	for _, schema := range doc.Components.Schemas.Map() {
		for _, member := range schema.Properties {
			// huma's package-level setting allows null for every array; these
			// calls answer with empty arrays.
			if member.Type == huma.TypeArray {
				member.Nullable = false
			}
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	return text, nil
}
