package herald

import (
	"net/netip"

	"github.com/google/uuid"
)

// Role says which calls an API key may make (spec section 11).
type Role string

// The roles. A key made without a role gets Developer.
const (
	// Administrator may do all that a client may.
	Administrator Role = "administrator"
	// Developer may do all but make or delete an administrator's key.
	Developer Role = "developer"
	// Analyst may read everything but keys, secrets and the audit log.
	Analyst Role = "analyst"
)

// Roles returns all roles.
func Roles() []Role { return []Role{Administrator, Developer, Analyst} }

// Caller makes a call of the API. It is the operator, a client that uses one of its
// keys, a person who came by a portal link, or the reader of a mail (Operator and Key are zero).
type Caller struct {
	// Operator is true for the operator's key; Key is zero then.
	Operator bool
	// OperatorKey is the fingerprint of the operator's key, see secret.Fingerprint.
	OperatorKey [32]byte
	// Key is a client's API key. After a portal link it has no id, only the link's client and role.
	Key Key
	// About is the client that a call of the operator's is about, if it is about one.
	About uuid.UUID
	// Address is the request's address of origin, as far as the service can trust it.
	Address netip.Addr
}

// Client returns the client that the caller's call is about: the key's own, or the one that the operator
// named. It is uuid.Nil if the operator named none.
func (c Caller) Client() uuid.UUID {
	if c.Operator {
		return c.About
	}
	return c.Key.ClientID
}

// For returns the caller of a call about a client that the request names; uuid.Nil means that it names
// none. A client may name only itself: another one is CodeNotFound, like an unknown id.
func (c Caller) For(client uuid.UUID) (Caller, error) {
	switch {
	case c.Operator:
		c.About = client
	case client != uuid.Nil && client != c.Key.ClientID:
		return c, Errorf(CodeNotFound, "No client was found with ID %s", client)
	}
	return c, nil
}

// Actor returns the caller's kind in the audit log.
func (c Caller) Actor() Actor {
	switch {
	case c.Operator:
		return ActorOperator
	case c.Key.ID != uuid.Nil:
		return ActorKey
	case c.Key.ClientID != uuid.Nil:
		return ActorPortalLink
	default:
		return ActorReader
	}
}

// MayChange returns a CodeForbidden Error unless the caller may change data.
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

// MaySeeSecrets reports whether the caller may see the client's Authorization header. The operator needs
// it for nothing.
func (c Caller) MaySeeSecrets() bool { return !c.Operator && c.Key.Role != Analyst }

// MayManageKeys returns a CodeForbidden Error unless the caller may make and delete
// keys of the given role.
func (c Caller) MayManageKeys(role Role) error {
	if role == Administrator && !c.Operator && c.Key.Role != Administrator {
		return Errorf(CodeForbidden, "The API key given is a %s's; only an administrator's key, or the operator, makes and deletes administrators' keys.", c.Key.Role)
	}
	return nil
}
