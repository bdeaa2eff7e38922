package herald

import (
	"net/url"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Limits on sessions of the portal.
const (
	SessionIdle = 12 * time.Hour     // a session ends when it is not used for so long
	SessionLife = 7 * 24 * time.Hour // and at the latest so long after the sign-in
)

// Session is a person's session in the portal. It is bound to the key that it was made with, and
// ends with it.
type Session struct {
	// Caller is who acts, without an Address: a client's key; the operator; or, after a portal
	// link, the link's client and role under a Key without an id.
	Caller Caller
	// ClientName is the name of the caller's client; empty for the operator.
	ClientName string
	EndsAt     time.Time // at the latest
	MadeAt     time.Time
	LastUse    time.Time // exact to a minute
}

// FromLink reports whether a portal link began the session.
func (s Session) FromLink() bool { return !s.Caller.Operator && s.Caller.Key.ID == uuid.Nil }

// Limits on portal links.
const (
	DefaultLinkLife = 10 * time.Minute
	MaxLinkLife     = 24 * time.Hour
	MaxLinkPath     = 2000 // characters
	// MaxOpenLinks is how many links of a client may be unused at once.
	MaxOpenLinks = 1000
)

// PortalLink signs one person in to one client's pages, once.
type PortalLink struct {
	ClientID uuid.UUID
	Role     Role
	// Path is where the person arrives, below the client's pages: "/deliveries?state=failed".
	// Empty is their overview.
	Path      string
	ExpiresAt time.Time
}

// CheckPortalPath returns a CodeInvalid Error unless a path lies below the client's pages.
func CheckPortalPath(text string) error {
	switch {
	case text == "":
		return nil
	case utf8.RuneCountInString(text) > MaxLinkPath:
		return Invalid("", "%d characters; at most %d are taken", utf8.RuneCountInString(text), MaxLinkPath)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }):
		return Invalid("", "%.80q holds a blank, a backslash or a control character; write a path such as /deliveries?state=failed", text)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" || !strings.HasPrefix(u.EscapedPath(), "/") ||
		strings.HasPrefix(text, "//") || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") && u.Path != "/" {
		return Invalid("", "%.80q is not a path of the client's pages such as /deliveries?state=failed", text)
	}
	return nil
}
