package browser_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/net/html"

	"herald"
	"herald/internal/app"
	"herald/internal/devinbox"
	"herald/internal/portal"
	"herald/internal/test/browser"
)

// stop is a page that the walk opens.
type stop struct {
	pattern, path string
	status        int
	isPage        bool // otherwise it is a redirect or plain text
	size          int  // in bytes
}

// The walk asks for maxVisits pages of one route. Of these the browser opens those that offer something else: whose links
// and forms lead to other routes. It opens maxStops of one route at most.
const (
	maxVisits = 12
	maxStops  = 4
)

// walk finds the pages of who has a key: it follows the links from the first page on, and knows from the table of
// routes whether it found them all. So a new page is found by itself, if a link leads to it.
type walk struct {
	t      *testing.T
	s      *service
	http   *http.Client
	routes *http.ServeMux
	count  map[string]int // by route
	opened map[string]int // by route
	seen   map[string]bool
	shapes map[string]bool
	stops  []stop
	next   []string
}

// wander returns the pages of who has a key, from the given ones on.
func (s *service) wander(t *testing.T, key string, from ...string) *walk {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{t: t, s: s, routes: http.NewServeMux(), count: make(map[string]int), opened: make(map[string]int), seen: make(map[string]bool), shapes: make(map[string]bool),
		http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for _, pattern := range portal.Patterns() {
		w.routes.Handle(pattern, http.NotFoundHandler())
	}
	if key != "" {
		answer, err := w.http.PostForm(s.origin+"/portal/sign-in", url.Values{"key": {key}})
		if err != nil || answer.StatusCode != http.StatusSeeOther {
			t.Fatalf("sign in: %v, %+v", err, answer)
		}
		answer.Body.Close()
	}
	for _, path := range from {
		w.next = append(w.next, w.visit(path, true)...)
	}
	for len(w.next) > 0 { // what is near comes first
		path := w.next[0]
		w.next = append(w.next[1:], w.visit(path, false)...)
	}
	return w
}

// visit asks for a page, and returns where it leads to.
func (w *walk) visit(path string, given bool) []string {
	path, _, _ = strings.Cut(path, "#")
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.s.origin+path, nil)
	if err != nil || w.seen[path] || !strings.HasPrefix(path+"/", portal.Path) || strings.HasPrefix(path, portal.Path+"assets/") {
		return nil
	}
	_, pattern := w.routes.Handler(request)
	if w.count[pattern] >= maxVisits && !given {
		return nil
	}
	w.seen[path] = true
	w.count[pattern]++
	request.Header.Set("Accept", "text/html")
	response, err := w.http.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	isPage := strings.HasPrefix(response.Header.Get("Content-Type"), "text/html")
	var links []string
	if isPage {
		links = linksOf(w.t, path, string(text))
	}
	if shape := w.shape(pattern, response.StatusCode, links); given || !w.shapes[shape] && w.opened[pattern] < maxStops {
		w.shapes[shape] = true
		w.opened[pattern]++
		w.stops = append(w.stops, stop{pattern, path, response.StatusCode, isPage, len(text)})
	}
	if response.StatusCode >= http.StatusInternalServerError || !given && response.StatusCode >= http.StatusBadRequest {
		w.t.Errorf("%s answers %d", path, response.StatusCode)
	}
	return append(links, response.Header.Get("Location"))
}

// shape is what a page offers: the routes that its links and forms lead to.
func (w *walk) shape(pattern string, status int, links []string) string {
	to := make(map[string]bool)
	for _, link := range links {
		if request, err := http.NewRequest(http.MethodGet, w.s.origin+link, nil); err == nil {
			_, leads := w.routes.Handler(request)
			to[leads] = true
		}
	}
	return fmt.Sprint(pattern, status, slices.Sorted(maps.Keys(to)))
}

// linksOf returns the addresses that a page links to, and those of its forms.
func linksOf(t *testing.T, path, text string) (links []string) {
	t.Helper()
	base, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	tokens := html.NewTokenizer(strings.NewReader(text))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return links
		case html.StartTagToken, html.SelfClosingTagToken:
			token, isPost := tokens.Token(), false
			var to *url.URL
			for _, a := range token.Attr {
				isPost = isPost || token.Data == "form" && a.Key == "method" && strings.EqualFold(a.Val, "post")
				if token.Data == "a" && a.Key == "href" || token.Data == "form" && a.Key == "action" {
					to, _ = base.Parse(a.Val)
				}
			}
			if to != nil && to.Host == "" && to.Scheme == "" && !isPost {
				links = append(links, to.RequestURI())
			}
		}
	}
}

// inStates are addresses of pages that no link leads to, and of lists in their other states.
func (a *account) inStates() []string {
	return []string{
		"/portal", "/portal/", "/portal/sign-in", "/portal/link", "/portal/nowhere", "/portal/clients?search=nothing", "/portal/clients?search=" + strings.Repeat("x", herald.MaxClientSearch+1),
		a.path(""), a.path("/"), a.path("/nowhere"), a.path("/find?id=" + uuid.NewString()), a.path("/find?id=x"), a.path("/deliveries/" + uuid.NewString()),
		a.path("/deliveries?state=failed"), a.path("/deliveries?shape=round&status=5"), a.path("/rules?shape=round"), a.path("/deliveries?receiver=https://nobody.example/"), a.path("/deliveries?state=open&since=yesterday&company=x&type=Sync+Faild&reason=none"),
		a.path("/events/" + uuid.NewString()), a.path("/events?company=" + uuid.NewString()), a.path("/events?since=yesterday&until=x&company=x&type=Sync+Faild"),
		a.path("/catalogue?search=nothing"), a.path("/catalogue/nothing"),
	}
}

// TestEveryPageInEveryLook opens every page of the table of routes, as the operator, in both colours and at four widths.
func TestEveryPageInEveryLook(t *testing.T) {
	inbox := devinbox.New(func(devinbox.Received) {})
	s := startService(t, func(c *app.Config) { c.Inbox = inbox })
	a := s.account("Acme Accounting Limited")
	inbox.SetOwner(a.ID)
	for _, path := range []string{"/status/503", "/"} {
		inbox.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"RuleType":"Sync Failed","Message":"It failed <b>"}`)))
	}
	a.seed(t)
	if _, err := s.operator.PutEventType(t.Context(), herald.EventType{Name: "Invoice paid", Message: "Invoice {number} was paid"}); err != nil {
		t.Fatal(err)
	}
	s.account("Empty")
	w := s.wander(t, operatorKey, append([]string{portal.Path}, a.inStates()...)...)
	for _, pattern := range portal.Patterns() {
		if reads := !strings.HasPrefix(pattern, http.MethodPost+" "); reads && w.count[pattern] == 0 {
			t.Errorf("no page links to %s: link to it, or add an address to inStates", pattern)
		}
	}
	tab := s.signedIn(t, operatorKey)
	for _, at := range w.stops {
		if at.isPage {
			inEveryLook(t, tab, at)
		}
	}
}

func inEveryLook(t *testing.T, tab *browser.Tab, at stop) {
	t.Helper()
	tab.Look(1440, "light")
	tab.Open(at.path, at.status)
	accessible(t, tab, at.path+", 1440 px")
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{1440, 768, 320, 390} {
			tab.Look(width, scheme)
			fits(t, tab, fmt.Sprintf("%s, %d px, %s", at.path, width, scheme))
		}
	}
	accessible(t, tab, at.path+", 390 px, dark")
}

// TestEveryPageOfARole opens every page of a client as its people see them, while there is nothing and while there is.
func TestEveryPageOfARole(t *testing.T) {
	s := startService(t)
	full, empty := s.account("Acme"), s.account("Empty")
	full.seed(t)
	for _, visitor := range []struct {
		name, key string
		of        *account
	}{{"a client without anything", empty.APIKey, empty}, {"an analyst", full.key("analyst").APIKey, full}, {"nobody", "", full}} {
		t.Run(visitor.name, func(t *testing.T) {
			tab := browser.NewTab(t, s.origin)
			from := []string{"/portal/sign-in", "/portal/link"}
			if visitor.key != "" {
				signIn(tab, visitor.key)
				from = []string{visitor.of.path("")}
			}
			w := s.wander(t, visitor.key, from...)
			for _, at := range w.stops {
				if !at.isPage {
					continue
				}
				tab.Look(1440, "light")
				tab.Open(at.path, at.status)
				accessible(t, tab, at.path)
				tab.Look(320, "dark")
				fits(t, tab, at.path+", 320 px")
			}
			if len(w.stops) < len(from) {
				t.Errorf("only %d pages were found", len(w.stops))
			}
		})
	}
}

// TestKeyboardComesEverywhere tabs through every page: the focus comes to whatever can be used, one sees it, and the
// header does not cover it.
func TestKeyboardComesEverywhere(t *testing.T) {
	s := startService(t)
	a := s.account("Acme")
	a.seed(t)
	tab := s.signedIn(t, operatorKey)
	longest := make(map[string]stop) // of each route
	for _, at := range s.wander(t, operatorKey, append([]string{portal.Path}, a.inStates()...)...).stops {
		if at.isPage && at.size > longest[at.pattern].size {
			longest[at.pattern] = at
		}
	}
	for _, at := range longest {
		tab.Look(1440, "light")
		tab.Open(at.path, at.status)
		if all := tabThrough(t, tab, at.path); len(all) == 0 {
			t.Errorf("%s: the focus comes to nothing", at.path)
		}
	}
}
