package herald

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// Rule says which events of a client raise an alert, and who is told.
type Rule struct {
	ID       uuid.UUID
	ClientID uuid.UUID
	// Type is the event type's canonical name; PostedType is the accepted
	// spelling that the rule was made with, which is echoed (spec section 5.3).
	Type       string
	PostedType string
	// CompanyID is the company that the rule is about; uuid.Nil is all of them.
	CompanyID uuid.UUID
	// Webhook is an absolute http or https address, or empty.
	Webhook string
	// Emails are as posted: an element may hold several addresses separated
	// by commas (spec section 5.4). See Mailboxes.
	Emails []string
	// WithoutAuthorization keeps the client's AlertAuthHeader from this
	// rule's webhook.
	WithoutAuthorization bool
}

// Meets reports whether an event raises an alert on the rule. An event without
// a company meets every rule of its type (spec section 8.0).
func (r Rule) Meets(e Event) bool {
	return r.ClientID == e.ClientID && r.Type == e.Type &&
		(r.CompanyID == uuid.Nil || e.CompanyID == uuid.Nil || r.CompanyID == e.CompanyID)
}

// MailScheme begins the address of a delivery to a mailbox, a mailto URI (RFC
// 6068). Alone it is the origin of all of a client's mails, which go to one
// server.
const MailScheme = "mailto:"

// Unsubscribed is a mailbox that wants no mail of a client, in lower case.
type Unsubscribed struct {
	Address string    `json:"address"`
	At      time.Time `json:"unsubscribedAt"`
}

// Mailboxes returns the addresses in a rule's Emails: elements split on commas,
// blanks trimmed, empties dropped, and of those equal but for case the first
// (spec section 5.4).
func Mailboxes(emails []string) []string {
	var boxes []string
	seen := make(map[string]bool)
	for _, element := range emails {
		for box := range strings.SplitSeq(element, ",") {
			box = strings.TrimSpace(box)
			if key := strings.ToLower(box); box != "" && !seen[key] {
				seen[key] = true
				boxes = append(boxes, box)
			}
		}
	}
	return boxes
}
