package herald

import (
	"errors"
	"fmt"
	"time"
)

// Code is the class of an error. The table from codes to HTTP statuses is in
// internal/api.
type Code string

// The error codes.
const (
	CodeInvalid      Code = "invalid"      // the request is wrong; changing it helps
	CodeUnauthorized Code = "unauthorized" // no credentials, or unknown ones
	CodeForbidden    Code = "forbidden"    // known credentials that do not suffice
	CodeNotFound     Code = "not_found"    // no such thing, or another client's
	CodeConflict     Code = "conflict"     // the state of things does not allow it
	CodeMismatch     Code = "mismatch"     // an idempotency key was used before with other content
	CodeTooLarge     Code = "too_large"    // over a size limit
	CodeTooMany      Code = "too_many"     // over a rate limit
	CodeSlow         Code = "slow"         // the request did not arrive in time
	CodeUnavailable  Code = "unavailable"  // not now; the same request may succeed later
	CodeInternal     Code = "internal"     // a fault of this service
)

// Error is an error whose Message may be shown to a caller of the API. Cause is the
// inner error; it reaches only the log.
type Error struct {
	Code    Code
	Message string
	// Member names the wrong member of the request, such as "notifiers.webhook";
	// it is empty when no member is at fault.
	Member string
	// RetryAfter is how long to wait before the same request may succeed. Zero means
	// that the time is unknown; a negative value, that it will never succeed.
	RetryAfter time.Duration
	Cause      error
}

// Error returns the message and the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf returns an Error with the given code and message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid returns a CodeInvalid Error about one member of a request.
func Invalid(member, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Member: member, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the first Error in err's chain. It returns CodeInternal
// when the chain has no Error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
