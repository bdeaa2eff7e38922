package herald

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// Herald's own events about receivers. A client gets them once it has set its notifications.
const (
	ReceiverFailing   = "herald.receiver.failing"
	ReceiverRecovered = "herald.receiver.recovered"
)

// NotificationTypes returns the types of Herald's own events about receivers.
func NotificationTypes() []string { return []string{ReceiverFailing, ReceiverRecovered} }

// IsNotification reports whether a type is one of Herald's own events about receivers.
func IsNotification(eventType string) bool {
	return strings.HasPrefix(eventType, "herald.receiver.") && (eventType == ReceiverFailing || eventType == ReceiverRecovered)
}

// Limits on issues.
const (
	// IssueAttempts is how many attempts in a row must have failed for an issue to begin while its
	// deliveries still wait for a retry. A delivery that failed for good begins one at once.
	IssueAttempts = 2
	// MaxOpenIssues is how many receivers and reasons of a client have an issue of their own at
	// once. The others share one issue without a receiver.
	MaxOpenIssues = 1000
	// MaxEndedIssues is how many of a client's ended issues are kept: the newest.
	MaxEndedIssues = 1000
	// MaxNote is the length of an acknowledgement's note, in characters.
	MaxNote = 1000
)

// Issue is the failing deliveries of one receiver of a client with one reason:
//
//	the 2nd failing attempt in a row, ──▶ open ──a delivery to the receiver──▶ ended
//	or a delivery that failed for good              succeeds, or it is not used any more
//
// A receiver is used while a rule sends to it or a delivery to it is pending. A failure after the end is a new issue. Reasons that are no fault of the receiver begin none
// while the delivery waits: a fault of this service, a wait for consent or for a turn, a cut-off
// attempt. Deliveries of Herald's own events about receivers have issues of their own.
type Issue struct {
	ID       uuid.UUID `json:"id"`
	ClientID uuid.UUID `json:"clientId"`
	// Receiver is empty for the issue that the receivers over MaxOpenIssues share.
	Receiver string `json:"receiver" doc:"The webhook's address, or mailto: and the mailbox. Empty: the failing receivers beyond the first 1,000, together."`
	Reason   Reason `json:"reason" doc:"Why the attempts failed; or why the delivery did, if none was made."`
	// Notification says that the deliveries are those of Herald's own events about receivers.
	Notification bool       `json:"notification,omitempty" doc:"Whether what fails are notifications about failing receivers."`
	State        IssueState `json:"state"`
	BeganAt      time.Time  `json:"beganAt" doc:"When the first failing attempt was recorded."`
	LastAt       time.Time  `json:"lastAt" doc:"When the last failing attempt was recorded."`
	EndedAt      time.Time  `json:"endedAt,omitzero" doc:"When a delivery to the receiver succeeded, or it was not used any more; absent while the issue is open."`
	// Unused says that the issue ended because no rule sends to the receiver any more and nothing was pending to it.
	Unused bool `json:"unused,omitempty" doc:"Whether it ended because no rule sends to the receiver any more, and nothing was pending to it."`
	// Attempts and Failed count from BeganAt on.
	Attempts int `json:"failingAttempts" doc:"How many attempts failed."`
	Failed   int `json:"failedDeliveries" doc:"How many deliveries failed for good. The others wait for a retry."`
	// LastDelivery and LastStatus are those of the last failure.
	LastDelivery   uuid.UUID        `json:"lastDeliveryId" doc:"The last delivery that failed or has to be tried again."`
	LastStatus     int              `json:"lastStatus,omitempty" doc:"The status of its answer; absent without one."`
	Acknowledged   *Acknowledgement `json:"acknowledged,omitempty" doc:"Who takes care of it; absent if nobody has said so."`
	RecoveryFilter RecoveryFilter   `json:"recoveryFilter" doc:"The body of POST /deliveries/redeliver that sends again what failed in this issue."`
}

// IssueState says whether an issue goes on.
type IssueState string

// The states of an issue.
const (
	IssueOpen  IssueState = "open"
	IssueEnded IssueState = "ended"
)

// Acknowledgement says that somebody knows of an issue. It stays until the issue ends.
type Acknowledgement struct {
	At       time.Time `json:"at"`
	Actor    Actor     `json:"actor" enum:"operator,apiKey,portalLink"`
	APIKeyID uuid.UUID `json:"apiKeyId,omitzero" doc:"The key of an actor apiKey."`
	Note     string    `json:"note,omitempty"`
}

// RecoveryFilter selects the failed deliveries of an issue, as the body of a recovery does.
type RecoveryFilter struct {
	Receiver string    `json:"receiver,omitempty"`
	Reason   Reason    `json:"reason,omitempty"`
	Since    time.Time `json:"since" doc:"When the oldest failing delivery was made."`
	Until    time.Time `json:"until,omitzero" doc:"The end of the issue; absent while it is open."`
}

// IssueFilter selects issues. A member with the zero value selects all.
type IssueFilter struct {
	State    IssueState
	Receiver string // the whole address, in any spelling; of a mailbox with or without mailto:
	Reason   Reason
	// After is the last id of the previous page. The list is newest first.
	After uuid.UUID
	Limit int
}

// Limits on notifications.
const (
	MaxAfterMinutes    = 7 * 24 * 60
	MaxAfterDeliveries = 1_000_000
	MaxNotified        = 20 // mailboxes, and as many webhooks
)

// Notifications say when a client is told that a receiver fails, and who hears. The addresses are those
// of the client's rules for NotificationTypes.
type Notifications struct {
	On bool `json:"on" doc:"Whether somebody is told."`
	// AfterMinutes and AfterDeliveries are limits; 0 is none.
	AfterMinutes    int      `json:"failingAfterMinutes" doc:"How long a receiver has failed; 0 is not by time."`
	AfterDeliveries int      `json:"failingAfterDeliveries" doc:"How many deliveries to it have failed for good; 0 is not by number."`
	Mailboxes       []string `json:"mailboxes"`
	Webhooks        []string `json:"webhooks"`
}
