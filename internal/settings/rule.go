package settings

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

// Limits on a rule. Every member is kept as it was posted, and is in memory at each publish.
const (
	maxMailboxes = 50
	// maxType bounds the posted type, in characters. Blanks around a longer one are not kept.
	maxType = 200
	// maxElements bounds the elements of emails, and maxEmails their bytes together: fifty
	// mailboxes of the greatest length, 320 bytes.
	maxElements = 2 * maxMailboxes
	maxEmails   = 16 << 10
)

// RuleInput is what was posted of a rule.
type RuleInput struct {
	Type      string
	CompanyID string // empty and the zero GUID mean all companies (spec section 5.2)
	Webhook   string // may be empty
	Emails    []string
}

// CheckRule returns the rule that was posted, without ids (spec sections 5.2 to 5.6). checkURL refuses a
// webhook's address that may not be called, with CodeInvalid and the member notifiers.webhook.
func CheckRule(in RuleInput, types *catalogue.Catalogue, checkURL func(raw string) error) (made herald.Rule, problems Problems) {
	kind, err := checkType(&in.Type, types)
	problems.add("type", err)
	if in.CompanyID != "" {
		var ok bool
		if made.CompanyID, ok = ParseID(in.CompanyID); !ok {
			problems.add("companyId", herald.Invalid("companyId", "companyId %.50q: want a GUID.", in.CompanyID))
		}
	}
	if kind != nil {
		made.Type, made.PostedType = kind.Name, in.Type
		if kind.BuiltIn && !kind.Company {
			made.CompanyID = uuid.Nil // cannot be filtered by company: spec section 5.6, item 7
		}
	}
	if made.Webhook = in.Webhook; made.Webhook != "" {
		problems.add("notifiers.webhook", checkURL(made.Webhook))
	}
	if made.Emails = in.Emails; len(made.Emails) > 0 {
		err := checkSize(made.Emails)
		if err == nil {
			err = checkEmails(made.Emails)
		}
		problems.add("notifiers.emails", err)
	}
	return made, problems
}

// checkType finds the posted type. Blanks around an overlong one are cut off.
func checkType(posted *string, types *catalogue.Catalogue) (*catalogue.Type, error) {
	if blank(*posted) {
		return nil, herald.Invalid("type", "type is missing.")
	}
	if utf8.RuneCountInString(*posted) > maxType {
		*posted = strings.TrimSpace(*posted)
	}
	if n := utf8.RuneCountInString(*posted); n > maxType {
		return nil, herald.Invalid("type", "The type has %d characters, more than %d.", n, maxType)
	}
	kind, ok := types.Lookup(*posted)
	if !ok {
		return nil, herald.Invalid("type", "The rule type %.100q is not known.%s GET /eventTypes lists those there are.", *posted, types.Hint(*posted))
	}
	return kind, nil
}

// checkSize checks how much the elements are together, before any of them is parsed.
func checkSize(emails []string) error {
	if n := len(emails); n > maxElements {
		return herald.Invalid("notifiers.emails", "%d elements are more than the %d that a rule can have.", n, maxElements)
	}
	bytes := 0
	for i, element := range emails {
		if len(element) > maxEmails {
			member := "notifiers.emails[" + strconv.Itoa(i) + "]"
			return herald.Invalid(member, "%s has %d bytes, more than %d.", member, len(element), maxEmails)
		}
		bytes += len(element)
	}
	if bytes > maxEmails {
		return herald.Invalid("notifiers.emails", "The e-mail addresses have %d bytes together, more than %d.", bytes, maxEmails)
	}
	return nil
}

// checkEmails checks each element, which has one address or several separated by commas
// (spec section 5.4).
func checkEmails(emails []string) error {
	for i, element := range emails {
		member := "notifiers.emails[" + strconv.Itoa(i) + "]"
		boxes := herald.Mailboxes([]string{element})
		if len(boxes) == 0 {
			return herald.Invalid(member, "%s holds no e-mail address.", member)
		}
		for _, box := range boxes {
			if _, err := herald.ParseMailbox(box); err != nil {
				return herald.Invalid(member, "%v.", err)
			}
		}
	}
	if n := len(herald.Mailboxes(emails)); n > maxMailboxes {
		return herald.Invalid("notifiers.emails", "%d e-mail addresses are more than the %d that a rule can have.", n, maxMailboxes)
	}
	return nil
}
