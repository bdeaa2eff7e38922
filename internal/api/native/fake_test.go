package native

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
)

// The keys that the fake accepts as Bearer tokens.
const (
	operatorKey = "operator"
	acmeKey     = "acme"
	rivalKey    = "rival"
)

var rival = uuid.MustParse("99999999-9999-4999-8999-999999999999")

// fake stores in memory what the store and the engine would. Values written by one call
// are returned by the others, and only to their client.
type fake struct {
	now          time.Time
	events       []herald.Event // oldest first, as all lists here
	receipts     map[string]herald.Receipt
	deliveries   []herald.Delivery
	attempts     map[uuid.UUID][]herald.Attempt
	rules        map[uuid.UUID]uuid.UUID // rule to client
	unsent       map[uuid.UUID]bool      // rules without authorization
	clients      []herald.Client
	eventTypes   []herald.EventType
	typeInUse    bool
	changes      []herald.Change
	changeFilter herald.ChangeFilter
	notReady     error
	notice       string
	publishFail  error
	recovered    recovery      // what Recover was called with
	by           herald.Caller // of the last change of a delivery
	keys         []herald.Key
	counted      herald.StatisticsFilter // what Statistics was called with
	link         herald.PortalLink
	ended        []herald.Caller // whose sessions have ended
	issues       []herald.Issue
	notified     map[uuid.UUID]herald.Notifications // by client
}

type recovery struct {
	client uuid.UUID
	filter herald.DeliveryFilter
	dryRun bool
}

func (*fake) Caller(r *http.Request) (herald.Caller, error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch token {
	case operatorKey:
		return herald.Caller{Operator: true}, nil
	case acmeKey:
		return herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: acme}}, nil
	case rivalKey:
		return herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: rival}}, nil
	}
	return herald.Caller{}, herald.Errorf(herald.CodeUnauthorized, "Unauthorized")
}

// Publish raises an alert with one delivery on every rule of the client.
func (f *fake) Publish(_ context.Context, _ herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	if f.publishFail != nil {
		return nil, f.publishFail
	}
	for i, p := range pubs {
		if client, ok := f.rules[p.TestOf]; p.TestOf != uuid.Nil && (!ok || client != p.ClientID) {
			return nil, &herald.ItemError{Index: i, Err: herald.Errorf(herald.CodeNotFound, "No rule was found with ID %s", p.TestOf)}
		}
		if p.Type == "unheard of" {
			return nil, &herald.ItemError{Index: i, Err: herald.Invalid("type", "no event type %q", p.Type)}
		}
		if p.Data != nil && !strings.Contains(string(p.Data), "datasetId") {
			return nil, &herald.ItemError{Index: i, Err: herald.Invalid("data.datasetId", "data.datasetId is missing")}
		}
	}
	receipts := make([]herald.Receipt, len(pubs))
	for i, p := range pubs {
		receipts[i] = f.accept(p)
	}
	return receipts, nil
}

func (f *fake) accept(p herald.Publication) herald.Receipt {
	repeat := p.ClientID.String() + p.IdempotencyKey
	if r, ok := f.receipts[repeat]; ok && p.IdempotencyKey != "" {
		return r
	}
	p.ID = herald.NewEventID()
	if p.OccurredAt.IsZero() {
		p.OccurredAt = f.now
	}
	f.events = append(f.events, p.Event)
	receipt := herald.Receipt{EventID: p.ID}
	for _, rule := range slices.SortedFunc(maps.Keys(f.rules), func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) }) {
		if f.rules[rule] != p.ClientID {
			continue
		}
		receipt.AlertCount++
		alert := herald.AlertID(p.ID, receipt.AlertCount)
		receipt.AlertIDs = append(receipt.AlertIDs, alert)
		f.deliveries = append(f.deliveries, herald.Delivery{
			ID: herald.DeliveryID(alert, 0), ClientID: p.ClientID, AlertID: alert, EventID: p.ID, RuleID: rule,
			Type: p.Type, CompanyID: p.CompanyID, Address: "https://" + rule.String() + ".example", RaisedAt: herald.TimeOf(p.ID),
		})
	}
	f.receipts[repeat] = receipt
	return receipt
}

// newest returns up to limit items after a cursor, newest first. It selects those for which match is true.
func newest[T any](items []T, after uuid.UUID, limit int, id func(T) uuid.UUID, match func(T) bool) []T {
	var list []T
	for _, item := range slices.Backward(items) {
		behind := after == uuid.Nil || id(item).String() < after.String()
		if behind && match(item) && len(list) < limit {
			list = append(list, item)
		}
	}
	return list
}

func (f *fake) Events(_ context.Context, client uuid.UUID, filter herald.EventFilter) (listed []herald.ListedEvent, next uuid.UUID, err error) {
	for _, e := range newest(f.events, filter.After, filter.Limit, func(e herald.Event) uuid.UUID { return e.ID }, func(e herald.Event) bool {
		at := herald.TimeOf(e.ID)
		return e.ClientID == client && (filter.Type == "" || e.Type == filter.Type) && (filter.Company == uuid.Nil || e.CompanyID == filter.Company) &&
			!at.Before(filter.Since) && (filter.Until.IsZero() || at.Before(filter.Until))
	}) {
		_, alerts, _ := f.Event(context.Background(), client, e.ID)
		listed = append(listed, herald.ListedEvent{Event: e, AlertCount: len(alerts)})
	}
	return listed, uuid.Nil, nil
}

func (f *fake) Event(_ context.Context, client, id uuid.UUID) (herald.Event, []herald.Alert, error) {
	i := slices.IndexFunc(f.events, func(e herald.Event) bool { return e.ID == id && e.ClientID == client })
	if i < 0 {
		return herald.Event{}, nil, herald.Errorf(herald.CodeNotFound, "No event was found with ID %s", id)
	}
	var alerts []herald.Alert
	for _, d := range f.deliveries {
		if d.EventID == id {
			alerts = append(alerts, herald.Alert{ID: d.AlertID, RuleID: d.RuleID})
		}
	}
	return f.events[i], alerts, nil
}

// EventRules has a verdict for each rule of the client.
func (f *fake) EventRules(ctx context.Context, client, id uuid.UUID) (verdicts []herald.Verdict, err error) {
	_, alerts, err := f.Event(ctx, client, id)
	if err != nil {
		return nil, err
	}
	for _, a := range alerts {
		verdicts = append(verdicts, herald.Verdict{RuleID: a.RuleID, Met: true, AlertID: a.ID, Why: "met"})
	}
	for _, rule := range slices.SortedFunc(maps.Keys(f.rules), func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) }) {
		if f.rules[rule] == client && !slices.ContainsFunc(alerts, func(a herald.Alert) bool { return a.RuleID == rule }) {
			verdicts = append(verdicts, herald.Verdict{RuleID: rule, Reason: herald.MissType, Why: "missed"})
		}
	}
	return verdicts, nil
}

func (f *fake) Deliveries(_ context.Context, client uuid.UUID, q herald.DeliveryFilter) ([]herald.Delivery, uuid.UUID, error) {
	match := func(d herald.Delivery) bool {
		return d.ClientID == client &&
			(q.State == nil || *q.State == d.State) &&
			(q.Receiver == "" || q.Receiver == d.Address) &&
			(q.Type == "" || q.Type == d.Type) &&
			(q.Company == uuid.Nil || q.Company == d.CompanyID) &&
			(q.Alert == uuid.Nil || q.Alert == d.AlertID) &&
			(q.Since.IsZero() || !d.RaisedAt.Before(q.Since)) &&
			(q.Until.IsZero() || d.RaisedAt.Before(q.Until))
	}
	return newest(f.deliveries, q.After, q.Limit, func(d herald.Delivery) uuid.UUID { return d.ID }, match), uuid.Nil, nil
}

func (f *fake) Delivery(_ context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error) {
	i, err := f.find(client, id)
	if err != nil {
		return herald.Delivery{}, nil, err
	}
	return f.deliveries[i], f.attempts[id], nil
}

func (f *fake) find(client, id uuid.UUID) (int, error) {
	i := slices.IndexFunc(f.deliveries, func(d herald.Delivery) bool { return d.ID == id && d.ClientID == client })
	if i < 0 {
		return 0, herald.Errorf(herald.CodeNotFound, "No delivery was found with ID %s", id)
	}
	return i, nil
}

func (f *fake) Redeliver(_ context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	i, err := f.find(client, id)
	if err != nil {
		return herald.Delivery{}, err
	}
	f.by = by
	again := f.deliveries[i]
	again.ID = herald.DeliveryID(again.AlertID, int(again.ID[15])+1)
	again.State, again.DoneAt, again.Reason = herald.Pending, time.Time{}, ""
	f.deliveries = append(f.deliveries, again)
	return again, nil
}

func (f *fake) Recover(_ context.Context, by herald.Caller, client uuid.UUID, q herald.DeliveryFilter, dryRun bool) (herald.Recovery, error) {
	f.recovered, f.by = recovery{client, q, dryRun}, by
	return herald.Recovery{Count: 7, Skipped: 2, Next: company}, nil
}

func (f *fake) DeliveryBody(_ context.Context, client, id uuid.UUID) ([]byte, error) {
	_, err := f.find(client, id)
	return []byte(`{"AlertId": "1"}`), err
}

func (f *fake) Retry(_ context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	i := slices.IndexFunc(f.deliveries, func(d herald.Delivery) bool { return d.ID == id && d.ClientID == client })
	if i < 0 {
		return herald.Delivery{}, herald.Errorf(herald.CodeNotFound, "No delivery was found with ID %s", id)
	}
	f.by = by
	f.deliveries[i].NextAttemptAt = f.now
	return f.deliveries[i], nil
}

func (f *fake) Cancel(_ context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	i, err := f.find(client, id)
	if err != nil {
		return herald.Delivery{}, err
	}
	f.by = by
	d := &f.deliveries[i]
	if d.State != herald.Pending {
		return herald.Delivery{}, herald.Errorf(herald.CodeConflict, "The delivery %s has ended: it is %s.", id, d.State)
	}
	d.State, d.Reason, d.DoneAt = herald.Cancelled, herald.ReasonCancelled, f.now
	return *d, nil
}

func (f *fake) SetRuleAuthorization(_ context.Context, _ herald.Caller, client, rule uuid.UUID, send bool) error {
	if f.rules[rule] != client {
		return herald.Errorf(herald.CodeNotFound, "No rule was found with ID %s", rule)
	}
	f.unsent[rule] = !send
	return nil
}

func (f *fake) CreateClient(_ context.Context, _ herald.Caller, name string, _ herald.Role) (herald.Client, string, error) {
	c := herald.Client{ID: herald.NewID(), Profile: herald.Profile{Name: name, AlertAuthHeader: "secret"}}
	f.clients = append(f.clients, c)
	return c, "key of " + name, nil
}

func (f *fake) Clients(_ context.Context, q herald.ClientFilter) (found []herald.Client, next uuid.UUID, err error) {
	return newest(f.clients, q.After, q.Limit, func(c herald.Client) uuid.UUID { return c.ID }, func(c herald.Client) bool { return strings.Contains(c.Profile.Name, q.Search) }), uuid.Nil, nil
}

func (f *fake) client(id uuid.UUID) (int, error) {
	i := slices.IndexFunc(f.clients, func(c herald.Client) bool { return c.ID == id })
	if i < 0 {
		return 0, herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", id)
	}
	return i, nil
}

func (f *fake) Client(_ context.Context, id uuid.UUID) (herald.Client, error) {
	i, err := f.client(id)
	if err != nil {
		return herald.Client{}, err
	}
	return f.clients[i], nil
}

func (f *fake) RenameClient(_ context.Context, _ herald.Caller, id uuid.UUID, name string) error {
	i, err := f.client(id)
	if err == nil {
		f.clients[i].Profile.Name = name
	}
	return err
}

func (f *fake) DeleteClient(_ context.Context, _ herald.Caller, id uuid.UUID) error {
	i, err := f.client(id)
	if err == nil {
		f.clients = slices.Delete(f.clients, i, i+1)
	}
	return err
}

func (f *fake) SaveEventType(_ context.Context, _ herald.Caller, t herald.EventType) error {
	f.eventTypes = append(slices.DeleteFunc(f.eventTypes, func(have herald.EventType) bool { return have.Name == t.Name }), t)
	return nil
}

func (f *fake) DeleteEventType(_ context.Context, _ herald.Caller, name string) error {
	if f.typeInUse {
		return herald.Errorf(herald.CodeConflict, "The event type %q is used by 2 rules of 1 client.", name)
	}
	f.eventTypes = slices.DeleteFunc(f.eventTypes, func(have herald.EventType) bool { return have.Name == name })
	return nil
}

func (f *fake) CreateKey(_ context.Context, _ herald.Caller, client uuid.UUID, name string, role herald.Role) (herald.Key, string, error) {
	_, err := f.client(client)
	return herald.Key{ID: herald.NewID(), ClientID: client, Name: name, Role: cmp.Or(role, herald.Developer)}, "key " + name, err
}

func (f *fake) Keys(_ context.Context, client uuid.UUID) ([]herald.Key, error) {
	return newest(f.keys, uuid.Nil, len(f.keys), func(k herald.Key) uuid.UUID { return k.ID }, func(k herald.Key) bool { return k.ClientID == client }), nil
}

func (f *fake) DeleteKey(_ context.Context, _ herald.Caller, client, key uuid.UUID) error {
	i := slices.IndexFunc(f.keys, func(k herald.Key) bool { return k.ID == key && k.ClientID == client })
	if i < 0 {
		return herald.Errorf(herald.CodeNotFound, "No API key was found with ID %s", key)
	}
	f.keys = slices.Delete(f.keys, i, i+1)
	return nil
}

func (f *fake) Owner(_ context.Context, id uuid.UUID) (uuid.UUID, error) {
	i := slices.IndexFunc(f.events, func(e herald.Event) bool { return e.ID == herald.EventOf(id) })
	if i < 0 {
		return uuid.Nil, herald.Errorf(herald.CodeNotFound, "Nothing was found with ID %s", id)
	}
	return f.events[i].ClientID, nil
}

func (f *fake) Changes(_ context.Context, client uuid.UUID, q herald.ChangeFilter) ([]herald.Change, uuid.UUID, error) {
	f.changeFilter = q
	return newest(f.changes, q.After, q.Limit, func(c herald.Change) uuid.UUID { return c.ID },
		func(c herald.Change) bool { return client == uuid.Nil || c.ClientID == client }), uuid.Nil, nil
}

func (f *fake) EndSessions(_ context.Context, by herald.Caller) error {
	f.ended = append(f.ended, by)
	return nil
}

func (f *fake) Issues(_ context.Context, client uuid.UUID, q herald.IssueFilter) ([]herald.Issue, uuid.UUID, error) {
	return newest(f.issues, q.After, q.Limit, func(i herald.Issue) uuid.UUID { return i.ID }, func(i herald.Issue) bool {
		return (client == uuid.Nil || i.ClientID == client) && (q.State == "" || q.State == i.State) &&
			(q.Receiver == "" || q.Receiver == i.Receiver) && (q.Reason == "" || q.Reason == i.Reason)
	}), uuid.Nil, nil
}

func (f *fake) issue(client, id uuid.UUID) (*herald.Issue, error) {
	for n := range f.issues {
		if i := &f.issues[n]; i.ID == id && (client == uuid.Nil || i.ClientID == client) {
			return i, nil
		}
	}
	return nil, herald.Errorf(herald.CodeNotFound, "No issue was found with ID %s", id)
}

func (f *fake) Issue(_ context.Context, client, id uuid.UUID) (herald.Issue, error) {
	i, err := f.issue(client, id)
	if err != nil {
		return herald.Issue{}, err
	}
	return *i, nil
}

func (f *fake) AcknowledgeIssue(_ context.Context, by herald.Caller, client, id uuid.UUID, note string) (herald.Issue, error) {
	i, err := f.issue(client, id)
	if err != nil {
		return herald.Issue{}, err
	}
	i.Acknowledged = &herald.Acknowledgement{At: f.now, Actor: by.Actor(), APIKeyID: by.Key.ID, Note: note}
	return *i, nil
}

func (f *fake) Notifications(_ context.Context, client uuid.UUID) (herald.Notifications, error) {
	return f.notified[client], nil
}

func (f *fake) SetNotifications(_ context.Context, _ herald.Caller, client uuid.UUID, n herald.Notifications) error {
	f.notified[client] = n
	return nil
}

func (f *fake) StopNotifications(_ context.Context, _ herald.Caller, client uuid.UUID) error {
	delete(f.notified, client)
	return nil
}

func (f *fake) CreatePortalLink(_ context.Context, _ herald.Caller, l herald.PortalLink, life time.Duration) (herald.PortalLink, string, error) {
	_, err := f.client(l.ClientID)
	l.ExpiresAt = f.now.Add(life)
	f.link = l
	return l, "secret", err
}

// Backup returns an archive of text.
func (f *fake) Backup(_ context.Context, _ herald.Caller, withSecretKey bool) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(fmt.Sprintf("archive, with the key: %v", withSecretKey))), nil
}
