package codat

import (
	"net/http"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/settings"
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
	if same, ok := settings.ParseID(bodyID); bodyID != "" && (!ok || same != id) {
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
	var (
		in  settings.RuleInput
		err error
	)
	if in.Type, err = text(members, "type"); err != nil {
		return herald.Rule{}, err
	}
	if in.CompanyID, err = text(members, "companyId"); err != nil { // null is absent: spec section 5.2
		return herald.Rule{}, err
	}
	inner, err := member[object](members, "notifiers", "an object")
	if err != nil {
		return herald.Rule{}, err
	}
	if inner != nil {
		if in.Webhook, err = text(*inner, "notifiers.webhook"); err != nil {
			return herald.Rule{}, err
		}
		emails, err := member[[]string](*inner, "notifiers.emails", "an array of strings")
		if err != nil {
			return herald.Rule{}, err
		}
		if emails != nil {
			in.Emails = *emails
		}
	}
	types, err := s.Catalogue(r.Context())
	if err != nil {
		return herald.Rule{}, err
	}
	made, problems := settings.CheckRule(in, types, s.CheckURL)
	made.ClientID = r.client
	return made, vendorText(problems.First())
}
