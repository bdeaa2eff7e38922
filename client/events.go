package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Event is an event to publish. Type is required; the type says what else is.
type Event struct {
	Type string `json:"type"`
	// ClientID is required with the operator's key and optional with a
	// client's.
	ClientID         uuid.UUID       `json:"clientId,omitzero"`
	CompanyID        uuid.UUID       `json:"companyId,omitzero"`
	DataConnectionID uuid.UUID       `json:"dataConnectionId,omitzero"`
	Data             json.RawMessage `json:"data,omitempty"`
	// Message replaces the type's own wording.
	Message    string    `json:"message,omitempty"`
	OccurredAt time.Time `json:"occurredAt,omitzero"`
	// IdempotencyKey makes the service accept the event once, however often
	// it is published. Publish sets a random one when it is empty, so that it
	// can retry. Set your own to be safe across restarts.
	IdempotencyKey string `json:"idempotencyKey,omitempty"`
}

// Publish publishes one event. It returns after the service has stored the event.
func (c *API) Publish(ctx context.Context, e Event) (herald.Receipt, error) {
	if e.IdempotencyKey == "" {
		e.IdempotencyKey = uuid.NewString()
	}
	var r herald.Receipt
	err := c.do(ctx, call{method: http.MethodPost, path: "/events", body: e, into: &r, repeatable: true})
	return r, err
}

// PublishAll publishes up to herald.MaxEvents events, all or none. It returns a
// receipt for each event, in their order.
func (c *API) PublishAll(ctx context.Context, events []Event) ([]herald.Receipt, error) {
	keyed := make([]Event, len(events))
	for i, e := range events {
		if e.IdempotencyKey == "" {
			e.IdempotencyKey = uuid.NewString()
		}
		keyed[i] = e
	}
	var answer struct {
		Results []herald.Receipt `json:"results"`
	}
	err := c.do(ctx, call{method: http.MethodPost, path: "/events", body: keyed, into: &answer, repeatable: true})
	return answer.Results, err
}

// AcceptedEvent is an event that was published.
type AcceptedEvent struct {
	herald.Event
	AcceptedAt time.Time `json:"acceptedAt"`
	// AlertCount is how many alerts the event raised; only API.Events sets it.
	AlertCount int `json:"alertCount,omitempty"`
	// Test says that it is a test of one rule.
	Test bool `json:"test,omitempty"`
	// Alerts are the alerts that the event raised; only API.Event sets them.
	Alerts []RaisedAlert `json:"alerts,omitempty"`
}

// RaisedAlert names an alert and its rule.
type RaisedAlert struct {
	ID     uuid.UUID `json:"id"`
	RuleID uuid.UUID `json:"ruleId"`
}

// Page is one page of a list. Next is the Cursor.After of the following page; it is
// uuid.Nil on the last page.
type Page[T any] struct {
	Results []T       `json:"results"`
	Next    uuid.UUID `json:"next,omitzero"`
}

// Cursor selects a page of a list; the zero value is the first page.
type Cursor struct {
	After uuid.UUID
	Limit int
}

func (u Cursor) values() url.Values {
	v := url.Values{}
	if u.After != uuid.Nil {
		v.Set("after", u.After.String())
	}
	if u.Limit > 0 {
		v.Set("limit", strconv.Itoa(u.Limit))
	}
	return v
}

// EventFilter selects events. A member with the zero value selects all.
type EventFilter struct {
	Cursor
	Type    string
	Company uuid.UUID
	// Since and Until bound when the event was accepted.
	Since, Until time.Time
}

// Events lists events, newest first. A page before the last can be short or even empty; only a Next of
// uuid.Nil marks the last page.
func (c *API) Events(ctx context.Context, f EventFilter) (Page[AcceptedEvent], error) {
	v := f.values()
	if f.Type != "" {
		v.Set("type", f.Type)
	}
	if f.Company != uuid.Nil {
		v.Set("company", f.Company.String())
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return get[Page[AcceptedEvent]](ctx, c, "/events", v)
}

// Event returns an event with the alerts that it raised.
func (c *API) Event(ctx context.Context, id uuid.UUID) (AcceptedEvent, error) {
	return get[AcceptedEvent](ctx, c, "/events/"+id.String(), nil)
}

// EventRules is a page of the verdicts on an event's rules.
type EventRules struct {
	Page[herald.Verdict]
	// Met is how many rules the event met, and Rules how many verdicts there are.
	Met   int `json:"met"`
	Rules int `json:"rules"`
}

// EventRules says which rules an event met, and why not the others: those that it met first, then those
// that missed it by the least.
func (c *API) EventRules(ctx context.Context, id uuid.UUID, u Cursor) (EventRules, error) {
	return get[EventRules](ctx, c, "/events/"+id.String()+"/rules", u.values())
}

// get makes a call that only reads.
func get[T any](ctx context.Context, c *API, path string, query url.Values) (T, error) {
	var answer T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, into: &answer, repeatable: true})
	return answer, err
}

// EventType is a type of event.
type EventType struct {
	herald.EventType
	Spellings []string `json:"spellings"`
	Required  []string `json:"required"`
	BuiltIn   bool     `json:"builtIn"`
}

// EventTypes lists the types of events.
func (c *API) EventTypes(ctx context.Context) ([]EventType, error) {
	answer, err := get[Page[EventType]](ctx, c, "/eventTypes", nil)
	return answer.Results, err
}

// EventType returns a type of event by any of its spellings.
func (c *API) EventType(ctx context.Context, name string) (EventType, error) {
	return get[EventType](ctx, c, "/eventTypes/"+url.PathEscape(name), nil)
}

// PutEventType makes or replaces an event type; it needs the operator's key.
func (c *API) PutEventType(ctx context.Context, t herald.EventType) (EventType, error) {
	var answer EventType
	err := c.do(ctx, call{method: http.MethodPut, path: "/eventTypes/" + url.PathEscape(t.Name), body: t, into: &answer, repeatable: true})
	return answer, err
}

// DeleteEventType deletes an event type that was added; it needs the operator's key. While rules use
// the type, the error has status 409. It is not retried.
func (c *API) DeleteEventType(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/eventTypes/" + url.PathEscape(name)})
}
