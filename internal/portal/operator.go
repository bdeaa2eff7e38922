package portal

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Views records who looks at what.
type Views interface {
	// RecordView records that the person of a session has opened a page of a client: once for each client, page and session.
	// After many pages it records their kinds only. CodeUnauthorized for a session that has ended.
	RecordView(ctx context.Context, by herald.Caller, token string, client uuid.UUID, page, kind string) error
}

// ClientAdmin changes the clients. Its calls are CodeNotFound when there is no such client.
type ClientAdmin interface {
	// CreateClient returns the client and the plain text of its first key.
	CreateClient(ctx context.Context, by herald.Caller, name string, role herald.Role) (herald.Client, string, error)
	RenameClient(ctx context.Context, by herald.Caller, id uuid.UUID, name string) error
	DeleteClient(ctx context.Context, by herald.Caller, id uuid.UUID) error
	Keys(ctx context.Context, client uuid.UUID) ([]herald.Key, error)
	// CreatePortalLink makes a link that lives as long as life, and returns its secret this once.
	CreatePortalLink(ctx context.Context, by herald.Caller, l herald.PortalLink, life time.Duration) (made herald.PortalLink, token string, err error)
}

// EventTypes stores the operator's own event types.
type EventTypes interface {
	// SaveEventType adds an event type or replaces the type of that name.
	SaveEventType(ctx context.Context, by herald.Caller, t herald.EventType) error
	// DeleteEventType is CodeNotFound when there is no such type, CodeConflict while rules use it.
	DeleteEventType(ctx context.Context, by herald.Caller, name string) error
}

// Operator is what the operator's pages need.
type Operator struct {
	Views      Views
	Clients    ClientAdmin
	EventTypes EventTypes
	// Status returns how the service is.
	Status func(ctx context.Context) (herald.Status, error)
	// LinkURL returns the address of a portal link with a secret.
	LinkURL func(r *http.Request, secret string) string
}

// operatorNavigation are the links on top of the operator's pages.
var operatorNavigation = []navItem{
	{Name: "Clients", Path: "clients", Key: "c"},
	{Name: "Event types", Path: "event-types", Key: "t"},
	{Name: "System", Path: "system", Key: "s"},
}

// maxSeen is how many views a node remembers to have recorded. Then it forgets them, and asks the store again.
const maxSeen = 10_000

// seen are the views that this node knows to be on record.
type seen struct {
	mu    sync.Mutex
	views map[[sha256.Size]byte]struct{}
}

// has reports whether a view is known to be on record.
func (s *seen) has(view [sha256.Size]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.views[view]
	return known
}

func (s *seen) add(view [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.views == nil || len(s.views) >= maxSeen {
		s.views = make(map[[sha256.Size]byte]struct{})
	}
	s.views[view] = struct{}{}
}

// recordView records that the operator looks at a client's page. A page is not shown unless that is on record.
func (p *portal) recordView(r *http.Request, at route, v *visit) error {
	kind := pageKind(at.pattern)
	token := p.sessionCookie(r)
	page := pageOf(r, kind)
	view := sha256.Sum256([]byte(token + "\n" + v.client.ID.String() + "\n" + page))
	if p.seen.has(view) {
		return nil
	}
	if err := p.Operator.Views.RecordView(r.Context(), v.caller, token, v.client.ID, page, kind); err != nil {
		return err
	}
	p.seen.add(view)
	return nil
}

// pageKind returns the kind of a client's page: its path below the client's, with the names of its variables.
func pageKind(pattern string) string {
	_, path, _ := strings.Cut(pattern, " ")
	path = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(path, clientPath), "{$}"), "/")
	if path == "" {
		return "/"
	}
	return path
}

// pageOf returns the path of a page below the client's, if it shows what was sent, and else the page's kind. What is no id stands
// for nothing.
func pageOf(r *http.Request, kind string) string {
	page := kind
	for _, name := range []string{"delivery", "event"} {
		text := r.PathValue(name)
		if id, err := uuid.Parse(text); err == nil && text == id.String() {
			page = strings.ReplaceAll(page, "{"+name+"}", text)
		}
	}
	if n, err := strconv.Atoi(r.PathValue("n")); err == nil && n >= 0 && page != kind {
		page = strings.ReplaceAll(page, "{n}", strconv.Itoa(n))
	}
	return page
}
