package native

import (
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
)

// acceptedEvent is an event in an answer.
type acceptedEvent struct {
	herald.Event
	AcceptedAt time.Time `json:"acceptedAt" doc:"When the event was accepted."`
	AlertCount int       `json:"alertCount" doc:"How many alerts the event raised, one for every rule it met."`
	Test       bool      `json:"test,omitempty" doc:"It is a test of one rule."`
}

// eventDetail is one event with the alerts that it raised.
type eventDetail struct {
	herald.Event
	AcceptedAt time.Time     `json:"acceptedAt" doc:"When the event was accepted."`
	Test       bool          `json:"test,omitempty" doc:"It is a test of one rule."`
	Alerts     []raisedAlert `json:"alerts" doc:"The alerts that the event raised, one for every rule it met."`
}

// raisedAlert names an alert and its rule.
type raisedAlert struct {
	ID     uuid.UUID `json:"id"`
	RuleID uuid.UUID `json:"ruleId"`
}

func acceptedEventOf(e herald.ListedEvent) acceptedEvent {
	return acceptedEvent{Event: e.Event, AcceptedAt: herald.TimeOf(e.ID), Test: herald.IsTest(e.ID), AlertCount: e.AlertCount}
}

func (s *surface) registerEvents() {
	s.registerPublish()
	call(s, huma.Operation{
		OperationID: "listEvents", Method: http.MethodGet, Path: "/events", Tags: []string{"Events"},
		DefaultStatus: http.StatusOK,
		Summary:       "List the client's events", Description: "Newest first. An event must meet all filters. A page can have fewer events than its limit, or none, and still have a next: the search continues there.",
		Parameters: append(eventFilters(), pageParameters()...),
	}, aboutOneClient, s.listEvents)
	call(s, huma.Operation{
		OperationID: "getEvent", Method: http.MethodGet, Path: "/events/{id}", Tags: []string{"Events"},
		DefaultStatus: http.StatusOK,
		Summary:       "Look up an event", Description: "With the alerts that it raised.",
	}, aboutOneClient, s.getEvent)
	call(s, huma.Operation{
		OperationID: "listEventRules", Method: http.MethodGet, Path: "/events/{id}/rules", Tags: []string{"Events"},
		DefaultStatus: http.StatusOK,
		Summary:       "Say which rules an event met, and why not the others",
		Description: "One verdict for each rule that the client has now or had when the event came: those that the event met first, then those that missed it by the least. " +
			"A rule that has changed since is judged by what it was then.",
		Parameters: pageParameters(),
	}, aboutOneClient, s.listEventRules)
}

// eventRules is a page of the verdicts on an event's rules.
type eventRules struct {
	page[herald.Verdict]
	Met   int `json:"met" doc:"How many rules the event met."`
	Rules int `json:"rules" doc:"How many rules there are a verdict for."`
}

func eventFilters() []*huma.Param {
	instant := huma.Schema{Type: "string", Format: "date-time"}
	return []*huma.Param{
		openapi.QueryParameter("type", huma.Schema{Type: "string"}, "Only events of this type, in any accepted spelling."),
		openapi.QueryParameter("company", huma.Schema{Type: "string", Format: "uuid"}, "Only events about this company."),
		openapi.QueryParameter("since", instant, "Only events accepted then or later."),
		openapi.QueryParameter("until", instant, "Only events accepted before then."),
	}
}

func (s *surface) listEvents(r *http.Request, caller herald.Caller) (page[acceptedEvent], error) {
	p := parametersOf(r)
	limit := p.limit()
	f := herald.EventFilter{
		Type:    parameter(p, "type", func(text string) (string, error) { return s.canonicalType(r.Context(), text) }),
		Company: p.id("company"), Since: p.time("since"), Until: p.time("until"), After: p.id("after"), Limit: limit + 1,
	}
	if p.err != nil {
		return page[acceptedEvent]{}, p.err
	}
	events, next, err := s.Events.Events(r.Context(), caller.Client(), f)
	if err != nil {
		return page[acceptedEvent]{}, err
	}
	return pageOf(events, limit, next, func(e herald.ListedEvent) uuid.UUID { return e.ID }, acceptedEventOf), nil
}

func (s *surface) getEvent(r *http.Request, caller herald.Caller) (eventDetail, error) {
	id, err := pathID(r, "id", "event")
	if err != nil {
		return eventDetail{}, err
	}
	event, alerts, err := s.Events.Event(r.Context(), caller.Client(), id)
	if err != nil {
		return eventDetail{}, err
	}
	detail := eventDetail{Event: event, AcceptedAt: herald.TimeOf(event.ID), Test: herald.IsTest(event.ID), Alerts: make([]raisedAlert, len(alerts))}
	for i, a := range alerts {
		detail.Alerts[i] = raisedAlert{ID: a.ID, RuleID: a.RuleID}
	}
	return detail, nil
}

func (s *surface) listEventRules(r *http.Request, caller herald.Caller) (eventRules, error) {
	id, err := pathID(r, "id", "event")
	if err != nil {
		return eventRules{}, err
	}
	p := parametersOf(r)
	limit, after := p.limit(), p.id("after")
	if p.err != nil {
		return eventRules{}, p.err
	}
	all, err := s.Explainer.EventRules(r.Context(), caller.Client(), id)
	if err != nil {
		return eventRules{}, err
	}
	answer := eventRules{Rules: len(all)}
	for _, v := range all {
		if v.Met {
			answer.Met++
		}
	}
	if after != uuid.Nil {
		at := slices.IndexFunc(all, func(v herald.Verdict) bool { return v.RuleID == after })
		if at < 0 {
			return eventRules{}, nameMember(herald.Invalid("after", "there is no verdict on a rule %s any more; begin again without it", after))
		}
		all = all[at+1:]
	}
	answer.page = pageOf(all, limit, uuid.Nil, func(v herald.Verdict) uuid.UUID { return v.RuleID }, func(v herald.Verdict) herald.Verdict { return v })
	return answer, nil
}
