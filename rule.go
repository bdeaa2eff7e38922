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

// Meets reports whether an event raises an alert on the rule. An event without
// a company meets every rule of its type (spec section 8.0).
func (r Rule) Meets(e Event) bool {
	return r.ClientID == e.ClientID && r.Type == e.Type &&
		(r.CompanyID == uuid.Nil || e.CompanyID == uuid.Nil || r.CompanyID == e.CompanyID)
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
