package intake

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/work"
)

// Bounds of a publish. They are checked before anything is rendered.
const (
	// DefaultMaxFanOut is how many deliveries one request may make. An alert that nobody receives
	// counts as one.
	DefaultMaxFanOut = 10_000
	// maxRequest bounds what one request stores, in bytes: the largest body, and as much again for
	// alerts. A request is one transaction, and other requests wait behind it.
	maxRequest = 2 * herald.MaxPublishSize
	// maxPrepared bounds the memory of all requests whose alerts are rendered: two of the largest.
	maxPrepared = 2 * maxRequest
)

// plan is an event whose rules are known and whose alerts are not rendered yet.
type plan struct {
	event      work.PreparedEvent // without alerts
	kind       *catalogue.Type
	clientName string
	message    string
	head       []byte // of the first alert; those of the others are as long, because only ids differ
	// notification: the event is one of Herald's own about receivers.
	notification bool
	matches      []match
	deliveries   int
	bytes        int // see Size of work.PreparedEvent
}

// match is a rule that an event meets, with its receivers.
type match struct {
	rule *clientcache.Rule
	*clientcache.Receivers
}

// receivers returns how many deliveries the match makes, and the bytes of their addresses and
// origins.
func (m *match) receivers() (n, bytes int) {
	if m.rule.Webhook != "" {
		n, bytes = 1, len(m.rule.Webhook)+len(m.Origin)
	}
	for _, box := range m.Boxes {
		n++
		bytes += 2*len(herald.MailScheme) + len(box)
	}
	return n, bytes
}

// plan finds the rules that an event meets. It may read them; nothing is stored or sent.
func (in *Intake) plan(ctx context.Context, budget *catalogue.Budget, client *clientcache.Snapshot, p herald.Publication) (plan, error) {
	e := p.Event
	if p.TestOf != uuid.Nil {
		return in.planTest(ctx, budget, client, p)
	}
	kind, ok := client.Catalogue.Lookup(e.Type)
	if !ok {
		return plan{}, herald.Invalid("type", "Unknown event type %q.%s GET /eventTypes lists those there are.", e.Type, client.Catalogue.Hint(e.Type))
	}
	made, err := in.made(budget, client, kind, p, in.ids.NewEvent)
	if err != nil {
		return plan{}, err
	}
	rules, err := client.Matching(ctx, kind.Name, made.event.Event.CompanyID)
	if err != nil {
		return plan{}, err
	}
	return made, in.match(&made, rules)
}

// made checks an event of a type and words its message. newID makes the event's id.
func (in *Intake) made(budget *catalogue.Budget, client *clientcache.Snapshot, kind *catalogue.Type, p herald.Publication, newID func() uuid.UUID) (plan, error) {
	e := p.Event
	e.Type = kind.Name
	if err := kind.Validate(budget, e); err != nil {
		return plan{}, err
	}
	if kind.BuiltIn && !kind.Connection {
		e.ConnectionID = uuid.Nil // the alerts of such a type have none, on the wire and in the API
	}
	e.ID = newID()
	prepared := work.PreparedEvent{ClientVersion: client.Version, IdempotencyKey: p.IdempotencyKey}
	if p.IdempotencyKey != "" {
		prepared.Fingerprint = fingerprint(e)
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt = herald.TimeOf(e.ID)
	}
	made := plan{kind: kind, clientName: client.Profile.Name, message: kind.Message(e), notification: herald.IsNotification(e.Type)}
	e.Data = kind.Data(e.Data)
	prepared.Event = e
	made.event = prepared
	return made, nil
}

// match adds the rules that the event meets, and counts what they make. Over the limit it goes on
// counting and stores no more.
func (in *Intake) match(p *plan, rules []*clientcache.Rule) error {
	_, p.bytes = p.event.Size()
	for met, rule := range rules {
		receivers, err := rule.Receivers(in.origin)
		if err != nil {
			return fmt.Errorf("find the origin of rule %s: %w", rule.ID, err)
		}
		m := match{rule, receivers}
		if met == 0 {
			p.head = renderHead(p.clientName, p.kind, p.event.Event, p.alert(0, &m))
		}
		n, bytes := m.receivers()
		p.deliveries += max(n, 1)
		p.bytes += len(p.head) + len(p.message) + bytes + (1+n)*work.RowSize
		if p.deliveries <= in.MaxFanOut {
			p.matches = append(p.matches, m)
		}
	}
	if len(rules) > herald.MaxAlerts {
		return tooMuch("The event meets more than %d rules of the client, which is the most that it can meet. Make them fewer.", herald.MaxAlerts)
	}
	return nil
}

// load is what the plans of one request make and store together.
type load struct{ deliveries, bytes int }

// add adds a plan. It returns an error if the request is more than it may be.
func (l *load) add(p *plan, maxFanOut int) error {
	l.deliveries += p.deliveries
	l.bytes += p.bytes
	switch {
	case p.deliveries > maxFanOut:
		return tooMuch("The event would make %d deliveries, and one request makes at most %d. Make the client's rules fewer, name fewer mailboxes in them, or let the operator raise --max-fan-out.",
			p.deliveries, maxFanOut)
	case l.deliveries > maxFanOut:
		return tooMuch("With this event the request would make %d deliveries, and one request makes at most %d. Send fewer events at once.",
			l.deliveries, maxFanOut)
	case p.bytes > maxRequest:
		return tooMuch("The event would take %d bytes for its alerts, and one request takes at most %d. Each alert repeats the message, which has %d bytes: shorten it, or make the client's rules fewer.",
			p.bytes, maxRequest, len(p.message))
	case l.bytes > maxRequest:
		return tooMuch("With this event the request would take %d bytes for events and alerts, and one request takes at most %d. Send fewer events at once.",
			l.bytes, maxRequest)
	}
	return nil
}

// tooMuch is the error for a request that the same rules would refuse again.
func tooMuch(format string, args ...any) error {
	return &herald.Error{Code: herald.CodeConflict, RetryAfter: -1, Message: fmt.Sprintf(format, args...)}
}

// render renders the alerts and their deliveries.
func (p *plan) render() work.PreparedEvent {
	prepared := p.event
	if len(p.matches) > 0 {
		prepared.Alerts = make([]work.PreparedAlert, len(p.matches))
	}
	for n := range p.matches {
		m := &p.matches[n]
		alert := p.alert(n, m)
		if alert.Head = p.head; n > 0 {
			alert.Head = renderHead(p.clientName, p.kind, p.event.Event, alert)
		}
		alert.Items = p.items(&alert, m)
		prepared.Alerts[n] = alert
	}
	return prepared
}

// items returns the deliveries of an alert: one for the rule's webhook and one for each of its
// mailboxes.
func (p *plan) items(a *work.PreparedAlert, m *match) []work.Item {
	n, _ := m.receivers()
	items := make([]work.Item, 0, n)
	add := func(origin, address string) {
		items = append(items, work.Item{
			ID: herald.DeliveryID(a.ID, len(items)), ClientID: m.rule.ClientID, RuleID: a.RuleID, Origin: origin, Address: address,
			Head: a.Head, Data: p.event.Event.Data, Notification: p.notification, Attempt: 1, MadeAt: herald.TimeOf(a.ID),
		})
	}
	if m.rule.Webhook != "" {
		add(m.Origin, m.rule.Webhook)
	}
	for _, box := range m.Boxes {
		add(herald.MailScheme, herald.MailScheme+box)
	}
	return items
}

// alert returns the n-th alert, counting from 0, without its head and its deliveries.
func (p *plan) alert(n int, m *match) work.PreparedAlert {
	return work.PreparedAlert{ID: herald.AlertID(p.event.Event.ID, n+1), RuleID: m.rule.ID, Message: p.message}
}
