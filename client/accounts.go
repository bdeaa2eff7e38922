package client

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Account is a client of the platform. APIKey is set only in the answer of
// CreateClient.
type Account struct {
	ID     uuid.UUID `json:"id"`
	Name   string    `json:"name"`
	APIKey string    `json:"apiKey,omitempty"`
}

// CreateClient makes a client with a developer's key. Like all calls about clients it
// needs the operator's key. It is not retried.
func (c *API) CreateClient(ctx context.Context, name string) (Account, error) {
	var made Account
	err := c.do(ctx, call{method: http.MethodPost, path: "/clients", body: map[string]string{"name": name}, into: &made})
	return made, err
}

// Clients lists clients, newest first.
func (c *API) Clients(ctx context.Context, u Cursor) (Page[Account], error) {
	return get[Page[Account]](ctx, c, "/clients", u.values())
}

// SearchClients lists the clients whose name has a text, in any case, or whose id begins with it, newest first. A page
// of a long search may have fewer results than its limit, or none, and a Next.
func (c *API) SearchClients(ctx context.Context, text string, u Cursor) (Page[Account], error) {
	values := u.values()
	if text != "" {
		values.Set("search", text)
	}
	return get[Page[Account]](ctx, c, "/clients", values)
}

// Client returns a client.
func (c *API) Client(ctx context.Context, id uuid.UUID) (Account, error) {
	return get[Account](ctx, c, "/clients/"+id.String(), nil)
}

// RenameClient changes a client's name.
func (c *API) RenameClient(ctx context.Context, id uuid.UUID, name string) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/clients/" + id.String(), body: map[string]string{"name": name}, repeatable: true})
}

// DeleteClient deletes a client. Its keys stop working at once and its pending
// deliveries are cancelled. It is not retried.
func (c *API) DeleteClient(ctx context.Context, id uuid.UUID) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/clients/" + id.String()})
}

// Profile is a client's description of itself. Saving a profile replaces all of it.
type Profile struct {
	Name          string   `json:"name"`
	LogoURL       string   `json:"logoUrl,omitempty"`
	IconURL       string   `json:"iconUrl,omitempty"`
	RedirectURL   string   `json:"redirectUrl"`
	WhiteListURLs []string `json:"whiteListUrls"`
	// AlertAuthHeader is sent verbatim as the Authorization header of
	// webhooks; empty sends none.
	AlertAuthHeader    string `json:"alertAuthHeader"`
	ConfirmCompanyName bool   `json:"confirmCompanyName,omitempty"`
}

// Profile returns the client's profile.
func (c *API) Profile(ctx context.Context) (Profile, error) {
	return get[Profile](ctx, c, "/profile", nil)
}

// SaveProfile replaces the client's profile.
func (c *API) SaveProfile(ctx context.Context, p Profile) (Profile, error) {
	var saved Profile
	err := c.do(ctx, call{method: http.MethodPut, path: "/profile", body: p, into: &saved, repeatable: true})
	return saved, err
}

// Capabilities say what the service is configured to do.
type Capabilities struct {
	// Mail is true if there is a mail server. Without one, deliveries to mailboxes fail.
	Mail bool `json:"mail"`
}

// Capabilities returns what the service is configured to do.
func (c *API) Capabilities(ctx context.Context) (Capabilities, error) {
	return get[Capabilities](ctx, c, "/capabilities", nil)
}

// Key is an API key. APIKey is set only in the answer of CreateKey and CreateClientKey.
type Key struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name,omitempty"`
	Role        string    `json:"role,omitempty"` // administrator or analyst; empty is developer
	APIKey      string    `json:"apiKey,omitempty"`
	CreatedDate time.Time `json:"createdDate"`
	// LastUsedDate is exact to about a minute; zero means never, or not since the service keeps it.
	LastUsedDate time.Time `json:"lastUsedDate,omitzero"`
}

// Keys lists the client's API keys.
func (c *API) Keys(ctx context.Context) ([]Key, error) {
	answer, err := get[Page[Key]](ctx, c, "/apiKeys", nil)
	return answer.Results, err
}

// keyRequest is the body that makes an API key; an empty role means developer.
type keyRequest struct {
	Name string `json:"name,omitempty"`
	Role string `json:"role,omitempty"`
}

// CreateKey makes an API key; an empty name means one that the service makes up, an empty role
// developer. It is not retried.
func (c *API) CreateKey(ctx context.Context, name, role string) (Key, error) {
	var made Key
	err := c.do(ctx, call{method: http.MethodPost, path: "/apiKeys", body: keyRequest{name, role}, into: &made})
	return made, err
}

// CreateClientKey makes an API key for a client; it needs the operator's key. It is not retried.
func (c *API) CreateClientKey(ctx context.Context, id uuid.UUID, name, role string) (Key, error) {
	var made Key
	err := c.do(ctx, call{method: http.MethodPost, path: "/clients/" + id.String() + "/apiKeys", body: keyRequest{name, role}, into: &made})
	return made, err
}

// ClientKeys lists a client's API keys; it needs the operator's key.
func (c *API) ClientKeys(ctx context.Context, id uuid.UUID) ([]Key, error) {
	answer, err := get[Page[Key]](ctx, c, "/clients/"+id.String()+"/apiKeys", nil)
	return answer.Results, err
}

// DeleteClientKey revokes a client's API key; it needs the operator's key. It is not retried.
func (c *API) DeleteClientKey(ctx context.Context, id, key uuid.UUID) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/clients/" + id.String() + "/apiKeys/" + key.String()})
}

// Status returns how the service is; it needs the operator's key.
func (c *API) Status(ctx context.Context) (herald.Status, error) {
	return get[herald.Status](ctx, c, "/status", nil)
}

// PortalLink is a link into the portal.
type PortalLink struct {
	// URL signs one person in, once.
	URL       string    `json:"url"`
	ClientID  uuid.UUID `json:"clientId"`
	Role      string    `json:"role"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// PortalLinkOptions say what a portal link is for. The zero value is a developer's link to the overview, for ten minutes.
type PortalLinkOptions struct {
	Role string // administrator, developer or analyst; empty is developer
	// ExpiresIn is how long an unused link works, in whole seconds up to a day; 0 is ten minutes.
	ExpiresIn time.Duration
	// Path is where the person arrives, such as "/deliveries?state=failed"; empty is the overview.
	Path string
}

// CreatePortalLink makes a link that signs one person in to a client's pages, once. It needs the
// operator's key. It is not retried.
func (c *API) CreatePortalLink(ctx context.Context, id uuid.UUID, o PortalLinkOptions) (PortalLink, error) {
	body := struct {
		Role      string `json:"role,omitempty"`
		ExpiresIn int64  `json:"expiresIn,omitempty"`
		Path      string `json:"path,omitempty"`
	}{o.Role, int64(o.ExpiresIn / time.Second), o.Path}
	var made PortalLink
	err := c.do(ctx, call{method: http.MethodPost, path: "/clients/" + id.String() + "/portalLinks", body: body, into: &made})
	return made, err
}

// EndSessions ends every session of the portal that was made with the key. Repeating it does no harm.
func (c *API) EndSessions(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/sessions", repeatable: true})
}

// DeleteKey revokes an API key. It is not retried.
func (c *API) DeleteKey(ctx context.Context, id uuid.UUID) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/apiKeys/" + id.String()})
}
