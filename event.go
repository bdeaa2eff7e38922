package herald

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Limits on a publish.
const (
	// MaxEvents is the largest number of events in one request.
	MaxEvents = 1000
	// MaxEventSize bounds one event's JSON, in bytes.
	MaxEventSize = 1 << 20
	// MaxPublishSize bounds the body of a publish of several events, in bytes.
	MaxPublishSize = 16 << 20
	// MaxMessage bounds an alert's message, in characters.
	MaxMessage = 2000
	// MaxIdempotencyKey bounds an idempotency key, in characters.
	MaxIdempotencyKey = 256
	// IdempotencyTTL is how long an idempotency key is recognised.
	IdempotencyTTL = 24 * time.Hour
	// MaxAlertIDs is the largest number of alert ids in one Receipt.
	MaxAlertIDs = 100
)

// Event is an accepted event. It never changes. Its JSON is part of Herald's own calls.
type Event struct {
	ID       uuid.UUID `json:"id"`
	ClientID uuid.UUID `json:"clientId"`
	// Type is the canonical name of the event's type.
	Type string `json:"type"`
	// CompanyID is the company that the event is about; uuid.Nil when the event
	// is about the client as a whole.
	CompanyID uuid.UUID `json:"companyId,omitzero"`
	// ConnectionID is the data connection concerned, or uuid.Nil.
	ConnectionID uuid.UUID `json:"dataConnectionId,omitzero"`
	// Data is a JSON object, compact, or nil when the event has none.
	Data json.RawMessage `json:"data,omitempty"`
	// Message is the publisher's own wording; empty means the type's wording.
	Message string `json:"message,omitempty"`
	// OccurredAt is when the event happened, as the publisher says. Without that
	// it is the time of acceptance.
	OccurredAt time.Time `json:"occurredAt"`
}

// ListedEvent is an event in a list.
type ListedEvent struct {
	Event
	// AlertCount is how many alerts the event raised, one for every rule that it met.
	AlertCount int
}

// EventFilter selects events. A member with the zero value selects all.
type EventFilter struct {
	Type    string // canonical name of the event type
	Company uuid.UUID
	Since   time.Time // accepted at or after
	Until   time.Time // accepted before
	// After is the last id of the previous page. The list is newest first.
	After uuid.UUID
	Limit int
	// WithoutData leaves Data out, so that large events do not cut the list short.
	WithoutData bool
}

// Publication is an event as a publisher sends it. The Event has no ID yet, its
// Type may be any accepted spelling, and its OccurredAt may be zero.
type Publication struct {
	Event
	// IdempotencyKey makes the same publication count once per client within
	// IdempotencyTTL; empty means no such check.
	IdempotencyKey string
	// TestOf makes the event a test of the rule with that id: it meets this rule alone and has the rule's
	// type. What it lacks of data, company and connection is filled in. uuid.Nil means no test.
	TestOf uuid.UUID
}

// Receipt answers one publication after it was stored.
type Receipt struct {
	EventID uuid.UUID `json:"id"`
	// AlertCount is the number of rules that the event met.
	AlertCount int `json:"alertCount"`
	// AlertIDs are the ids of the first MaxAlertIDs alerts.
	AlertIDs []uuid.UUID `json:"alertIds"`
}

// ItemError is an error about one of several publications.
type ItemError struct {
	Index int // counting from 0
	Err   error
}

// Error names the publication and the fault.
func (e *ItemError) Error() string { return fmt.Sprintf("event %d: %v", e.Index, e.Err) }

// Unwrap returns the fault.
func (e *ItemError) Unwrap() error { return e.Err }

// Alert is an event raised against one rule.
type Alert struct {
	ID           uuid.UUID
	ClientID     uuid.UUID
	EventID      uuid.UUID
	RuleID       uuid.UUID
	Type         string
	CompanyID    uuid.UUID
	ConnectionID uuid.UUID
	Message      string
	Data         json.RawMessage
	// ClientName is the client's present name. The delivered body has the name
	// at the time when the alert was raised.
	ClientName string
}

// RaisedAt returns when the alert was raised.
func (a Alert) RaisedAt() time.Time { return TimeOf(a.ID) }
