package herald

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Client is an account of the platform. Everything else belongs to one client.
type Client struct {
	ID      uuid.UUID
	Profile Profile
	// Version grows with every change to the data that publishing uses: the client's name,
	// keys, rules and event types.
	Version int64
	// Revision grows with every change that Version counts, and with every change to the data
	// that only attempts use: the Authorization header, whether a rule sends it, and
	// unsubscribed mailboxes.
	Revision int64
}

// Profile is a client's description of itself (spec section 6.1). Saving a profile
// replaces all of it.
type Profile struct {
	Name          string
	LogoURL       string
	IconURL       string
	RedirectURL   string
	WhiteListURLs []string
	// AlertAuthHeader is sent verbatim as the Authorization header of the
	// client's webhooks; empty sends none. The store seals it.
	AlertAuthHeader    string
	ConfirmCompanyName bool
}

// MaxClientName bounds a client's name, in characters.
const MaxClientName = 200

// CheckClientName returns a CodeInvalid Error unless a client can have this name.
func CheckClientName(name string) error {
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		return Invalid("name", "missing; give the client's name")
	case n > MaxClientName:
		return Invalid("name", "%d characters; at most %d are taken", n, MaxClientName)
	case strings.ContainsRune(name, 0) || !utf8.ValidString(name):
		return Invalid("name", "it holds U+0000, or is not UTF-8")
	}
	return nil
}

// ClientFilter selects clients. Without a Search it selects all.
type ClientFilter struct {
	// Search is a part of the client's name, in any case, or its id, or the first characters of its id. See
	// CheckClientSearch.
	Search string
	// After selects clients older than it, unless it is uuid.Nil.
	After uuid.UUID
	Limit int
}

// MaxClientSearch bounds ClientFilter.Search, in characters: no name is longer.
const MaxClientSearch = MaxClientName

// CheckClientSearch returns a CodeInvalid Error unless clients can be searched by this text.
func CheckClientSearch(text string) error {
	switch n := utf8.RuneCountInString(text); {
	case n > MaxClientSearch:
		return Invalid("search", "%d characters; at most %d are taken", n, MaxClientSearch)
	case strings.ContainsRune(text, 0) || !utf8.ValidString(text):
		return Invalid("search", "it holds U+0000, or is not UTF-8")
	}
	return nil
}

// Limits on API keys (spec section 6.2).
const (
	MaxKeys          = 10
	MaxKeyNameLength = 50 // characters
)

// Key is an API key without its secret. The store has only a hash of the secret.
type Key struct {
	ID        uuid.UUID
	ClientID  uuid.UUID
	Name      string
	Role      Role
	CreatedAt time.Time
	// LastUse is cut to the minute; zero means never, or not known. Lists have it, a Caller's key has not.
	LastUse time.Time
}
