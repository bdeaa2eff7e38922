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
			"an analyst's key sees none.",
		Parameters: append([]*huma.Param{
			openapi.QueryParameter("client", huma.Schema{Type: "string", Format: "uuid"}, "Only this client's changes; for the operator."),
		}, pageParameters()...),
	}, withAnyKey, s.listChanges)
}

func (s *surface) listChanges(r *http.Request, caller herald.Caller) (page[herald.Change], error) {
	var none page[herald.Change]
	if err := caller.MaySeeAudit(); err != nil {
		return none, err
	}
	p := parametersOf(r)
	client, limit, after := p.id("client"), p.limit(), p.id("after")
	if p.err != nil {
		return none, p.err
	}
	caller, err := caller.For(client)
	if err != nil {
		return none, err
	}
	changes, next, err := s.Audit.Changes(r.Context(), caller.Client(), after, limit+1)
	if err != nil {
		return none, err
	}
	return pageOf(changes, limit, next, func(c herald.Change) uuid.UUID { return c.ID }, func(c herald.Change) herald.Change { return c }), nil
}
