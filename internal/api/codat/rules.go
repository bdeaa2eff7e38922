package codat

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
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

// rule is a rule in an answer (spec section 5.1).
type rule struct {
	ID        uuid.UUID `json:"id"`
	Type      string    `json:"type" doc:"The event type, in the spelling that it was posted in."`
	CompanyID uuid.UUID `json:"companyId,omitzero" doc:"Absent on a rule for all companies."`
	Notifiers notifiers `json:"notifiers"`
}

type notifiers struct {
	Emails  []string `json:"emails" doc:"Mailboxes as posted; an element may hold several, separated by commas."`
	Webhook string   `json:"webhook,omitempty" format:"uri"`
}

func viewRule(r herald.Rule) rule {
	emails := r.Emails
	if emails == nil {
		emails = []string{}
	}
	return rule{ID: r.ID, Type: r.PostedType, CompanyID: r.CompanyID, Notifiers: notifiers{Emails: emails, Webhook: r.Webhook}}
}

func (s *surface) listRules(r request) (reply, error) {
	l, err := readListing(r, query.Rules())
	if err != nil {
		return reply{}, err
	}
	rules, total, err := s.Rules.Rules(r.Context(), r.client, l.company, l.List)
	if err != nil {
		return reply{}, err
	}
	return page(l, rules, total, viewRule), nil
}

func (s *surface) getRule(r request) (reply, error) {
	id, err := pathID(r.PathValue("ruleId"), "rule")
	if err != nil {
		return reply{}, err
	}
	found, err := s.Rules.Rule(r.Context(), r.client, id)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, viewRule(found)}, nil
}

func (s *surface) createRule(r request) (reply, error) {
	members, err := r.object()
	if err != nil {
		return reply{}, err
	}
	made, err := s.readRule(r, members)
	if err != nil {
		return reply{}, err
	}
	made.ID = herald.NewID()
	if err := s.Rules.CreateRule(r.Context(), r.caller, made); err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, viewRule(made)}, nil // 200, not 201: spec section 5.6
}

// previewRule is Herald's own call. It is here because it reads a rule as createRule does.
func (s *surface) previewRule(r request) (reply, error) {
	members, err := r.object()
	if err != nil {
		return reply{}, err
	}
	rule, err := s.readRule(r, members)
	if err != nil {
		return reply{}, err
	}
	preview, err := s.Previewer.Preview(r.Context(), rule)
	return reply{http.StatusOK, preview}, err
}

func (s *surface) updateRule(r request) (reply, error) {
	id, err := pathID(r.PathValue("ruleId"), "rule")
	if err != nil {
		return reply{}, err
	}
	// An unknown rule is a 404, even when the body is wrong.
	if _, err := s.Rules.Rule(r.Context(), r.client, id); err != nil {
		return reply{}, err
	}
	members, err := r.object()
	if err != nil {
		return reply{}, err
	}
	bodyID, err := text(members, "id")
	if err != nil {
		return reply{}, err
	}
	if same, ok := parseID(bodyID); bodyID != "" && (!ok || same != id) {
		return reply{}, invalid("id", "The id %.50q in the body is not the rule's, %s.", bodyID, id)
	}
	changed, err := s.readRule(r, members)
	if err != nil {
		return reply{}, err
	}
	changed.ID = id
	updated, err := s.Rules.UpdateRule(r.Context(), r.caller, changed)
	if err != nil {
		return reply{}, err
	}
	return reply{http.StatusOK, viewRule(updated)}, nil
}

func (s *surface) deleteRule(r request) (reply, error) {
	id, err := pathID(r.PathValue("ruleId"), "rule")
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK}, s.Rules.DeleteRule(r.Context(), r.caller, r.client, id)
}

// readRule reads the members that POST and PUT share (spec sections 5.2 to 5.6).
func (s *surface) readRule(r request, members object) (herald.Rule, error) {
	made := herald.Rule{ClientID: r.client}
	posted, err := text(members, "type")
	if err != nil {
		return made, err
	}
	if strings.TrimSpace(posted) == "" {
		return made, invalid("type", "type is missing.")
	}
	if utf8.RuneCountInString(posted) > maxType {
		posted = strings.TrimSpace(posted)
	}
	if n := utf8.RuneCountInString(posted); n > maxType {
		return made, invalid("type", "The type has %d characters, more than %d.", n, maxType)
	}
	types, err := s.Catalogue(r.Context())
	if err != nil {
		return made, err
	}
	kind, ok := types.Lookup(posted)
	if !ok {
		return made, invalid("type", "The rule type %.100q is not known.%s GET /eventTypes lists those there are.", posted, types.Hint(posted))
	}
	made.Type, made.PostedType = kind.Name, posted
	if made.CompanyID, err = readCompany(members); err != nil {
		return made, err
	}
	if kind.BuiltIn && !kind.Company {
		made.CompanyID = uuid.Nil // cannot be filtered by company: spec section 5.6, item 7
	}
	return made, s.readNotifiers(members, &made)
}

// readCompany reads the company; absent, null, empty and the zero GUID mean all companies (spec
// section 5.2).
func readCompany(members object) (uuid.UUID, error) {
	value, err := text(members, "companyId")
	if err != nil || value == "" {
		return uuid.Nil, err
	}
	id, ok := parseID(value)
	if !ok {
		return id, invalid("companyId", "companyId %.50q: want a GUID.", value)
	}
	return id, nil
}

func (s *surface) readNotifiers(members object, made *herald.Rule) error {
	inner, err := member[object](members, "notifiers", "an object")
	if err != nil || inner == nil {
		return err
	}
	if made.Webhook, err = text(*inner, "notifiers.webhook"); err != nil {
		return err
	}
	if made.Webhook != "" {
		if err := s.CheckURL(made.Webhook); err != nil {
			return err
		}
	}
	emails, err := member[[]string](*inner, "notifiers.emails", "an array of strings")
	if err != nil || emails == nil {
		return err
	}
	made.Emails = *emails
	if err := checkSize(made.Emails); err != nil {
		return err
	}
	return checkEmails(made.Emails)
}

// checkSize checks how much the elements are together, before any of them is parsed.
func checkSize(emails []string) error {
	if n := len(emails); n > maxElements {
		return invalid("notifiers.emails", "%d elements are more than the %d that a rule can have.", n, maxElements)
	}
	bytes := 0
	for i, element := range emails {
		if len(element) > maxEmails {
			member := "notifiers.emails[" + strconv.Itoa(i) + "]"
			return invalid(member, "%s has %d bytes, more than %d.", member, len(element), maxEmails)
		}
		bytes += len(element)
	}
	if bytes > maxEmails {
		return invalid("notifiers.emails", "The e-mail addresses have %d bytes together, more than %d.", bytes, maxEmails)
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
			return invalid(member, "%s holds no e-mail address.", member)
		}
		for _, box := range boxes {
			if _, err := herald.ParseMailbox(box); err != nil {
				return invalid(member, "%v.", err)
			}
		}
	}
	if n := len(herald.Mailboxes(emails)); n > maxMailboxes {
		return invalid("notifiers.emails", "%d e-mail addresses are more than the %d that a rule can have.", n, maxMailboxes)
	}
	return nil
}
