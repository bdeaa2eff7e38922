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

// RowSize is what a row takes beside its texts, in bytes: ids and times, in memory and in a
// statement.
const RowSize = 256

// Size returns how many rows the event adds and how many bytes they take: all texts and data, and
// RowSize for each row.
func (e *PreparedEvent) Size() (rows, bytes int) {
	rows, bytes = 1, len(e.Event.Data)+len(e.Event.Message)+len(e.IdempotencyKey)
	for i := range e.Alerts {
		a := &e.Alerts[i]
		rows += 1 + len(a.Items)
		bytes += len(a.Head) + len(a.Message)
		for j := range a.Items {
			bytes += len(a.Items[j].Address) + len(a.Items[j].Origin)
		}
	}
	return rows, bytes + rows*RowSize
}

// PreparedAlert is an alert of a PreparedEvent.
type PreparedAlert struct {
	ID      uuid.UUID
	RuleID  uuid.UUID
	Message string
	// Head is this alert's own part of the body, see Body of Item.
	Head []byte
	// Items are the deliveries of the alert, one for each receiver.
	Items []Item
}

// Item is a pending delivery, as the queue stores it, with its body: the address, and the number
// of attempts so far.
type Item struct {
	ID       uuid.UUID
	ClientID uuid.UUID
	RuleID   uuid.UUID
	// Origin is the scheme, host and port of the address. With the client it names the lane.
	Origin  string
	Address string
	// Head and Data are the body, see Body. All deliveries of an alert share one Head. All
	// deliveries of an event share one Data: a body for each would fill the memory.
	Head []byte
	Data []byte
	// Notification says that the alert is of one of Herald's own events about receivers.
	Notification bool
	// Attempt is the number of the next attempt, counting from 1.
	Attempt int
	// Retries is how many retries of the policy are used up. An interrupted attempt counts in
	// Attempt and not in Retries.
	Retries int
	// MadeAt is when the delivery was made: with its alert, or by a redelivery.
	MadeAt time.Time
	// DueAt is when a claimed delivery was due; zero for one that was due when it was made.
	DueAt time.Time
	// Held is true if this node holds the delivery in memory after the commit. If it is false, the
	// delivery waits in the database until a node claims it.
	Held bool
	// Unreadable says why the store could not read the rest of a claimed delivery, or could not end one
	// without content; empty if the delivery has its body. One that has not must not be sent.
	Unreadable string
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

// NoConsent is what a delivery shows that waits for its receiver's consent. It begins with
// herald.ReasonNoConsent.
const NoConsent = string(herald.ReasonNoConsent) + ": the receiver has not consented to be called; it must answer an OPTIONS request with WebHook-Allowed-Origin"

// Consent is what is known of a receiver's consent to be called for a client.
type Consent struct {
	// For is how long the consent is still valid; 0 if there is none.
	For time.Duration
	// PerMinute is how many requests a minute the receiver takes; 0 means any number.
	PerMinute int
	// AskIn is how long it is until the receiver can be asked again.
	AskIn time.Duration
	// Failures is how often the receiver was asked since its last consent.
	Failures int
	// Why says why there is no consent.
	Why string
	// Mine is true if the caller shall ask now.
	Mine bool
}

// WaitingLane is a lane with deliveries that no node holds.
type WaitingLane struct {
	Lane
	// DueIn is how long until the first of them is due; zero or less if it is due now.
	DueIn time.Duration
}

// Claim is a request for up to N due deliveries of a lane, of up to Bytes bytes together, see Size
// of Item.
type Claim struct {
	Lane
	N     int
	Bytes int
}

// Waiting counts the deliveries in the database that no node holds. Those that a dead node held count
// as ready.
type Waiting struct {
	// Ready are due. Retry are due later: for a retry, or as the carrier of a digest. Postponed are due
	// later and show why. Digest wait for a digest and end with its carrier.
	Ready, Retry, Postponed, Digest int
}

// Add adds the numbers of another part of the queue.
func (w *Waiting) Add(o Waiting) {
	w.Ready += o.Ready
	w.Retry += o.Retry
	w.Postponed += o.Postponed
	w.Digest += o.Digest
}

// Claimed is the result of claims.
type Claimed struct {
	// Items are the deliveries that the node holds now, longest due first.
	Items []Item
	// Left are lanes with deliveries that are due and did not fit the bytes. They still wait.
	Left map[Lane]bool
	// Ended is how many deliveries were claimed and have failed at once, because their content is
	// missing.
	Ended int
}

// DigestEntry is what a digest shows of one alert.
type DigestEntry struct {
	DeliveryID uuid.UUID
	Type       string
	CompanyID  uuid.UUID
	Message    string
}

// ClientState is what intake and delivery need to know of one client, at one revision.
type ClientState struct {
	Client herald.Client
	// Since is the revision that the state adds to: Rules are those that were made or changed since, and
	// Deleted are others that do not exist. If it is 0, Rules are all rules, or none if Many is set.
	Since int64
	// Rules are in the order of their ids.
	Rules   []herald.Rule
	Deleted []uuid.UUID
	// Many says that the client has so many rules that they are read by themselves: this many, with RuleBytes
	// bytes of text.
	Many, RuleBytes int
	// KeyIDs are the client's API keys that are valid.
	KeyIDs []uuid.UUID
	// Unsubscribed are the mailboxes that receive no mail of this client, in lower case.
	Unsubscribed []herald.Unsubscribed
	// EventTypes are the operator's own event types. All clients share them.
	EventTypes []herald.EventType
}

// Size returns how many bytes of memory the delivery is charged with. Each delivery is charged with
// the whole data of its event, because it may be the last that holds it.
func (i *Item) Size() int { return len(i.Head) + len(i.Data) + len(i.Address) + len(i.Origin) }

// Body returns the body that receivers get, in two parts that are not copied. If data is nil, start
// is the whole body. Otherwise the body is start, data and a closing brace.
//
// The alerts of one event share its data, so the body is stored in these parts. Head is the alert's
// own part; if there is data, it ends where the value of the last member begins.
func (i *Item) Body() (start, data []byte) {
	if i.Data == nil {
		return append(i.Head[:len(i.Head):len(i.Head)], '}'), nil
	}
	return i.Head, i.Data
}
