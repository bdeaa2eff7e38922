package codat_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/secret"
)

// fake stores in memory what the store would. Values written by one call are returned by
// the others, and only to their client. internal/app tests the surface over the real
// store.
type fake struct {
	mu      sync.Mutex
	clients map[uuid.UUID]herald.Client
	rules   []herald.Rule // oldest first, as all lists here
	alerts  []herald.Alert
	keys    []herald.Key
	hashes  map[[32]byte]uuid.UUID // hash of a key to its id
}

func newFake() *fake {
	return &fake{clients: make(map[uuid.UUID]herald.Client), hashes: make(map[[32]byte]uuid.UUID)}
}

// addClient adds a client with one key.
func (f *fake) addClient(name, key string) uuid.UUID {
	c := herald.Client{ID: herald.NewID(), Profile: herald.Profile{Name: name}}
	f.clients[c.ID] = c
	k := herald.Key{ID: herald.NewID(), ClientID: c.ID, Role: herald.Developer, CreatedAt: time.Date(2022, 4, 11, 13, 49, 37, 0, time.UTC)}
	f.keys = append(f.keys, k)
	f.hashes[secret.HashAPIKey(key)] = k.ID
	return c.ID
}

// raise adds an alert on a rule.
func (f *fake) raise(rule herald.Rule, e herald.Event) herald.Alert {
	f.mu.Lock()
	defer f.mu.Unlock()
	event := herald.NewEventID()
	a := herald.Alert{
		ID: herald.AlertID(event, 1), EventID: event, ClientID: rule.ClientID, RuleID: rule.ID, Type: rule.Type,
		CompanyID: e.CompanyID, ConnectionID: e.ConnectionID, Message: e.Message, Data: e.Data,
	}
	f.alerts = append(f.alerts, a)
	return a
}

func unknown(thing string, id uuid.UUID) error {
	return herald.Errorf(herald.CodeNotFound, "No %s was found with ID %s", thing, id)
}

func (f *fake) KeyByHash(_ context.Context, hash [32]byte) (herald.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.hashes[hash]
	if i := slices.IndexFunc(f.keys, func(k herald.Key) bool { return k.ID == id }); i >= 0 {
		return f.keys[i], nil
	}
	return herald.Key{}, unknown("API key", id)
}

// Preview shows the rule that it got.
func (f *fake) Preview(_ context.Context, r herald.Rule) (herald.Preview, error) {
	return herald.Preview{Examples: []herald.Example{{Type: r.Type, CompanyID: r.CompanyID}}, Summary: r.ClientID.String()}, nil
}

func (f *fake) Rules(_ context.Context, client, company uuid.UUID, l query.List) ([]herald.Rule, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	member := func(r herald.Rule, field string) string {
		return map[string]string{
			"id": r.ID.String(), "type": r.PostedType, "companyId": r.CompanyID.String(), "notifiers.webhook": r.Webhook,
		}[field]
	}
	rules, total := onePage(f.rules, l, member, func(r herald.Rule) bool {
		return r.ClientID == client && (company == uuid.Nil || r.CompanyID == company)
	})
	return rules, total, nil
}

func (f *fake) Rule(_ context.Context, client, id uuid.UUID) (herald.Rule, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.rule(client, id)
	if err != nil {
		return herald.Rule{}, err
	}
	return f.rules[i], nil
}

func (f *fake) rule(client, id uuid.UUID) (int, error) {
	i := slices.IndexFunc(f.rules, func(r herald.Rule) bool { return r.ClientID == client && r.ID == id })
	if i < 0 {
		return 0, unknown("rule", id)
	}
	return i, nil
}

func (f *fake) CreateRule(_ context.Context, _ herald.Caller, r herald.Rule) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
	return nil
}

func (f *fake) UpdateRule(_ context.Context, _ herald.Caller, r herald.Rule) (herald.Rule, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.rule(r.ClientID, r.ID)
	if err != nil {
		return r, err
	}
	r.WithoutAuthorization = f.rules[i].WithoutAuthorization
	f.rules[i] = r
	return r, nil
}

func (f *fake) DeleteRule(_ context.Context, _ herald.Caller, client, id uuid.UUID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.rule(client, id)
	if err == nil {
		f.rules = slices.Delete(f.rules, i, i+1)
	}
	return err
}

func (f *fake) Alerts(_ context.Context, client, rule, company uuid.UUID, l query.List) ([]herald.Alert, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	member := func(a herald.Alert, field string) string {
		return map[string]string{
			"id": a.ID.String(), "companyId": a.CompanyID.String(), "clientId": a.ClientID.String(), "ruleId": a.RuleID.String(),
			"ruleType": a.Type, "dataConnectionId": a.ConnectionID.String(), "message": a.Message, "raisedOnUtc": sortableTime(a.RaisedAt()),
		}[field]
	}
	alerts, total := onePage(f.alerts, l, member, func(a herald.Alert) bool {
		return a.ClientID == client && (rule == uuid.Nil || a.RuleID == rule) && (company == uuid.Nil || a.CompanyID == company)
	})
	for i := range alerts {
		alerts[i].ClientName = f.clients[client].Profile.Name
	}
	return alerts, total, nil
}

func (f *fake) Alert(_ context.Context, client, id uuid.UUID) (herald.Alert, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.alerts {
		if a.ClientID == client && a.ID == id {
			a.ClientName = f.clients[client].Profile.Name
			return a, nil
		}
	}
	return herald.Alert{}, unknown("alert", id)
}

func (f *fake) Client(_ context.Context, id uuid.UUID) (herald.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.clients[id]
	if !ok {
		return c, unknown("client", id)
	}
	return c, nil
}

func (f *fake) SaveProfile(_ context.Context, _ herald.Caller, client uuid.UUID, p herald.Profile) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.clients[client]
	if !ok {
		return unknown("client", client)
	}
	c.Profile = p
	f.clients[client] = c
	return nil
}

func (f *fake) SaveProfileKeepingHeader(ctx context.Context, by herald.Caller, client uuid.UUID, p herald.Profile) (herald.Profile, error) {
	c, err := f.Client(ctx, client)
	if err != nil {
		return p, err
	}
	p.AlertAuthHeader = c.Profile.AlertAuthHeader
	return p, f.SaveProfile(ctx, by, client, p)
}

func (f *fake) Keys(_ context.Context, client uuid.UUID) ([]herald.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keysOf(client), nil
}

func (f *fake) keysOf(client uuid.UUID) []herald.Key {
	return slices.DeleteFunc(slices.Clone(f.keys), func(k herald.Key) bool { return k.ClientID != client })
}

func (f *fake) CreateKey(_ context.Context, _ herald.Caller, client uuid.UUID, name string, role herald.Role) (herald.Key, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.keysOf(client)) >= herald.MaxKeys {
		return herald.Key{}, "", herald.Errorf(herald.CodeConflict,
			"Maximum number of API keys reached. To create a new API key, delete an unused key and try again.")
	}
	plain, hash := secret.NewAPIKey()
	k := herald.Key{ID: herald.NewID(), ClientID: client, Name: cmp.Or(name, "made up"), Role: cmp.Or(role, herald.Developer), CreatedAt: time.Now().UTC().Truncate(time.Microsecond)}
	f.keys = append(f.keys, k)
	f.hashes[hash] = k.ID
	return k, plain, nil
}

func (f *fake) DeleteKey(_ context.Context, _ herald.Caller, client, key uuid.UUID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.keys, func(k herald.Key) bool { return k.ClientID == client && k.ID == key })
	if i < 0 {
		return unknown("API key", key)
	}
	if len(f.keysOf(client)) == 1 {
		return herald.Errorf(herald.CodeConflict, "The last API key cannot be deleted. Create another one first.")
	}
	f.keys = slices.Delete(f.keys, i, i+1)
	return nil
}

// onePage returns one page of a list and the number of items on all pages. It selects the
// items for which in is true and that meet the query, in the list's order.
func onePage[T any](all []T, l query.List, member func(T, string) string, in func(T) bool) ([]T, int) {
	matching := slices.DeleteFunc(slices.Clone(all), func(item T) bool {
		return !in(item) || !meets(l.Where, func(field string) string { return member(item, field) })
	})
	slices.SortStableFunc(matching, func(a, b T) int {
		order := cmp.Compare(member(a, l.Order.Field.Name), member(b, l.Order.Field.Name))
		if l.Order.Desc {
			return -order
		}
		return order
	})
	start := min(l.Offset(), len(matching))
	return matching[start:min(start+l.PageSize, len(matching))], len(matching)
}

// meets evaluates a query over members given as text; every item meets a nil query.
func meets(where query.Node, member func(field string) string) bool {
	switch n := where.(type) {
	case query.And:
		return meets(n.Left, member) && meets(n.Right, member)
	case query.Or:
		return meets(n.Left, member) || meets(n.Right, member)
	case query.Clause:
		want := fmt.Sprint(n.Value)
		if at, ok := n.Value.(time.Time); ok {
			want = sortableTime(at)
		}
		return compare(n.Op, member(n.Field.Name), want)
	default:
		return true
	}
}

func compare(op query.Op, got, want string) bool {
	switch op {
	case query.Equal:
		return got == want
	case query.NotEqual:
		return got != want
	case query.Contains:
		return strings.Contains(got, want)
	case query.Greater:
		return got > want
	case query.Less:
		return got < want
	case query.GreaterOrEqual:
		return got >= want
	default:
		return got <= want
	}
}

// sortableTime formats a time so that texts sort as their times do.
func sortableTime(at time.Time) string { return at.Format("2006-01-02T15:04:05.000000000") }
