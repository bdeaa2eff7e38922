package portal

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/settings"
)

// Bounds of cancelling what waits of a rule.
const (
	// countedWaiting is how far the deliveries are counted that wait of a rule.
	countedWaiting = 1000
	// cancelStep is how many of them are read at once.
	cancelStep = 100
	// cancelTime is how long one request cancels before its page says what is left.
	cancelTime = 10 * time.Second
)

// ruleDeletion is what the page shows that asks before a rule is deleted, or before what waits of a deleted one is cancelled.
type ruleDeletion struct {
	Type, Self, Reason string
	// Waiting is how many deliveries of the rule wait, up to countedWaiting. More says that there are others, or may be.
	Waiting int
	More    bool
	// Gone says that the rule is deleted already.
	Gone bool
	// List is the list of what waits.
	List, Rules string
}

// ruleOrDeleted reads the rule that a path names. Of a deleted one, of which deliveries wait, only the id is known.
func (p *portal) ruleOrDeleted(r *http.Request, v visit) (id uuid.UUID, rule herald.Rule, gone bool, err error) {
	rule, err = p.ruleOf(r, v)
	if herald.CodeOf(err) != herald.CodeNotFound {
		return rule.ID, rule, false, err
	}
	id, known := settings.ParseID(r.PathValue("rule"))
	if !known {
		return id, rule, false, err
	}
	waiting, more, searchErr := p.waitingOf(r.Context(), v.client.ID, id, 1)
	if searchErr != nil {
		return id, rule, false, searchErr
	}
	if waiting == 0 && !more {
		return id, rule, false, err
	}
	return id, rule, true, nil
}

// askDeleteRule asks before a rule is deleted; a script shows the page as a dialog.
func (p *portal) askDeleteRule(r *http.Request, v visit) (answer, error) {
	id, rule, gone, err := p.ruleOrDeleted(r, v)
	if err != nil {
		return answer{}, err
	}
	waiting, more, err := p.waitingOf(r.Context(), v.client.ID, id, countedWaiting)
	if err != nil {
		return answer{}, err
	}
	if gone && waiting == 0 && !more {
		return seeOther("%s", v.client.path("/rules")), nil // what waited has ended just now
	}
	show := ruleDeletion{Type: rule.Type, Self: v.client.path("/rules/" + id.String()), Reason: v.mayNot(), Waiting: waiting, More: more, Gone: gone,
		List: v.client.path("/deliveries?state=pending&rule=" + id.String()), Rules: v.client.path("/rules")}
	return page("ruledelete.html", "Delete the rule?", show), nil
}

// waitingOf counts the pending deliveries of a rule, up to n. more says that there are others, or may be.
func (p *portal) waitingOf(ctx context.Context, of, rule uuid.UUID, n int) (waiting int, more bool, err error) {
	f := herald.DeliveryFilter{State: new(herald.Pending), Rule: rule, Limit: n + 1}
	for range maxSearches {
		found, next, err := p.Deliveries.Deliveries(ctx, of, f)
		if err != nil {
			return 0, false, err
		}
		waiting += len(found)
		f.After, f.Limit = next, f.Limit-len(found)
		if next == uuid.Nil || f.Limit <= 0 {
			break
		}
	}
	return min(waiting, n), waiting > n || f.After != uuid.Nil, nil
}

// deleteRule deletes a rule and, if asked, cancels what still waits of it. Of a rule that is deleted already it cancels
// what is left, so the same form can be sent again.
func (p *portal) deleteRule(r *http.Request, v visit) (answer, error) {
	id, _, gone, err := p.ruleOrDeleted(r, v)
	if err != nil {
		return answer{}, err
	}
	if !gone {
		if err := p.Rules.DeleteRule(r.Context(), v.caller, v.client.ID, id); err != nil {
			return answer{}, err
		}
	}
	if r.PostForm.Get("cancel") == "" {
		return seeOther("%s?notice=rule-deleted", v.client.path("/rules")), nil
	}
	done, err := p.cancelWaiting(r.Context(), v, id)
	switch {
	case err != nil && herald.CodeOf(err) != herald.CodeUnavailable:
		return answer{}, err
	case !done:
		return seeOther("%s/delete?notice=rule-deleted-partly", v.client.path("/rules/"+id.String())), nil
	}
	return seeOther("%s?notice=rule-deleted-cancelled", v.client.path("/rules")), nil
}

// cancelWaiting cancels the pending deliveries of a rule, part by part, until a search from the start finds none. done
// says that it came so far within cancelTime.
func (p *portal) cancelWaiting(ctx context.Context, v visit, rule uuid.UUID) (done bool, err error) {
	f := herald.DeliveryFilter{State: new(herald.Pending), Rule: rule, Limit: cancelStep}
	for began, cancelled := time.Now(), 0; time.Since(began) < cancelTime; {
		found, next, err := p.Deliveries.Deliveries(ctx, v.client.ID, f)
		if err != nil {
			return false, err
		}
		for _, d := range found {
			// A conflict means that the delivery has ended meanwhile.
			if _, err := p.Sender.Cancel(ctx, v.caller, v.client.ID, d.ID); err != nil && herald.CodeOf(err) != herald.CodeConflict {
				return false, err
			}
			if cancelled++; time.Since(began) >= cancelTime {
				return false, nil
			}
		}
		switch {
		case next != uuid.Nil:
			f.After = next
		case len(found) >= cancelStep:
			f.After = found[len(found)-1].ID
		case cancelled == 0:
			return true, nil
		default: // others may have been made while these were cancelled
			f.After, cancelled = uuid.Nil, 0
		}
	}
	return false, nil
}
