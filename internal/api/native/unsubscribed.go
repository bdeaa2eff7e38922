package native

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"herald"
	"herald/internal/api"
	"herald/internal/api/openapi"
)

// unsubscribedList has no pages: people unsubscribe one by one, so it stays short.
type unsubscribedList struct {
	Results []herald.Unsubscribed `json:"results"`
}

func (s *surface) registerUnsubscribed() {
	call(s, huma.Operation{
		OperationID: "listUnsubscribed", Method: http.MethodGet, Path: "/unsubscribed", Tags: []string{"Mail"},
		DefaultStatus: http.StatusOK,
		Summary:       "List the mailboxes that get no mail",
		Description:   "Their readers have unsubscribed with a mail's link. Deliveries to them are cancelled.",
	}, withClientKey, func(r *http.Request, caller herald.Caller) (unsubscribedList, error) {
		boxes, err := s.Mailboxes.Unsubscribed(r.Context(), caller.Key.ClientID)
		if boxes == nil {
			boxes = []herald.Unsubscribed{} // an empty list in JSON, not null
		}
		return unsubscribedList{boxes}, err
	})
	call(s, huma.Operation{
		OperationID: "resubscribe", Method: http.MethodDelete, Path: "/unsubscribed/{address}", Tags: []string{"Mail"},
		DefaultStatus: http.StatusNoContent,
		Summary:       "Allow mail to a mailbox again", Description: "Use it when the mailbox's reader asks for that.",
	}, withClientKey, func(r *http.Request, caller herald.Caller) (openapi.NoBody, error) {
		box := r.PathValue("address")
		if !api.IsText(box) { // no database would take it for a key
			return openapi.NoBody{}, herald.Errorf(herald.CodeNotFound, "No mailbox %q was found", short(box))
		}
		return openapi.NoBody{}, s.Mailboxes.Resubscribe(r.Context(), caller, caller.Key.ClientID, box)
	})
}
