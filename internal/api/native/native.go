// Package native is Herald's own HTTP surface: publishing events, reading deliveries,
// statistics, managing clients, event types and mailboxes, the audit log, the health checks, and the
// OpenAPI document of the whole API.
//
// It is strict about requests. An unknown member or parameter, a wrong type, or a member
// that occurs twice is a 400 that names it. Lists have cursors: {"results": […],
// "next": id}. The next is the following page's after; the last page has none.
//
// Each call is described where it is registered, see call. Its huma.Operation goes into the
// OpenAPI document, with the schemas of the Go types of its answers, and onto the mux. Only
// the description uses huma. Huma's own handlers match member names in any case, keep the
// last of two equal members, answer 422, and build errors through a package-level variable.
//
// Error bodies, authentication and reading bodies are in internal/api, the calls
// compatible with Codat in internal/api/codat. The interfaces below do the work of the
// calls.
package native

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
	"herald/internal/catalogue"
)

// Authenticator finds the caller of a request. Errors are those of api.Auth and ratelimit.Limiter.
type Authenticator interface {
	Caller(r *http.Request) (herald.Caller, error)
}

// Publisher accepts events.
type Publisher interface {
	// Publish stores all publications or none. It returns after they are
	// durable. Their ClientID is set. An error about one of several is a
	// *herald.ItemError.
	Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error)
}

// Events reads a client's events.
type Events interface {
	// Events lists the events that meet the filter, newest first. A long search is
	// split, and large events end the list before: next is the cursor of the
	// following part, uuid.Nil at the end.
	Events(ctx context.Context, client uuid.UUID, f herald.EventFilter) (found []herald.ListedEvent, next uuid.UUID, err error)
	// Event returns an event and the ids and rules of its alerts; CodeNotFound
	// when the client has no such event.
	Event(ctx context.Context, client, id uuid.UUID) (herald.Event, []herald.Alert, error)
}

// Explainer says which rules events meet, and why not the others.
type Explainer interface {
	// EventRules returns a verdict for each of the client's rules, those that the event met first;
	// CodeNotFound when the client has no such event.
	EventRules(ctx context.Context, client, event uuid.UUID) ([]herald.Verdict, error)
}

// Deliveries reads a client's deliveries.
type Deliveries interface {
	// Deliveries lists the deliveries that meet the filter, newest first. A
	// long search is split: next is the cursor of the following part,
	// uuid.Nil at the end.
	Deliveries(ctx context.Context, client uuid.UUID, f herald.DeliveryFilter) (found []herald.Delivery, next uuid.UUID, err error)
	// Delivery returns a delivery and its attempts; CodeNotFound when the
	// client has no such delivery.
	Delivery(ctx context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error)
	// DeliveryBody returns the body that a delivery's attempts send; CodeNotFound when
	// the database does not have its alert or its event.
	DeliveryBody(ctx context.Context, client, id uuid.UUID) ([]byte, error)
}

// Owners finds whom things belong to.
type Owners interface {
	// Owner returns the client of an event, or of the event that an alert or a delivery
	// comes from; CodeNotFound when there is none.
	Owner(ctx context.Context, id uuid.UUID) (uuid.UUID, error)
}

// Sender redelivers and cancels. Its calls are CodeNotFound when the client has no such
// delivery.
type Sender interface {
	// Redeliver makes a new delivery of the same alert; every call makes another.
	Redeliver(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error)
	// Recover makes new deliveries of the failed ones that the filter selects and whose
	// alert has not reached its receiver since; with dryRun it only counts them.
	Recover(ctx context.Context, by herald.Caller, client uuid.UUID, f herald.DeliveryFilter, dryRun bool) (herald.Recovery, error)
	// Retry makes the next attempt of a pending delivery now; CodeConflict when it is not
	// pending, or is a mail that was not tried yet.
	Retry(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error)
	// Cancel cancels a pending delivery; CodeConflict when it is not pending.
	Cancel(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error)
}

// Rules changes what a rule sends.
type Rules interface {
	// SetRuleAuthorization sets whether a rule's webhook gets the client's
	// Authorization header; CodeNotFound when the client has no such rule.
	SetRuleAuthorization(ctx context.Context, by herald.Caller, client, rule uuid.UUID, send bool) error
}

// Clients stores the clients. Its calls are CodeNotFound when there is no such client.
type Clients interface {
	// CreateClient returns the client and the plain text of its first key. An
	// empty role means herald.Developer.
	CreateClient(ctx context.Context, by herald.Caller, name string, role herald.Role) (herald.Client, string, error)
	// Clients lists the clients that meet the filter, newest first. A long search is split: next is the After of
	// the following part, uuid.Nil at the end.
	Clients(ctx context.Context, f herald.ClientFilter) (found []herald.Client, next uuid.UUID, err error)
	Client(ctx context.Context, id uuid.UUID) (herald.Client, error)
	RenameClient(ctx context.Context, by herald.Caller, id uuid.UUID, name string) error
	DeleteClient(ctx context.Context, by herald.Caller, id uuid.UUID) error
}

// Keys stores clients' API keys.
type Keys interface {
	Keys(ctx context.Context, client uuid.UUID) ([]herald.Key, error)
	// DeleteKey is CodeConflict for the last key, and CodeNotFound when the client has
	// no such key.
	DeleteKey(ctx context.Context, by herald.Caller, client, key uuid.UUID) error
	// CreateKey returns the new key and its plain text; CodeNotFound when there
	// is no such client, CodeConflict when it has herald.MaxKeys. An empty name
	// means one that it makes up.
	CreateKey(ctx context.Context, by herald.Caller, client uuid.UUID, name string, role herald.Role) (herald.Key, string, error)
}

// Audit reads the audit log.
type Audit interface {
	// Changes lists up to f.Limit changes that meet f, newest first. A client other than
	// uuid.Nil selects its changes only. A long search or large changes end the list before, as of Events.
	Changes(ctx context.Context, client uuid.UUID, f herald.ChangeFilter) (found []herald.Change, next uuid.UUID, err error)
}

// Issues reads and acknowledges issues. A client of uuid.Nil means those of all clients; the calls
// about one are CodeNotFound when there is no such issue.
type Issues interface {
	// Issues lists the issues that meet the filter, newest first. next is as of Events.
	Issues(ctx context.Context, client uuid.UUID, f herald.IssueFilter) (found []herald.Issue, next uuid.UUID, err error)
	Issue(ctx context.Context, client, id uuid.UUID) (herald.Issue, error)
	// AcknowledgeIssue is CodeConflict when the issue has ended.
	AcknowledgeIssue(ctx context.Context, by herald.Caller, client, id uuid.UUID, note string) (herald.Issue, error)
}

// Notifications stores who hears when a receiver of a client fails.
type Notifications interface {
	Notifications(ctx context.Context, client uuid.UUID) (herald.Notifications, error)
	// SetNotifications replaces them and the client's rules for them. It is CodeConflict when the
	// client would have too many rules.
	SetNotifications(ctx context.Context, by herald.Caller, client uuid.UUID, n herald.Notifications) error
	// StopNotifications deletes them and those rules. A second call changes nothing.
	StopNotifications(ctx context.Context, by herald.Caller, client uuid.UUID) error
}

// Mailboxes stores which mailboxes get no more mail of a client.
type Mailboxes interface {
	// Unsubscribed lists the mailboxes by address.
	Unsubscribed(ctx context.Context, client uuid.UUID) ([]herald.Unsubscribed, error)
	// Resubscribe allows mail to a mailbox again; CodeNotFound when the mailbox
	// is not unsubscribed.
	Resubscribe(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error
}

// EventTypes stores the operator's own event types.
type EventTypes interface {
	// SaveEventType adds an event type or replaces the type of that name.
	SaveEventType(ctx context.Context, by herald.Caller, t herald.EventType) error
	// DeleteEventType deletes the event type of that name; CodeNotFound when there
	// is none, CodeConflict while rules use it.
	DeleteEventType(ctx context.Context, by herald.Caller, name string) error
}

// Options are the surface's dependencies; all but PortalURL are required.
type Options struct {
	Auth        Authenticator
	Publisher   Publisher
	Events      Events
	Explainer   Explainer
	Deliveries  Deliveries
	Owners      Owners
	Sender      Sender
	Rules       Rules
	Clients     Clients
	Keys        Keys
	Audit       Audit
	Issues      Issues
	Mailboxes   Mailboxes
	EventTypes  EventTypes
	Backups     Backups
	PortalLinks PortalLinks
	Sessions    Sessions
	Statistics  Statistics
	Now         func() time.Time
	// Notifications is who hears when a receiver fails, and CheckURL refuses a webhook's address that may
	// not be called.
	Notifications Notifications
	CheckURL      func(raw string) error
	// PortalURL returns the address of a portal link with a secret; nil without the portal.
	PortalURL func(r *http.Request, secret string) string
	// Catalogue returns the present event types.
	Catalogue func(ctx context.Context) (*catalogue.Catalogue, error)
	// SendsMail says that a mail server is configured.
	SendsMail bool
	// Status returns how the service is.
	Status func(ctx context.Context) (herald.Status, error)
	// Ready returns why the service cannot serve now, or nil.
	Ready func(ctx context.Context) error
	// Notice returns a line that the answer of /readyz adds after "ok", or "".
	Notice func() string
	// Mux gets the calls.
	Mux *http.ServeMux
	// API gets their descriptions. Register serves the document as it is at its end, so
	// other surfaces must describe their calls before.
	API huma.API
}

// surface has the state that the calls share.
type surface struct{ Options }

// Register adds the surface's calls to the API's mux. The patterns name methods, so the mux
// detects what is a 404 or a 405.
func Register(o Options) error {
	s := &surface{o}
	s.registerEvents()
	s.registerDeliveries()
	s.registerIssues()
	s.registerNotifications()
	s.registerRules()
	s.registerUnsubscribed()
	s.registerClients()
	s.registerAudit()
	s.registerEventTypes()
	s.registerService()
	s.registerBackup()
	s.registerPortalLinks()
	s.registerSessions()
	s.registerStatistics()
	return s.serveDocument()
}

// serveDocument adds the finished document to the mux.
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

// serve adds a handler to the mux under an operation's method and path.
func (s *surface) serve(op *huma.Operation, handler http.HandlerFunc) {
	s.Mux.HandleFunc(op.Method+" "+op.Path, handler)
}
