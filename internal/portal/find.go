package portal

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

// findView is what the search shows when it leads nowhere: a title, what was searched, what to do, and where to go on.
type findView struct {
	Title, Text, Hint string
	Links             []link
}

// find takes any id and leads to what has it.
func (p *portal) find(r *http.Request, v visit) (answer, error) {
	text := strings.TrimSpace(r.URL.Query().Get("id"))
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") || strings.HasPrefix(text, herald.MailScheme) {
		return listOf(v, url.Values{"receiver": {text}}), nil
	}
	if strings.Contains(text, "@") {
		return listOf(v, url.Values{"receiver": {herald.MailScheme + text}}), nil
	}
	id, err := uuid.Parse(text)
	if err != nil || id == uuid.Nil {
		return nothingFound(cutText(text, 80), "The search takes a whole id: of an event, an alert, a delivery, a rule, an issue or a company. It also takes a receiver's address."), nil
	}
	to, whole, err := p.locate(r.Context(), v, id)
	switch {
	case err != nil || to.location != "":
		return to, err
	case !whole:
		return nothingFound(id.String(), "Nothing of this client with this id was found so far. As the id of a company or of a rule it was not searched to the end. These lists search on:",
			link{"Deliveries of the company", v.client.path("/deliveries?company=" + id.String())}, link{"Events of the company", v.client.path("/events?company=" + id.String())},
			link{"Deliveries of the rule", v.client.path("/deliveries?rule=" + id.String())}), nil
	case len(text) == 32:
		return nothingFound(text, "Nothing of this client has this id. If it is the correlation id of an answer, it is in the service's log, for its operator."), nil
	}
	return nothingFound(id.String(), "Nothing of this client has this id. What is older than the retention is deleted."), nil
}

func nothingFound(text, hint string, links ...link) answer {
	return page("find.html", "Nothing found", findView{"Nothing found", text, hint, links})
}

func listOf(v visit, filter url.Values) answer {
	return seeOther("%s?%s", v.client.path("/deliveries"), filter.Encode())
}

// locate returns where the thing with an id is shown, or nothing. whole says that it was searched to the end.
func (p *portal) locate(ctx context.Context, v visit, id uuid.UUID) (to answer, whole bool, err error) {
	of := v.client.ID
	for _, thing := range []struct {
		path string
		read func() error
	}{
		{"/deliveries/" + id.String(), func() error { _, _, err := p.Deliveries.Delivery(ctx, of, id); return err }},
		{"/events/" + id.String(), func() error { _, _, err := p.Events.Event(ctx, of, id); return err }},
		{"/rules/" + id.String(), func() error { _, err := p.Rules.Rule(ctx, of, id); return err }},
		{"/issues/" + id.String() + "/recover", func() error { _, err := p.Issues.Issue(ctx, of, id); return err }},
	} {
		if err := thing.read(); herald.CodeOf(err) != herald.CodeNotFound {
			return seeOther("%s", v.client.path(thing.path)), true, err
		}
	}
	whole = true
	for _, one := range []struct {
		list, filter string
		search       func() (any bool, whole bool, err error)
	}{
		{"/deliveries", "alert", p.anyDelivery(ctx, of, herald.DeliveryFilter{Alert: id})},
		{"/deliveries", "company", p.anyDelivery(ctx, of, herald.DeliveryFilter{Company: id})},
		{"/events", "company", func() (bool, bool, error) {
			found, next, err := p.searchEvents(ctx, of, herald.EventFilter{Company: id})
			return len(found) > 0, next == uuid.Nil, err
		}},
		{"/rules", "company", func() (bool, bool, error) {
			_, total, err := p.Rules.Rules(ctx, of, id, query.List{Page: 1, PageSize: 1, Order: query.Rules().Default})
			return total > 0, true, err
		}},
		{"/deliveries", "rule", p.anyDelivery(ctx, of, herald.DeliveryFilter{Rule: id})},
	} {
		found, all, err := one.search()
		if err != nil || found {
			return seeOther("%s?%s=%s", v.client.path(one.list), one.filter, id), true, err
		}
		whole = whole && all
	}
	to, err = p.eventOfAlert(ctx, v, id)
	return to, whole, err
}

// anyDelivery returns a search for one delivery that meets a filter. whole says that it came to its end.
func (p *portal) anyDelivery(ctx context.Context, of uuid.UUID, f herald.DeliveryFilter) func() (found, whole bool, err error) {
	return func() (bool, bool, error) {
		found, next, err := p.search(ctx, of, f)
		return len(found) > 0, next == uuid.Nil, err
	}
}

// eventOfAlert leads to the event of an alert without deliveries, or of the last alert of a deleted rule that had no
// receivers.
func (p *portal) eventOfAlert(ctx context.Context, v visit, id uuid.UUID) (answer, error) {
	event := herald.EventOf(id)
	_, alerts, err := p.Events.Event(ctx, v.client.ID, event)
	if err != nil && herald.CodeOf(err) != herald.CodeNotFound {
		return answer{}, err
	}
	if !slices.ContainsFunc(alerts, func(a herald.Alert) bool { return a.ID == id }) {
		alerts, _, err = p.lastAlerts(ctx, herald.Rule{ID: id, ClientID: v.client.ID}, 1)
		if err != nil || len(alerts) == 0 {
			return answer{}, err
		}
		event = herald.EventOf(alerts[0].ID)
	}
	return seeOther("%s", v.client.path("/events/"+event.String())), nil
}

// deletedRule is the page of a rule that is deleted, if there are deliveries of it. Links to rules stay for longer than rules.
func (p *portal) deletedRule(ctx context.Context, v visit, id uuid.UUID) (a answer, found bool, err error) {
	found, _, err = p.anyDelivery(ctx, v.client.ID, herald.DeliveryFilter{Rule: id})()
	a = page("find.html", "The rule was deleted", findView{"The rule was deleted", id.String(), "Its alerts and deliveries are on record until the retention ends.",
		[]link{{"Deliveries of the rule", v.client.path("/deliveries?rule=" + id.String())}}})
	a.status = http.StatusNotFound
	return a, found, err
}
