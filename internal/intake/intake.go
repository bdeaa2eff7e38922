// Package intake accepts events: it finds the client's rules that an event
// meets, renders what each of them is sent, and hands all of it to the writer.
// An event is accepted when it is synced to disk, and not before.
//
// What a publish looks like on the wire lies in internal/api, what a type of
// event demands in internal/catalogue, sending in internal/delivery.
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
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/work"
)

// staleLimit bounds how often an event is prepared again because its client
// changed in the meantime.
const staleLimit = 20

// Clients tells what is known of a client.
type Clients interface {
	// Get may return an old version, Current returns the present one.
	// Both: CodeNotFound when there is no such client.
	Get(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
	Current(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
}

// Store commits prepared events, see the store's Accept.
type Store interface {
	Accept(events []work.PreparedEvent) ([]herald.Receipt, error)
}

// Engine sends what was accepted.
type Engine interface {
	// Reserve takes room in memory for the events' deliveries and sets Held
	// of those that got it. Every Reserve is followed by one AfterCommit.
	Reserve(events []work.PreparedEvent)
	// AfterCommit sends the deliveries of the events that were committed, and
	// gives back the room of the others.
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

// New returns an Intake. origin tells the lane of a webhook's address.
func New(c Clients, s Store, e Engine, origin func(string) (string, error)) *Intake {
	return &Intake{clients: c, store: s, engine: e, origin: origin, underWay: make(map[idempotent]bool)}
}

// Publish accepts publications, all or none, and returns a receipt for each in
// order once they are kept.
//
// Errors are about one publication as *herald.ItemError, with the code of what
// it wraps: CodeInvalid, CodeNotFound for an unknown client, CodeForbidden for
// another client's, CodeMismatch for an idempotency key used with other content
// and CodeConflict while its first use is under way. CodeUnauthorized when the
// caller's key has just been revoked, CodeUnavailable when the database takes
// nothing.
func (in *Intake) Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	release, err := in.enter(pubs)
	if err != nil {
		return nil, err
	}
	defer release()
	look := in.clients.Get
	for try := range staleLimit {
		events, err := in.prepareAll(ctx, look, caller, pubs)
		look = in.clients.Current
		if err != nil && try == 0 {
			continue // what is wrong may be right on the present version
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

// commit commits events and passes on to the engine what became of them.
func (in *Intake) commit(events []work.PreparedEvent) ([]herald.Receipt, error) {
	in.engine.Reserve(events)
	receipts, err := in.store.Accept(events)
	in.engine.AfterCommit(events, func(i int) bool {
		// A repeat has the receipt of the event that it repeats.
		return err == nil && receipts[i].EventID == events[i].Event.ID
	})
	return receipts, err
}

// enter refuses a publication whose idempotency key another request is using at
// this moment: the outcome of that one is not known yet.
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
		case !repeats(pubs[:i], id): // within one request it is a repeat, not a race
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

type lookUp func(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)

// prepareAll prepares the publications, all those of one client on the same version
// of it.
func (in *Intake) prepareAll(ctx context.Context, look lookUp, caller herald.Caller, pubs []herald.Publication) ([]work.PreparedEvent, error) {
	events := make([]work.PreparedEvent, len(pubs))
	var last *clientcache.Snapshot
	clients := make(map[uuid.UUID]*clientcache.Snapshot)
	budget := catalogue.NewBudget(ctx)
	for i, p := range pubs {
		client := last
		if client == nil || client.ID != p.ClientID {
			client = clients[p.ClientID]
		}
		if client == nil {
			var err error
			if client, err = look(ctx, p.ClientID); err != nil {
				return nil, onItem(i, err)
			}
			if err := authorize(caller, client); err != nil {
				return nil, onItem(i, err)
			}
			clients[p.ClientID] = client
		}
		last = client
		event, err := in.prepare(budget, client, p)
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

// authorize checks the caller against the client as it is now: a key that was in
// force when the request came in may have been revoked.
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

// prepare is pure: it finds the rules that an event meets and renders what each of
// their receivers is sent.
func (in *Intake) prepare(budget *catalogue.Budget, client *clientcache.Snapshot, p herald.Publication) (work.PreparedEvent, error) {
	e := p.Event
	kind, ok := client.Catalogue.Lookup(e.Type)
	if !ok {
		return work.PreparedEvent{}, herald.Invalid("type", "Unknown event type %q. GET /eventTypes lists those there are.", e.Type)
	}
	e.Type = kind.Name
	if err := kind.Validate(budget, e); err != nil {
		return work.PreparedEvent{}, err
	}
	if kind.BuiltIn && !kind.Connection {
		e.ConnectionID = uuid.Nil // such alerts have none, on the wire and in the API
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

// items returns the deliveries that an alert owes: one for the rule's webhook, and
// one for each of its mailboxes.
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
			return nil, fmt.Errorf("lane of rule %s: %w", rule.ID, err)
		}
		add(origin, rule.Webhook)
	}
	for _, box := range herald.Mailboxes(rule.Emails) {
		add(herald.MailScheme, herald.MailScheme+box)
	}
	return items, nil
}

// fingerprint tells publications with other content apart. It is taken before
// anything is filled in, so that a repeat has the same.
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
