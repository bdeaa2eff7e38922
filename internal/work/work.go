// Package work holds the values that the parts of the engine pass to each other: a prepared event,
// a pending delivery, the result of an attempt, and the state of a client.
//
//	intake ── PreparedEvent ──▶ store ── Item ──▶ delivery ── Result ──▶ store
//
// The types that the API shows are in the root package. The packages in the diagram act on these
// values.
package work

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
)

// ErrStale means that an event was prepared on an old version of its client. Preparing it again on
// the present version helps.
var ErrStale = errors.New("the client has changed since the event was prepared")

// ErrDeclaredDead means that this node is not in the list of nodes any more. Another node declared
// it dead, or it left the list because it is uncertain which deliveries it holds. It must drop its
// deliveries, which others take over, and register as a new node.
var ErrDeclaredDead = errors.New("this node is not in the list of nodes any more")

// ErrNotHeld means that this node does not hold a delivery any more. Someone cancelled it, or
// another node took it over.
var ErrNotHeld = errors.New("this node does not hold the delivery any more")

// PreparedEvent is an event that is ready to be committed: its rules are known and its alerts are
// rendered. internal/intake makes it. internal/store commits all of it or nothing.
type PreparedEvent struct {
	Event herald.Event
	// ClientVersion is the version of the client that the event was prepared on. If the client has
	// another version at the commit, the event is stale (ErrStale).
	ClientVersion  int64
	IdempotencyKey string
	// Fingerprint shows whether a repeated IdempotencyKey comes with the same content.
	Fingerprint [32]byte
	Alerts      []PreparedAlert
}

// PreparedAlert is an alert of a PreparedEvent.
type PreparedAlert struct {
	ID      uuid.UUID
	RuleID  uuid.UUID
	Message string
	// Head is this alert's own part of the body, see Body.
	Head []byte
	// Items are the deliveries of the alert, one for each receiver.
	Items []Item
}

// Item is a pending delivery, as the queue stores it: the body, the address, and the number of
// attempts so far.
type Item struct {
	ID       uuid.UUID
	ClientID uuid.UUID
	RuleID   uuid.UUID
	// Origin is the scheme, host and port of the address. With the client it names the lane.
	Origin  string
	Address string
	Body    []byte
	// Attempt is the number of the next attempt, counting from 1.
	Attempt int
	// Retries is how many retries of the policy are used up. An interrupted attempt counts in
	// Attempt and not in Retries.
	Retries int
	// MadeAt is when the delivery was made: with its alert, or by a redelivery.
	MadeAt time.Time
	// Held is true if this node holds the delivery in memory after the commit. If it is false, the
	// delivery waits in the database until a node claims it.
	Held bool
	// Node is the incarnation of the node that held the delivery when it was committed or claimed.
	// The store sets it.
	Node int64
}

// Lane returns the lane of the delivery.
func (i *Item) Lane() Lane { return Lane{Client: i.ClientID, Origin: i.Origin} }

// Redelivery is another delivery of the alert of the delivery Repeats.
type Redelivery struct {
	Repeats uuid.UUID
	Origin  string
	Address string
}

// Result is the result of an attempt, or of a delivery that ends without one. The store records it.
type Result struct {
	Item Item
	// Attempt describes the attempt; nil if the delivery ends without one.
	Attempt *herald.Attempt
	// State is Pending if another attempt follows after Delay. Otherwise it is the final state.
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

// DigestLanePrefix is the start of an origin whose deliveries wait for a digest; the mailbox
// follows it. No node claims these deliveries: they end with the digest.
const DigestLanePrefix = "digest:"

// WaitingLane is a lane with deliveries that no node holds.
type WaitingLane struct {
	Lane
	// DueIn is how long until the first of them is due; zero or less if it is due now.
	DueIn time.Duration
}

// Claim is a request for up to N due deliveries of a lane.
type Claim struct {
	Lane
	N int
}

// DigestEntry is what a digest shows of one alert.
type DigestEntry struct {
	DeliveryID uuid.UUID
	Type       string
	CompanyID  uuid.UUID
	Message    string
}

// ClientState is all that intake and delivery need to know of one client, at one version.
type ClientState struct {
	Client herald.Client
	Rules  []herald.Rule
	// KeyIDs are the client's API keys that are valid.
	KeyIDs []uuid.UUID
	// Unsubscribed are the mailboxes that receive no mail of this client, in lower case.
	Unsubscribed []herald.Unsubscribed
	// EventTypes are the operator's own event types. All clients share them.
	EventTypes []herald.EventType
}

// Body returns the body that receivers get for an alert. The alerts of one event share its data, so
// the body is stored in two parts. head is the alert's own part; if there is data, head ends where
// the value of the last member begins. data is that value, or empty.
func Body(head, data []byte) []byte {
	body := make([]byte, 0, len(head)+len(data)+1)
	body = append(body, head...)
	body = append(body, data...)
	return append(body, '}')
}
