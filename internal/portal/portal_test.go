package portal

import (
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
)

var discard = slog.New(slog.DiscardHandler)

// pathValues are what the variables of routes stand for, of one client.
func pathValues(of uuid.UUID) map[string]string {
	return map[string]string{"client": of.String(), "delivery": deliveryID(of).String(), "n": "1", "rule": of.String(), "key": keyID(of).String(), "issue": issueID(of).String(), "event": eventID(of).String(), "type": "Sync%20Failed", "received": "1"}
}

// filled returns the method and the address of a route, with its variables filled in.
func filled(t *testing.T, pattern string, values map[string]string) (method, target string) {
	t.Helper()
	method, target, found := strings.Cut(pattern, " ")
	if !found {
		method, target = http.MethodGet, pattern
	}
	target = strings.ReplaceAll(target, "{$}", "")
	for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(target, -1) {
		value, known := values[name[1]]
		if !known {
			t.Fatalf("%s: pathValues has no value for {%s}", pattern, name[1])
		}
		target = strings.ReplaceAll(target, name[0], value)
	}
	return method, target
}

// goodForms are forms that are taken, by the end of the route. Others take an empty one.
var goodForms = map[string]url.Values{
	"/settings/notifications": {"failingAfterMinutes": {"10"}, "mailboxes": {"ops@acme.example"}},
	"/inbox":                  {"answer": {"503"}, "retryAfter": {"30"}},
	"/rules":                  {"type": {"Sync Failed"}}, "/rules/{rule}/edit": {"type": {"Sync Failed"}}, "/settings": {"name": {"Acme"}},
	"/settings/security": {"scheme": {"none"}}, "/settings/mail": {"address": {"reader@" + acme.String() + ".example"}},
}

func form(method string) url.Values {
	if method == http.MethodPost {
		return url.Values{}
	}
	return nil
}

// TestNoPageShowsAnotherClientsData walks every route: with a rival's session on Acme's pages, and with Acme's
// session on its own pages with the rival's ids.
func TestNoPageShowsAnotherClientsData(t *testing.T) {
	f := newFixture(t)
	for _, at := range f.portal.routes() {
		if at.scope != ofClient {
			continue
		}
		method, target := filled(t, at.pattern, pathValues(acme))
		if w := f.request(f.signedIn("rival"), method, target, form(method)); w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "secret of") || strings.Contains(w.Body.String(), ".example") {
			t.Errorf("%s with another client's session: status %d\n%.200s", target, w.Code, w.Body)
		}
		mixed := pathValues(rival)
		mixed["client"] = acme.String()
		method, target = filled(t, at.pattern, mixed)
		w := f.request(f.signedIn("acme"), method, target, form(method))
		if own := !strings.Contains(strings.ReplaceAll(strings.TrimPrefix(at.pattern[strings.Index(at.pattern, "/"):], clientPath), "{$}", ""), "{") || strings.Contains(at.pattern, "{type}"); own {
			f.changed = nil
		} else if w.Code != http.StatusNotFound {
			t.Errorf("%s with another client's id: status %d", target, w.Code)
		}
		if strings.Contains(w.Body.String(), "secret of "+rival.String()) || strings.Contains(w.Body.String(), rival.String()+".example") {
			t.Errorf("%s shows another client's data", target)
		}
	}
	for _, e := range f.published {
		if e.ClientID != acme || f.publisher.Key.ClientID != acme {
			t.Errorf("%v published for the client %s", f.publisher, e.ClientID)
		}
	}
	if f.changed = slices.DeleteFunc(f.changed, func(what string) bool { return what == "publish" }); len(f.changed) != 0 {
		t.Errorf("another client's session did %v", f.changed)
	}
	for _, filter := range []string{"alert=" + herald.AlertOf(deliveryID(rival)).String(), "company=" + rival.String(), "after=" + deliveryID(rival).String(),
		"receiver=" + url.QueryEscape("https://"+rival.String()+".example/hook")} {
		text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, "/deliveries?"+filter))
		if strings.Contains(text, of(rival, "")) || strings.Contains(text, "/deliveries/"+deliveryID(rival).String()) {
			t.Errorf("%s shows another client's deliveries", filter)
		}
	}
	for _, id := range []uuid.UUID{deliveryID(rival), eventID(rival), herald.AlertOf(deliveryID(rival)), rival} {
		if text := f.page(f.signedIn("acme"), http.StatusOK, of(acme, "/find?id="+id.String())); !strings.Contains(text, "Nothing of this client") {
			t.Errorf("the search finds another client's %s", id)
		}
	}
}

// TestEveryPageNeedsASession walks every route without one, and with one that has ended.
func TestEveryPageNeedsASession(t *testing.T) {
	f := newFixture(t)
	for _, at := range f.portal.routes() {
		if at.scope == public {
			continue
		}
		method, target := filled(t, at.pattern, pathValues(acme))
		for _, token := range []string{"", "ended"} {
			w := f.request(token, method, target, form(method))
			want := Path + "sign-in?next=" + url.QueryEscape(target)
			if method == http.MethodPost {
				want = Path + "sign-in?next=" + url.QueryEscape(Path)
			}
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
				t.Errorf("%s %s: status %d to %q, want %q", method, target, w.Code, w.Header().Get("Location"), want)
			}
		}
	}
	f.head.Set("HX-Request", "true")
	if w := f.request("", http.MethodGet, of(acme, "/deliveries"), nil); w.Header().Get("HX-Redirect") == "" {
		t.Errorf("htmx would put the sign-in into the page: %d %v", w.Code, w.Header())
	}
}

// TestAnAnalystChangesNothing walks every route that changes data.
func TestAnAnalystChangesNothing(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("analyst")
	changes := 0
	for _, at := range f.portal.routes() {
		method, target := filled(t, at.pattern, pathValues(acme))
		if method != http.MethodPost || at.scope != ofClient {
			continue
		}
		changes++
		if w := f.request(session, method, target, url.Values{}); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "analyst") {
			t.Errorf("POST %s: status %d", target, w.Code)
		}
		good := goodForms[strings.TrimPrefix(at.pattern, "POST "+clientPath)]
		if good == nil {
			good = url.Values{}
		}
		if w := f.request(f.signedIn("acme"), method, target, good); w.Code != http.StatusSeeOther && w.Code != http.StatusCreated {
			t.Errorf("POST %s of a developer: status %d", target, w.Code)
		}
	}
	if changes == 0 || len(f.changed) != changes {
		t.Errorf("%d routes change data; done was %v", changes, f.changed)
	}
	for state, want := range map[herald.State]string{herald.Failed: "no-redeliver", herald.Pending: "no-retry"} {
		f.deliveries[0].State = state
		text := f.page(session, http.StatusOK, of(acme, "/deliveries/"+deliveryID(acme).String()))
		if !strings.Contains(text, `disabled aria-describedby="`+want+`"`) || !strings.Contains(text, "who only looks") {
			t.Errorf("an analyst may press %s", want)
		}
	}
}

func TestOnlyTheOperatorSeesOperatorsPages(t *testing.T) {
	f := newFixture(t)
	for _, at := range f.portal.routes() {
		if at.scope != ofOperator {
			continue
		}
		method, target := filled(t, at.pattern, pathValues(acme))
		if w := f.request(f.signedIn("acme"), method, target, form(method)); w.Code != http.StatusForbidden {
			t.Errorf("%s of a client: status %d", target, w.Code)
		}
	}
	operator := f.signedIn("operator")
	if text := f.page(operator, http.StatusOK, Path+"clients"); !strings.Contains(text, of(acme, "")) || !strings.Contains(text, of(rival, "")) {
		t.Errorf("the operator does not see all clients:\n%s", text)
	}
	if text := f.page(operator, http.StatusOK, of(rival, "/deliveries")); !strings.Contains(text, "as the operator") || !strings.Contains(text, "Rival") {
		t.Error("the page does not say whose it is")
	}
	f.page(operator, http.StatusNotFound, of(uuid.New(), ""))
	f.page(operator, http.StatusNotFound, Path+"clients/x")
}

var (
	inlineStyle  = regexp.MustCompile(`(?i)\sstyle\s*=|<style`)
	inlineScript = regexp.MustCompile(`(?i)\son\w+\s*=|javascript:|<script(?:[^>]*src=)?[^>]*>[^<]+</script>`)
)

// TestEveryPageHasItsHeadersAndNothingInline walks every page as who may see it.
func TestEveryPageHasItsHeadersAndNothingInline(t *testing.T) {
	f := newFixture(t)
	for _, at := range f.portal.routes() {
		method, target := filled(t, at.pattern, pathValues(acme))
		for _, key := range []string{"", "acme", "operator"} {
			session := ""
			if key != "" {
				session = f.signedIn(key)
			}
			w := f.request(session, method, target, form(method))
			h, text := w.Header(), w.Body.String()
			policy := h.Get("Content-Security-Policy")
			if strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
				if policy != "default-src 'none'; sandbox" {
					t.Errorf("%s: %q", target, policy)
				}
			} else if policy != "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "+
				"form-action 'self'; base-uri 'none'; frame-ancestors 'none'" {
				t.Errorf("%s: Content-Security-Policy %q", target, policy)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: headers %v", target, h)
			}
			// Without the element a browser on plain http hides a form's origin, and the form is refused.
			if strings.Contains(text, "<html") && !strings.Contains(text, `<meta name="referrer" content="same-origin">`) {
				t.Errorf("%s has no policy for forms", target)
			}
			if inlineStyle.MatchString(text) || inlineScript.MatchString(text) {
				t.Errorf("%s has an inline style or script: %q %q", target, inlineStyle.FindString(text), inlineScript.FindString(text))
			}
			if w.Code == http.StatusInternalServerError || len(text) > 55_000 {
				t.Errorf("%s: status %d, %d bytes", target, w.Code, len(text))
			}
		}
	}
}

func TestAPlatformMayFrameThePortal(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Secure, o.FrameAncestors = true, []string{"https://a.example", "https://b.example"}
	})
	w := f.request("", http.MethodPost, Path+"sign-in", url.Values{"key": {"acme"}})
	cookie := w.Header().Get("Set-Cookie")
	for _, want := range []string{"__Secure-herald-session=", "; Path=/portal/;", "; HttpOnly", "; Secure", "; SameSite=None", "; Partitioned"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q, want %q in it", cookie, want)
		}
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.HasSuffix(policy, "frame-ancestors https://a.example https://b.example") {
		t.Errorf("policy %q", policy)
	}
	w = newFixture(t, func(o *Options) { o.Secure = true }).request("", http.MethodPost, Path+"sign-in", url.Values{"key": {"acme"}})
	if cookie := w.Header().Get("Set-Cookie"); !strings.Contains(cookie, "__Secure-herald-session=") || !strings.Contains(cookie, "; SameSite=Lax") || strings.Contains(cookie, "Partitioned") {
		t.Errorf("cookie %q", cookie)
	}
}

func TestSigningInAndOut(t *testing.T) {
	f := newFixture(t)
	next := of(acme, "/deliveries?state=failed")
	for _, test := range []struct{ key, next, want string }{
		{"acme", "", Path}, {" acme\n", next, next}, {"operator", "https://evil.example/", Path}, {"acme", "//evil.example", Path},
		{"acme", "/portal/../events", Path}, {"acme", `/portal/\evil.example`, Path}, {"acme", "/portal//evil.example", Path},
	} {
		w := f.request("", http.MethodPost, Path+"sign-in", url.Values{"key": {test.key}, "next": {test.next}})
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != test.want {
			t.Errorf("%q to %q: status %d, %q", test.key, test.next, w.Code, w.Header().Get("Location"))
		}
		if cookie := w.Header().Get("Set-Cookie"); !strings.Contains(cookie, "herald-session=session-") || !strings.Contains(cookie, "Path=/portal/; Max-Age=604800; HttpOnly; SameSite=Lax") {
			t.Errorf("cookie %q", cookie)
		}
	}
	session, other := f.signedIn("acme"), f.signedIn("acme")
	f.sessions[other] = f.sessions[session]
	if w := f.request(session, http.MethodPost, Path+"sign-out", url.Values{}); w.Code != http.StatusSeeOther || !strings.Contains(w.Header().Get("Set-Cookie"), "herald-session=; Path=/portal/; Max-Age=0") {
		t.Errorf("signing out: %d %v", w.Code, w.Header())
	}
	f.page(session, http.StatusSeeOther, of(acme, ""))
	f.page(other, http.StatusOK, of(acme, ""))
	f.request(other, http.MethodPost, Path+"sign-out-everywhere", url.Values{})
	f.page(other, http.StatusSeeOther, of(acme, ""))
	if w := f.request("", http.MethodGet, Path+"sign-out", nil); w.Code != http.StatusNotFound {
		t.Errorf("a GET signs out: %d", w.Code)
	}
}

// TestWrongKeysWaitLonger: every wrong key has the same answer, and the answers say longer and longer
// waits. The right key is taken at any time.
func TestWrongKeysWaitLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		wrong := func(key string) (int, string) {
			w := f.request("", http.MethodPost, Path+"sign-in", url.Values{"key": {key}})
			return w.Code, w.Header().Get("Retry-After") + w.Body.String()
		}
		var texts []string
		for _, key := range []string{"", "no key", "hk" + strings.Repeat("a", 52), strings.Repeat("x", 5000)} {
			code, text := wrong(key)
			if texts = append(texts, text); code != http.StatusUnauthorized || text != texts[0] {
				t.Errorf("%.20q: status %d, %s", key, code, text)
			}
			time.Sleep(3 * time.Second) // a person types
		}
		wrong("a fifth")
		before := time.Duration(0)
		for range 9 {
			w := f.request("", http.MethodPost, Path+"sign-in", url.Values{"key": {"guess"}})
			wait, err := time.ParseDuration(w.Header().Get("Retry-After") + "s")
			if w.Code != http.StatusTooManyRequests || err != nil || wait <= before && wait != longestWait || !strings.Contains(w.Body.String(), "Wait ") {
				t.Fatalf("status %d, Retry-After %q after %v (%v)", w.Code, w.Header().Get("Retry-After"), before, err)
			}
			before = wait
		}
		if w := f.request("", http.MethodPost, Path+"sign-in", url.Values{"key": {"acme"}}); w.Code != http.StatusSeeOther {
			t.Errorf("the right key after wrong ones: status %d", w.Code)
		}
		if before != longestWait {
			t.Errorf("the longest wait is %v", before)
		}
	})
}

func TestPortalLinkIsExchangedByPost(t *testing.T) {
	f := newFixture(t)
	f.links["s3cret"] = herald.PortalLink{ClientID: acme, Role: herald.Analyst, Path: "/deliveries?state=failed"}
	f.links["other"] = herald.PortalLink{ClientID: acme, Role: herald.Analyst}
	if text := f.page("", http.StatusOK, LinkPath); !strings.Contains(text, "link.js") || !strings.Contains(text, `name="secret"`) {
		t.Error("the page has no form or no script")
	}
	w := f.request("", http.MethodPost, LinkPath, url.Values{"secret": {"s3cret"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != of(acme, "/deliveries?state=failed") || w.Header().Get("Set-Cookie") == "" {
		t.Errorf("status %d, %v", w.Code, w.Header())
	}
	if w := f.request("", http.MethodPost, LinkPath, url.Values{"secret": {"s3cret"}}); w.Code != http.StatusUnauthorized || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("the second use: status %d", w.Code)
	}
	w = f.request("", http.MethodPost, LinkPath, url.Values{"secret": {" https://herald.example/portal/link#other "}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != of(acme, "") {
		t.Errorf("the pasted link: status %d", w.Code)
	}
}

// TestAnotherSitesPageChangesNothing: its forms come with the visitor's cookie.
func TestAnotherSitesPageChangesNothing(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	f.head.Set("Sec-Fetch-Site", "cross-site")
	if w := f.request(session, http.MethodPost, of(acme, "/deliveries/"+deliveryID(acme).String()+"/redeliver"), url.Values{}); w.Code != http.StatusForbidden || len(f.changed) > 0 {
		t.Errorf("status %d, done %v", w.Code, f.changed)
	}
}

func TestFormsAreBounded(t *testing.T) {
	f := newFixture(t)
	for body, want := range map[string]int{"key=%zz": http.StatusBadRequest, "key=a%00b": http.StatusBadRequest, "key=%ff": http.StatusBadRequest, "key=" + strings.Repeat("a", maxForm): http.StatusRequestEntityTooLarge} {
		w := f.post(Path+"sign-in", body, "application/x-www-form-urlencoded")
		if w.Code != want || !strings.Contains(w.Body.String(), "<h1>") {
			t.Errorf("%.20q: status %d, want %d", body, w.Code, want)
		}
	}
	if w := f.post(Path+"sign-in", `{"key":"acme"}`, "application/json"); w.Code != http.StatusBadRequest {
		t.Errorf("JSON: status %d", w.Code)
	}
}

func TestPreferencesStay(t *testing.T) {
	f := newFixture(t)
	w := f.request("", http.MethodPost, Path+"preferences", url.Values{"theme": {"dark"}, "keys": {"off"}, "back": {of(acme, "/deliveries")}})
	cookie := w.Result().Cookies()[0]
	if w.Header().Get("Location") != of(acme, "/deliveries") {
		t.Errorf("back to %q", w.Header().Get("Location"))
	}
	f.head.Set("Cookie", cookie.Name+"="+cookie.Value)
	if text := f.page("", http.StatusOK, Path+"sign-in"); !strings.Contains(text, `data-theme="dark" data-nokeys`) {
		t.Errorf("the page does not have them:\n%.200s", text)
	}
	if w := f.request("", http.MethodPost, Path+"preferences", url.Values{"theme": {"pink"}}); w.Code != http.StatusBadRequest {
		t.Errorf("an unknown theme: status %d", w.Code)
	}
}

// TestAssetsAreKeptForGood, and those of another version's page are not.
func TestAssetsAreKeptForGood(t *testing.T) {
	f := newFixture(t)
	text := f.page("", http.StatusOK, Path+"sign-in")
	found := regexp.MustCompile(`/portal/assets/[0-9a-f]+/[\w.-]+`).FindAllString(text, -1)
	if len(found) < 3 {
		t.Fatalf("the page names %v", found)
	}
	for _, address := range found {
		w := f.request("", http.MethodGet, address, nil)
		if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Body.Len() == 0 {
			t.Errorf("%s: status %d, %v", address, w.Code, w.Header())
		}
	}
	if w := f.request("", http.MethodGet, Path+"assets/0123456789abcdef/app.css", nil); w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("another version's: status %d, %v", w.Code, w.Header())
	}
	f.request("", http.MethodGet, Path+"assets/x/nothing.css", nil)
	whole := 0
	for name, file := range f.portal.assets.files {
		if !strings.HasSuffix(name, ".txt") {
			whole += len(file.plain)
		}
	}
	if whole > 97_000 {
		t.Errorf("the assets have %d bytes; with a page of 53 kB they must stay under 150 kB", whole)
	}
	f.head.Set("Accept-Encoding", "gzip")
	if w := f.request("", http.MethodGet, found[0], nil); w.Header().Get("Content-Encoding") != "gzip" {
		t.Error("it is not compressed")
	}
}

// TestOpenPageKeepsNoSessionAlive: a page that refreshes itself is no use of the session.
func TestOpenPageKeepsNoSessionAlive(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	f.page(session, http.StatusOK, of(acme, "/deliveries"))
	uses := f.uses
	f.head.Set("Herald-Refresh", "1")
	if f.page(session, http.StatusOK, of(acme, "/deliveries")); uses != 1 || f.uses != uses {
		t.Errorf("%d uses after one, and %d after a refresh", uses, f.uses)
	}
}
