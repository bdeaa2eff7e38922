package portal

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
)

// refreshHeader is on the requests of a page that refreshes itself: a page that is left open keeps no session alive.
const refreshHeader = "Herald-Refresh"

// maxForm bounds a form, in bytes.
const maxForm = 64 << 10

// visit is who makes a request, and about whom. Without a session the caller is zero.
type visit struct {
	session herald.Session
	caller  herald.Caller // with the address
	client  client        // whose pages they are; zero for pages about no client
	prefs   preferences
}

// client is whose pages are shown.
type client struct {
	ID   uuid.UUID
	Name string
}

// path returns the address of a page of the client.
func (c client) path(page string) string { return Path + "clients/" + c.ID.String() + page }

// signed reports whether there is a session.
func (v visit) signed() bool { return v.caller.Operator || v.caller.Key.ClientID != uuid.Nil }

// mayNot says why the visitor may change nothing, and is empty if they may.
func (v visit) mayNot() string {
	if v.caller.MayChange() != nil {
		return "You are signed in as an analyst, who only looks. A developer's key can do this."
	}
	return ""
}

// open returns what serves a route: it finds the session, checks that the route is the visitor's to
// open and, where something changes, that their role may change it. No handler can omit these checks.
func (p *portal) open(at route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.setHeaders(w.Header())
		v := visit{prefs: preferencesOf(r)}
		err := p.admit(w, r, at, &v)
		var a answer
		if err == nil {
			a, err = at.serve(r, v)
		}
		if err != nil {
			a = p.failure(r, v, err)
		}
		p.write(w, r, v, a)
	}
}

// admit fills in the visit. Its error is CodeUnauthorized without a session, CodeNotFound for another
// client's pages, and CodeForbidden for what the role may not do.
func (p *portal) admit(w http.ResponseWriter, r *http.Request, at route, v *visit) error {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !reads {
		if err := readForm(w, r); err != nil {
			return err
		}
	}
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil { // URL.Query would leave out what is wrong, such as a filter
		return herald.Invalid("", "The part of the address behind the question mark cannot be read: %v.", err)
	}
	if at.scope == public {
		return nil
	}
	session, err := p.Sessions.Session(r.Context(), p.sessionCookie(r), r.Header.Get(refreshHeader) == "" && at.pattern != livePattern)
	if err != nil {
		return err
	}
	v.session, v.caller = session, session.Caller
	v.caller.Address = api.CallerAddress(r.Context())
	api.SetClient(r.Context(), v.caller.Key.ClientID)
	switch at.scope {
	case ofOperator:
		if !v.caller.Operator {
			return herald.Errorf(herald.CodeForbidden, "This page is the operator's, and you are signed in for one client.")
		}
	case ofClient:
		if v.client, err = p.clientOf(r.Context(), r.PathValue("client"), session); err != nil {
			return err
		}
		if reason := v.mayNot(); !reads && reason != "" {
			return herald.Errorf(herald.CodeForbidden, "%s", reason)
		}
		if reads && v.caller.Operator && at.pattern != livePattern {
			return p.recordView(r, at, v)
		}
	}
	return nil
}

// clientOf returns the client whose pages a path names. Another client's are as unknown as none's.
func (p *portal) clientOf(ctx context.Context, text string, session herald.Session) (client, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 || !session.Caller.Operator && id != session.Caller.Key.ClientID {
		return client{}, herald.Errorf(herald.CodeNotFound, "There is no such client, or it is not yours.")
	}
	if !session.Caller.Operator {
		return client{id, session.ClientName}, nil
	}
	found, err := p.Clients.Client(ctx, id)
	api.SetClient(ctx, id)
	return client{id, found.Profile.Name}, err
}

// readForm reads a posted form of at most maxForm bytes. Lines end with a line feed, as in what was typed.
func readForm(w http.ResponseWriter, r *http.Request) error {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" && r.ContentLength != 0 {
		return herald.Errorf(herald.CodeInvalid, "The request's Content-Type is %.100q; the portal takes application/x-www-form-urlencoded.", kind)
	}
	body, err := api.ReadBody(r, maxForm)
	if err != nil {
		return err
	}
	if r.PostForm, err = url.ParseQuery(string(body)); err != nil {
		return herald.Errorf(herald.CodeInvalid, "The form cannot be read: %v.", err)
	}
	for name, values := range r.PostForm {
		for i, text := range values { // browsers end every line of a text area with CR and LF
			values[i] = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
		}
		if slices.ContainsFunc(append(values, name), func(text string) bool { return !api.IsText(text) }) {
			return herald.Errorf(herald.CodeInvalid, "The form has a text with U+0000, or that is not UTF-8.")
		}
	}
	return nil
}

// Cookies.
const (
	sessionCookie    = "herald-session"
	preferenceCookie = "herald-preferences"
	// securePrefix makes browsers refuse the cookie from http. (__Host- would need the path /.)
	securePrefix = "__Secure-"
)

// cookie returns a cookie of the portal. In a frame of another site it must be SameSite=None, and is kept apart
// for each of these sites.
func (p *portal) cookie(name, value string, maxAge int) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: Path, MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: p.Secure}
	if p.Secure {
		c.Name = securePrefix + name
	}
	if len(p.FrameAncestors) > 0 {
		c.SameSite, c.Partitioned = http.SameSiteNoneMode, true
	}
	return c
}

func (p *portal) cookieValue(r *http.Request, name string) string {
	if p.Secure {
		name = securePrefix + name
	}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func (p *portal) sessionCookie(r *http.Request) string { return p.cookieValue(r, sessionCookie) }

// preferences are how a visitor wants the pages. They are in a cookie, so that a page has them
// from its first byte and works without a script.
type preferences struct {
	Theme  string // "light", "dark", or empty for the system's
	NoKeys bool   // no keyboard shortcuts
}

func (f preferences) String() string {
	text := f.Theme
	if f.NoKeys {
		text += ".nokeys"
	}
	return text
}

// preferencesOf reads the cookie of any prefix: it is no secret.
func preferencesOf(r *http.Request) preferences {
	var f preferences
	for _, c := range r.Cookies() {
		if strings.TrimPrefix(c.Name, securePrefix) != preferenceCookie {
			continue
		}
		for word := range strings.SplitSeq(c.Value, ".") {
			switch word {
			case "light", "dark":
				f.Theme = word
			case "nokeys":
				f.NoKeys = true
			}
		}
	}
	return f
}

// localPath returns a path of the portal that a form or query names, or else the fallback. So a
// link cannot send the visitor to another site.
func localPath(text, fallback string) string {
	rest, inside := strings.CutPrefix(text, Path)
	if !inside || herald.CheckPortalPath("/"+rest) != nil {
		return fallback
	}
	return text
}

// seeOther is the answer that sends the visitor on.
func seeOther(format string, args ...any) answer {
	return answer{status: http.StatusSeeOther, location: fmt.Sprintf(format, args...)}
}
