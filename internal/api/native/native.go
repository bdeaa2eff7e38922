// Package native is Herald's own HTTP surface: publishing events, looking into
// deliveries, accounts, the catalogue, and the contract of the whole API.
//
// It is strict in what it takes: a member or parameter that it does not know, a
// wrong type, or a member that is there twice is a 400 that names it. Lists
// have cursors: {"results": […], "next": id}, where next is the after of the
// following page and absent on the last.
//
// A call is described where it is registered, see call: its huma.Operation goes
// into the OpenAPI document, with the schemas of the Go types that it answers
// with, and onto the mux. Only the describing is huma's. Its own way of serving
// takes member names in any case, keeps the last of two equal members, answers
// 422, and makes its errors by a package-level variable.
//
// Error bodies, authentication and reading bodies lie in internal/api, the
// calls compatible with Codat in internal/api/codat. What the calls do lies
// behind the interfaces below.
package native

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
	"herald/internal/catalogue"
)

// Authenticator tells who makes a request; an error is CodeUnauthorized.
type Authenticator interface {
	Caller(r *http.Request) (herald.Caller, error)
}

// Publisher keeps events.
type Publisher interface {
	// Publish keeps all publications or none, and returns once they are
	// durable. Their ClientID is set. An error about one of several is a
	// *herald.ItemError.
	Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error)
}

// Events reads what a client's events were.
type Events interface {
	// Events lists up to limit events, newest first, behind after unless
	// that is uuid.Nil.
	Events(ctx context.Context, client, after uuid.UUID, limit int) ([]herald.Event, error)
	// Event returns an event and the alerts it raised, CodeNotFound when the
	// client has no such event.
	Event(ctx context.Context, client, id uuid.UUID) (herald.Event, []herald.Alert, error)
}

// Deliveries reads what a client's receivers are owed and were sent.
type Deliveries interface {
	// Deliveries lists what the filter leaves, newest first. What would take
	// long to search is listed in parts: next is where to go on, uuid.Nil at
	// the end.
	Deliveries(ctx context.Context, client uuid.UUID, f herald.DeliveryFilter) (found []herald.Delivery, next uuid.UUID, err error)
	// Delivery returns a delivery and its attempts, CodeNotFound when the
	// client has no such delivery.
	Delivery(ctx context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error)
}

// Sender changes what a client's receivers are owed. CodeNotFound when the
// client has no such delivery.
type Sender interface {
	// Redeliver makes a new delivery of the same alert, each time it is called.
	Redeliver(ctx context.Context, client, id uuid.UUID) (herald.Delivery, error)
	// Cancel ends a pending delivery; CodeConflict when it has ended.
	Cancel(ctx context.Context, client, id uuid.UUID) (herald.Delivery, error)
}

// Rules changes what a client's rules send.
type Rules interface {
	// SetRuleAuthorization says whether a rule's webhook is sent the client's
	// Authorization header; CodeNotFound when the client has no such rule.
	SetRuleAuthorization(ctx context.Context, by herald.Caller, client, rule uuid.UUID, send bool) error
}

// Clients keeps the accounts. CodeNotFound when there is no such client.
type Clients interface {
	// CreateClient returns the client and the plain text of its first key, which
	// is a herald.Developer's without a role.
	CreateClient(ctx context.Context, by herald.Caller, name string, role herald.Role) (herald.Client, string, error)
	// Clients lists up to limit clients, newest first, behind after unless
	// that is uuid.Nil.
	Clients(ctx context.Context, after uuid.UUID, limit int) ([]herald.Client, error)
	Client(ctx context.Context, id uuid.UUID) (herald.Client, error)
	RenameClient(ctx context.Context, by herald.Caller, id uuid.UUID, name string) error
	DeleteClient(ctx context.Context, by herald.Caller, id uuid.UUID) error
}

// Keys makes clients' API keys.
type Keys interface {
	// CreateKey returns the new key in plain text; CodeNotFound when there is
	// no such client, CodeConflict when it has herald.MaxKeys.
	CreateKey(ctx context.Context, by herald.Caller, client uuid.UUID, name string, role herald.Role) (herald.Key, string, error)
}

// Audit reads what was changed.
type Audit interface {
	// Changes lists up to limit changes, newest first, behind after unless that
	// is uuid.Nil; a client other than uuid.Nil leaves only its own.
	Changes(ctx context.Context, client, after uuid.UUID, limit int) ([]herald.Change, error)
}

// Mailboxes keeps who wants no mail of a client.
type Mailboxes interface {
	// Unsubscribed lists them by address.
	Unsubscribed(ctx context.Context, client uuid.UUID) ([]herald.Unsubscribed, error)
	// Resubscribe lets mail go there again; CodeNotFound when it was not
	// stopped.
	Resubscribe(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error
}

// EventTypes keeps the operator's own event types.
type EventTypes interface {
	// SaveEventType adds an event type or replaces the one of that name.
	SaveEventType(ctx context.Context, by herald.Caller, t herald.EventType) error
}

// Options are what the surface works with; all are needed.
type Options struct {
	Auth       Authenticator
	Publisher  Publisher
	Events     Events
	Deliveries Deliveries
	Sender     Sender
	Rules      Rules
	Clients    Clients
	Keys       Keys
	Audit      Audit
	Mailboxes  Mailboxes
	EventTypes EventTypes
	// Catalogue returns the event types as they are now.
	Catalogue func(ctx context.Context) (*catalogue.Catalogue, error)
	// Ready says why the service cannot serve now, or nil.
	Ready func(ctx context.Context) error
	// API takes the calls and their descriptions. Its document is served as it is
	// when Register returns, so other surfaces describe theirs before.
	API huma.API
}

// surface is what the calls share.
type surface struct{ Options }

// Register puts the surface's calls on the API's mux. The patterns name methods; 404 and
// 405 are the mux's.
func Register(o Options) error {
	s := &surface{o}
	s.registerEvents()
	s.registerDeliveries()
	s.registerRules()
	s.registerUnsubscribed()
	s.registerClients()
	s.registerAudit()
	s.registerEventTypes()
	s.registerService()
	return s.serveDocument()
}

// serveDocument puts the finished document on the mux.
func (s *surface) serveDocument() error {
	document, err := openapi.Marshal(s.API.OpenAPI())
	if err != nil {
		return err
	}
	s.serve(&huma.Operation{Method: http.MethodGet, Path: "/openapi.json"}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // fails only when the caller has gone
	})
	return nil
}

// serve puts a handler on the mux under an operation's method and path.
func (s *surface) serve(op *huma.Operation, handler http.HandlerFunc) {
	s.API.Adapter().Handle(op, func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		handler(w, r)
	})
}
