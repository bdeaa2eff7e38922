// Package settings checks what a client sets: its rules, its profile and its API keys. The rules surface
// and the portal call the same functions, so that both take and refuse the same values. It is pure.
//
// Errors are CodeInvalid, in the order of the members, and name the member as the rules surface spells it.
// The vendor's text before a message, and reading JSON or forms, are the callers'.
package settings

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"herald"
)

// Problems are errors about members, each a *herald.Error.
type Problems []*herald.Error

// add adds an error about a member; an error of another kind gets the member.
func (p *Problems) add(member string, err error) {
	if err == nil {
		return
	}
	var known *herald.Error
	if !errors.As(err, &known) {
		known = herald.Invalid(member, "%s", err.Error())
	}
	*p = append(*p, known)
}

// First returns the first error, nil without any.
func (p Problems) First() error {
	if len(p) == 0 {
		return nil
	}
	return p[0]
}

// CheckKey checks the name and the role of a new API key (spec section 6.2). Both may be empty.
func CheckKey(name, role string) (problems Problems) {
	if utf8.RuneCountInString(name) > herald.MaxKeyNameLength {
		problems.add("name", herald.Invalid("name", "Max string length (%d) for `name` reached.", herald.MaxKeyNameLength))
	}
	if role != "" && !slices.Contains(herald.Roles(), herald.Role(role)) {
		problems.add("role", herald.Invalid("role", "role %.50q: want one of %q.", role, herald.Roles()))
	}
	return problems
}

// ParseID parses the 36-character form of a GUID.
func ParseID(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && len(s) == 36
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }
