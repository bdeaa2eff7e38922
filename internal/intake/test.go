package intake

import (
	"context"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
)

// What a test is about if neither the caller nor the rule names a company or a data connection.
var (
	exampleCompany    = uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002")
	exampleConnection = uuid.MustParse("ee2eb431-c0fa-4dc9-93fa-d29781c12bcd")
)

// testMark begins the message of a test's alert, so that people see it wherever the message goes.
const testMark = "Test: "

// planTest is plan for a test of a rule. The event meets that rule alone. The error has CodeNotFound if
// the client has no such rule, and CodeConflict if the rule has no receiver.
func (in *Intake) planTest(ctx context.Context, budget *catalogue.Budget, client *clientcache.Snapshot, p herald.Publication) (plan, error) {
	rule, err := client.Rule(ctx, p.TestOf)
	if err != nil {
		return plan{}, err
	}
	if rule.Webhook == "" && len(rule.Emails) == 0 {
		return plan{}, tooMuch("The rule %s has no receiver. Give it a webhook or a mailbox first.", rule.ID)
	}
	kind, ok := client.Catalogue.Lookup(rule.Type)
	if !ok {
		return plan{}, tooMuch("The event type %q of the rule %s does not exist any more.", rule.Type, rule.ID)
	}
	fill(&p.Event, kind, rule.Rule)
	made, err := in.made(budget, client, kind, p, in.ids.NewTest)
	if err != nil {
		return plan{}, err
	}
	made.message = testMark + made.message
	if rule.Miss(made.event.Event) == herald.MissCompany {
		return plan{}, herald.Invalid("companyId", "The rule is for the company %s, and the test is about %s. Leave companyId out.", rule.CompanyID, p.CompanyID)
	}
	return made, in.match(&made, []*clientcache.Rule{rule})
}

// fill fills in what a test's event lacks: the type's example, the rule's company.
func fill(e *herald.Event, kind *catalogue.Type, rule herald.Rule) {
	if e.Data == nil {
		e.Data = kind.Example
	}
	if e.CompanyID == uuid.Nil {
		e.CompanyID = rule.CompanyID
	}
	if e.CompanyID == uuid.Nil && kind.Company {
		e.CompanyID = exampleCompany
	}
	if e.ConnectionID == uuid.Nil && kind.Connection {
		e.ConnectionID = exampleConnection
	}
}
