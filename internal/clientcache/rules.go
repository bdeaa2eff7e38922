package clientcache

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"

	"herald"
)

// Rule is a rule with what is computed of it once.
type Rule struct {
	herald.Rule
	receivers atomic.Pointer[Receivers]
}

// NewRule returns a rule of which nothing is computed yet.
func NewRule(r herald.Rule) *Rule { return &Rule{Rule: r} }

// Receivers are where the alerts of a rule go.
type Receivers struct {
	Origin string   // of the webhook; empty if there is none
	Boxes  []string // see herald.Mailboxes
}

// Receivers returns where the rule's alerts go. origin returns the origin of an address; its error is returned.
func (r *Rule) Receivers(origin func(address string) (string, error)) (*Receivers, error) {
	if known := r.receivers.Load(); known != nil {
		return known, nil
	}
	made := &Receivers{Boxes: herald.Mailboxes(r.Emails)}
	if r.Webhook != "" {
		var err error
		if made.Origin, err = origin(r.Webhook); err != nil {
			return nil, err
		}
	}
	r.receivers.Store(made)
	return made, nil
}

// ruleSize is about what a rule takes in memory beside its texts, in bytes.
const ruleSize = 328

// size returns about how much memory the rule takes, in bytes: ruleSize is 176 of its own, 80 of its receivers, 40 of the origin,
// and 32 of its places in two lists. Mailboxes are there twice.
func (r *Rule) size() int {
	size := ruleSize + len(r.PostedType) + len(r.Webhook)
	for _, element := range r.Emails {
		size += 40 + 2*len(element)
	}
	return size
}

// rules are the rules of a client. They never change: with and without return others, at a cost that hardly
// depends on how many rules there are.
type rules struct {
	byID    list // in the order of creation
	byEvent list // by type, company and id, so that those that an event meets are together
	bytes   int
}

func orderByID(a, b *Rule) int { return bytes.Compare(a.ID[:], b.ID[:]) }

func orderByEvent(a, b *Rule) int {
	if order := a.compare(b.Type, b.CompanyID); order != 0 {
		return order
	}
	return orderByID(a, b)
}

// compare compares the rule's type, and then its company.
func (r *Rule) compare(eventType string, company uuid.UUID) int {
	if order := strings.Compare(r.Type, eventType); order != 0 {
		return order
	}
	return bytes.Compare(r.CompanyID[:], company[:])
}

// newRules returns rules, which all have other ids. Types are few, and often all rules have one webhook: such
// texts are kept once.
func newRules(all []herald.Rule) rules {
	made := make([]*Rule, len(all))
	types := make(map[string]string)
	webhook := ""
	var r rules
	for i := range all {
		one := all[i]
		for _, text := range []*string{&one.Type, &one.PostedType} {
			if known, ok := types[*text]; ok {
				*text = known
			}
			types[*text] = *text
		}
		if one.Webhook == webhook {
			one.Webhook = webhook
		}
		webhook = one.Webhook
		made[i] = NewRule(one)
		r.bytes += made[i].size()
	}
	r.byID = newList(made, orderByID)
	r.byEvent = newList(made, orderByEvent)
	return r
}

// find returns a rule, nil if there is none.
func (r rules) find(id uuid.UUID) *Rule {
	found := r.byID.at(r.byID.find(func(other *Rule) bool { return bytes.Compare(other.ID[:], id[:]) < 0 }))
	if found == nil || found.ID != id {
		return nil
	}
	return found
}

// with returns the rules with one more, or with another one of the same id.
func (r rules) with(one herald.Rule) rules {
	r = r.without(one.ID)
	added := NewRule(one)
	return rules{r.byID.with(added), r.byEvent.with(added), r.bytes + added.size()}
}

// without returns the rules without one. It may be missing already.
func (r rules) without(id uuid.UUID) rules {
	known := r.find(id)
	if known == nil {
		return r
	}
	return rules{r.byID.without(known), r.byEvent.without(known), r.bytes - known.size()}
}

// firstOf returns the place in byEvent of the first rule of a type and a company, or where it would be.
func (r rules) firstOf(eventType string, company uuid.UUID) (chunk, n int) {
	return r.byEvent.find(func(other *Rule) bool { return other.compare(eventType, company) < 0 })
}

// any reports whether there are rules of a type.
func (r rules) any(eventType string) bool {
	first := r.byEvent.at(r.firstOf(eventType, uuid.Nil))
	return first != nil && first.Type == eventType
}

// about appends the rules of a type that are for exactly one company or, with uuid.Nil, for all.
func (r rules) about(to []*Rule, eventType string, company uuid.UUID) []*Rule {
	chunk, n := r.firstOf(eventType, company)
	return r.byEvent.appendWhile(to, chunk, n, func(rule *Rule) bool { return rule.compare(eventType, company) == 0 })
}

// matching returns the rules of a type that an event about a company meets, in the order of their creation: the
// same that herald.Rule.Meets finds among all of the client's rules.
func (r rules) matching(eventType string, company uuid.UUID) []*Rule {
	if company == uuid.Nil {
		chunk, n := r.firstOf(eventType, uuid.Nil)
		all := r.byEvent.appendWhile(nil, chunk, n, func(rule *Rule) bool { return rule.Type == eventType })
		slices.SortFunc(all, orderByID)
		return all
	}
	matching := r.about(nil, eventType, uuid.Nil)
	forAll := len(matching)
	matching = r.about(matching, eventType, company)
	if forAll > 0 && forAll < len(matching) {
		slices.SortFunc(matching, orderByID)
	}
	return matching
}
