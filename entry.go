package herald

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// Entry is an event made ready to be kept: decided, rendered, with what it
// owes. internal/intake makes it, internal/store keeps it in one transaction.
type Entry struct {
	Event Event
	// ClientVersion is the version of the client that the entry was decided
	// on. A client that has changed since makes the entry stale.
	ClientVersion  int64
	IdempotencyKey string
	// Fingerprint tells whether a repeated IdempotencyKey has the same content.
	Fingerprint [32]byte
	Alerts      []Raised
}

// Raised is an alert of an Entry.
type Raised struct {
	ID      uuid.UUID
	RuleID  uuid.UUID
	Message string
	// Head is the alert's own part of the body, see Body.
	Head []byte
	Due  []Due
}

// Due is a delivery as the engine handles it: what to send where, and how
// often it has been tried.
type Due struct {
	ID       uuid.UUID
	ClientID uuid.UUID
	RuleID   uuid.UUID
	// Origin is the lane: the address's scheme, host and port.
	Origin  string
	Address string
	Body    []byte
	// Attempt is the number of the attempt that is due, counting from 1, and
	// Retries how many retries of the policy are used up; attempts that were
	// cut off count for the first only.
	Attempt int
	Retries int
	// MadeAt is when the delivery came to be: with its alert, or when it was
	// asked for again.
	MadeAt time.Time
	// Held says that this node holds the delivery in memory from its commit
	// on; otherwise it waits in the database to be claimed.
	Held bool
	// Node is the incarnation of the node that a held delivery was held by
	// when it was committed or claimed; the store sets it.
	Node int64
}

// Recording is the result of one attempt, to be kept. An Attempt without an
// Outcome was not made: the delivery ends without one.
type Recording struct {
	Due     Due
	Attempt Attempt
	// State is Pending for another attempt after Delay, else how it ended.
	State   State
	Delay   time.Duration
	Reason  Reason
	Retries int
}

// MailTurn is what becomes of a mail that is about to be sent.
type MailTurn int

// The turns: it goes now, it waits for a digest, it carries one.
const (
	MailNow MailTurn = iota
	MailLater
	MailDigest
)

// DigestOrigin begins the origin of deliveries that wait for a digest to a
// mailbox, which follows. Nobody claims them: they end with the digest.
const DigestOrigin = "digest:"

// Digested is what a digest tells of one alert.
type Digested struct {
	DeliveryID uuid.UUID
	Type       string
	CompanyID  uuid.UUID
	Message    string
}

// Lane names one client's deliveries to one origin.
type Lane struct {
	Client uuid.UUID
	Origin string
}

// WaitingLane is a lane with deliveries that no node holds.
type WaitingLane struct {
	Lane
	// DueIn is how long until the first of them is due; zero or less: it is.
	DueIn time.Duration
}

// Want asks for up to N due deliveries of a lane.
type Want struct {
	Lane
	N int
}

// Snapshot is all that deciding and sending need to know of one client, as it
// was at one version.
type Snapshot struct {
	Client Client
	Rules  []Rule
	// KeyIDs are the client's API keys in force.
	KeyIDs []uuid.UUID
	// Unsubscribed are the mailboxes that want no mail of it, in lower case.
	Unsubscribed []Unsubscribed
	// EventTypes are the operator's own, which every client shares.
	EventTypes []EventType
}

// ErrStale says that an Entry was decided on a version of its client that is
// no longer the present one. Deciding again helps.
var ErrStale = errors.New("the client has changed since the event was decided")

// ErrBuried says that this node was taken for dead by another, which gives what
// it held to others. It has to forget that and register anew.
var ErrBuried = errors.New("this node was taken for dead by another")

// ErrNotHeld says that a delivery is not held by this node any more: it was
// cancelled, or another node took it over.
var ErrNotHeld = errors.New("the delivery is not held by this node any more")
