package native

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
)

// acknowledgeRequest describes the body that acknowledges an issue.
type acknowledgeRequest struct {
	_    struct{} `additionalProperties:"false"`
	Note string   `json:"note,omitempty" minLength:"1" maxLength:"1000" doc:"For others who look at the issue: what is wrong, who takes care of it."`
}

func (s *surface) registerIssues() {
	tags := []string{"Issues"}
	call(s, huma.Operation{
		OperationID: "listIssues", Method: http.MethodGet, Path: "/issues", Tags: tags,
		DefaultStatus: http.StatusOK, Errors: []int{http.StatusNotFound},
		Summary: "List what fails",
		Description: "Newest first. An issue is the failing deliveries of one receiver with one reason. It begins with the second failing attempt in a row, " +
			"or with a delivery that fails for good, and ends when a delivery to the receiver succeeds. It also ends when no rule sends to the receiver " +
			"any more and nothing is pending to it: then unused is true. The operator sees those of all clients.",
		Parameters: append([]*huma.Param{
			openapi.QueryParameter("state", huma.Schema{Type: "string", Enum: []any{"open", "ended", "all"}, Default: "all"}, "Only open issues, or only those that have ended."),
			openapi.QueryParameter("receiver", huma.Schema{Type: "string"}, "Only issues of this address, in any spelling; of a mailbox with or without mailto:."),
			openapi.QueryParameter("reason", huma.Schema{Type: "string"}, "Only issues with this reason."),
			openapi.QueryParameter("client", huma.Schema{Type: "string", Format: "uuid"}, "Only this client's issues; for the operator."),
		}, pageParameters()...),
	}, withAnyKey, s.listIssues)
	call(s, huma.Operation{
		OperationID: "getIssue", Method: http.MethodGet, Path: "/issues/{id}", Tags: tags,
		DefaultStatus: http.StatusOK,
		Summary:       "Look up an issue",
	}, withAnyKey, func(r *http.Request, caller herald.Caller) (herald.Issue, error) {
		id, err := pathID(r, "id", "issue")
		if err != nil {
			return herald.Issue{}, err
		}
		return s.Issues.Issue(r.Context(), caller.Key.ClientID, id)
	})
	call(s, huma.Operation{
		OperationID: "acknowledgeIssue", Method: http.MethodPost, Path: "/issues/{id}/acknowledge", Tags: tags,
		DefaultStatus: http.StatusOK, Errors: []int{http.StatusConflict},
		Summary: "Say that somebody takes care of an issue",
		Description: "It stays until the issue ends, and no notification of the receiver is sent meanwhile. A second call replaces the first. " +
			"An issue that has ended is a 409. It needs no body.",
		RequestBody: openapi.OptionalRequestOf[acknowledgeRequest](s.API.OpenAPI()),
	}, withAnyKey, s.acknowledgeIssue)
}

func (s *surface) listIssues(r *http.Request, caller herald.Caller) (page[herald.Issue], error) {
	var none page[herald.Issue]
	p := parametersOf(r)
	client, limit := p.id("client"), p.limit()
	f := herald.IssueFilter{
		State:    parameter(p, "state", parseIssueState),
		Receiver: parameter(p, "receiver", parseReceiver),
		Reason:   parameter(p, "reason", herald.ParseReason),
		After:    p.id("after"),
		Limit:    limit + 1,
	}
	if p.err != nil {
		return none, p.err
	}
	if !caller.Operator {
		if client != uuid.Nil && client != caller.Key.ClientID {
			return none, herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", client)
		}
		client = caller.Key.ClientID
	}
	issues, next, err := s.Issues.Issues(r.Context(), client, f)
	if err != nil {
		return none, err
	}
	return pageOf(issues, limit, next, func(i herald.Issue) uuid.UUID { return i.ID }, func(i herald.Issue) herald.Issue { return i }), nil
}

// parseIssueState reads a state; all is the zero value, which selects all.
func parseIssueState(text string) (herald.IssueState, error) {
	switch text {
	case string(herald.IssueOpen), string(herald.IssueEnded):
		return herald.IssueState(text), nil
	case "all":
		return "", nil
	}
	return "", herald.Invalid("", "%q is not one of open, ended and all", short(text))
}

func (s *surface) acknowledgeIssue(r *http.Request, caller herald.Caller) (herald.Issue, error) {
	id, err := pathID(r, "id", "issue")
	if err != nil {
		return herald.Issue{}, err
	}
	var note string
	err = readOptionalObject(r, func(c *cursor, member string) (err error) {
		if member != "note" {
			return unknown("note")
		}
		note, err = c.text(1, herald.MaxNote)
		return err
	})
	if err != nil {
		return herald.Issue{}, err
	}
	return s.Issues.AcknowledgeIssue(r.Context(), caller, caller.Key.ClientID, id, note)
}
