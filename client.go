package herald

import (
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
