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
	// MaxIdempotencyKey bounds an idempotency key, in characters.
	MaxIdempotencyKey = 256
	// IdempotencyTTL is how long an idempotency key is remembered.
	IdempotencyTTL = 24 * time.Hour
	// MaxAlertIDs is how many of an event's alerts a publish names.
	MaxAlertIDs = 100
)

// Event is an accepted fact. It does not change. The JSON is that of Herald's
// own calls.
type Event struct {
	ID       uuid.UUID `json:"id"`
	ClientID uuid.UUID `json:"clientId"`
	// Type is the canonical name of the event's type.
	Type string `json:"type"`
	// CompanyID is whom the event is about; uuid.Nil when it is about the
	// client as a whole.
	CompanyID uuid.UUID `json:"companyId,omitzero"`
	// ConnectionID is the data connection concerned, or uuid.Nil.
	ConnectionID uuid.UUID `json:"dataConnectionId,omitzero"`
	// Data is a JSON object, compact, or nil when the event has none.
	Data json.RawMessage `json:"data,omitempty"`
	// Message is the publisher's own wording; empty takes the type's.
	Message string `json:"message,omitempty"`
	// OccurredAt is when it happened, by the publisher's word; if it gave
	// none, when the event was accepted.
	OccurredAt time.Time `json:"occurredAt"`
}

// Publication is an event as a publisher hands it in: Event's ID is not set
// yet, Type may be any accepted spelling, and OccurredAt may be zero.
type Publication struct {
	Event
	// IdempotencyKey makes the same publication count once per client within
	// IdempotencyTTL; empty asks for nothing.
	IdempotencyKey string
}

// Receipt answers one publication once it is kept.
type Receipt struct {
	EventID uuid.UUID `json:"id"`
	// AlertCount is how many rules the event met.
	AlertCount int `json:"alertCount"`
	// AlertIDs are the ids of the first MaxAlertIDs alerts.
	AlertIDs []uuid.UUID `json:"alertIds"`
}

// ItemError says which of several publications is wrong.
type ItemError struct {
	Index int // counting from 0
	Err   error
}

// Error names the publication and what is wrong with it.
func (e *ItemError) Error() string { return fmt.Sprintf("event %d: %v", e.Index, e.Err) }

// Unwrap returns what is wrong.
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
	// ClientName is the client's present name; the delivered body keeps the
	// name of when the alert was raised.
	ClientName string
}

// RaisedAt returns when the alert was raised.
func (a Alert) RaisedAt() time.Time { return TimeOf(a.ID) }
