package native

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/api/openapi"
)

// idempotencyHeader is the header that may have a single event's idempotencyKey.
const idempotencyHeader = "Idempotency-Key"

// publicationRequest describes one event of a publish. decodePublish reads it.
type publicationRequest struct {
	_              struct{}       `additionalProperties:"false"`
	Type           string         `json:"type" minLength:"1" maxLength:"200" doc:"The event type, in any spelling that GET /eventTypes lists." example:"Data sync completed"`
	ClientID       uuid.UUID      `json:"clientId,omitzero" doc:"The event's client. Required with the operator's key; a client's key publishes for its own client only."`
	CompanyID      uuid.UUID      `json:"companyId,omitzero" doc:"The company that the event is about. Left out, or the GUID of zeros: the client as a whole."`
	ConnectionID   uuid.UUID      `json:"dataConnectionId,omitzero" doc:"The data connection concerned."`
	Data           map[string]any `json:"data,omitempty" doc:"What the receivers get as Data. Stored as written, without blanks between tokens."`
	Message        string         `json:"message,omitempty" maxLength:"2000" doc:"What the receivers get as Message; left out, the event type's own wording."`
	OccurredAt     time.Time      `json:"occurredAt,omitzero" doc:"When it happened; left out, when it was accepted."`
	IdempotencyKey string         `json:"idempotencyKey,omitempty" minLength:"1" maxLength:"256" doc:"The same key with the same content counts once per client within 24 hours and is answered as the first time."`
}

// receipts is the answer to a publish of an array.
type receipts struct {
	Results []herald.Receipt `json:"results" doc:"One for every event, in their order."`
}

// published is the answer to a publish: a herald.Receipt or, for an array, receipts.
type published struct {
	results []herald.Receipt
	many    bool
}

// AppendJSON implements api.JSONAppender.
func (p published) AppendJSON(text []byte) []byte {
	const receiptSize, idSize = 80, 39 // about
	size := 20
	for i := range p.results {
		size += receiptSize + idSize*len(p.results[i].AlertIDs)
	}
	text = slices.Grow(text, size)
	if !p.many {
		return appendReceipt(text, &p.results[0])
	}
	text = append(text, `{"results":[`...)
	for i := range p.results {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendReceipt(text, &p.results[i])
	}
	return append(text, "]}"...)
}

func appendReceipt(text []byte, r *herald.Receipt) []byte {
	text = herald.AppendID(append(text, `{"id":"`...), r.EventID)
	text = strconv.AppendInt(append(text, `","alertCount":`...), int64(r.AlertCount), 10)
	text = append(text, `,"alertIds":[`...)
	for i, id := range r.AlertIDs {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(herald.AppendID(append(text, '"'), id), '"')
	}
	return append(text, "]}"...)
}

func (s *surface) registerPublish() {
	event, receipt := openapi.RequestSchemaOf[publicationRequest](s.API.OpenAPI()), openapi.SchemaOf[herald.Receipt](s.API.OpenAPI())
	least, most := 1, herald.MaxEvents
	events := &huma.Schema{Type: "array", Items: event, MinItems: &least, MaxItems: &most}
	call(s, huma.Operation{
		OperationID: "publish", Method: http.MethodPost, Path: "/events", Tags: []string{"Events"},
		DefaultStatus: http.StatusAccepted,
		Errors:        []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
		Summary:       "Publish an event, or up to 1,000 of them",
		Description: "The answer comes after the events, their alerts and their deliveries are stored. All events of an array are accepted or none; an error names the index. " +
			"One event takes at most 1 MiB, an array 16 MiB. An idempotency key that was used with other content is a 422; while its first use is under way it is a 409. A null counts as left out.",
		Parameters: []*huma.Param{{
			Name: idempotencyHeader, In: "header", Schema: &huma.Schema{Type: "string"},
			Description: "The idempotencyKey of a single event, for publishers that set it there.",
		}},
		RequestBody: &huma.RequestBody{Required: true, Content: openapi.JSON(&huma.Schema{OneOf: []*huma.Schema{event, events}})},
		Responses: map[string]*huma.Response{"202": {
			Description: "A receipt for one event; for an array, receipts in results.",
			Content:     openapi.JSON(&huma.Schema{OneOf: []*huma.Schema{receipt, openapi.SchemaOf[receipts](s.API.OpenAPI())}}),
		}},
	}, withAnyKey, s.publish)
}

func (s *surface) publish(r *http.Request, caller herald.Caller) (any, error) {
	body, err := api.ReadBody(r, herald.MaxPublishSize)
	if err != nil {
		return nil, err
	}
	pubs, many, err := decodeInTurn(r, body)
	if err != nil {
		return nil, err
	}
	if err := headerKey(r, pubs, many); err != nil {
		return nil, err
	}
	for i := range pubs {
		if err := assign(&pubs[i], caller); err != nil {
			if many {
				err = within(fmt.Sprintf("[%d]", i), err)
			}
			return nil, nameMember(err)
		}
	}
	results, err := s.Publisher.Publish(r.Context(), caller, pubs)
	if err != nil {
		return nil, ofItem(err, many)
	}
	return published{results, many}, nil
}

func decodeInTurn(r *http.Request, body []byte) ([]herald.Publication, bool, error) {
	end, err := api.DecodeTurn(r, len(body))
	if err != nil {
		return nil, false, err
	}
	defer end()
	return decodePublish(body)
}

// assign sets the event's client. It refuses a client's key that names another client, no
// matter whether that client exists, so that callers cannot find out which clients exist.
func assign(p *herald.Publication, caller herald.Caller) error {
	switch {
	case caller.Operator && p.ClientID == uuid.Nil:
		return herald.Invalid("clientId", "missing; the operator's key must say whose event it is")
	case caller.Operator || p.ClientID == caller.Key.ClientID:
		return nil
	case p.ClientID == uuid.Nil:
		p.ClientID = caller.Key.ClientID
		return nil
	}
	return &herald.Error{Code: herald.CodeForbidden, Member: "clientId",
		Message: fmt.Sprintf("%s is not the client of this API key; leave it out", p.ClientID)}
}

// headerKey sets a single event's idempotency key from the header.
func headerKey(r *http.Request, pubs []herald.Publication, many bool) error {
	given := r.Header.Values(idempotencyHeader)
	switch {
	case len(given) == 0 || len(given) == 1 && given[0] == "":
		return nil
	case many:
		return herald.Invalid(idempotencyHeader, "The header %s is for a single event; in an array give each event its idempotencyKey.", idempotencyHeader)
	case len(given) > 1:
		return herald.Invalid(idempotencyHeader, "The header %s is given %d times; give it once.", idempotencyHeader, len(given))
	}
	key := given[0]
	if !api.IsText(key) || utf8.RuneCountInString(key) > herald.MaxIdempotencyKey {
		return herald.Invalid(idempotencyHeader, "The header %s takes 1 to %d characters in UTF-8.", idempotencyHeader, herald.MaxIdempotencyKey)
	}
	if own := pubs[0].IdempotencyKey; own != "" && own != key {
		return herald.Invalid("idempotencyKey", "idempotencyKey: %q differs from %q in the header %s; give one of them", short(own), short(key), idempotencyHeader)
	}
	pubs[0].IdempotencyKey = key
	return nil
}

// ofItem handles a publisher's error about one event. If there were several events, it
// prepends the event's index to the error's member and text.
func ofItem(err error, many bool) error {
	var item *herald.ItemError
	if !errors.As(err, &item) {
		return err
	}
	var e *herald.Error
	if !many || !errors.As(item.Err, &e) {
		return item.Err
	}
	at := *e
	at.Message, _ = strings.CutPrefix(e.Message, e.Member+": ") // some say it already
	return nameMember(within(fmt.Sprintf("[%d]", item.Index), &at))
}
