// Package codat is the surface that is compatible with Codat's rule-based
// webhook service (spec sections 2 to 7). It is tolerant in what it takes:
// members that it does not know are ignored, their names match in any case, and
// null is as good as absent. It is exact in what it gives.
//
// What both surfaces share lies in internal/api, Herald's own calls in
// internal/api/own, the query language in internal/query.
package codat

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/catalogue"
	"herald/internal/query"
)

// maxBody bounds the bodies of requests, in bytes.
const maxBody = 1 << 20

// Authenticator tells who makes a request; an error is CodeUnauthorized.
type Authenticator interface {
	Caller(r *http.Request) (herald.Caller, error)
}

// Rules keeps a client's rules. CodeNotFound when the client has no such rule.
type Rules interface {
	// Rules lists a page and counts all; a company other than uuid.Nil leaves
	// only the rules bound to it.
	Rules(ctx context.Context, client, company uuid.UUID, l query.List) ([]herald.Rule, int, error)
	Rule(ctx context.Context, client, id uuid.UUID) (herald.Rule, error)
	CreateRule(ctx context.Context, r herald.Rule) error
	// UpdateRule replaces type, company and notifiers and returns the rule.
	UpdateRule(ctx context.Context, r herald.Rule) (herald.Rule, error)
	DeleteRule(ctx context.Context, client, id uuid.UUID) error
}

// Alerts reads a client's alerts. CodeNotFound when the client has no such
// alert.
type Alerts interface {
	// Alerts lists a page and counts all; a rule or a company other than
	// uuid.Nil leaves only theirs.
	Alerts(ctx context.Context, client, rule, company uuid.UUID, l query.List) ([]herald.Alert, int, error)
	Alert(ctx context.Context, client, id uuid.UUID) (herald.Alert, error)
}

// Profiles keeps what clients say of themselves.
type Profiles interface {
	Client(ctx context.Context, id uuid.UUID) (herald.Client, error)
	SaveProfile(ctx context.Context, client uuid.UUID, p herald.Profile) error
}

// Keys keeps a client's API keys.
type Keys interface {
	Keys(ctx context.Context, client uuid.UUID) ([]herald.Key, error)
	// CreateKey returns the new key in plain text; CodeConflict when the
	// client has herald.MaxKeys.
	CreateKey(ctx context.Context, client uuid.UUID, name string) (herald.Key, string, error)
	// DeleteKey is CodeConflict for the last key.
	DeleteKey(ctx context.Context, client, key uuid.UUID) error
}

// Options are what the surface works with; all are needed.
type Options struct {
	Auth     Authenticator
	Rules    Rules
	Alerts   Alerts
	Profiles Profiles
	Keys     Keys
	// Catalogue returns the event types as they are now.
	Catalogue func(ctx context.Context) (*catalogue.Catalogue, error)
	// CheckURL refuses a webhook's address that cannot be called.
	CheckURL func(raw string) error
}

// surface is what the calls share.
type surface struct{ Options }

// Register puts the surface's calls on mux.
func Register(mux *http.ServeMux, o Options) {
	s := &surface{o}
	for pattern, serve := range map[string]handler{
		"GET /rules":                  s.listRules,
		"POST /rules":                 s.createRule,
		"GET /rules/{ruleId}":         s.getRule,
		"PUT /rules/{ruleId}":         s.updateRule,
		"DELETE /rules/{ruleId}":      s.deleteRule,
		"GET /rules/alerts":           s.listAlerts,
		"GET /rules/{first}/{second}": s.underRules,
		"GET /profile":                s.getProfile,
		"PUT /profile":                s.putProfile,
		"GET /profile/syncSettings":   s.getSyncSettings,
		"GET /apiKeys":                s.listKeys,
		"POST /apiKeys":               s.createKey,
		"DELETE /apiKeys/{apiKeyId}":  s.deleteKey,
	} {
		mux.Handle(pattern, s.call(serve))
	}
}

// request is a call by a client.
type request struct {
	*http.Request
	client uuid.UUID
}

// reply is what a call answers with; a nil body answers with the status alone.
type reply struct {
	status int
	body   any
}

type handler func(r request) (reply, error)

// call puts authentication before a handler and writes what it answers.
func (s *surface) call(serve handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.authenticated(r, serve)
		switch {
		case err != nil:
			api.WriteError(w, r, err)
		case answer.body == nil:
			w.WriteHeader(answer.status)
		default:
			api.WriteJSON(w, answer.status, answer.body)
		}
	}
}

func (s *surface) authenticated(r *http.Request, serve handler) (reply, error) {
	caller, err := s.Auth.Caller(r)
	if err != nil {
		return reply{}, err
	}
	if caller.Operator {
		return reply{}, herald.Errorf(herald.CodeForbidden, "This call is about one client: it needs a client's API key, and the key given is the operator's.")
	}
	return serve(request{r, caller.Key.ClientID})
}

// underRules tells the two calls of this shape apart, which a ServeMux cannot:
// the literal "alerts" may stand first or second, and wins where it stands first
// (spec section 5.8).
func (s *surface) underRules(r request) (reply, error) {
	first, second := r.PathValue("first"), r.PathValue("second")
	switch {
	case first == "alerts":
		return s.getAlert(r, second)
	case second == "alerts":
		return s.listRuleAlerts(r, first)
	default:
		return reply{}, herald.Errorf(herald.CodeNotFound, "There is nothing at %s.", r.URL.Path)
	}
}

// object reads a request's body, which must be a JSON object, into its members
// by name in lower case.
func (r request) object() (map[string]json.RawMessage, error) {
	text, err := api.ReadBody(r.Request, maxBody)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, herald.Invalid("body", "Error processing request - not valid. The body is not JSON: %v, at byte %d.", syntax, syntax.Offset)
		}
		return nil, herald.Invalid("body", "Error processing request - not valid. The body is not a JSON object.")
	}
	if members == nil {
		return nil, herald.Invalid("body", "Error processing request - not valid. The body is null; it must be a JSON object.")
	}
	lower := make(map[string]json.RawMessage, len(members))
	for name, value := range members {
		lower[strings.ToLower(name)] = value
	}
	return lower, nil
}

// member reads one member into a value of type T; absent and null are nil.
func member[T any](members map[string]json.RawMessage, name, want string) (*T, error) {
	path := name
	if _, last, found := strings.Cut(name, "."); found {
		name = last
	}
	text, ok := members[strings.ToLower(name)]
	if !ok || string(text) == "null" {
		return nil, nil
	}
	value := new(T)
	if err := json.Unmarshal(text, value); err != nil {
		return nil, herald.Invalid(path, "Error processing request - not valid. %s: want %s.", path, want)
	}
	return value, nil
}

// text is member for strings; absent and null are "". NUL, which no database
// takes, is refused.
func text(members map[string]json.RawMessage, name string) (string, error) {
	value, err := member[string](members, name, "a string")
	if value == nil || err != nil {
		return "", err
	}
	if strings.ContainsRune(*value, 0) {
		return "", herald.Invalid(name, "Error processing request - not valid. %s holds a NUL character.", name)
	}
	return *value, nil
}

// parseID takes the 36-character form of a GUID.
func parseID(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == 36
}

// pathID returns a GUID from the path; what is no GUID is the id of nothing
// (spec section 5.8).
func pathID(s, thing string) (uuid.UUID, error) {
	id, ok := parseID(s)
	if !ok {
		return id, herald.Errorf(herald.CodeNotFound, "No %s was found with ID %.50s", thing, s)
	}
	return id, nil
}

// companyFilter reads the parameter companyId; without one it is uuid.Nil.
func companyFilter(values url.Values) (uuid.UUID, error) {
	value, err := query.Parameter(values, "companyId")
	if err != nil || value == "" {
		return uuid.Nil, err
	}
	id, ok := parseID(value)
	if !ok {
		return id, herald.Invalid("companyId", "Error processing request - not valid. companyId %.50q: want a GUID.", value)
	}
	return id, nil
}

// envelope is the frame of every paged list (spec section 4.2).
type envelope[T any] struct {
	Results      []T         `json:"results"`
	PageNumber   int         `json:"pageNumber"`
	PageSize     int         `json:"pageSize"`
	TotalResults int         `json:"totalResults"`
	Links        query.Links `json:"_links"`
}

// list answers with a page.
func list[T, V any](r request, l query.List, items []T, total int, view func(T) V) reply {
	extra := url.Values{}
	if company, err := query.Parameter(r.URL.Query(), "companyId"); err == nil && company != "" {
		extra.Set("companyId", company)
	}
	page := envelope[V]{
		Results: make([]V, len(items)), PageNumber: l.Page, PageSize: l.PageSize, TotalResults: total,
		Links: l.Links(r.URL.EscapedPath(), total, extra),
	}
	for i, item := range items {
		page.Results[i] = view(item)
	}
	return reply{http.StatusOK, page}
}

// parseList reads the parameters of a paged list.
func parseList(r request, s query.Schema) (query.List, error) {
	l, err := query.ParseList(r.URL.Query(), s)
	var syntax *query.SyntaxError
	if errors.As(err, &syntax) {
		return l, queryError{syntax}
	}
	return l, err
}

// queryError makes the answer to a wrong query name the vendor's service and
// keep the vendor's text, with the detail beside it.
type queryError struct{ *query.SyntaxError }

func (e queryError) Explain() (service, detail string) { return e.Service, e.Detail }

func (e queryError) Unwrap() error { return e.SyntaxError }
