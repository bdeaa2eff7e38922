package intake

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/clientcache"
	"herald/internal/memory"
)

// maxRuleChanges bounds how many changes of a client's rules since an event are read to explain it.
const maxRuleChanges = 1000

// verdictSize is about what a verdict takes in memory, in bytes.
const verdictSize = 400

// WholeClients returns what is known of a client.
type WholeClients interface {
	// Whole returns the present version of a client with all rules. The error has CodeNotFound if there is no such client.
	Whole(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
}

// History has what became of events, and what rules were.
type History interface {
	// Event returns an event and the ids and rules of its alerts. The error has CodeNotFound if the
	// client has no such event.
	Event(ctx context.Context, client, id uuid.UUID) (herald.Event, []herald.Alert, error)
	// RuleChanges lists up to limit changes of rules after an event, oldest first. complete is false if
	// there are more.
	RuleChanges(ctx context.Context, client, event uuid.UUID, limit int) (changes []herald.Change, complete bool, err error)
	// RecentEvents lists the ids, types and companies of up to limit events since a time, newest first.
	// from is that time, or when the kept history begins, if that is later.
	RecentEvents(ctx context.Context, client uuid.UUID, since time.Time, limit int) (events []herald.Event, from time.Time, err error)
}

// Explainer says which rules events meet, and why not the others.
type Explainer struct {
	Clients WholeClients
	History History
	Now     func() time.Time
}

// EventRules returns a verdict for each rule that a client had when an event came or has now: those that
// the event met first, then those that missed it by the least. The error has CodeNotFound if the client
// has no such event.
func (x *Explainer) EventRules(ctx context.Context, client, event uuid.UUID) ([]herald.Verdict, error) {
	e, alerts, err := x.History.Event(ctx, client, event)
	if err != nil {
		return nil, err
	}
	changes, complete, err := x.History.RuleChanges(ctx, client, event, maxRuleChanges)
	if err != nil {
		return nil, err
	}
	now, err := x.Clients.Whole(ctx, client)
	if err != nil {
		return nil, err
	}
	all := Verdicts(Explained{Event: e, Alerts: alerts, Rules: now.AllRules(), Changes: changes, Complete: complete,
		TypeName: func(spelling string) string {
			if kind, ok := now.Catalogue.Lookup(spelling); ok {
				return kind.Name
			}
			return spelling
		}})
	return all, memory.Reserve(ctx, int64(len(all)*verdictSize))
}

// Explained is an event and what is known of the rules that it could meet.
type Explained struct {
	Event   herald.Event
	Alerts  []herald.Alert // of the event
	Rules   iter.Seq[herald.Rule]
	Changes []herald.Change // of rules, since the event, oldest first
	// Complete is false if there are more changes.
	Complete bool
	// TypeName returns the canonical name of an event type.
	TypeName func(spelling string) string
}

// past is a rule as it was when an event came, as far as it is known.
type past struct {
	herald.Rule
	madeAt           time.Time // zero if it existed when the event came
	judgedByNow      bool      // whether it has changed since is not known
	changed, deleted bool
	alert            uuid.UUID
}

// Verdicts says of each rule whether the event met it, see EventRules. It uses the same rules of matching
// as a publish: Miss of herald.Rule.
func Verdicts(x Explained) []herald.Verdict {
	rules := x.past()
	verdicts := make([]herald.Verdict, 0, len(rules))
	for _, r := range rules {
		if !r.madeAt.IsZero() && r.deleted && r.alert == uuid.Nil {
			continue // neither then nor now
		}
		verdicts = append(verdicts, r.verdict(x.Event))
	}
	slices.SortFunc(verdicts, func(a, b herald.Verdict) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), slices.Compare(a.RuleID[:], b.RuleID[:]))
	})
	return verdicts
}

// past returns the client's rules as they were when the event came. What was before the first change
// since then was also when the event came.
func (x *Explained) past() map[uuid.UUID]*past {
	rules := make(map[uuid.UUID]*past)
	for now := range x.Rules {
		rules[now.ID] = &past{Rule: now, judgedByNow: !x.Complete}
	}
	known := make(map[uuid.UUID]bool)
	for i := range x.Changes {
		c := &x.Changes[i]
		id, err := uuid.Parse(c.Subject)
		if err != nil {
			continue
		}
		r := rules[id]
		if r == nil {
			r = &past{Rule: herald.Rule{ID: id, ClientID: x.Event.ClientID}, deleted: true}
			rules[id] = r
		}
		if !known[id] {
			known[id] = true
			x.before(r, c)
		}
	}
	for _, a := range x.Alerts {
		r := rules[a.RuleID]
		if r == nil {
			r = &past{Rule: herald.Rule{ID: a.RuleID, ClientID: x.Event.ClientID, Type: x.Event.Type}, deleted: true}
			rules[a.RuleID] = r
		}
		r.alert = a.ID
	}
	return rules
}

// before sets a rule to what it was before its first change since the event.
func (x *Explained) before(r *past, c *herald.Change) {
	r.judgedByNow = false
	text := c.Before
	if c.Action == herald.RuleCreated {
		r.madeAt, text = c.At, c.After
	}
	var then struct {
		Type      string    `json:"type"`
		CompanyID uuid.UUID `json:"companyId"`
	}
	if json.Unmarshal(text, &then) != nil {
		r.judgedByNow = true
		return
	}
	was := r.Rule
	was.Type, was.CompanyID = x.TypeName(then.Type), then.CompanyID
	r.changed = !r.deleted && r.madeAt.IsZero() && (was.Type != r.Type || was.CompanyID != r.CompanyID)
	r.Rule = was
}

func (r *past) verdict(e herald.Event) herald.Verdict {
	v := herald.Verdict{RuleID: r.ID, Type: r.Type, CompanyID: r.CompanyID, Met: r.alert != uuid.Nil, AlertID: r.alert, Changed: r.changed, Deleted: r.deleted}
	if v.Met {
		v.Why = fmt.Sprintf("The event met the rule and raised the alert %s.", r.alert)
	} else {
		v.Reason = r.reason(e)
		v.Why = r.sentence(v.Reason, e)
	}
	switch {
	case r.deleted:
		v.Why += " The rule has been deleted since."
	case r.changed:
		v.Why += " The rule has been changed since; this is what it was when the event came."
	case r.judgedByNow && !v.Met:
		v.Why += " The client's rules have changed too often since then to tell whether this one has; this is what it is now."
	}
	return v
}

// reason returns why the event raised no alert on the rule.
func (r *past) reason(e herald.Event) herald.Miss {
	if herald.IsTest(e.ID) {
		return herald.MissTest
	}
	if miss := r.Miss(e); miss != herald.MissNone {
		return miss // it would not have met the event either if it had been there
	}
	if !r.madeAt.IsZero() {
		return herald.MissLater
	}
	return herald.MissUnknown
}

func (r *past) sentence(miss herald.Miss, e herald.Event) string {
	switch miss {
	case herald.MissType:
		return fmt.Sprintf("The rule is for events of type %s, and this event is of type %s.", r.Type, e.Type)
	case herald.MissCompany:
		return fmt.Sprintf("The rule is for the company %s, and this event is about the company %s.", r.CompanyID, e.CompanyID)
	case herald.MissTest:
		return "The event is a test of one other rule, and goes to no rule else."
	case herald.MissLater:
		return fmt.Sprintf("The rule was made at %s, after the event came.", r.madeAt.Format(time.RFC3339))
	}
	return "The rule fits the event, but the event raised no alert on it. Probably the rule was made or changed at about the same time."
}

// ranks order verdicts: what a person looks for first.
var ranks = []herald.Miss{herald.MissNone, herald.MissUnknown, herald.MissLater, herald.MissCompany, herald.MissType, herald.MissTest}

func rank(v herald.Verdict) int { return slices.Index(ranks, v.Reason) }
