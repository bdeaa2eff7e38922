package native

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/api/openapi"
)

// access says which keys may make a call.
type access int

const (
	withAnyKey access = iota
	withClientKey
	withOperatorKey
	// aboutOneClient is for a client's key, and for the operator's with the parameter client.
	aboutOneClient
)

// needs returns a sentence that names the key that a call needs.
func (a access) needs() string {
	switch a {
	case withClientKey:
		return "Needs a client's API key."
	case withOperatorKey:
		return "Needs the operator's key."
	case aboutOneClient:
		return "Needs a client's API key, or the operator's with client."
	default:
		return "Needs a client's API key or the operator's."
	}
}

// admit returns a CodeForbidden Error unless the caller has the right key.
func (a access) admit(caller herald.Caller) error {
	switch {
	case a == withClientKey && caller.Operator:
		return herald.Errorf(herald.CodeForbidden, "This call is about one client: it needs a client's API key, and the key given is the operator's.")
	case a == withOperatorKey && !caller.Operator:
		return herald.Errorf(herald.CodeForbidden, "This call needs the operator's key, and the key given is a client's.")
	}
	return nil
}

// describeCall describes a call that answers with Out, and returns what makes it: serve
// behind authentication and the check of the parameters.
func describeCall[Out, Answer any](s *surface, op *huma.Operation, who access, serve func(*http.Request, herald.Caller) (Answer, error)) func(*http.Request) (Answer, error) {
	if who == aboutOneClient {
		op.Parameters = append(op.Parameters, openapi.ClientParameter())
		op.Errors = append(op.Errors, http.StatusNotFound) // for a client that there is not
	}
	op.Errors = append(op.Errors, http.StatusBadRequest) // for parameters that the call does not have
	openapi.Describe[Out](s.API.OpenAPI(), op, openapi.Caller{Needs: who.needs(), Limited: who != withOperatorKey})
	return func(r *http.Request) (out Answer, err error) {
		caller, err := s.Auth.Caller(r)
		if err != nil {
			return out, err
		}
		if err := who.admit(caller); err != nil {
			return out, err
		}
		if err := checkParameters(r, op.Parameters); err != nil {
			return out, err
		}
		if who == aboutOneClient {
			if caller, err = s.about(r, caller); err != nil {
				return out, err
			}
		}
		return serve(r, caller)
	}
}

// about returns the caller of a call about one client, which the operator names with the parameter
// client. A call about one event or delivery finds the client of that by itself.
func (s *surface) about(r *http.Request, caller herald.Caller) (herald.Caller, error) {
	p := parametersOf(r)
	client := p.id("client")
	if p.err != nil {
		return caller, p.err
	}
	caller, err := caller.For(client)
	if err != nil || !caller.Operator {
		return caller, err
	}
	if client != uuid.Nil {
		_, err := s.Clients.Client(r.Context(), client)
		return caller, err
	}
	if r.PathValue("id") == "" {
		return caller, nameMember(herald.Invalid("client", "missing; with the operator's key, say which client the call is about: ?client=ID, or --client ID of a command"))
	}
	if id, err := parseID(r.PathValue("id")); err == nil {
		caller.About, err = s.Owners.Owner(r.Context(), id)
		if err != nil && herald.CodeOf(err) != herald.CodeNotFound { // the call itself says what was not found
			return caller, err
		}
	}
	return caller, nil
}

// call registers one call. It adds the description to the OpenAPI document, and serve with
// authentication to the mux. The answer is an Out as JSON with the status op.DefaultStatus;
// openapi.NoBody means an answer without a body.
func call[Out any](s *surface, op huma.Operation, who access, serve func(*http.Request, herald.Caller) (Out, error)) {
	run := describeCall[Out](s, &op, who, serve)
	s.serve(&op, func(w http.ResponseWriter, r *http.Request) {
		out, err := run(r)
		switch {
		case err != nil:
			api.WriteError(w, r, err)
		case op.DefaultStatus == http.StatusNoContent:
			w.WriteHeader(http.StatusNoContent)
		default:
			api.WriteJSON(w, op.DefaultStatus, out)
		}
	})
}

// pathID returns a GUID from the path. Any other text is CodeNotFound.
func pathID(r *http.Request, name, thing string) (uuid.UUID, error) {
	text := r.PathValue(name)
	id, err := parseID(text)
	if err != nil {
		return id, herald.Errorf(herald.CodeNotFound, "No %s was found with ID %s", thing, short(text))
	}
	return id, nil
}

// maxBody bounds the bodies of all calls but publishing, in bytes.
const maxBody = 1 << 20

// readObject reads a request's body, which must be an object, and calls member for each
// of its members.
func readObject(r *http.Request, member func(c *cursor, name string) error) error {
	body, err := api.ReadBody(r, maxBody)
	if err != nil {
		return err
	}
	return decodeObject(body, member)
}

// readOptionalObject is readObject for a call that needs no body: api.IsNoBody is an empty
// object.
func readOptionalObject(r *http.Request, member func(c *cursor, name string) error) error {
	body, err := api.ReadBody(r, maxBody)
	if err != nil || api.IsNoBody(body) {
		return err
	}
	return decodeObject(body, member)
}

func decodeObject(body []byte, member func(c *cursor, name string) error) error {
	return read(body, func(c *cursor) error {
		return c.object(func(name []byte) error { return member(c, string(name)) })
	})
}

// page is one page of a list.
type page[T any] struct {
	Results []T       `json:"results"`
	Next    uuid.UUID `json:"next,omitzero" doc:"The after of the following page; absent on the last."`
}

// pageOf makes a page of the first limit items. The caller reads limit+1 items, so that
// pageOf can tell whether the page is the last. If the caller got fewer although there are more,
// next is the after of the rest.
func pageOf[T, V any](items []T, limit int, next uuid.UUID, id func(T) uuid.UUID, view func(T) V) page[V] {
	p := page[V]{Next: next}
	if len(items) > limit {
		items = items[:limit]
		p.Next = id(items[limit-1])
	}
	p.Results = make([]V, len(items))
	for i, item := range items {
		p.Results[i] = view(item)
	}
	return p
}
