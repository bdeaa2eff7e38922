package herald

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Change is an entry of the audit log. It says who changed a rule, an API key, a profile, a mailbox,
// a client, an event type or a delivery, when, and the values before and after.
type Change struct {
	ID       uuid.UUID `json:"id"`
	At       time.Time `json:"at"`
	ClientID uuid.UUID `json:"clientId,omitzero" doc:"The client concerned; absent for event types."`
	Action   Action    `json:"action"`
	Subject  string    `json:"subject" doc:"The id of the changed thing, or its name."`
	Actor    Actor     `json:"actor"`
	APIKeyID uuid.UUID `json:"apiKeyId,omitzero" doc:"The key of an actor apiKey."`
	Address  string    `json:"address,omitempty" doc:"Where the request came from."`
	// Before and After are JSON objects without secrets. Before is absent when the
	// subject was created, After when it was deleted.
	Before json.RawMessage `json:"before,omitempty" doc:"Secrets are masked."`
	After  json.RawMessage `json:"after,omitempty" doc:"Secrets are masked; a changed secret is marked as changed."`
}

// Action names a kind of thing and what was done to it.
type Action string

// The actions.
const (
	RuleCreated         Action = "rule.created"
	RuleUpdated         Action = "rule.updated"
	RuleDeleted         Action = "rule.deleted"
	KeyCreated          Action = "apiKey.created"
	KeyDeleted          Action = "apiKey.deleted"
	ProfileUpdated      Action = "profile.updated"
	ClientCreated       Action = "client.created"
	ClientRenamed       Action = "client.renamed"
	ClientDeleted       Action = "client.deleted"
	EventTypeSaved      Action = "eventType.saved"
	EventTypeDeleted    Action = "eventType.deleted"
	MailboxUnsubscribed Action = "mailbox.unsubscribed"
	MailboxResubscribed Action = "mailbox.resubscribed"
	MailboxConfirmed    Action = "mailbox.confirmed"
	BackupTaken         Action = "backup.taken"
	DeliveryRedelivered Action = "delivery.redelivered" // the subject is the new delivery
	DeliveryCancelled   Action = "delivery.cancelled"
	DeliveriesRecovered Action = "deliveries.recovered" // the subject is the first of the new deliveries
	DeliveryRetried     Action = "delivery.retried"
	PortalLinkCreated   Action = "portalLink.created"
	// ClientViewed: the operator has opened a client's page in the portal. The subject is the kind of page, such
	// as /deliveries/{delivery}/body. There is one entry for each kind and session.
	ClientViewed      Action = "client.viewed"
	IssueAcknowledged Action = "issue.acknowledged"
	NotificationsSet  Action = "notifications.set"
	NotificationsOff  Action = "notifications.off"
)

// Actor is the kind of caller that made a change.
type Actor string

// The actors.
const (
	ActorOperator Actor = "operator" // the platform's operator
	ActorKey      Actor = "apiKey"   // a client that used one of its keys
	ActorReader   Actor = "reader"   // a mail's reader who used the link in it
	// ActorPortalLink is a person who came into the portal by a link that the operator made.
	ActorPortalLink Actor = "portalLink"
)
