package portal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/catalogue"
	"herald/internal/devinbox"
	"herald/internal/query"
)

var (
	acme  = uuid.MustParse("11111111-1111-4111-8111-111111111111")
	rival = uuid.MustParse("99999999-9999-4999-8999-999999999999")
	noon  = time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
)

// fake has what the store and the engine would. Each client has one delivery, event and rule.
type fake struct {
	mu           sync.Mutex // of sessions, made and uses
	sessions     map[string]herald.Session
	links        map[string]herald.PortalLink
	deliveries   []herald.Delivery
	attempts     map[uuid.UUID][]herald.Attempt
	body         []byte
	rules        []herald.Rule
	saved        herald.Rule           // the rule that was saved last
	savedType    herald.EventType      // the event type that was saved last
	profile      herald.Profile        // of every client, but for its name
	name         string                // of Acme, instead of that
	keys         int                   // how many each client has, at most 2
	unsubscribed []herald.Unsubscribed // besides one of each client
	changes      []herald.Change       // of Acme's audit log, instead of the one
	changed      []string              // which changes were made
	filter       herald.DeliveryFilter
	changeFilter herald.ChangeFilter
	events       herald.EventFilter
	verdicts     []herald.Verdict // on rules that each event did not meet
	received     []devinbox.Received
	came         chan struct{} // closed with the next one
	answer       devinbox.Answer
	published    []herald.Publication
	publisher    herald.Caller
	quiet        []herald.Event // without alerts, of any client
	alerts       []herald.Alert // of quiet events
	nextDelivery uuid.UUID      // that Deliveries returns
	fail         error
	cancel       func(delivery uuid.UUID) error // called by Cancel; nil for nothing
	made, uses   int
	issues       []herald.Issue // one of each client
	counts       []herald.Statistics
	moreCounts   bool // Statistics has more than counts
	recovery     herald.Recovery
	preview      herald.Preview
	previewed    []herald.Rule
	recovered    []herald.DeliveryFilter
	views        []string // what RecordView was called with
	status       herald.Status
	notified     herald.Notifications
	clients      []herald.Client // besides Acme and its rival
	clientFilter herald.ClientFilter
	nextClient   uuid.UUID // that Clients returns
}

func (f *fake) ByKey(_ context.Context, key string) (herald.Caller, error) {
	switch key {
	case "operator":
		return herald.Caller{Operator: true}, nil
	case "acme":
		return herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: acme, Role: herald.Developer, Name: "ci"}}, nil
	case "analyst":
		return herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: acme, Role: herald.Analyst}}, nil
	case "rival":
		return herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: rival, Role: herald.Administrator}}, nil
	}
	return herald.Caller{}, herald.Errorf(herald.CodeUnauthorized, "Unauthorized")
}

func (f *fake) CreateSession(_ context.Context, by herald.Caller) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	token := fmt.Sprintf("session-%d", f.made)
	f.sessions[token] = herald.Session{Caller: by, ClientName: "Acme"}
	return token, nil
}

func (f *fake) Session(_ context.Context, token string, used bool) (herald.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, known := f.sessions[token]
	if used {
		f.uses++
	}
	if !known {
		return s, herald.Errorf(herald.CodeUnauthorized, "You are not signed in.")
	}
	return s, nil
}

func (f *fake) EndSession(_ context.Context, token string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sessions, token)
	return nil
}

func (f *fake) EndSessions(_ context.Context, by herald.Caller) error {
	for token, s := range f.sessions {
		if s.Caller.Key.ID == by.Key.ID {
			delete(f.sessions, token)
		}
	}
	return nil
}

func (f *fake) RedeemPortalLink(ctx context.Context, token string) (herald.PortalLink, string, error) {
	l, known := f.links[token]
	if !known {
		return l, "", herald.Errorf(herald.CodeUnauthorized, "no link")
	}
	delete(f.links, token)
	session, err := f.CreateSession(ctx, herald.Caller{Key: herald.Key{ClientID: l.ClientID, Role: l.Role}})
	return l, session, err
}

func (f *fake) Deliveries(_ context.Context, client uuid.UUID, filter herald.DeliveryFilter) (found []herald.Delivery, next uuid.UUID, err error) {
	f.filter = filter
	for _, d := range f.deliveries {
		behind := filter.After == uuid.Nil || d.ID.String() < filter.After.String()
		if d.ClientID == client && behind && (filter.State == nil || d.State == *filter.State) && (filter.Alert == uuid.Nil || d.AlertID == filter.Alert) && (filter.Event == uuid.Nil || d.EventID == filter.Event) && (filter.Rule == uuid.Nil || d.RuleID == filter.Rule) &&
			(filter.Company == uuid.Nil || d.CompanyID == filter.Company) && (filter.Receiver == "" || d.Address == filter.Receiver) && len(found) < filter.Limit {
			found = append(found, d)
		}
	}
	return found, f.nextDelivery, f.fail
}

func (f *fake) index(client, id uuid.UUID) (int, error) {
	i := slices.IndexFunc(f.deliveries, func(d herald.Delivery) bool { return d.ID == id && d.ClientID == client })
	if i < 0 {
		return 0, herald.Errorf(herald.CodeNotFound, "No delivery was found with ID %s", id)
	}
	return i, nil
}

func (f *fake) Delivery(_ context.Context, client, id uuid.UUID) (herald.Delivery, []herald.Attempt, error) {
	i, err := f.index(client, id)
	if err != nil {
		return herald.Delivery{}, nil, err
	}
	return f.deliveries[i], slices.Clone(f.attempts[id]), f.fail
}

func (f *fake) DeliveryBody(_ context.Context, client, id uuid.UUID) ([]byte, error) {
	_, err := f.index(client, id)
	return f.body, err
}

func (f *fake) change(what string, client, id uuid.UUID) (herald.Delivery, error) {
	i, err := f.index(client, id)
	if err != nil {
		return herald.Delivery{}, err
	}
	f.changed = append(f.changed, what)
	return f.deliveries[i], nil
}

func (f *fake) Redeliver(_ context.Context, _ herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	return f.change("redeliver", client, id)
}

func (f *fake) Retry(_ context.Context, _ herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	return f.change("retry", client, id)
}

func (f *fake) Cancel(_ context.Context, _ herald.Caller, client, id uuid.UUID) (herald.Delivery, error) {
	if f.cancel != nil {
		if err := f.cancel(id); err != nil {
			return herald.Delivery{}, err
		}
	}
	if i, err := f.index(client, id); err == nil && f.deliveries[i].State == herald.Pending {
		f.deliveries[i].State = herald.Cancelled
	}
	return f.change("cancel", client, id)
}

func (f *fake) Events(_ context.Context, client uuid.UUID, filter herald.EventFilter) (found []herald.ListedEvent, next uuid.UUID, err error) {
	f.events = filter
	for _, d := range f.deliveries {
		if d.ClientID == client && (filter.Company == uuid.Nil || d.CompanyID == filter.Company) && (filter.Type == "" || d.Type == filter.Type) && len(found) < filter.Limit {
			found = append(found, herald.ListedEvent{Event: eventOf(d), AlertCount: 1})
		}
	}
	for _, e := range f.quiet {
		if e.ClientID == client && (filter.Company == uuid.Nil || e.CompanyID == filter.Company) && len(found) < filter.Limit {
			found = append(found, herald.ListedEvent{Event: e})
		}
	}
	return found, uuid.Nil, f.fail
}

func (f *fake) EventRules(ctx context.Context, client, id uuid.UUID) ([]herald.Verdict, error) {
	_, alerts, err := f.Event(ctx, client, id)
	if err != nil {
		return nil, err
	}
	return append([]herald.Verdict{{RuleID: alerts[0].RuleID, Type: "Sync Failed", Met: true, AlertID: alerts[0].ID}}, f.verdicts...), nil
}

// Owner says that the inbox is Acme's.
func (f *fake) Owner() uuid.UUID { return acme }

func (f *fake) Came() <-chan struct{} { return f.came }

func (f *fake) Newest() []devinbox.Received { return f.received }

func (f *fake) Answer() devinbox.Answer { return f.answer }

func (f *fake) SetAnswer(a devinbox.Answer) error {
	f.answer, f.changed = a, append(f.changed, "answer")
	return a.Check()
}

func (f *fake) Clear() { f.received, f.changed = nil, append(f.changed, "clear") }

func eventOf(d herald.Delivery) herald.Event {
	return herald.Event{ID: d.EventID, ClientID: d.ClientID, Type: d.Type, CompanyID: d.CompanyID, OccurredAt: d.RaisedAt, Data: []byte(`{"note":"secret of ` + d.ClientID.String() + `"}`)}
}

func (f *fake) Publish(_ context.Context, by herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	f.changed = append(f.changed, "publish")
	f.published, f.publisher = append(f.published, pubs...), by
	return []herald.Receipt{{EventID: eventID(acme)}}, f.fail
}

func (f *fake) Preview(_ context.Context, r herald.Rule) (herald.Preview, error) {
	f.previewed = append(f.previewed, r)
	return f.preview, f.fail
}

func (f *fake) Event(_ context.Context, client, id uuid.UUID) (herald.Event, []herald.Alert, error) {
	for _, d := range f.deliveries {
		if d.ClientID == client && d.EventID == id {
			return eventOf(d), []herald.Alert{{ID: d.AlertID, RuleID: d.RuleID}}, nil
		}
	}
	for _, e := range f.quiet {
		if e.ClientID == client && e.ID == id {
			return e, f.alerts, nil
		}
	}
	return herald.Event{}, nil, herald.Errorf(herald.CodeNotFound, "No event was found with ID %s", id)
}

func (f *fake) Rules(_ context.Context, client, company uuid.UUID, _ query.List) (found []herald.Rule, total int, err error) {
	for _, r := range f.rules {
		if r.ClientID == client && (company == uuid.Nil || r.CompanyID == company) {
			found = append(found, r)
		}
	}
	return found, len(found), nil
}

func (f *fake) Rule(_ context.Context, client, id uuid.UUID) (herald.Rule, error) {
	for _, r := range f.rules {
		if r.ClientID == client && r.ID == id {
			return r, nil
		}
	}
	return herald.Rule{}, herald.Errorf(herald.CodeNotFound, "No rule was found with ID %s", id)
}

func (f *fake) CreateRule(_ context.Context, _ herald.Caller, r herald.Rule) error {
	f.changed, f.saved = append(f.changed, "create rule"), r
	return f.fail
}

func (f *fake) UpdateRule(ctx context.Context, _ herald.Caller, r herald.Rule) (herald.Rule, error) {
	if _, err := f.Rule(ctx, r.ClientID, r.ID); err != nil {
		return r, err
	}
	f.changed, f.saved = append(f.changed, "update rule"), r
	return r, f.fail
}

func (f *fake) DeleteRule(ctx context.Context, _ herald.Caller, client, id uuid.UUID) error {
	if _, err := f.Rule(ctx, client, id); err != nil {
		return err
	}
	f.changed = append(f.changed, "delete rule")
	f.rules = slices.DeleteFunc(f.rules, func(r herald.Rule) bool { return r.ID == id })
	return f.fail
}

func (f *fake) Alerts(_ context.Context, client, rule, _ uuid.UUID, l query.List) (found []herald.Alert, total int, err error) {
	for _, d := range f.deliveries {
		if d.ClientID == client && d.RuleID == rule {
			found = append(found, herald.Alert{ID: d.AlertID, ClientID: client, RuleID: rule, Type: d.Type, Message: "secret of " + client.String()})
		}
	}
	for _, a := range f.alerts {
		if a.ClientID == client && a.RuleID == rule {
			found = append(found, a)
		}
	}
	return found[:min(len(found), l.PageSize)], len(found), f.fail
}

func (f *fake) SaveAuthorization(_ context.Context, _ herald.Caller, _ uuid.UUID, header string) error {
	f.changed, f.profile.AlertAuthHeader = append(f.changed, "save header"), header
	return f.fail
}

func (f *fake) SaveProfileKeepingHeader(_ context.Context, _ herald.Caller, _ uuid.UUID, p herald.Profile) (herald.Profile, error) {
	f.changed, f.profile = append(f.changed, "save profile"), p
	return p, f.fail
}

// keyID is the id of the first key of a client; the second is an administrator's.
func keyID(client uuid.UUID) uuid.UUID { return uuid.NewSHA1(client, []byte("key")) }

func (f *fake) Keys(_ context.Context, client uuid.UUID) ([]herald.Key, error) {
	return []herald.Key{{ID: keyID(client), ClientID: client, Name: "ci", Role: herald.Developer, CreatedAt: noon},
		{ID: uuid.NewSHA1(client, []byte("boss")), ClientID: client, Name: "boss of " + client.String() + ".example", Role: herald.Administrator, CreatedAt: noon, LastUse: noon.Add(-3 * time.Hour)}}[:f.keys], f.fail
}

func (f *fake) CreateKey(_ context.Context, _ herald.Caller, client uuid.UUID, name string, role herald.Role) (herald.Key, string, error) {
	f.changed = append(f.changed, "create key")
	return herald.Key{ID: uuid.New(), ClientID: client, Name: name, Role: role}, "hk-plain-text", f.fail
}

func (f *fake) DeleteKey(_ context.Context, _ herald.Caller, client, key uuid.UUID) error {
	if key != keyID(client) {
		return herald.Errorf(herald.CodeNotFound, "No API key was found with ID %s", key)
	}
	f.changed = append(f.changed, "delete key")
	return f.fail
}

func (f *fake) Unsubscribed(_ context.Context, client uuid.UUID) ([]herald.Unsubscribed, error) {
	return append([]herald.Unsubscribed{{Address: "reader@" + client.String() + ".example", At: noon}}, f.unsubscribed...), f.fail
}

func (f *fake) Notifications(_ context.Context, client uuid.UUID) (herald.Notifications, error) {
	n := f.notified
	n.Webhooks = append(n.Webhooks, "https://"+client.String()+".example/told")
	return n, f.fail
}

func (f *fake) SetNotifications(_ context.Context, _ herald.Caller, _ uuid.UUID, n herald.Notifications) error {
	f.notified = n
	f.changed = append(f.changed, "notify")
	return f.fail
}

func (f *fake) StopNotifications(context.Context, herald.Caller, uuid.UUID) error {
	f.changed = append(f.changed, "stop notifying")
	return f.fail
}

func (f *fake) Resubscribe(_ context.Context, _ herald.Caller, client uuid.UUID, box string) error {
	if box != "reader@"+client.String()+".example" {
		return herald.Errorf(herald.CodeNotFound, "The mailbox %.200s is not unsubscribed.", box)
	}
	f.changed = append(f.changed, "resubscribe")
	return f.fail
}

func (f *fake) Clients(_ context.Context, q herald.ClientFilter) (found []herald.Client, next uuid.UUID, err error) {
	f.clientFilter = q
	for _, c := range append([]herald.Client{{ID: rival, Profile: herald.Profile{Name: "Rival"}}, {ID: acme, Profile: herald.Profile{Name: "Acme"}}}, f.clients...) {
		if strings.Contains(c.Profile.Name, q.Search) && len(found) < q.Limit {
			found = append(found, c)
		}
	}
	return found, f.nextClient, herald.CheckClientSearch(q.Search)
}

func (f *fake) Issues(_ context.Context, client uuid.UUID, filter herald.IssueFilter) (found []herald.Issue, next uuid.UUID, err error) {
	for _, i := range f.issues {
		if (client == uuid.Nil || i.ClientID == client) && i.State == filter.State {
			found = append(found, i)
		}
	}
	return found, uuid.Nil, f.fail
}

func (f *fake) Issue(_ context.Context, client, id uuid.UUID) (herald.Issue, error) {
	for _, i := range f.issues {
		if i.ClientID == client && i.ID == id {
			return i, nil
		}
	}
	return herald.Issue{}, herald.Errorf(herald.CodeNotFound, "No issue was found with ID %s", id)
}

func (f *fake) AcknowledgeIssue(ctx context.Context, _ herald.Caller, client, id uuid.UUID, note string) (herald.Issue, error) {
	f.changed = append(f.changed, "acknowledge "+note)
	return f.Issue(ctx, client, id)
}

func (f *fake) Recover(_ context.Context, _ herald.Caller, _ uuid.UUID, filter herald.DeliveryFilter, dryRun bool) (herald.Recovery, error) {
	if !dryRun {
		f.changed = append(f.changed, "recover")
	}
	f.recovered = append(f.recovered, filter)
	return f.recovery, f.fail
}

func (f *fake) Statistics(_ context.Context, filter herald.StatisticsFilter) (found []herald.Statistics, more bool, err error) {
	if filter.By == herald.ByReceiver && filter.Client == acme {
		return f.counts, f.moreCounts, f.fail
	}
	from, to := filter.Hours()
	for at := from; at.Before(to); at = at.Add(time.Hour) {
		found = append(found, herald.Statistics{Hour: at, Counts: herald.Counts{Attempts: herald.AttemptCounts{Delivered: 2, Rejected: 1}}})
	}
	return found, false, f.fail
}

func (f *fake) RecordView(_ context.Context, _ herald.Caller, _ string, client uuid.UUID, page, _ string) error {
	f.views = append(f.views, client.String()+" "+page)
	return f.fail
}

func (f *fake) CreateClient(_ context.Context, _ herald.Caller, name string, role herald.Role) (herald.Client, string, error) {
	f.changed = append(f.changed, "create "+name+" for "+string(role))
	return herald.Client{ID: acme, Profile: herald.Profile{Name: name}}, "hk-secret", nil
}

func (f *fake) RenameClient(_ context.Context, _ herald.Caller, id uuid.UUID, name string) error {
	f.changed = append(f.changed, "rename to "+name)
	return nil
}

func (f *fake) DeleteClient(_ context.Context, _ herald.Caller, id uuid.UUID) error {
	f.changed = append(f.changed, "delete "+id.String())
	return nil
}

func (f *fake) CreatePortalLink(_ context.Context, _ herald.Caller, l herald.PortalLink, life time.Duration) (herald.PortalLink, string, error) {
	f.changed = append(f.changed, fmt.Sprintf("link for %s to %q for %v", l.Role, l.Path, life))
	l.ExpiresAt = noon.Add(life)
	return l, "s3cret", nil
}

func (f *fake) SaveEventType(_ context.Context, _ herald.Caller, t herald.EventType) error {
	f.savedType = t
	f.changed = append(f.changed, fmt.Sprintf("save %s %s %s", t.Name, t.Schema, t.Example))
	return nil
}

func (f *fake) DeleteEventType(_ context.Context, _ herald.Caller, name string) error {
	f.changed = append(f.changed, "delete type "+name)
	return nil
}

func (f *fake) Changes(_ context.Context, client uuid.UUID, q herald.ChangeFilter) (found []herald.Change, next uuid.UUID, err error) {
	f.changeFilter = q
	if client != acme || f.changes == nil {
		return []herald.Change{{At: noon.Add(-10 * time.Minute), ClientID: client, Action: herald.ProfileUpdated, Actor: herald.ActorKey, APIKeyID: keyID(client),
			Before: []byte(`{"alertAuthHeader":"Bearer …"}`), After: []byte(`{"alertAuthHeader":"Bearer … (changed)","name":"secret of ` + client.String() + `"}`)}}, uuid.Nil, f.fail
	}
	for _, c := range f.changes {
		if (q.After == uuid.Nil || c.ID.String() < q.After.String()) && len(found) < q.Limit && (len(q.Actions) == 0 || slices.Contains(q.Actions, c.Action)) && (q.Actor == "" || c.Actor == q.Actor) &&
			!c.At.Before(q.Since) && (q.Until.IsZero() || c.At.Before(q.Until)) {
			found = append(found, c)
		}
	}
	return found, uuid.Nil, f.fail
}

// checkURL is the guard of webhooks' addresses.
func checkURL(raw string) error {
	if strings.HasPrefix(raw, "https://") {
		return nil
	}
	return herald.Invalid("notifiers.webhook", "%q cannot be called", raw)
}

func (f *fake) profileOf(name string) herald.Profile {
	p := f.profile
	p.Name = name
	return p
}

func (f *fake) Client(_ context.Context, id uuid.UUID) (herald.Client, error) {
	switch id {
	case acme:
		return herald.Client{ID: acme, Profile: f.profileOf(cmp.Or(f.name, "Acme"))}, nil
	case rival:
		return herald.Client{ID: rival, Profile: f.profileOf("Rival")}, nil
	}
	return herald.Client{}, herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", id)
}

// fixture is the portal over a fake, inside the middleware of the API.
type fixture struct {
	*fake
	t       *testing.T
	portal  *portal
	handler http.Handler
	head    http.Header // of the next requests
}

// deliveryOf returns the id of the one delivery of a client.
func deliveryID(client uuid.UUID) uuid.UUID {
	return herald.DeliveryID(herald.AlertID(eventID(client), 1), 0)
}

// issueID returns the id of the one issue of a client.
func issueID(client uuid.UUID) uuid.UUID {
	client[15] = 0x77
	return client
}

func eventID(client uuid.UUID) uuid.UUID {
	id := herald.FirstIDAt(noon.Add(-time.Hour))
	id[6], id[8], id[12] = 0x70, 0x80, client[0]
	id[13], id[14], id[15] = 0, 0, 0
	return id
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fake{keys: 2, sessions: map[string]herald.Session{}, links: map[string]herald.PortalLink{}, attempts: map[uuid.UUID][]herald.Attempt{}, body: []byte(`{"Message":"for Acme"}`)}
	for _, client := range []uuid.UUID{acme, rival} {
		id := deliveryID(client)
		secret := "secret of " + client.String()
		f.deliveries = append(f.deliveries, herald.Delivery{ID: id, ClientID: client, AlertID: herald.AlertOf(id), EventID: herald.EventOf(id), RuleID: client,
			Type: "Sync Failed", CompanyID: client, Address: "https://" + client.String() + ".example/hook", State: herald.Failed, Reason: herald.ReasonStatus,
			AttemptCount: 2, LastStatus: 401, LastReason: herald.ReasonStatus, RaisedAt: noon.Add(-time.Hour), DoneAt: noon.Add(-time.Hour)})
		for n := range 2 {
			f.attempts[id] = append(f.attempts[id], herald.Attempt{DeliveryID: id, N: n + 1, At: noon.Add(-time.Hour), Outcome: herald.OutcomeRejected, Status: 401, Reason: herald.ReasonStatus,
				Error: secret, Timings: herald.Timings{DNS: 1, Connect: 2, TLS: 3, FirstByte: 4, Total: 12}, Request: &herald.RequestRecord{Method: "POST", URL: "https://x.example", Headers: map[string]string{"Authorization": "Bearer …"}},
				Response: &herald.ResponseRecord{Headers: map[string][]string{"Server": {"x"}}, Body: secret}})
		}
		f.issues = append(f.issues, herald.Issue{ID: issueID(client), ClientID: client, Receiver: "https://" + client.String() + ".example/hook", Reason: herald.ReasonStatus, LastStatus: 401,
			State: herald.IssueOpen, BeganAt: noon.Add(-time.Hour), LastAt: noon, Attempts: 9, Failed: 3, LastDelivery: id,
			RecoveryFilter: herald.RecoveryFilter{Receiver: "https://" + client.String() + ".example/hook", Reason: herald.ReasonStatus, Since: noon.Add(-time.Hour)}})
		f.rules = append(f.rules, herald.Rule{ID: client, ClientID: client, Type: "Sync Failed", Webhook: "https://" + client.String() + ".example/hook"})
	}
	types, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Keys: f, Sessions: f, Deliveries: f, Sender: f, Events: f, Rules: f, Clients: f, Audit: f, Alerts: f, Profiles: f, APIKeys: f, Mailboxes: f, CheckURL: checkURL, Now: func() time.Time { return noon }, Version: "1.2.3",
		Live: NewLive(DefaultMaxStreams, false), Issues: f, Recoverer: f, Statistics: f, Notifications: f,
		Operator: Operator{Views: f, Clients: f, EventTypes: f, Status: func(context.Context) (herald.Status, error) { return f.status, f.fail },
			LinkURL: func(_ *http.Request, secret string) string { return "https://herald.example/portal/link#" + secret }},
		Explainer: f, Inbox: f, Publisher: f, Previewer: f, ReadData: func(text []byte) (json.RawMessage, error) {
			if !json.Valid(text) {
				return nil, herald.Invalid("", "The body is not JSON")
			}
			return text, nil
		},
		ExampleBody: func(name string, t *catalogue.Type, e herald.Event) []byte {
			return []byte(`{"ClientName":"` + name + `"}`)
		},
		Catalogue: func(context.Context) (*catalogue.Catalogue, error) { return types, nil }}
	for _, c := range change {
		c(&o)
	}
	mux := http.NewServeMux()
	if err := Register(mux, o); err != nil {
		t.Fatal(err)
	}
	p, err := newPortal(o)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{fake: f, t: t, portal: p, handler: api.NewMiddleware(mux, discard, nil), head: http.Header{}}
}

// request makes a request with a session, if there is one. A form makes it a POST.
func (f *fixture) request(token, method, target string, form url.Values) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, target, nil)
	if form != nil {
		r = httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, values := range f.head {
		r.Header[name] = values
	}
	if token != "" {
		r.AddCookie(&http.Cookie{Name: f.portal.cookie(sessionCookie, "", 0).Name, Value: token})
	}
	w := httptest.NewRecorder()
	ctx, end := context.WithCancel(r.Context())
	defer end()
	f.handler.ServeHTTP(connection{w, end}, r.WithContext(ctx))
	return w
}

// connection is what a request's answer goes to. It ends with the first part of an answer that is sent in parts.
type connection struct {
	*httptest.ResponseRecorder
	end func()
}

func (c connection) FlushError() error {
	c.end()
	return nil
}

func (connection) SetReadDeadline(time.Time) error  { return nil }
func (connection) SetWriteDeadline(time.Time) error { return nil }

// page makes a GET, which must have a status, and returns the body.
func (f *fixture) page(token string, status int, target string) string {
	f.t.Helper()
	w := f.request(token, http.MethodGet, target, nil)
	if w.Code != status {
		f.t.Fatalf("GET %s: status %d, want %d: %.300s", target, w.Code, status, w.Body)
	}
	text, err := io.ReadAll(w.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// signedIn returns a session of the one who has a key.
func (f *fixture) signedIn(key string) string {
	f.t.Helper()
	by, err := f.ByKey(f.t.Context(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	token, _ := f.CreateSession(f.t.Context(), by)
	return token
}

// of returns the address of a page of a client.
func of(id uuid.UUID, page string) string { return client{ID: id}.path(page) }

// post posts a body of any kind.
func (f *fixture) post(target, body, kind string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}
