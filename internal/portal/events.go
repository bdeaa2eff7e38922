package portal

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
)

// Bounds of the pages about events.
const (
	eventPage = 50
	// eventDeliveries is how many deliveries the page of an event shows.
	eventDeliveries = 100
	// eventRules is how many rules of each kind it shows.
	eventRules = 50
)

// eventFilterForm is the filter of the list of events. All of it is in the address.
type eventFilterForm struct {
	Type, Company, Since, Until, Unknown filterField
	// Any says that any filter is set.
	Any bool
}

// Errors returns the messages about fields that cannot be read.
func (f eventFilterForm) Errors() []string {
	return errorsOf(f.Type, f.Company, f.Since, f.Until, f.Unknown)
}

// eventListView is what the list of events shows.
type eventListView struct {
	Filter eventFilterForm
	Types  []string
	Client client
	Rows   []eventRow
	cursorLinks
	// SearchedTo is how far an unfinished search came; zero if it is finished.
	SearchedTo time.Time
	Clear      string
	// None says that there is no event at all, so that no filter is to blame.
	None bool
	// Invalid says that a filter cannot be read, so that nothing was searched.
	Invalid bool
}

// eventRow is one event in a list.
type eventRow struct {
	herald.ListedEvent
	Href string
}

// Test says that the event is a test of one rule.
func (e eventRow) Test() bool { return herald.IsTest(e.ID) }

// AcceptedAt is when the event was accepted.
func (e eventRow) AcceptedAt() time.Time { return herald.TimeOf(e.ID) }

// events lists the client's events.
func (p *portal) events(r *http.Request, v visit) (answer, error) {
	values := r.URL.Query()
	known, err := p.Catalogue(r.Context())
	if err != nil {
		return answer{}, err
	}
	list := eventListView{Client: v.client, Types: typeNames(known), Clear: v.client.path("/events")}
	f, form := eventFilter(values, p.Now(), known)
	list.Filter = form
	if len(form.Errors()) > 0 {
		list.Invalid = true
		a := page("events.html", "Events", list)
		a.status = http.StatusUnprocessableEntity
		return a, nil
	}
	if f.After, err = optionalID("after", values.Get("after")); err != nil {
		return answer{}, err
	}
	found, next, err := p.searchEvents(r.Context(), v.client.ID, f)
	if err != nil {
		return answer{}, err
	}
	if len(found) > eventPage {
		found = found[:eventPage]
		next = found[eventPage-1].ID
	} else if next != uuid.Nil {
		list.SearchedTo = herald.TimeOf(next)
	}
	for _, e := range found {
		list.Rows = append(list.Rows, eventRow{e, v.client.path("/events/" + e.ID.String())})
	}
	list.cursorLinks = linksOf(list.Clear, values, next)
	list.None = len(found) == 0 && next == uuid.Nil && !form.Any && f.After == uuid.Nil
	return page("events.html", "Events", list), nil
}

// searchEvents lists a page of events. It follows a search that comes back empty for a few parts.
func (p *portal) searchEvents(ctx context.Context, of uuid.UUID, f herald.EventFilter) (found []herald.ListedEvent, next uuid.UUID, err error) {
	f.Limit, f.WithoutData = eventPage+1, true
	for range maxSearches {
		found, next, err = p.Events.Events(ctx, of, f)
		if err != nil || len(found) > 0 || next == uuid.Nil {
			return found, next, err
		}
		f.After = next
	}
	return found, next, nil
}

// eventFilter reads the filter from an address. What cannot be read is in the form, with a message.
func eventFilter(values url.Values, now time.Time, known *catalogue.Catalogue) (f herald.EventFilter, form eventFilterForm) {
	reader := &filterReader{values: values}
	for _, field := range []struct {
		name  string
		into  *filterField
		parse func(string) error
	}{
		{"type", &form.Type, reader.kind(known, &form.Type, &f.Type)}, {"company", &form.Company, reader.id("company", &f.Company)},
		{"since", &form.Since, reader.moment(now, &form.Since, &f.Since)}, {"until", &form.Until, reader.moment(now, &form.Until, &f.Until)},
	} {
		form.Any = reader.read(field.name, field.into, field.parse) || form.Any
	}
	form.Unknown = reader.unknown()
	return f, form
}

// eventView is what the page of an event shows.
type eventView struct {
	herald.Event
	Client     client
	Alerts     int
	Deliveries []deliveryRow
	// Met are the rules that the event met, each with its deliveries.
	Met []metRule
	// More says that the event has deliveries that the page does not show.
	More bool
	// Missed are the rules that it did not meet though they are for its type, Others those for other types.
	Missed, Others []herald.Verdict
	// MoreMissed and MoreOthers are how many of them the page does not show.
	MoreMissed, MoreOthers int
	Data                   payload
	Self                   string
}

// metRule is a rule that an event met, with the deliveries that the page shows of it.
type metRule struct {
	herald.Verdict
	Deliveries []deliveryRow
}

// verdictRule is a rule in the list of what an event met, and verdictList a list of those that it did not meet.
type (
	verdictRule struct {
		herald.Verdict
		Client client
	}
	verdictList struct {
		Client client
		All    []herald.Verdict
	}
)

// OtherCount is how many rules are for other types.
func (e eventView) OtherCount() int { return len(e.Others) + e.MoreOthers }

// Test says that the event is a test of one rule.
func (e eventView) Test() bool { return herald.IsTest(e.ID) }

// judge fills in what became of each rule.
func (e *eventView) judge(all []herald.Verdict) {
	of := make(map[uuid.UUID][]deliveryRow)
	for _, d := range e.Deliveries {
		of[d.AlertID] = append(of[d.AlertID], d)
	}
	for _, v := range all {
		switch {
		case v.Met && len(e.Met) < eventRules:
			e.Met = append(e.Met, metRule{v, of[v.AlertID]})
		case v.Met:
			e.More = true
		case v.Reason == herald.MissType && len(e.Others) < eventRules:
			e.Others = append(e.Others, v)
		case v.Reason == herald.MissType:
			e.MoreOthers++
		case len(e.Missed) < eventRules:
			e.Missed = append(e.Missed, v)
		default:
			e.MoreMissed++
		}
	}
}

// AcceptedAt is when the event was accepted.
func (e eventView) AcceptedAt() time.Time { return herald.TimeOf(e.ID) }

// Pending is how many of the deliveries have not ended.
func (e eventView) Pending() (n int) {
	for _, d := range e.Deliveries {
		if d.State == herald.Pending {
			n++
		}
	}
	return n
}

// TypeHref is the address of the page of the event's type.
func (e eventView) TypeHref() string { return e.Client.typePath(e.Type) }

// Badge says what became of the event: the least that was reached by any of its deliveries.
func (e eventView) Badge() badge {
	worst := badge{"good", "check", "Delivered"}
	for _, d := range e.Deliveries {
		switch {
		case d.State == herald.Failed && d.RepeatedBy == uuid.Nil:
			return badgeOf(d.Delivery)
		case d.State == herald.Pending:
			worst = badgeOf(d.Delivery)
		}
	}
	switch {
	case e.Alerts == 0:
		return badge{"off", "stop", "No rule"}
	case len(e.Deliveries) == 0:
		return badge{"off", "stop", "Nothing to deliver"}
	}
	return worst
}

// eventOf reads the event that a path names.
func (p *portal) eventOf(r *http.Request, v visit) (herald.Event, []herald.Alert, error) {
	id, err := uuid.Parse(r.PathValue("event"))
	if err != nil || len(r.PathValue("event")) != 36 {
		return herald.Event{}, nil, herald.Errorf(herald.CodeNotFound, "No event was found with ID %.40s", r.PathValue("event"))
	}
	return p.Events.Event(r.Context(), v.client.ID, id)
}

// event shows an event and what became of it.
func (p *portal) event(r *http.Request, v visit) (answer, error) {
	e, alerts, err := p.eventOf(r, v)
	if err != nil {
		return answer{}, err
	}
	self := v.client.path("/events/" + e.ID.String())
	show := eventView{Event: e, Client: v.client, Alerts: len(alerts), Self: self}
	found, next, err := p.Deliveries.Deliveries(r.Context(), v.client.ID, herald.DeliveryFilter{Event: e.ID, Limit: eventDeliveries + 1})
	if err != nil {
		return answer{}, err
	}
	show.More = len(found) > eventDeliveries || next != uuid.Nil
	for _, d := range found[:min(len(found), eventDeliveries)] {
		show.Deliveries = append(show.Deliveries, deliveryRow{d, v.client.path("/deliveries/" + d.ID.String())})
	}
	verdicts, err := p.Explainer.EventRules(r.Context(), v.client.ID, e.ID)
	if err != nil {
		return answer{}, err
	}
	show.judge(verdicts)
	show.Data = payloadOf(e.Data, true, r.URL.Query().Get("all") == "data")
	show.Data.Raw, show.Data.All = self+"/data", self+"?all=data"
	if len(e.Data) == 0 {
		show.Data.Note = "The event has no data."
	}
	return page("event.html", e.Type, show), nil
}

// eventData answers with an event's data as it was published.
func (p *portal) eventData(r *http.Request, v visit) (answer, error) {
	e, _, err := p.eventOf(r, v)
	if err != nil {
		return answer{}, err
	}
	if len(e.Data) == 0 {
		return answer{}, herald.Errorf(herald.CodeNotFound, "The event has no data.")
	}
	return answer{text: e.Data}, nil
}
