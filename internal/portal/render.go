package portal

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"herald"
	"herald/internal/api"
)

//go:embed templates
var templateFiles embed.FS

// answer is what a handler answers with: a page, a text, or a place to go on.
type answer struct {
	status   int // 0 means 200
	location string
	cookies  []*http.Cookie
	// file is the page's template, title its title, data what it shows.
	file, title string
	data        any
	// text is what the answer has instead of a page, as plain text.
	text []byte
	// stream says that the answer is the stream of an open page.
	stream bool
	// retryAfter is how long to wait before the same request may succeed.
	retryAfter time.Duration
}

// page returns the answer with a page.
func page(file, title string, data any) answer { return answer{file: file, title: title, data: data} }

// layout is what the frame around each page shows.
type layout struct {
	Title    string
	Theme    string
	NoKeys   bool
	Signed   bool
	Operator bool
	// Who says in words who is signed in.
	Who    string
	Client client
	Nav    []navLink
	Notice string
	// Here is the page's own address, for forms that come back to it.
	Here    string
	Version string
	// CanEndAll is false after a portal link.
	CanEndAll bool
	Page      any
}

// navLink is a link of the navigation.
type navLink struct {
	navItem
	Href    string
	Current bool
}

// contentPolicy returns the Content-Security-Policy of pages that the given origins may frame.
func contentPolicy(frameAncestors []string) string {
	ancestors := "'none'"
	if len(frameAncestors) > 0 {
		ancestors = strings.Join(frameAncestors, " ")
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors " + ancestors
}

// setHeaders sets the headers of every page.
func (p *portal) setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// loadTemplates parses each page with the frame and the components.
func (p *portal) loadTemplates() (map[string]*template.Template, error) {
	base, err := template.New("base").Funcs(p.functions()).ParseFS(templateFiles, "templates/shared/*.html")
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template)
	for _, file := range files {
		one, err := base.Clone()
		if err == nil {
			one, err = one.ParseFS(templateFiles, file)
		}
		if err != nil {
			return nil, err
		}
		pages[path.Base(file)] = one
	}
	return pages, nil
}

// write sends an answer. A page is made as a whole first, so that an error in its template is a page too.
func (p *portal) write(w http.ResponseWriter, r *http.Request, v visit, a answer) {
	h := w.Header()
	for _, c := range a.cookies {
		http.SetCookie(w, c)
	}
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retryAfter.Seconds()))))
	}
	switch {
	case a.location != "":
		p.redirect(w, r, a)
		return
	case a.stream:
		p.follow(w, r, v)
		return
	case a.status == http.StatusNoContent:
		w.WriteHeader(a.status)
		return
	case a.text != nil:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
		h.Set("Content-Length", strconv.Itoa(len(a.text)))
		_, _ = w.Write(a.text) // fails only when the reader has gone
		return
	}
	var text bytes.Buffer
	if err := p.render(&text, r, v, a); err != nil {
		a = p.failure(r, v, fmt.Errorf("show %s: %w", a.file, err))
		text.Reset()
		if err := p.render(&text, r, v, a); err != nil {
			panic("portal: the page of errors: " + err.Error())
		}
	}
	// Here, where every page goes through, so that no template can forget it.
	shown := visibleHTML(strings.ToValidUTF8(text.String(), "\ufffd"))
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(shown)))
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, shown) // fails only when the reader has gone
}

// redirect sends the visitor on. htmx would put the answer of a redirect into the page, so it is told to go there.
func (p *portal) redirect(w http.ResponseWriter, r *http.Request, a answer) {
	if r.Header.Get("HX-Request") != "" {
		w.Header().Set("HX-Redirect", a.location)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Location", a.location)
	w.WriteHeader(a.status)
}

func (p *portal) render(to *bytes.Buffer, r *http.Request, v visit, a answer) error {
	pages, err := p.pages()
	if err != nil {
		return err
	}
	known := pages[a.file]
	if known == nil {
		return fmt.Errorf("there is no template %q", a.file)
	}
	l := layout{
		Title: a.title, Theme: v.prefs.Theme, NoKeys: v.prefs.NoKeys, Signed: v.signed(), Operator: v.caller.Operator, Who: who(v),
		Client: v.client, Notice: notices[r.URL.Query().Get("notice")], Here: r.URL.RequestURI(), Version: p.Version,
		CanEndAll: !v.session.FromLink(), Page: a.data,
	}
	if r.Method != http.MethodGet {
		l.Here = Path
	}
	switch {
	case v.client.ID == (client{}).ID && v.caller.Operator:
		for _, item := range operatorNavigation {
			l.Nav = append(l.Nav, navLink{item, Path + item.Path, item.isCurrent(r.URL.Path)})
		}
	case v.client.ID != (client{}).ID:
		below := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, v.client.path("")), "/")
		for _, item := range navigation {
			if item.Path == inboxPath && !p.hasInbox(v.client.ID) {
				continue
			}
			current := below == item.Path || item.Path != "" && strings.HasPrefix(below, item.Path+"/")
			l.Nav = append(l.Nav, navLink{item, v.client.path(item.Path), current})
		}
	}
	return known.ExecuteTemplate(to, "layout", l)
}

// who says in words who is signed in.
func who(v visit) string {
	key := v.caller.Key
	switch {
	case v.caller.Operator:
		return "the operator"
	case key.ClientID == (client{}).ID:
		return ""
	case v.session.FromLink():
		return string(key.Role) + ", by a link"
	case key.Name != "":
		return fmt.Sprintf("%s, by the key “%s”", key.Role, key.Name)
	default:
		return string(key.Role) + ", by a key"
	}
}

// notices are the sentences that a page shows after something was done. The address has their names.
var notices = map[string]string{
	"redelivered":            "A new delivery of the same alert was made. This is it.",
	"answer-set":             "The inbox gives this answer from the next webhook on.",
	"published":              "The event was published. This is it.",
	"retried":                "The next attempt is made now.",
	"cancelled":              "The delivery was cancelled.",
	"test-sent":              "The test was sent to the receivers of its rule only. This is its event.",
	"rule-created":           "The rule was made. It counts from the next event on.",
	"rule-saved":             "The rule was saved. It counts from the next event on.",
	"rule-deleted":           "The rule was deleted.",
	"rule-deleted-cancelled": "The rule was deleted, and all that waited of it was cancelled.",
	"rule-deleted-partly":    "The rule was deleted. Not all that waited of it could be cancelled in this time.",
	"saved":                  "Saved.",
	"header-saved":           "Saved. It is sent from the next attempt on, and with retries too.",
	"key-revoked":            "The key was revoked. Nobody can use it any more.",
	"notifications-saved":    "Saved. From now on they hear when a receiver fails.",
	"notifications-off":      "Nobody is told any more when a receiver fails.",
	"mail-allowed":           "Mail to this mailbox is allowed again.",
	"signed-out":             "You are signed out.",
	"ended-all":              "All sessions of your key have ended.",

	"acknowledged": "Noted. The others see who takes care of it.",

	"renamed":        "The client has its new name. Webhooks carry it from the next event on.",
	"client-deleted": "The client was deleted. Its keys and sessions have ended.",
	"type-saved":     "The event type is saved. It applies to all clients, from the next event on.",
	"type-deleted":   "The event type was deleted.",
}

// problem is what the page of an error shows.
type problem struct {
	Title, Text   string
	CorrelationID string // only if somebody may have to look into the log
	TryAgain      string // an address, or empty
	Back          string
}

var problemTitles = map[int]string{
	http.StatusBadRequest: "That cannot be read", http.StatusForbidden: "You may not do that", http.StatusNotFound: "Not found",
	http.StatusConflict: "That is not possible now", http.StatusTooManyRequests: "Too often", http.StatusRequestEntityTooLarge: "That is too large",
	http.StatusServiceUnavailable: "Not available right now",
}

// failure returns the page of an error. Without a session it leads to the sign-in.
func (p *portal) failure(r *http.Request, v visit, err error) answer {
	if herald.CodeOf(err) == herald.CodeUnauthorized && r.Header.Get("Accept") == "text/event-stream" {
		return answer{status: http.StatusNoContent} // the page learns of it when it asks for itself
	}
	if herald.CodeOf(err) == herald.CodeUnauthorized {
		next := Path
		if r.Method == http.MethodGet {
			next = r.URL.RequestURI()
		}
		return seeOther("%ssign-in?next=%s", Path, url.QueryEscape(next))
	}
	known, status, correlationID := api.RecordError(r, err)
	show := problem{Title: problemTitles[status], Text: inPortal.Replace(known.Message), Back: Path}
	if v.client.ID != (client{}).ID {
		show.Back = v.client.path("")
	}
	if status >= http.StatusInternalServerError {
		show.CorrelationID = correlationID
	}
	if r.Method == http.MethodGet && (status >= http.StatusInternalServerError || status == http.StatusTooManyRequests) {
		show.TryAgain = r.URL.RequestURI()
	}
	if status == http.StatusInternalServerError {
		show.Title, show.Text = "Something went wrong", "This is a fault of the service, not of yours. Its log has the cause under the id below."
	}
	a := page("problem.html", show.Title, show)
	a.status, a.retryAfter = status, known.RetryAfter
	if errors.Is(r.Context().Err(), err) {
		a.status = http.StatusServiceUnavailable
	}
	return a
}

// unknown answers every address of the portal that no page has.
func (p *portal) unknown(r *http.Request, _ visit) (answer, error) {
	return answer{}, herald.Errorf(herald.CodeNotFound, "There is no page at this address, or it takes no %.10s.", r.Method)
}
