package herald

import (
	"encoding/json"
	"slices"
	"strings"
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
	// ClientViewed: the operator has opened a client's page in the portal. The subject is the page's
	// path below the client's, with the ids of a delivery or an event, or else its kind, such as /rules/{rule}. There is
	// one entry for each page and session.
	ClientViewed      Action = "client.viewed"
	IssueAcknowledged Action = "issue.acknowledged"
	NotificationsSet  Action = "notifications.set"
	NotificationsOff  Action = "notifications.off"
)

// Actions returns all actions.
func Actions() []Action {
	return []Action{RuleCreated, RuleUpdated, RuleDeleted, KeyCreated, KeyDeleted, ProfileUpdated, ClientCreated, ClientRenamed, ClientDeleted,
		EventTypeSaved, EventTypeDeleted, MailboxUnsubscribed, MailboxResubscribed, MailboxConfirmed, BackupTaken, DeliveryRedelivered,
		DeliveryCancelled, DeliveriesRecovered, DeliveryRetried, PortalLinkCreated, ClientViewed, IssueAcknowledged, NotificationsSet, NotificationsOff}
}

// Kind is the kind of thing that an action is about, such as "rule".
func (a Action) Kind() string {
	kind, _, _ := strings.Cut(string(a), ".")
	return kind
}

// ParseActions returns the action with a name, such as "rule.deleted", or all of a kind, such as "rule". The error is
// CodeInvalid if there is none.
func ParseActions(text string) (found []Action, err error) {
	var kinds []string
	for _, a := range Actions() {
		if string(a) == text || a.Kind() == text {
			found = append(found, a)
		}
		if !slices.Contains(kinds, a.Kind()) {
			kinds = append(kinds, a.Kind())
		}
	}
	if len(found) == 0 {
		return nil, Invalid("", "%.80q is no action such as rule.deleted, and none of the kinds %s", text, strings.Join(kinds, ", "))
	}
	return found, nil
}

// ChangeFilter selects entries of the audit log. A member with the zero value selects all.
type ChangeFilter struct {
	Actions []Action // one of these
	Actor   Actor
	// Since and Until bound when the change was made: at Since or later, before Until.
	Since, Until time.Time
	After        uuid.UUID // only entries older than this one
	Limit        int
}

// Actors returns all actors.
func Actors() []Actor { return []Actor{ActorOperator, ActorKey, ActorReader, ActorPortalLink} }

// ParseActor returns the actor with a name. The error is CodeInvalid if there is none.
func ParseActor(text string) (Actor, error) {
	if !slices.Contains(Actors(), Actor(text)) {
		return "", Invalid("", "%.80q is not one of operator, apiKey, reader and portalLink", text)
	}
	return Actor(text), nil
}

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
