// Package portal is the web portal: pages for a client's people and for the operator, under /portal/.
//
// It calls the same services as the HTTP surfaces, and knows no more than the session's key may know. No
// business rule lives here. A page is a route (routes.go), a handler, a struct with what it shows, and a
// template of the same name in templates:
//
//	request ─▶ open     session, scope, role ─▶ handler ─▶ page (template, data) ─▶ render
//	           (visit.go)                        (a file for each page)              (render.go)
//
// Handlers return a page, an answer or an error, and never write themselves. So every page has the same
// headers, and an error at any point is a whole page.
//
// Texts of strangers are text: html/template escapes them, and write names characters that would not show or
// would change the order of others. There is no inline style or script, so that the Content-Security-Policy can forbid both.
//
// Sessions are in internal/store, API keys in internal/api, sentences about deliveries in internal/explain.
package portal

import (
	"context"
	"encoding/json"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/catalogue"
	"herald/internal/devinbox"
	"herald/internal/query"
)

// Path is where the pages are.
const Path = "/portal/"

// LinkPath is the page of portal links; the secret follows as the fragment.
const LinkPath = Path + "link"

// Keys finds API keys.
type Keys interface {
	// ByKey returns who has a key, CodeUnauthorized for a text that is no key.
	ByKey(ctx context.Context, key string) (herald.Caller, error)
}

// Sessions keeps who is signed in.
type Sessions interface {
	// CreateSession makes a session and returns the secret that finds it, this once.
	CreateSession(ctx context.Context, by herald.Caller) (token string, err error)
	// Session returns the session that a secret finds, and notes its use if used; CodeUnauthorized for one that has ended.
	Session(ctx context.Context, token string, used bool) (herald.Session, error)
	EndSession(ctx context.Context, token string) error
	// EndSessions ends all sessions of the caller's key; CodeConflict after a portal link.
	EndSessions(ctx context.Context, by herald.Caller) error
	// RedeemPortalLink uses a link up and makes a session; CodeUnauthorized unless it can still be used.
	RedeemPortalLink(ctx context.Context, token string) (l herald.PortalLink, session string, err error)
}

// Deliveries reads a client's deliveries.
type Deliveries interface {
	// Deliveries lists the deliveries that meet the filter, newest first. A long search is split:
	// next is the cursor of the following part, uuid.Nil at the end.
	Deliveries(ctx context.Context, client uuid.UUID, f herald.DeliveryFilter) (found []herald.Delivery, next uuid.UUID, err error)
	// Delivery returns a delivery and its attempts; CodeNotFound when the client has no such delivery.
	Delivery(ctx context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error)
	// DeliveryBody returns the body that a delivery's attempts send; CodeNotFound when it is not in the database.
	DeliveryBody(ctx context.Context, client, id uuid.UUID) ([]byte, error)
}

// Sender changes deliveries. Its calls are CodeNotFound when the client has no such delivery, and
// CodeConflict when its state does not allow the change.
type Sender interface {
	Redeliver(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error)
	Retry(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error)
	Cancel(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error)
}

// Events reads a client's events.
type Events interface {
	// Events lists the events that meet the filter, newest first. A long search is split:
	// next is the cursor of the following part, uuid.Nil at the end.
	Events(ctx context.Context, client uuid.UUID, f herald.EventFilter) (found []herald.ListedEvent, next uuid.UUID, err error)
	// Event returns an event and its alerts; CodeNotFound when the client has no such event.
	Event(ctx context.Context, client, id uuid.UUID) (herald.Event, []herald.Alert, error)
}

// Explainer says which rules events meet, and why not the others.
type Explainer interface {
	// EventRules returns a verdict for each of the client's rules, those that the event met first, then those that missed
	// it by the least; CodeNotFound when the client has no such event.
	EventRules(ctx context.Context, client, event uuid.UUID) ([]herald.Verdict, error)
}

// Inbox is the receiver of herald dev. It belongs to one client.
type Inbox interface {
	// Owner is the client that it belongs to; uuid.Nil while there is none.
	Owner() uuid.UUID
	// Came returns a channel that is closed when the next one has come.
	Came() <-chan struct{}
	// Newest returns what came, newest first, without waiting.
	Newest() []devinbox.Received
	// Answer is what webhooks are answered with.
	Answer() devinbox.Answer
	// SetAnswer sets it, from the next webhook on. The error says what is wrong with it.
	SetAnswer(devinbox.Answer) error
	Clear()
}

// Publisher accepts events.
type Publisher interface {
	// Publish stores all publications or none. It returns after they are durable. An error about one of them is a
	// *herald.ItemError.
	Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error)
}

// Previewer says what a rule would have met.
type Previewer interface {
	// Preview says which of the client's newest events a rule would have met.
	Preview(ctx context.Context, r herald.Rule) (herald.Preview, error)
}

// Rules stores a client's rules. Its calls are CodeNotFound when the client has no such rule.
type Rules interface {
	// Rules returns a page of rules, and how many match.
	Rules(ctx context.Context, client, company uuid.UUID, l query.List) ([]herald.Rule, int, error)
	// Rule returns a rule; CodeNotFound when the client has no such rule.
	Rule(ctx context.Context, client, id uuid.UUID) (herald.Rule, error)
	// CreateRule is CodeConflict when the client has as many rules as it can have.
	CreateRule(ctx context.Context, by herald.Caller, r herald.Rule) error
	// UpdateRule replaces type, company and notifiers, and returns the rule.
	UpdateRule(ctx context.Context, by herald.Caller, r herald.Rule) (herald.Rule, error)
	DeleteRule(ctx context.Context, by herald.Caller, client, id uuid.UUID) error
}

// Alerts reads a client's alerts.
type Alerts interface {
	// Alerts returns a page of alerts, and how many match. A rule other than uuid.Nil selects its alerts.
	Alerts(ctx context.Context, client, rule, company uuid.UUID, l query.List) ([]herald.Alert, int, error)
}

// Profiles changes a client's profile.
type Profiles interface {
	// SaveAuthorization replaces AlertAuthHeader and nothing else, in one step.
	SaveAuthorization(ctx context.Context, by herald.Caller, client uuid.UUID, header string) error
	// SaveProfileKeepingHeader replaces all but AlertAuthHeader, in one step.
	SaveProfileKeepingHeader(ctx context.Context, by herald.Caller, client uuid.UUID, p herald.Profile) (herald.Profile, error)
}

// APIKeys stores a client's API keys.
type APIKeys interface {
	Keys(ctx context.Context, client uuid.UUID) ([]herald.Key, error)
	// CreateKey returns the new key and its plain text, this once; CodeConflict when the client has
	// herald.MaxKeys. An empty name means one that it makes up.
	CreateKey(ctx context.Context, by herald.Caller, client uuid.UUID, name string, role herald.Role) (herald.Key, string, error)
	// DeleteKey is CodeConflict for the last key, and CodeForbidden for one that the caller may not delete.
	DeleteKey(ctx context.Context, by herald.Caller, client, key uuid.UUID) error
}

// Mailboxes stores which mailboxes get no more mail of a client.
type Mailboxes interface {
	Unsubscribed(ctx context.Context, client uuid.UUID) ([]herald.Unsubscribed, error)
	// Resubscribe allows mail to a mailbox again; CodeNotFound when it is not unsubscribed.
	Resubscribe(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error
}

// Audit reads the audit log.
type Audit interface {
	// Changes lists up to f.Limit changes of a client that meet f, newest first. A long search is split:
	// next is the cursor of the following part, uuid.Nil at the end.
	Changes(ctx context.Context, client uuid.UUID, f herald.ChangeFilter) (found []herald.Change, next uuid.UUID, err error)
}

// Clients reads the clients.
type Clients interface {
	// Clients lists the clients that meet the filter, newest first. A long search is split: next is the After of
	// the following part, uuid.Nil at the end. CodeInvalid for a text that cannot be searched.
	Clients(ctx context.Context, f herald.ClientFilter) (found []herald.Client, next uuid.UUID, err error)
	// Client returns a client; CodeNotFound when there is none.
	Client(ctx context.Context, id uuid.UUID) (herald.Client, error)
}

// Options are what the portal needs. All are required but Inbox, Secure and FrameAncestors.
type Options struct {
	Keys       Keys
	Sessions   Sessions
	Deliveries Deliveries
	Sender     Sender
	Events     Events
	Explainer  Explainer
	Publisher  Publisher
	Previewer  Previewer
	Rules      Rules
	Alerts     Alerts
	Profiles   Profiles
	APIKeys    APIKeys
	Mailboxes  Mailboxes
	Clients    Clients
	Audit      Audit
	Issues     Issues
	Recoverer  Recoverer
	// Notifications sets who hears when a receiver fails.
	Notifications Notifications
	Statistics    Statistics
	Operator      Operator
	// Live tells open pages of changes. The store tells it.
	Live *Live
	// Catalogue returns the present event types.
	Catalogue func(ctx context.Context) (*catalogue.Catalogue, error)
	// ReadData reads an event's data as a publish does; CodeInvalid for what a publish refuses.
	ReadData func(text []byte) (json.RawMessage, error)
	// ExampleBody returns the body that a receiver would get of an event of a type.
	ExampleBody func(clientName string, t *catalogue.Type, e herald.Event) []byte
	// CheckURL refuses a webhook's address that may not be called, with CodeInvalid.
	CheckURL func(raw string) error
	// Inbox is the receiver of herald dev; nil elsewhere.
	Inbox Inbox
	// Secure says that people reach the portal by https; cookies are for https alone then.
	Secure bool
	// FrameAncestors are the origins whose pages may show the portal in a frame. They need Secure.
	FrameAncestors []string
	Now            func() time.Time
	Version        string
}

// portal has what the pages share.
type portal struct {
	Options
	assets   *assets
	pages    func() (map[string]*template.Template, error) // by file; they are parsed with the first page that is shown
	failures api.Guesses                                   // of signing in
	seen     seen                                          // by the operator
	policy   string                                        // the Content-Security-Policy
}

// Register adds the portal to mux.
func Register(mux *http.ServeMux, o Options) error {
	p, err := newPortal(o)
	if err != nil {
		return err
	}
	for _, route := range p.routes() {
		mux.HandleFunc(route.pattern, p.open(route))
	}
	mux.HandleFunc("GET "+assetPath+"{version}/{name}", p.assets.serve)
	return nil
}

func newPortal(o Options) (*portal, error) {
	p := &portal{Options: o, failures: api.Guesses{Free: freeFailures, Window: failureWindow, First: firstWait, Most: longestWait}, policy: contentPolicy(o.FrameAncestors)}
	var err error
	if p.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	p.pages = sync.OnceValues(p.loadTemplates)
	return p, nil
}
