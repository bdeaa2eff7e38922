package herald

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// Client is an account of the platform. Everything else belongs to one client.
type Client struct {
	ID      uuid.UUID
	Profile Profile
	// Version rises with every change to what deciding depends on: the
	// client's name, keys, rules, authorization and event types.
	Version int64
}

// Profile is what a client can say of itself (spec section 6.1). A replaced
// profile loses what the new one leaves out.
type Profile struct {
	Name          string
	LogoURL       string
	IconURL       string
	RedirectURL   string
	WhiteListURLs []string
	// AlertAuthHeader is sent verbatim as the Authorization header of the
	// client's webhooks; empty sends none. It is kept encrypted.
	AlertAuthHeader    string
	ConfirmCompanyName bool
}

// Limits on API keys (spec section 6.2).
const (
	MaxKeys          = 10
	MaxKeyNameLength = 50 // characters
)

// Key is an API key as it can be listed; the secret itself is not kept.
type Key struct {
	ID        uuid.UUID
	ClientID  uuid.UUID
	Name      string
	Role      Role
	CreatedAt time.Time
}

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

// MayKeep returns a CodeForbidden Error unless the caller may make and delete keys
// of a role.
func (c Caller) MayKeep(role Role) error {
	if role == Administrator && !c.Operator && c.Key.Role != Administrator {
		return Errorf(CodeForbidden, "The API key given is a %s's; only an administrator's key, or the operator, makes and deletes administrators' keys.", c.Key.Role)
	}
	return nil
}
