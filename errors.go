package herald

import (
	"errors"
	"fmt"
	"time"
)

// Code classes an error for whoever has to act on it. The table from codes to
// HTTP statuses is in internal/api.
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

// Error is an error whose Message may be shown to the caller of an API. What
// went wrong inside travels in Cause and reaches only the log.
type Error struct {
	Code    Code
	Message string
	// Member names the member of the request that is wrong, such as
	// "notifiers.webhook", where there is one.
	Member string
	// RetryAfter says when the same request may succeed; zero says nothing, and
	// less that it will not.
	RetryAfter time.Duration
	Cause      error
}

// Error returns the message, and the cause behind it.
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

// CodeOf returns the code of the first Error in err's chain, CodeInternal when
// there is none, and "" for nil.
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
