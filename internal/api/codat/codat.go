// Package codat is the HTTP surface that is compatible with Codat's rule-based webhook
// service (spec sections 2 to 7). It is tolerant of requests: it ignores unknown members,
// matches names in any case, and treats null as absent. Its answers follow the
// specification exactly.
//
// Errors, authentication and reading bodies are in internal/api, Herald's own calls in
// internal/api/native, and the query language in internal/query.
package codat

import (
	"bytes"
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
	"herald/internal/settings"
)

// maxBody bounds the bodies of requests, in bytes.
const maxBody = 1 << 20

// Authenticator finds the caller of a request. Errors are those of api.Auth and ratelimit.Limiter.
type Authenticator interface {
	Caller(r *http.Request) (herald.Caller, error)
}

// Rules stores clients' rules. Every call is atomic. It is CodeNotFound when the client
// has no such rule.
type Rules interface {
	// Rules lists a page and counts all rules. A company other than uuid.Nil
	// selects the rules about that company.
	Rules(ctx context.Context, client, company uuid.UUID, l query.List) ([]herald.Rule, int, error)
	Rule(ctx context.Context, client, id uuid.UUID) (herald.Rule, error)
	CreateRule(ctx context.Context, by herald.Caller, r herald.Rule) error
	// UpdateRule replaces type, company and notifiers, and returns the rule.
	// It does not change WithoutAuthorization.
	UpdateRule(ctx context.Context, by herald.Caller, r herald.Rule) (herald.Rule, error)
	// DeleteRule is CodeNotFound the second time.
	DeleteRule(ctx context.Context, by herald.Caller, client, id uuid.UUID) error
}

// Previewer says which events a rule would have met.
type Previewer interface {
	Preview(ctx context.Context, r herald.Rule) (herald.Preview, error)
}

// Alerts reads a client's alerts. Its calls are CodeNotFound when the client has no such
// alert.
type Alerts interface {
	// Alerts lists a page and counts all alerts. A rule or a company other than
	// uuid.Nil selects the alerts of that rule or about that company.
	Alerts(ctx context.Context, client, rule, company uuid.UUID, l query.List) ([]herald.Alert, int, error)
	Alert(ctx context.Context, client, id uuid.UUID) (herald.Alert, error)
}

// Profiles stores clients' profiles. Its calls are CodeNotFound when there is no such
// client.
type Profiles interface {
	Client(ctx context.Context, id uuid.UUID) (herald.Client, error)
	// SaveProfile replaces the whole profile.
	SaveProfile(ctx context.Context, by herald.Caller, client uuid.UUID, p herald.Profile) error
	// SaveProfileKeepingHeader replaces all but AlertAuthHeader, in one step. It returns
	// the profile with the header that was kept.
	SaveProfileKeepingHeader(ctx context.Context, by herald.Caller, client uuid.UUID, p herald.Profile) (herald.Profile, error)
}

// Keys stores a client's API keys.
type Keys interface {
	Keys(ctx context.Context, client uuid.UUID) ([]herald.Key, error)
	// CreateKey returns the new key and its plain text; CodeConflict when the
	// client has herald.MaxKeys. An empty name means one that it makes up, an
	// empty role herald.Developer.
	CreateKey(ctx context.Context, by herald.Caller, client uuid.UUID, name string, role herald.Role) (herald.Key, string, error)
	// DeleteKey is CodeConflict for the last key, CodeForbidden for a key that
	// the caller may not delete, and CodeNotFound when the client has no such
	// key.
	DeleteKey(ctx context.Context, by herald.Caller, client, key uuid.UUID) error
}

// Options are the surface's dependencies; all are required.
type Options struct {
	Auth      Authenticator
	Rules     Rules
	Previewer Previewer
	Alerts    Alerts
	Profiles  Profiles
	Keys      Keys
	// Catalogue returns the present event types.
	Catalogue func(ctx context.Context) (*catalogue.Catalogue, error)
	// CheckURL refuses a webhook's address that may not be called. The error is
	// CodeInvalid with the member notifiers.webhook.
	CheckURL func(raw string) error
}

// surface has the state that the calls share.
type surface struct{ Options }

// Register adds the surface's calls to mux.
func Register(mux *http.ServeMux, o Options) {
	s := &surface{o}
	for pattern, serve := range map[string]handler{
		"GET /rules":                  s.listRules,
		"POST /rules":                 s.createRule,
		"POST /rules/preview":         s.previewRule,
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
	// What the patterns with a {ruleId} would take, though the word in its place is none (spec
	// section 5.8), and what underRules would.
	for _, pattern := range []string{"PUT /rules/alerts", "DELETE /rules/alerts", "GET /rules/preview", "PUT /rules/preview", "DELETE /rules/preview", "GET /rules/{ruleId}/security", "GET /rules/{ruleId}/test"} {
		mux.Handle(pattern, api.NotAllowed{})
	}
}

// request is a request of a client.
type request struct {
	*http.Request
	caller herald.Caller
	client uuid.UUID // the caller's, or the one that the operator names
}

// reply is a call's answer; a nil body means a status without a body.
type reply struct {
	status int
	body   any
}

type handler func(r request) (reply, error)

// call authenticates a request before serve and writes serve's answer.
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
	if caller.Operator && r.Method != http.MethodGet && r.Method != http.MethodHead {
		return reply{}, herald.Errorf(herald.CodeForbidden, "This call changes something of a client: it needs a client's API key, and the key given is the operator's.")
	}
	if caller, err = s.about(r, caller); err != nil {
		return reply{}, err
	}
	return serve(request{r, caller, caller.Client()})
}

// about returns the caller of a call about the client that the parameter client names. The operator must
// name one.
func (s *surface) about(r *http.Request, caller herald.Caller) (herald.Caller, error) {
	named, err := query.Parameter(r.URL.Query(), "client")
	if err != nil {
		return caller, err
	}
	client, ok := uuid.Nil, true
	if named != "" {
		client, ok = settings.ParseID(named)
	}
	switch {
	case !ok && caller.Operator:
		return caller, invalid("client", "client %.50q: want a GUID.", named)
	case !ok:
		return caller, herald.Errorf(herald.CodeNotFound, "No client was found with ID %.50s", named)
	case client == uuid.Nil && caller.Operator:
		return caller, invalid("client", "client is missing: with the operator's key, say which client the call is about: ?client=GUID, or --client ID of a command.")
	}
	caller, err = caller.For(client)
	if err == nil && caller.Operator {
		_, err = s.Profiles.Client(r.Context(), client)
	}
	return caller, err
}

// underRules distinguishes the two calls of this shape, which a ServeMux cannot. The
// literal "alerts" is the first or the second segment; the first takes precedence
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

// object is a JSON object. It maps members' names in lower case to their values. Of
// members whose names differ only in case, the last one counts.
type object map[string]json.RawMessage

// errNoObject is the error for JSON that is not an object.
var errNoObject = errors.New("not a JSON object")

// UnmarshalJSON reads an object. encoding/json has checked the syntax before.
func (o *object) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return errNoObject
	}
	*o = make(object)
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		(*o)[strings.ToLower(name.(string))] = value
	}
	return nil
}

// object reads a request's body, which must be a JSON object.
func (r request) object() (object, error) {
	text, err := api.ReadBody(r.Request, maxBody)
	if err != nil {
		return nil, err
	}
	return r.decode(text)
}

// optionalObject is object for a call that needs no body: api.IsNoBody is an empty object.
func (r request) optionalObject() (object, error) {
	text, err := api.ReadBody(r.Request, maxBody)
	if err != nil || api.IsNoBody(text) {
		return nil, err
	}
	return r.decode(text)
}

func (r request) decode(text []byte) (object, error) {
	end, err := api.DecodeTurn(r.Request, len(text))
	if err != nil {
		return nil, err
	}
	defer end()
	var o object
	err = json.Unmarshal(text, &o)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, invalid("body", "The body is not JSON: %v, at byte %d.", syntax, syntax.Offset)
	case err != nil:
		return nil, invalid("body", "The body is not a JSON object.")
	}
	return o, nil
}

// invalid returns the vendor's error text for a wrong member or parameter, followed by
// what is wrong.
func invalid(member, format string, args ...any) error {
	return herald.Invalid(member, "Error processing request - not valid. "+format, args...)
}

// vendorText puts the vendor's text before the message about a member. The errors of CheckURL are as they are.
func vendorText(err error) error {
	var known *herald.Error
	if !errors.As(err, &known) || known.Member == "notifiers.webhook" {
		return err
	}
	return invalid(known.Member, "%s", known.Message)
}

// member reads a member into a value of type T. Absent and null are nil.
func member[T any](members object, name, want string) (*T, error) {
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
		return nil, invalid(path, "%s: want %s.", path, want)
	}
	return value, nil
}

// text reads a string member. Absent and null are "". It refuses NUL, because
// databases do not accept it.
func text(members object, name string) (string, error) {
	value, err := member[string](members, name, "a string")
	if value == nil || err != nil {
		return "", err
	}
	if strings.ContainsRune(*value, 0) {
		return "", invalid(name, "%s holds a NUL character.", name)
	}
	return *value, nil
}

// pathID returns a GUID from the path. Any other text is CodeNotFound (spec section
// 5.8).
func pathID(s, thing string) (uuid.UUID, error) {
	id, ok := settings.ParseID(s)
	if !ok {
		return id, herald.Errorf(herald.CodeNotFound, "No %s was found with ID %.50s", thing, s)
	}
	return id, nil
}

// listing is a request for one page of a list.
type listing struct {
	query.List
	path    string
	client  uuid.UUID // the one that the operator named, or uuid.Nil
	company uuid.UUID // selects what is about it, unless uuid.Nil
}

// readListing parses the parameters of a paged list.
func readListing(r request, s query.Schema) (listing, error) {
	l := listing{path: r.URL.EscapedPath(), client: r.caller.About}
	// Request.URL.Query drops parameters that it cannot parse. A list without
	// its filter would answer another question.
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return l, invalid("query", "The parameters are not percent-encoded as they should be: %v.", err)
	}
	if l.List, err = query.ParseList(values, s); err != nil {
		var syntax *query.SyntaxError
		if errors.As(err, &syntax) {
			return l, queryError{syntax}
		}
		return l, err
	}
	company, err := query.Parameter(values, "companyId")
	if err != nil || company == "" {
		return l, err
	}
	var ok bool
	if l.company, ok = settings.ParseID(company); !ok {
		return l, invalid("companyId", "companyId %.50q: want a GUID.", company)
	}
	return l, nil
}

// envelope is the body of every paged list (spec section 4.2).
type envelope[T any] struct {
	Results      []T         `json:"results"`
	PageNumber   int         `json:"pageNumber"`
	PageSize     int         `json:"pageSize"`
	TotalResults int         `json:"totalResults"`
	Links        query.Links `json:"_links"`
}

// page returns the answer for one page.
func page[T, V any](l listing, items []T, total int, view func(T) V) reply {
	extra := url.Values{}
	if l.company != uuid.Nil {
		extra.Set("companyId", l.company.String())
	}
	if l.client != uuid.Nil {
		extra.Set("client", l.client.String())
	}
	body := envelope[V]{
		Results: make([]V, len(items)), PageNumber: l.Page, PageSize: l.PageSize, TotalResults: total,
		Links: l.Links(l.path, total, extra),
	}
	for i, item := range items {
		body.Results[i] = view(item)
	}
	return reply{http.StatusOK, body}
}

// queryError makes the answer to a wrong query name the vendor's service. The answer has
// the vendor's text and, in the validation message, the detail.
type queryError struct{ *query.SyntaxError }

func (e queryError) Explain() (service, detail string) { return e.Service, e.Detail }

func (e queryError) Unwrap() error { return e.SyntaxError }
