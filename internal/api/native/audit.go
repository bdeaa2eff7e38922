package native

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
)

func (s *surface) registerAudit() {
	call(s, huma.Operation{
		OperationID: "listChanges", Method: http.MethodGet, Path: "/audit", Tags: []string{"Audit"},
		DefaultStatus: http.StatusOK, Errors: []int{http.StatusNotFound},
		Summary: "List the audit log",
		Description: "Newest first: changes of rules, API keys, profiles, mailboxes, clients and event types, and deliveries that were sent again or cancelled. A client sees its own; " +
			"an analyst's key sees none. A page before the last can be short or even empty if a filter is given; only a missing next marks the last page.",
		Parameters: append([]*huma.Param{
			openapi.QueryParameter("client", huma.Schema{Type: "string", Format: "uuid"}, "Only this client's changes; for the operator."),
			openapi.QueryParameter("action", huma.Schema{Type: "string"}, "Only changes with this action, such as rule.deleted, or of this kind of thing, such as rule."),
			openapi.QueryParameter("actor", huma.Schema{Type: "string", Enum: actorNames()}, "Only changes that this kind of caller made."),
			openapi.QueryParameter("since", huma.Schema{Type: "string", Format: "date-time"}, "Only changes at this time or later."),
			openapi.QueryParameter("until", huma.Schema{Type: "string", Format: "date-time"}, "Only changes before this time."),
		}, pageParameters()...),
	}, withAnyKey, s.listChanges)
}

func actorNames() (names []any) {
	for _, a := range herald.Actors() {
		names = append(names, string(a))
	}
	return names
}

func (s *surface) listChanges(r *http.Request, caller herald.Caller) (page[herald.Change], error) {
	var none page[herald.Change]
	if err := caller.MaySeeAudit(); err != nil {
		return none, err
	}
	p := parametersOf(r)
	client, limit := p.id("client"), p.limit()
	f := herald.ChangeFilter{Actions: parameter(p, "action", herald.ParseActions), Actor: parameter(p, "actor", herald.ParseActor),
		Since: p.time("since"), Until: p.time("until"), After: p.id("after"), Limit: limit + 1}
	if p.err != nil {
		return none, p.err
	}
	caller, err := caller.For(client)
	if err != nil {
		return none, err
	}
	changes, next, err := s.Audit.Changes(r.Context(), caller.Client(), f)
	if err != nil {
		return none, err
	}
	return pageOf(changes, limit, next, func(c herald.Change) uuid.UUID { return c.ID }, func(c herald.Change) herald.Change { return c }), nil
}
