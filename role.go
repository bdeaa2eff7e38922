package herald

import (
	"net/netip"

	"github.com/google/uuid"
)

// Role is what a key may do (spec section 11).
type Role string

// The roles. A key that was made without one is a developer's.
const (
	// Administrator may do all that a client may.
	Administrator Role = "administrator"
	// Developer may do all but make or delete an administrator's key.
	Developer Role = "developer"
	// Analyst may look at all but keys, secrets and the audit log.
	Analyst Role = "analyst"
)

// Roles are all roles.
func Roles() []Role { return []Role{Administrator, Developer, Analyst} }

// Caller is who makes a call of the API: the operator, or a client by one of
// its keys.
type Caller struct {
	// Operator is true for the operator's key; Key is zero then.
	Operator bool
	Key      Key
	// Address is where the request came from, as far as can be trusted.
	Address netip.Addr
}

// Actor is what the audit log calls the caller.
func (c Caller) Actor() Actor {
	switch {
	case c.Operator:
		return ActorOperator
	case c.Key.ID != uuid.Nil:
		return ActorKey
	default:
		return ActorReader
	}
}

// MayChange returns a CodeForbidden Error unless the caller may change something.
func (c Caller) MayChange() error {
	if c.Key.Role == Analyst {
		return Errorf(CodeForbidden, "The API key given is an analyst's, which only looks; this call needs a developer's key.")
	}
	return nil
}

// MaySeeKeys returns a CodeForbidden Error unless the caller may list API keys.
func (c Caller) MaySeeKeys() error {
	if c.Key.Role == Analyst {
		return Errorf(CodeForbidden, "The API key given is an analyst's, which does not see keys; this call needs a developer's key.")
	}
	return nil
}

// MaySeeAudit returns a CodeForbidden Error unless the caller may read the audit log.
func (c Caller) MaySeeAudit() error {
	if c.Key.Role == Analyst {
		return Errorf(CodeForbidden, "The API key given is an analyst's, which does not see the audit log; this call needs a developer's key.")
	}
	return nil
}

// MaySeeSecrets says whether the caller is shown the client's Authorization header.
func (c Caller) MaySeeSecrets() bool { return c.Key.Role != Analyst }

// MayManageKeys returns a CodeForbidden Error unless the caller may make and delete
// keys of a role.
func (c Caller) MayManageKeys(role Role) error {
	if role == Administrator && !c.Operator && c.Key.Role != Administrator {
		return Errorf(CodeForbidden, "The API key given is a %s's; only an administrator's key, or the operator, makes and deletes administrators' keys.", c.Key.Role)
	}
	return nil
}
