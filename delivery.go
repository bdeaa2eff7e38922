package herald

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// State is the state of a delivery:
//
//	            ┌────────── retry ─────────┐
//	            ▼                          │
//	raised ─▶ pending ──── attempt ────────┤
//	            │                          ├─ 2xx ─────────────────▶ delivered
//	            │                          └─ rejected, retries up ─▶ failed
//	            └─ cancelled by the client, or with it ─────────────▶ cancelled
//
// The last three are final. Sending again makes a new delivery of the same
// alert.
type State int

// The states. The store records their numbers.
const (
	Pending   State = 0
	Delivered State = 1
	Failed    State = 2
	Cancelled State = 3
)

var stateNames = [...]string{"pending", "delivered", "failed", "cancelled"}

// String returns the state's name in the API.
func (s State) String() string { return stateNames[s] }

// MarshalText returns the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes a state's name; another text is a CodeInvalid Error.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return Invalid("state", "state %q: want pending, delivered, failed or cancelled", text)
}

// Outcome is the policy's verdict on an attempt.
type Outcome string

// The outcomes.
const (
	OutcomeDelivered Outcome = "delivered"
	OutcomeRetry     Outcome = "retry"
	OutcomeRejected  Outcome = "rejected"
	// OutcomeUnknown marks an attempt that a crash or a lost node interrupted. The
	// request may have been sent. The attempt uses up no retry.
	OutcomeUnknown Outcome = "unknown"
)

// Reason says why an attempt or a delivery did not end in a 2xx, in one stable
// word. The sentence for people is in Attempt.Error.
type Reason string

// The reasons.
const (
	ReasonNone           Reason = ""                // a 2xx
	ReasonStatus         Reason = "status"          // a status that is not a success
	ReasonDNS            Reason = "dns"             // the name does not resolve, or the resolver fails
	ReasonConnectRefused Reason = "connect_refused" // nobody listens there
	ReasonConnectTimeout Reason = "connect_timeout" // no answer to the connection
	ReasonConnect        Reason = "connect"         // any other failure to connect
	ReasonProxy          Reason = "proxy"           // the operator's egress proxy refused to connect
	ReasonTLS            Reason = "tls"             // handshake or certificate
	ReasonTimeout        Reason = "timeout"         // no response in time
	ReasonReset          Reason = "reset"           // the connection broke before a response
	ReasonProtocol       Reason = "protocol"        // the response is not HTTP that we take
	ReasonNotAllowed     Reason = "not_allowed"     // the address may not be called
	ReasonRedirect       Reason = "redirect"        // a redirect that may not be followed
	ReasonAddress        Reason = "address"         // the address cannot be called at all
	ReasonInterrupted    Reason = "interrupted"     // cut off; may have been sent
	ReasonExhausted      Reason = "exhausted"       // retries are used up; the last attempt says why
	ReasonExpired        Reason = "expired"         // pending for longer than the age cap
	ReasonCancelled      Reason = "cancelled"       // cancelled by the client
	ReasonClientDeleted  Reason = "client_deleted"  // cancelled with its client
	ReasonNoMailServer   Reason = "no_mail_server"  // e-mail without a mail server
	ReasonUnsubscribed   Reason = "unsubscribed"    // the mailbox wants no mail of the client
	ReasonContentMissing Reason = "content_missing" // its alert or event is not in the database any more
	ReasonMailLimit      Reason = "mail_limit"      // the client has had its mails or mailboxes of the day
	ReasonAttemptLimit   Reason = "attempt_limit"   // the receiver has had its attempts for now
	ReasonUnconfirmed    Reason = "unconfirmed"     // the mailbox has not confirmed that it takes mail of the client
	ReasonNoConsent      Reason = "no_consent"      // the receiver has not consented to be called
	ReasonLocal          Reason = "local"           // a fault of this service; nothing was sent
)

// Reasons returns all reasons but ReasonNone.
func Reasons() []Reason {
	return []Reason{ReasonStatus, ReasonDNS, ReasonConnectRefused, ReasonConnectTimeout, ReasonConnect, ReasonProxy, ReasonTLS, ReasonTimeout, ReasonReset,
		ReasonProtocol, ReasonNotAllowed, ReasonRedirect, ReasonAddress, ReasonInterrupted, ReasonExhausted, ReasonExpired, ReasonCancelled,
		ReasonClientDeleted, ReasonNoMailServer, ReasonUnsubscribed, ReasonContentMissing, ReasonMailLimit, ReasonAttemptLimit, ReasonUnconfirmed,
		ReasonNoConsent, ReasonLocal}
}

// ParseReason returns the reason of that name. Any other text is a CodeInvalid Error: a misspelt
// reason would select nothing, and look like good news.
func ParseReason(text string) (Reason, error) {
	if all := Reasons(); !slices.Contains(all, Reason(text)) {
		return "", Invalid("", "%.80q is not one of %q", text, all)
	}
	return Reason(text), nil
}

// Statuses are the statuses of HTTP or SMTP from From to To, both included. The zero value selects every delivery, even
// one that got no status.
type Statuses struct{ From, To int }

// ParseStatuses reads one status, such as 503, or a class, such as 5xx. Any other text is a CodeInvalid Error.
func ParseStatuses(text string) (Statuses, error) {
	class, isClass := strings.CutSuffix(text, "xx")
	n, err := strconv.ParseUint(class, 10, 16)
	switch {
	case err == nil && isClass && len(text) == 3 && n >= 1:
		return Statuses{int(n) * 100, int(n)*100 + 99}, nil
	case err == nil && !isClass && len(text) == 3 && n >= 100:
		return Statuses{int(n), int(n)}, nil
	}
	return Statuses{}, Invalid("", "%.80q is no status such as 503, and no class of them such as 5xx", text)
}

// Delivery is one alert for one receiver. Its JSON is part of Herald's own calls.
type Delivery struct {
	ID       uuid.UUID `json:"id"`
	ClientID uuid.UUID `json:"clientId"`
	AlertID  uuid.UUID `json:"alertId"`
	EventID  uuid.UUID `json:"eventId"`
	RuleID   uuid.UUID `json:"ruleId"`
	// Test says that it comes from a test of its rule.
	Test bool `json:"test,omitempty" doc:"It is a test of its rule."`
	// Type is the event's type; CompanyID is the company that the event is about.
	Type      string    `json:"eventType"`
	CompanyID uuid.UUID `json:"companyId,omitzero"`
	// Address is the receiver: the rule's webhook or mailbox at the time when the
	// alert was raised.
	Address string `json:"receiver"`
	State   State  `json:"state"`
	// Reason says why a delivery failed or was cancelled.
	Reason Reason `json:"reason,omitempty"`
	// AttemptCount counts the recorded attempts.
	AttemptCount int       `json:"attemptCount"`
	RaisedAt     time.Time `json:"raisedAt"`
	// NextAttemptAt is when a pending delivery is due; zero otherwise.
	NextAttemptAt time.Time `json:"nextAttemptAt,omitzero"`
	// InFlight says that a node holds the pending delivery right now.
	InFlight bool `json:"inFlight,omitempty"`
	// Waiting says in a sentence why this service could not make the attempt that was due. It
	// is empty if the delivery waits for its turn or for a retry.
	Waiting string `json:"waiting,omitempty"`
	// DoneAt is when it was delivered, failed or cancelled; zero while pending.
	DoneAt time.Time `json:"doneAt,omitzero"`
	// LastStatus and LastReason are those of the last recorded attempt.
	LastStatus int    `json:"lastStatus,omitempty" doc:"The status of the last attempt; absent without a response."`
	LastReason Reason `json:"lastReason,omitempty" doc:"The reason of the last attempt; absent after a 2xx."`
	// Repeats is the delivery that this one repeats, and MadeAt when it was made. Both are zero
	// for a delivery that was made with its alert.
	Repeats uuid.UUID `json:"repeats,omitzero" doc:"The delivery that this one repeats."`
	MadeAt  time.Time `json:"madeAt,omitzero" doc:"When a redelivery was made; lists have it at this time."`
	// RepeatedBy is the newest delivery that repeats this one.
	RepeatedBy uuid.UUID `json:"repeatedBy,omitzero" doc:"The newest delivery that repeats this one."`
}

// AnyQuery at the end of a filter's address selects it with every query: https://a.example/hook?*.
const AnyQuery = "?*"

// DeliveryFilter selects deliveries. A member with the zero value selects all.
type DeliveryFilter struct {
	State    *State
	Receiver string // the whole address, in any spelling; of a mailbox with or without mailto:. See AnyQuery
	Type     string // canonical name of the event type
	Company  uuid.UUID
	Alert    uuid.UUID
	Event    uuid.UUID
	Rule     uuid.UUID // by which their alerts were raised; it may be deleted
	Since    time.Time // raised, or made again, at or after
	Until    time.Time // raised, or made again, before
	Reason   Reason    // of the delivery, of its last attempt, or for which it waits
	Status   Statuses  // of the last attempt
	// Unrepeated selects the deliveries after which the alert has not reached the receiver: no
	// other delivery of it to the same receiver was delivered, is pending, or was made later.
	Unrepeated bool
	// After is the last id of the previous page. The list is newest first.
	After uuid.UUID
	Limit int
}

// Recovery says what a recovery of failed deliveries did, or would do.
type Recovery struct {
	// Count is how many deliveries were made, or would be.
	Count int `json:"count" doc:"How many deliveries were made; with dryRun, how many would be."`
	// Skipped is how many failed ones have no receiver any more.
	Skipped int `json:"skipped" doc:"How many could not be made, because their rule is deleted or has no such receiver any more."`
	// Next continues: it is the After of the next call, uuid.Nil when nothing is left.
	Next uuid.UUID `json:"next,omitzero" doc:"The after of the call that continues; absent when nothing is left."`
}

// Attempt is one HTTP request or SMTP transaction and its result.
type Attempt struct {
	DeliveryID uuid.UUID `json:"-"`
	// N counts a delivery's attempts from 1.
	N       int       `json:"n"`
	At      time.Time `json:"at"`
	Outcome Outcome   `json:"outcome"`
	// Status is the response's HTTP status, 0 when there was none.
	Status int    `json:"status,omitempty"`
	Reason Reason `json:"reason,omitempty"`
	// Error says in a sentence what went wrong.
	Error    string          `json:"error,omitempty"`
	Timings  Timings         `json:"timings"`
	Request  *RequestRecord  `json:"request,omitempty"`
	Response *ResponseRecord `json:"response,omitempty"`
}

// Timings are the phases of an attempt's last hop, in milliseconds. Total is the time of
// the whole attempt. A phase that did not happen is 0: a kept-alive connection
// has no dial.
type Timings struct {
	DNS       float64 `json:"dnsMs"`
	Connect   float64 `json:"connectMs"`
	TLS       float64 `json:"tlsMs"`
	FirstByte float64 `json:"firstByteMs"`
	Total     float64 `json:"totalMs"`
}

// RequestRecord is the request as it was sent, with secrets masked. Headers are those that went to URL,
// which is the receiver's address in the form in which it is sent.
type RequestRecord struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	// Unsent says that nothing of the request was sent, because there was no connection.
	Unsent bool `json:"unsent,omitempty" doc:"Nothing of this request was sent, because there was no connection."`
	// Hops are the requests to where redirects led, in order.
	Hops []Hop `json:"hops,omitempty"`
	// Redialled says that the receiver had closed a kept-alive connection, so the
	// request was sent once more on a new one.
	Redialled bool `json:"redialled,omitempty"`
}

// Hop is one redirect that was followed, and the request that was sent to where it led. The request has
// the same body.
type Hop struct {
	// Status is that of the redirect.
	Status int    `json:"status" doc:"The status of the redirect."`
	URL    string `json:"url" doc:"Where the redirect led."`
	// Method and Headers are those of the request that was sent there. They are absent in records
	// of older versions.
	Method  string            `json:"method,omitempty"`
	Headers map[string]string `json:"headers,omitempty" doc:"The headers that were sent there."`
	// AuthorizationDropped says why the Authorization header was not sent there; empty if it was
	// sent, or if there is none.
	AuthorizationDropped string `json:"authorizationDropped,omitempty" doc:"Why the Authorization header was not sent there."`
	// Unsent says that nothing of the request was sent, because there was no connection.
	Unsent bool `json:"unsent,omitempty" doc:"Nothing of this request was sent, because there was no connection."`
}

// ResponseRecord is the start of a response. Body is valid UTF-8 without control characters but
// line feeds and tabs; others, and invalid bytes, are replaced by U+FFFD.
type ResponseRecord struct {
	Headers   map[string][]string `json:"headers"`
	Body      string              `json:"body"`
	Truncated bool                `json:"truncated,omitempty"`
	// Note says why less of the response is kept than usual; empty if it is not.
	Note string `json:"note,omitempty"`
}

// EventType is a type of event that the operator added to the built-in ones.
type EventType struct {
	Name  string `json:"name"`
	Label string `json:"label"`
	// Company and Connection say whether an event of the type must name one.
	Company    bool `json:"company"`
	Connection bool `json:"connection"`
	// Schema is a JSON Schema (2020-12) for an event's data, or nil.
	Schema json.RawMessage `json:"schema,omitempty"`
	// Message is the template of the alert's message; {member} is replaced.
	Message string `json:"message"`
	// Example is data that the schema accepts, or nil.
	Example json.RawMessage `json:"example,omitempty"`
}
