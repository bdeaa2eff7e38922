package native

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
	"herald/internal/explain"
)

// deliveryDetail is one delivery with all its attempts.
type deliveryDetail struct {
	herald.Delivery
	Attempts []herald.Attempt `json:"attempts" doc:"The attempts, first to last."`
	Body     string           `json:"requestBody,omitempty" doc:"With body=true: the body that every attempt sends, byte for byte. A mail is written from it. Absent if its content is missing."`
}

func (s *surface) registerDeliveries() {
	call(s, huma.Operation{
		OperationID: "listDeliveries", Method: http.MethodGet, Path: "/deliveries", Tags: []string{"Deliveries"},
		DefaultStatus: http.StatusOK,
		Summary:       "List the client's deliveries",
		Description:   "Newest first. A delivery must meet all filters. A page can have fewer deliveries than its limit, or none, and still have a next: the search continues there.",
		Parameters:    append(deliveryFilters(), pageParameters()...),
	}, aboutOneClient, s.listDeliveries)
	call(s, huma.Operation{
		OperationID: "getDelivery", Method: http.MethodGet, Path: "/deliveries/{id}", Tags: []string{"Deliveries"},
		DefaultStatus: http.StatusOK,
		Summary:       "Look up a delivery",
		Description:   "With every attempt: the request with secrets masked, the response, the timings and the error.",
		Parameters:    []*huma.Param{openapi.QueryParameter("body", huma.Schema{Type: "boolean"}, "Whether to add the body that every attempt sends.")},
	}, aboutOneClient, s.getDelivery)
	call(s, huma.Operation{
		OperationID: "redeliver", Method: http.MethodPost, Path: "/deliveries/{id}/redeliver", Tags: []string{"Deliveries"},
		DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusConflict},
		Summary:     "Send an alert again",
		Description: "Makes a new delivery of the same alert, due now, to the rule's present address. Each call makes another one.",
	}, aboutOneClient, s.changeDelivery(s.Sender.Redeliver))
	call(s, huma.Operation{
		OperationID: "recoverDeliveries", Method: http.MethodPost, Path: "/deliveries/redeliver", Tags: []string{"Deliveries"},
		DefaultStatus: http.StatusAccepted,
		Summary:       "Send again what failed",
		Description: "Makes a new delivery of every failed one that meets the filter, which must have a member. It leaves out a delivery whose alert " +
			"has reached the same receiver since or is on its way there. With dryRun it counts them and makes none. " +
			"A call makes at most 500; a next in the answer is the after of the call that continues.",
		RequestBody: openapi.RequestOf[recoverRequest](s.API.OpenAPI()),
	}, aboutOneClient, s.recoverDeliveries)
	call(s, huma.Operation{
		OperationID: "retryDelivery", Method: http.MethodPost, Path: "/deliveries/{id}/retry", Tags: []string{"Deliveries"},
		DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusConflict},
		Summary: "Make the next attempt of a pending delivery now",
		Description: "The attempt uses up the retry that was scheduled. A delivery that has ended is a 409: redeliver it. " +
			"So is a mail that was not tried yet, which waits for its digest or its mailbox.",
	}, aboutOneClient, s.changeDelivery(s.Sender.Retry))
	call(s, huma.Operation{
		OperationID: "cancelDelivery", Method: http.MethodPost, Path: "/deliveries/{id}/cancel", Tags: []string{"Deliveries"},
		DefaultStatus: http.StatusOK, Errors: []int{http.StatusConflict},
		Summary:     "Cancel a pending delivery",
		Description: "An attempt that is under way may still arrive. A delivery that has ended is a 409.",
	}, aboutOneClient, s.changeDelivery(s.Sender.Cancel))
}

func deliveryFilters() []*huma.Param {
	id := huma.Schema{Type: "string", Format: "uuid"}
	instant := huma.Schema{Type: "string", Format: "date-time"}
	text := huma.Schema{Type: "string"}
	return []*huma.Param{
		openapi.QueryParameter("state", *openapi.StateSchema(), "Only deliveries in this state."),
		openapi.QueryParameter("receiver", text, "Only deliveries to this address, in any spelling; of a mailbox with or without mailto:. With ?* at its end: to it with every query, and without one."),
		openapi.QueryParameter("type", text, "Only deliveries for events of this type, in any accepted spelling."),
		openapi.QueryParameter("company", id, "Only deliveries for events about this company."),
		openapi.QueryParameter("alert", id, "Only deliveries of this alert."),
		openapi.QueryParameter("event", id, "Only deliveries of this event's alerts."),
		openapi.QueryParameter("rule", id, "Only deliveries of alerts that this rule raised. It may be deleted."),
		openapi.QueryParameter("reason", text, "Only deliveries with this reason: of their own, of their last attempt, or for which they wait."),
		openapi.QueryParameter("status", huma.Schema{Type: "string", Pattern: "^[1-9]([0-9]{2}|xx)$"}, "Only deliveries whose last attempt got this status, such as 503, or one of this class, such as 5xx."),
		openapi.QueryParameter("since", instant, "Only deliveries raised then or later; redeliveries made then or later."),
		openapi.QueryParameter("until", instant, "Only deliveries raised before then; redeliveries made before then."),
	}
}

func (s *surface) deliveryFilter(r *http.Request) (herald.DeliveryFilter, error) {
	p := parametersOf(r)
	f := herald.DeliveryFilter{
		State:    p.state("state"),
		Receiver: parameter(p, "receiver", parseReceiver),
		Type:     parameter(p, "type", func(text string) (string, error) { return s.canonicalType(r.Context(), text) }),
		Company:  p.id("company"),
		Alert:    p.id("alert"),
		Event:    p.id("event"),
		Rule:     p.id("rule"),
		Reason:   parameter(p, "reason", herald.ParseReason),
		Status:   parameter(p, "status", herald.ParseStatuses),
		Since:    p.time("since"),
		Until:    p.time("until"),
		After:    p.id("after"),
		Limit:    p.limit(),
	}
	return f, p.err
}

func (s *surface) listDeliveries(r *http.Request, caller herald.Caller) (page[herald.Delivery], error) {
	f, err := s.deliveryFilter(r)
	if err != nil {
		return page[herald.Delivery]{}, err
	}
	limit := f.Limit
	f.Limit = limit + 1
	deliveries, next, err := s.Deliveries.Deliveries(r.Context(), caller.Client(), f)
	if err != nil {
		return page[herald.Delivery]{}, err
	}
	return pageOf(deliveries, limit, next, func(d herald.Delivery) uuid.UUID { return d.ID }, func(d herald.Delivery) herald.Delivery { return d }), nil
}

func (s *surface) getDelivery(r *http.Request, caller herald.Caller) (deliveryDetail, error) {
	id, err := pathID(r, "id", "delivery")
	if err != nil {
		return deliveryDetail{}, err
	}
	p := parametersOf(r)
	withBody := p.flag("body")
	if p.err != nil {
		return deliveryDetail{}, p.err
	}
	d, attempts, err := s.Deliveries.Delivery(r.Context(), caller.Client(), id)
	if attempts == nil {
		attempts = []herald.Attempt{} // an empty list in JSON, not null
	}
	detail := deliveryDetail{Delivery: d, Attempts: explain.WithoutMailServer(attempts)}
	if err == nil && withBody {
		var body []byte
		body, err = s.Deliveries.DeliveryBody(r.Context(), caller.Client(), id)
		if herald.CodeOf(err) == herald.CodeNotFound {
			err = nil // the content is missing, and the delivery and its attempts are still there
		}
		detail.Body = string(body)
	}
	return detail, err
}

// changeDelivery returns the handler of a call that changes one delivery and answers with
// the result.
func (s *surface) changeDelivery(change func(ctx context.Context, by herald.Caller, client, id uuid.UUID) (herald.Delivery, error)) func(*http.Request, herald.Caller) (herald.Delivery, error) {
	return func(r *http.Request, caller herald.Caller) (herald.Delivery, error) {
		id, err := pathID(r, "id", "delivery")
		if err != nil {
			return herald.Delivery{}, err
		}
		return change(r.Context(), caller, caller.Client(), id)
	}
}
