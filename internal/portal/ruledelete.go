package portal

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"herald"
)

// ruleDeletion is what the page shows that asks before a rule is deleted.
type ruleDeletion struct {
	herald.Rule
	Self, Reason string
	// Waiting is how many deliveries of the rule wait, as far as they were looked for.
	Waiting int
	More    bool // there may be more
	// Cancellable is how many can be cancelled with the rule.
	Cancellable int
}

// askDeleteRule asks before a rule is deleted; a script shows the page as a dialog.
func (p *portal) askDeleteRule(r *http.Request, v visit) (answer, error) {
	rule, err := p.ruleOf(r, v)
	if err != nil {
		return answer{}, err
	}
	waiting, more, err := p.waitingOf(r.Context(), v.client.ID, rule)
	if err != nil {
		return answer{}, err
	}
	show := ruleDeletion{Rule: rule, Self: v.client.path("/rules/" + rule.ID.String()), Reason: v.mayNot(), Waiting: len(waiting), More: more, Cancellable: min(len(waiting), maxCancelled)}
	return page("ruledelete.html", "Delete the rule?", show), nil
}

// waitingOf returns deliveries of a rule that are pending. more says that there may be others.
func (p *portal) waitingOf(ctx context.Context, of uuid.UUID, rule herald.Rule) (waiting []uuid.UUID, more bool, err error) {
	found, next, err := p.Deliveries.Deliveries(ctx, of, herald.DeliveryFilter{State: new(herald.Pending), Type: rule.Type, Company: rule.CompanyID, Limit: cancelSearch})
	for _, d := range found {
		if d.RuleID == rule.ID {
			waiting = append(waiting, d.ID)
		}
	}
	return waiting, next != uuid.Nil || len(found) == cancelSearch, err
}

// deleteRule deletes a rule and, if asked, cancels what still waits of it.
func (p *portal) deleteRule(r *http.Request, v visit) (answer, error) {
	rule, err := p.ruleOf(r, v)
	if err != nil {
		return answer{}, err
	}
	if err := p.Rules.DeleteRule(r.Context(), v.caller, v.client.ID, rule.ID); err != nil {
		return answer{}, err
	}
	if r.PostForm.Get("cancel") == "" {
		return seeOther("%s?notice=rule-deleted", v.client.path("/rules")), nil
	}
	waiting, _, err := p.waitingOf(r.Context(), v.client.ID, rule)
	if err != nil {
		return answer{}, err
	}
	for _, id := range waiting[:min(len(waiting), maxCancelled)] {
		// A conflict means that the delivery has ended meanwhile.
		if _, err := p.Sender.Cancel(r.Context(), v.caller, v.client.ID, id); err != nil && herald.CodeOf(err) != herald.CodeConflict {
			return answer{}, err
		}
	}
	return seeOther("%s?notice=rule-deleted-cancelled", v.client.path("/rules")), nil
}
