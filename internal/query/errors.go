package query

import (
	"fmt"

	"herald"
)

// The services that the vendor's errors about queries name (spec section 3).
const (
	serviceMalformed  = "ClientsApi"
	serviceUnresolved = "PullApi"
)

// SyntaxError is an error in a query. Err has one of the two texts of spec section 3, which
// programs may compare. Detail is for people and goes into a validation message.
type SyntaxError struct {
	Err     *herald.Error // CodeInvalid, Member "query"
	Service string        // the "service" of the answer's body
	Detail  string        // where it is wrong, and what was expected
}

// Error returns the text and the detail.
func (e *SyntaxError) Error() string { return e.Err.Message + ": " + e.Detail }

// Unwrap returns Err.
func (e *SyntaxError) Unwrap() error { return e.Err }

func malformed(format string, args ...any) error {
	return &SyntaxError{
		Err:     herald.Invalid("query", "Error parsing query - Malformed query."),
		Service: serviceMalformed,
		Detail:  fmt.Sprintf(format, args...),
	}
}

func unresolved(path string, s Schema) error {
	return &SyntaxError{
		Err:     herald.Invalid("query", "Error parsing query - Could not resolve property %s on %s", path, s.Type),
		Service: serviceUnresolved,
		Detail:  fmt.Sprintf("%s cannot be queried; use %s", path, s.paths()),
	}
}
