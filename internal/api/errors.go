// Package api has what the HTTP surfaces share: the error body, authentication, reading
// bodies, writing JSON, and the middleware around all calls with its log line, its metrics
// and its answers to unknown paths. The calls compatible with Codat are in
// internal/api/codat, Herald's own calls in internal/api/native.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"herald"
)

// ErrorBody is the body of every error answer (spec section 3).
type ErrorBody struct {
	StatusCode        int         `json:"statusCode"`
	Service           string      `json:"service"`
	Error             string      `json:"error"`
	CorrelationID     string      `json:"correlationId"`
	Validation        *Validation `json:"validation,omitempty"`
	CanBeRetried      string      `json:"canBeRetried"`
	DetailedErrorCode int         `json:"detailedErrorCode"`
}

// Validation names the wrong members of a request.
type Validation struct {
	Errors   []ValidationItem `json:"errors"`
	Warnings []ValidationItem `json:"warnings"`
}

// ValidationItem is one wrong member.
type ValidationItem struct {
	ItemID        string  `json:"itemId"`
	Message       string  `json:"message"`
	ValidatorName *string `json:"validatorName"`
}

// service is the vendor's name for the service that answers.
const service = "PublicApi"

// statuses is the table from error codes to HTTP statuses.
var statuses = map[herald.Code]int{
	herald.CodeInvalid:      http.StatusBadRequest,
	herald.CodeUnauthorized: http.StatusUnauthorized,
	herald.CodeForbidden:    http.StatusForbidden,
	herald.CodeNotFound:     http.StatusNotFound,
	herald.CodeConflict:     http.StatusConflict,
	herald.CodeMismatch:     http.StatusUnprocessableEntity,
	herald.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	herald.CodeTooMany:      http.StatusTooManyRequests,
	herald.CodeSlow:         http.StatusRequestTimeout,
	herald.CodeUnavailable:  http.StatusServiceUnavailable,
	herald.CodeInternal:     http.StatusInternalServerError,
}

// Explained is an error with more detail than its herald.Error has. It names another
// vendor's service, and a detail to go beside a text that programs compare.
type Explained interface {
	error
	Explain() (service, detail string)
}

// statusCallerGone is the logged and counted status of a request whose caller closed the
// connection. That is no fault of the service. HTTP has no such status; nginx uses 499.
const statusCallerGone = 499

// codeCallerGone is the code in the log line of such a request.
const codeCallerGone herald.Code = "gone"

// WriteError answers with an error. It logs an error that is not a herald.Error with the
// answer's correlation id and shows the caller none of its text. When the caller has
// closed the connection and that cancelled the work, it writes no body.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		infoOf(r.Context()).code = codeCallerGone
		w.WriteHeader(statusCallerGone)
		return
	}
	known, status, correlationID := RecordError(r, err)
	body := ErrorBody{StatusCode: status, Service: service, Error: known.Message, CanBeRetried: "Unknown"}
	detail := known.Message
	var explained Explained
	if errors.As(err, &explained) {
		body.Service, detail = explained.Explain()
	}
	if known.Member != "" {
		body.Validation = &Validation{
			Errors:   []ValidationItem{{ItemID: known.Member, Message: detail}},
			Warnings: []ValidationItem{},
		}
	}
	body.CorrelationID = correlationID
	if retryAfter := known.RetryAfter; retryAfter < 0 {
		body.CanBeRetried = "False"
	} else if retryAfter > 0 || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(max(retryAfter, time.Second).Seconds()))))
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="herald"`)
	}
	WriteJSON(w, status, body)
}

// RecordError notes the error that a request is answered with for its log line. It returns the error
// to show, its status, and the correlation id of the log line. An error that is not a herald.Error is
// shown without its text.
func RecordError(r *http.Request, err error) (known *herald.Error, status int, correlationID string) {
	if !errors.As(err, &known) {
		known = &herald.Error{Code: herald.CodeInternal, Message: "Something went wrong inside. Quote the correlationId when you report it.", Cause: err}
	}
	return known, statuses[known.Code], setError(r.Context(), known, err)
}

// JSONAppender is an answer that appends itself as JSON. It is for answers that are made for every
// event: encoding/json takes several times as long for one with ids.
type JSONAppender interface {
	AppendJSON(text []byte) []byte
}

// WriteJSON answers with a value as JSON. It does not escape & < and >.
func WriteJSON(w http.ResponseWriter, status int, value any) {
	text := encodeJSON(value)
	fixed := [...]string{"application/json", strconv.Itoa(len(text))}
	h := w.Header()
	h["Content-Type"], h["Content-Length"] = fixed[:1:1], fixed[1:]
	w.WriteHeader(status)
	_, _ = w.Write(text) // fails only when the caller has gone
}

func encodeJSON(value any) []byte {
	if known, ok := value.(JSONAppender); ok {
		return append(known.AppendJSON(nil), '\n')
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("api: an answer that is no JSON: " + err.Error())
	}
	return text.Bytes()
}
