// Package work holds what the engine's parts hand to each other: an event that
// has been prepared, a delivery as the queue keeps it, the result of an attempt,
// and what is known of a client.
//
//	intake ── PreparedEvent ──▶ store ── Item ──▶ delivery ── Result ──▶ store
//
// The words that the API shows lie in the root package. Nothing is done here.
package work

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
)

// ErrStale says that an event was prepared on a version of its client that is no
// longer the present one. Preparing it again helps.
var ErrStale = errors.New("the client has changed since the event was prepared")

// ErrDeclaredDead says that another node has declared this one dead and gives what
// it held to others. This node has to drop that and register as a new one.
var ErrDeclaredDead = errors.New("this node was declared dead by another")

// ErrNotHeld says that this node does not hold a delivery any more: it was
// cancelled, or another node took it over.
var ErrNotHeld = errors.New("the delivery is not held by this node any more")

// PreparedEvent is an event that is ready to be committed: its rules are found and
// its alerts rendered. internal/intake makes it, internal/store commits it whole.
type PreparedEvent struct {
	Event herald.Event
	// ClientVersion is the version of the client that the event was prepared
	// on. A client that has changed since makes it stale.
	ClientVersion  int64
	IdempotencyKey string
	// Fingerprint tells whether a repeated IdempotencyKey has the same content.
	Fingerprint [32]byte
	Alerts      []PreparedAlert
}

// PreparedAlert is an alert of a PreparedEvent.
type PreparedAlert struct {
	ID      uuid.UUID
	RuleID  uuid.UUID
	Message string
	// Head is the alert's own part of the body, see Body.
	Head []byte
	// Items are the deliveries that the alert owes.
	Items []Item
}

// Item is a pending delivery as the queue keeps it: what to send where, and how
// often that has been tried.
type Item struct {
	ID       uuid.UUID
	ClientID uuid.UUID
	RuleID   uuid.UUID
	// Origin is the address's scheme, host and port. It names the lane.
	Origin  string
	Address string
	Body    []byte
	// Attempt is the number of the next attempt, counting from 1.
	Attempt int
	// Retries is how many retries of the policy are used up. An attempt that was
	// cut off counts as an attempt and uses up no retry.
	Retries int
	// MadeAt is when the delivery was made: with its alert, or by a redelivery.
	MadeAt time.Time
	// Held says that this node holds the delivery in memory once it is committed.
	// Otherwise it waits in the database to be claimed.
	Held bool
	// Node is the incarnation of the node that held the delivery when it was
	// committed or claimed. The store sets it.
	Node int64
}

// Lane returns the lane of the delivery.
func (i *Item) Lane() Lane { return Lane{Client: i.ClientID, Origin: i.Origin} }

// Result is how a delivery goes on, to be recorded.
type Result struct {
	Item Item
	// Attempt is what was tried; nil when the delivery ends without an attempt.
	Attempt *herald.Attempt
	// State is Pending for another attempt after Delay, else how it ended.
	State   herald.State
	Delay   time.Duration
	Reason  herald.Reason
	Retries int
}

// Lane is one client's deliveries to one origin.
type Lane struct {
	Client uuid.UUID
	Origin string
}

// DigestLanePrefix begins the origin of deliveries that wait for a digest to a
// mailbox, which follows. Nobody claims them: they end with the digest.
const DigestLanePrefix = "digest:"

// WaitingLane is a lane with deliveries that no node holds.
type WaitingLane struct {
	Lane
	// DueIn is how long until the first of them is due; zero or less: it is.
	DueIn time.Duration
}

// Claim asks for up to N due deliveries of a lane.
type Claim struct {
	Lane
	N int
}

// DigestEntry is what a digest says of one alert.
type DigestEntry struct {
	DeliveryID uuid.UUID
	Type       string
	CompanyID  uuid.UUID
	Message    string
}

// ClientState is all that deciding and sending need to know of one client, as it
// was at one version.
type ClientState struct {
	Client herald.Client
	Rules  []herald.Rule
	// KeyIDs are the client's API keys in force.
	KeyIDs []uuid.UUID
	// Unsubscribed are the mailboxes that want no mail of it, in lower case.
	Unsubscribed []herald.Unsubscribed
	// EventTypes are the operator's own, which every client shares.
	EventTypes []herald.EventType
}

// Body returns an alert's delivered body. It is kept in two parts, so that the
// alerts of one event share its data: head, which is an alert's own and ends
// where the value of the last member begins if there is data, and data.
func Body(head, data []byte) []byte {
	body := make([]byte, 0, len(head)+len(data)+1)
	body = append(body, head...)
	body = append(body, data...)
	return append(body, '}')
}
