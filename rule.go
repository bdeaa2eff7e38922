package herald

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// Rule says which events of a client raise an alert, and where the alert is sent.
type Rule struct {
	ID       uuid.UUID
	ClientID uuid.UUID
	// Type is the event type's canonical name. PostedType is the accepted spelling
	// in the request that made the rule; answers repeat it (spec section 5.3).
	Type       string
	PostedType string
	// CompanyID is the company that the rule is about; uuid.Nil means all companies.
	CompanyID uuid.UUID
	// Webhook is an absolute http or https address, or empty.
	Webhook string
	// Emails are the posted elements. One element may hold several addresses
	// separated by commas (spec section 5.4). See Mailboxes.
	Emails []string
	// WithoutAuthorization omits the client's AlertAuthHeader from this rule's
	// webhook.
	WithoutAuthorization bool
}

// Miss says why a rule did not meet an event, in one stable word. The sentence for people is in
// Verdict.Why.
type Miss string

// The reasons why a rule does not meet an event.
const (
	MissNone    Miss = ""        // it meets the event
	MissClient  Miss = "client"  // the rule is another client's
	MissType    Miss = "type"    // the rule is for another event type
	MissCompany Miss = "company" // the rule is for another company
	MissLater   Miss = "later"   // the rule was made after the event came
	MissTest    Miss = "test"    // the event is a test of another rule
	MissUnknown Miss = "unknown" // what is kept does not say why
)

// Miss returns why the rule does not meet an event: MissNone if it does, or MissClient, MissType or
// MissCompany. An event without a company meets every rule of its type (spec section 8.0).
func (r Rule) Miss(e Event) Miss {
	switch {
	case r.ClientID != e.ClientID:
		return MissClient
	case r.Type != e.Type:
		return MissType
	case r.CompanyID != uuid.Nil && e.CompanyID != uuid.Nil && r.CompanyID != e.CompanyID:
		return MissCompany
	}
	return MissNone
}

// Meets reports whether an event raises an alert on the rule.
func (r Rule) Meets(e Event) bool { return r.Miss(e) == MissNone }

// Verdict says of one rule whether an event met it, and if not, why. It is judged by the rule as it was
// when the event came, as far as the audit log says.
type Verdict struct {
	RuleID    uuid.UUID `json:"ruleId"`
	Type      string    `json:"type" doc:"The rule's event type when the event came."`
	CompanyID uuid.UUID `json:"companyId,omitzero" doc:"The rule's company when the event came; absent for all companies."`
	Met       bool      `json:"met"`
	AlertID   uuid.UUID `json:"alertId,omitzero" doc:"The alert, if the event met the rule; GET /deliveries?alert= lists its deliveries."`
	Reason    Miss      `json:"reason,omitempty" enum:"type,company,later,test,unknown" doc:"Why the event did not meet the rule."`
	Why       string    `json:"why" doc:"The same in a sentence."`
	// Changed says that the rule has another type or company now, Deleted that it exists no more.
	Changed bool `json:"changed,omitempty" doc:"The rule has another type or company now."`
	Deleted bool `json:"deleted,omitempty" doc:"The rule has been deleted since."`
}

// Bounds of a preview of a rule.
const (
	// PreviewTime is how old the events are at most that a preview examines.
	PreviewTime = 7 * 24 * time.Hour
	// MaxPreviewed is how many events a preview examines, the newest ones.
	MaxPreviewed = 10_000
	// MaxExamples is how many events a preview shows.
	MaxExamples = 10
)

// Preview says which events a rule would have met if it had existed.
type Preview struct {
	Matched  int       `json:"matched" doc:"How many of the events the rule would have met."`
	Examined int       `json:"examined" doc:"How many events were examined, the newest ones."`
	Since    time.Time `json:"since" doc:"The examined events came at this time or later."`
	Complete bool      `json:"complete" doc:"Whether all events of the last seven days were examined: not more than 10,000, and none is deleted."`
	Examples []Example `json:"examples" doc:"The newest events that the rule would have met."`
	Summary  string    `json:"summary" doc:"The same in a sentence."`
}

// Example is an event in a preview.
type Example struct {
	ID         uuid.UUID `json:"id"`
	Type       string    `json:"type"`
	CompanyID  uuid.UUID `json:"companyId,omitzero"`
	AcceptedAt time.Time `json:"acceptedAt"`
}

// MailScheme begins the address of a delivery to a mailbox, which is a mailto URI (RFC
// 6068). The scheme alone is the origin of all of a client's mails, because they go to
// one server.
const MailScheme = "mailto:"

// Unsubscribed is a mailbox that gets no more mail of a client. Address is in lower case.
type Unsubscribed struct {
	Address string    `json:"address"`
	At      time.Time `json:"unsubscribedAt"`
}

// Mailboxes returns the addresses in a rule's Emails. It splits elements at commas,
// trims blanks and drops empty addresses. Of addresses with the same MailboxKey it
// returns the first (spec section 5.4).
func Mailboxes(emails []string) []string {
	var boxes []string
	seen := make(map[string]bool)
	for _, element := range emails {
		for box := range strings.SplitSeq(element, ",") {
			box = strings.TrimSpace(box)
			if key := MailboxKey(box); box != "" && !seen[key] {
				seen[key] = true
				boxes = append(boxes, box)
			}
		}
	}
	return boxes
}
