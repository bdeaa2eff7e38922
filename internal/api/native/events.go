package native

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
)

// acceptedEvent is an event in an answer.
type acceptedEvent struct {
	herald.Event
	AcceptedAt time.Time `json:"acceptedAt" doc:"When the event was accepted."`
}

// eventDetail is one event with the alerts that it raised.
type eventDetail struct {
	herald.Event
	AcceptedAt time.Time     `json:"acceptedAt" doc:"When the event was accepted."`
	Alerts     []raisedAlert `json:"alerts" doc:"The alerts that the event raised, one for every rule it met."`
}

// raisedAlert names an alert and its rule.
type raisedAlert struct {
	ID     uuid.UUID `json:"id"`
	RuleID uuid.UUID `json:"ruleId"`
}

func acceptedEventOf(e herald.Event) acceptedEvent {
	return acceptedEvent{Event: e, AcceptedAt: herald.TimeOf(e.ID)}
}

func (s *surface) registerEvents() {
	s.registerPublish()
	call(s, huma.Operation{
		OperationID: "listEvents", Method: http.MethodGet, Path: "/events", Tags: []string{"Events"},
		DefaultStatus: http.StatusOK,
		Summary:       "List the client's events", Description: "Newest first.",
		Parameters: pageParameters(),
	}, aboutOneClient, s.listEvents)
	call(s, huma.Operation{
		OperationID: "getEvent", Method: http.MethodGet, Path: "/events/{id}", Tags: []string{"Events"},
		DefaultStatus: http.StatusOK,
		Summary:       "Look up an event", Description: "With the alerts that it raised.",
	}, aboutOneClient, s.getEvent)
}

func (s *surface) listEvents(r *http.Request, caller herald.Caller) (page[acceptedEvent], error) {
	p := parametersOf(r)
	limit, after := p.limit(), p.id("after")
	if p.err != nil {
		return page[acceptedEvent]{}, p.err
	}
	events, next, err := s.Events.Events(r.Context(), caller.Client(), after, limit+1)
	if err != nil {
		return page[acceptedEvent]{}, err
	}
	return pageOf(events, limit, next, func(e herald.Event) uuid.UUID { return e.ID }, acceptedEventOf), nil
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
	detail := eventDetail{Event: event, AcceptedAt: herald.TimeOf(event.ID), Alerts: make([]raisedAlert, len(alerts))}
	for i, a := range alerts {
		detail.Alerts[i] = raisedAlert{ID: a.ID, RuleID: a.RuleID}
	}
	return detail, nil
}
