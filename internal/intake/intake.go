// Package intake accepts events. It finds the client's rules that an event meets, renders the alert
// of each rule, and passes the prepared events to the store. An event is accepted once its commit
// is synced to disk, and not before.
//
// internal/api has the wire format of a publish. internal/catalogue says what an event type
// requires. internal/delivery sends.
package intake

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/clientcache"
	"herald/internal/work"
)

// staleLimit bounds how often an event is prepared again because its client changed between
// preparation and commit.
const staleLimit = 20

// Clients returns what is known of a client.
type Clients interface {
	// Get may return an old version. Current returns the present version. Both return CodeNotFound
	// if there is no such client.
	Get(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
	Current(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
}

// Store commits prepared events, all or none, see Accept of internal/store.
type Store interface {
	Accept(events []work.PreparedEvent) ([]herald.Receipt, error)
}

// Engine sends the deliveries of accepted events.
type Engine interface {
	// Reserve takes room in memory for the deliveries of the events, and sets Held on those that
	// got it. One AfterCommit follows each Reserve.
	Reserve(events []work.PreparedEvent)
	// AfterCommit sends the deliveries of the events that were committed, and releases the room of
	// the others.
	AfterCommit(events []work.PreparedEvent, committed func(i int) bool)
}

// Intake is safe for concurrent use.
type Intake struct {
	clients Clients
	store   Store
	engine  Engine
	origin  func(address string) (string, error)

	mu       sync.Mutex
	underWay map[idempotent]bool
}

// idempotent is an idempotency key of a client.
type idempotent struct {
	client uuid.UUID
	key    string
}

// New returns an Intake. origin returns the origin of a webhook's address.
func New(c Clients, s Store, e Engine, origin func(string) (string, error)) *Intake {
	return &Intake{clients: c, store: s, engine: e, origin: origin, underWay: make(map[idempotent]bool)}
}

// Publish accepts publications, all or none. It returns a receipt for each, in order, once they are
// synced to disk.
//
// An error about one publication is a *herald.ItemError. Its code is CodeInvalid; CodeNotFound for
// an unknown client; CodeForbidden for a client that is not the caller's; CodeMismatch for an
// idempotency key that was used with other content; or CodeConflict while the first use of the key
// is under way, or if the event meets more than herald.MaxAlerts rules. The code is
// CodeUnauthorized if the caller's key was revoked since the request came in, and CodeUnavailable
// if the database accepts nothing now.
func (in *Intake) Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	release, err := in.enter(pubs)
	if err != nil {
		return nil, err
	}
	defer release()
	get := in.clients.Get
	for try := range staleLimit {
		events, err := in.prepareAll(ctx, get, caller, pubs)
		get = in.clients.Current
		if err != nil && try == 0 {
			continue // the client may be old; the present version may have no error
		}
		if err != nil {
			return nil, err
		}
		receipts, err := in.commit(events)
		if !errors.Is(err, work.ErrStale) {
			return receipts, err
		}
	}
	return nil, &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second,
		Message: "The client's rules change too fast to decide whom the event concerns. Try again."}
}

// commit commits events and reports the result to the engine.
func (in *Intake) commit(events []work.PreparedEvent) ([]herald.Receipt, error) {
	in.engine.Reserve(events)
	receipts, err := in.store.Accept(events)
	in.engine.AfterCommit(events, func(i int) bool {
		// A repeated event has the receipt of the first one, and so another id.
		return err == nil && receipts[i].EventID == events[i].Event.ID
	})
	return receipts, err
}

// enter refuses a publication if another request uses its idempotency key at this moment, because
// the outcome of that request is not known yet.
func (in *Intake) enter(pubs []herald.Publication) (release func(), err error) {
	var entered []idempotent
	release = func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		for _, id := range entered {
			delete(in.underWay, id)
		}
	}
	for i, p := range pubs {
		if p.IdempotencyKey == "" {
			continue
		}
		id := idempotent{p.ClientID, p.IdempotencyKey}
		in.mu.Lock()
		taken := in.underWay[id]
		in.underWay[id] = true
		in.mu.Unlock()
		switch {
		case !taken:
			entered = append(entered, id)
		case !repeats(pubs[:i], id): // a repeat within one request is no conflict
			release()
			return nil, &herald.ItemError{Index: i, Err: &herald.Error{Code: herald.CodeConflict, Member: "idempotencyKey", RetryAfter: time.Second,
				Message: "Another request with the idempotency key " + p.IdempotencyKey + " is under way. Try again to learn its outcome."}}
		}
	}
	if entered == nil {
		return func() {}, nil
	}
	return release, nil
}

func repeats(pubs []herald.Publication, id idempotent) bool {
	for _, p := range pubs {
		if (idempotent{p.ClientID, p.IdempotencyKey}) == id {
			return true
		}
	}
	return false
}

type getClient func(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)

// prepareAll prepares the publications. All publications of one client use the same version of it.
func (in *Intake) prepareAll(ctx context.Context, get getClient, caller herald.Caller, pubs []herald.Publication) ([]work.PreparedEvent, error) {
	events := make([]work.PreparedEvent, len(pubs))
	var last *clientcache.Snapshot
	clients := make(map[uuid.UUID]*clientcache.Snapshot)
	for i, p := range pubs {
		client := last
		if client == nil || client.ID != p.ClientID {
			client = clients[p.ClientID]
		}
		if client == nil {
			var err error
			if client, err = get(ctx, p.ClientID); err != nil {
				return nil, onItem(i, err)
			}
			if err := authorize(caller, client); err != nil {
				return nil, onItem(i, err)
			}
			clients[p.ClientID] = client
		}
		last = client
		event, err := in.prepare(client, p)
		if err != nil {
			return nil, onItem(i, err)
		}
		events[i] = event
	}
	return events, nil
}

func onItem(i int, err error) error {
	var known *herald.Error
	if !errors.As(err, &known) {
		return err
	}
	return &herald.ItemError{Index: i, Err: err}
}

// authorize checks the caller's key again, on the client's version that the events are prepared on:
// the key may have been revoked since the request came in.
func authorize(caller herald.Caller, client *clientcache.Snapshot) error {
	switch {
	case caller.Operator:
		return nil
	case caller.Key.ClientID != client.ID:
		return herald.Errorf(herald.CodeForbidden, "The API key does not belong to client %s", client.ID)
	case !client.HasKey(caller.Key.ID):
		return herald.Errorf(herald.CodeUnauthorized, "The API key has been revoked")
	default:
		return nil
	}
}

// prepare finds the rules that an event meets and renders their alerts. It only computes; nothing
// is stored or sent.
func (in *Intake) prepare(client *clientcache.Snapshot, p herald.Publication) (work.PreparedEvent, error) {
	e := p.Event
	kind, ok := client.Catalogue.Lookup(e.Type)
	if !ok {
		return work.PreparedEvent{}, herald.Invalid("type", "Unknown event type %q.%s GET /eventTypes lists those there are.", e.Type, client.Catalogue.Hint(e.Type))
	}
	e.Type = kind.Name
	if err := kind.Validate(e); err != nil {
		return work.PreparedEvent{}, err
	}
	if kind.BuiltIn && !kind.Connection {
		e.ConnectionID = uuid.Nil // the alerts of such a type have none, on the wire and in the API
	}
	e.ID = herald.NewEventID()
	prepared := work.PreparedEvent{ClientVersion: client.Version, IdempotencyKey: p.IdempotencyKey}
	if p.IdempotencyKey != "" {
		prepared.Fingerprint = fingerprint(e)
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt = herald.TimeOf(e.ID)
	}
	message := kind.Message(e)
	e.Data = kind.Data(e.Data)
	prepared.Event = e
	for _, rule := range client.Rules(e.Type) {
		if !rule.Meets(e) {
			continue
		}
		if len(prepared.Alerts) == herald.MaxAlerts {
			return work.PreparedEvent{}, herald.Errorf(herald.CodeConflict, "The event meets more than %d rules of the client, which is more than can be raised.", herald.MaxAlerts)
		}
		alert := work.PreparedAlert{ID: herald.AlertID(e.ID, len(prepared.Alerts)+1), RuleID: rule.ID, Message: message}
		alert.Head = renderHead(client.Profile.Name, kind, e, alert)
		var err error
		if alert.Items, err = in.items(rule, alert, e); err != nil {
			return work.PreparedEvent{}, err
		}
		prepared.Alerts = append(prepared.Alerts, alert)
	}
	return prepared, nil
}

// items returns the deliveries of an alert: one for the rule's webhook and one for each of its
// mailboxes.
func (in *Intake) items(rule herald.Rule, a work.PreparedAlert, e herald.Event) ([]work.Item, error) {
	var items []work.Item
	body := work.Body(a.Head, e.Data)
	add := func(origin, address string) {
		items = append(items, work.Item{
			ID: herald.DeliveryID(a.ID, len(items)), ClientID: rule.ClientID, RuleID: rule.ID, Origin: origin, Address: address,
			Body: body, Attempt: 1, MadeAt: herald.TimeOf(a.ID),
		})
	}
	if rule.Webhook != "" {
		origin, err := in.origin(rule.Webhook)
		if err != nil {
			return nil, fmt.Errorf("find the origin of rule %s: %w", rule.ID, err)
		}
		add(origin, rule.Webhook)
	}
	for _, box := range herald.Mailboxes(rule.Emails) {
		add(herald.MailScheme, herald.MailScheme+box)
	}
	return items, nil
}

// fingerprint is a hash of what the publisher sent, so that publications with other content differ.
// It is taken before defaults are filled in, so that a repeat has the same one.
func fingerprint(e herald.Event) [32]byte {
	h := sha256.New()
	for _, part := range []string{e.Type, e.CompanyID.String(), e.ConnectionID.String(), string(e.Data), e.Message, occurred(e.OccurredAt)} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	return [32]byte(h.Sum(nil))
}

func occurred(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}
