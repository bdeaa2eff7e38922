package portal

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
)

// testRule sends a test to the receivers of a rule, and goes to its event.
func (p *portal) testRule(r *http.Request, v visit) (answer, error) {
	rule, err := p.ruleOf(r, v)
	if err != nil {
		return answer{}, err
	}
	receipts, err := p.Publisher.Publish(r.Context(), v.caller, []herald.Publication{{TestOf: rule.ID, Event: herald.Event{ClientID: v.client.ID}}})
	if err != nil {
		return answer{}, err
	}
	return seeOther("%s?notice=test-sent", v.client.path("/events/"+receipts[0].EventID.String())), nil
}

// ofReceivers returns the counts of the last days of a client's busiest receivers, up to limit. more says that
// there are others.
func (p *portal) ofReceivers(ctx context.Context, of uuid.UUID, limit int) (found []herald.Statistics, more bool, err error) {
	now := p.Now()
	return p.Statistics.Statistics(ctx, herald.StatisticsFilter{By: herald.ByReceiver, Client: of, Since: now.Add(-rateDays * 24 * time.Hour), Until: now, Limit: limit})
}

// endedOf returns the deliveries to a rule's receivers that have ended, from the counts of receivers. They are
// not known if more says that there are others, and a receiver of the rule may be among these.
func endedOf(rule herald.Rule, counts []herald.Statistics, more bool) (ended herald.DeliveryCounts, known bool) {
	for _, receiver := range rule.Receivers() {
		if more && !slices.ContainsFunc(counts, func(s herald.Statistics) bool { return s.Receiver == receiver }) {
			return ended, false
		}
	}
	return rule.Counts(counts).Deliveries, true
}
