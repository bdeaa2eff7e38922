package app_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
)

// browser is what opens pages of the portal, as a person's browser does. It follows no redirects.
type browser struct {
	t    *testing.T
	jar  http.CookieJar
	http *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, jar, &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// do makes a request with the browser's cookies, to any node: they share one address behind a balancer.
// With a form it is a POST.
func (b *browser) do(f *fixture, path string, form url.Values) (status int, location, text string) {
	b.t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+f.app.Address()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range b.jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	response, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	b.jar.SetCookies(r.URL, response.Cookies())
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Location"), string(answer)
}

// pagesOf is where the pages of the fixture's client are.
func (f *fixture) pagesOf() string { return "/portal/clients/" + f.account.ID.String() }

// TestPersonSeesAndMendsADelivery goes from / to a delivery that failed, and sends it again.
func TestPersonSeesAndMendsADelivery(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, statuses(401))
	f.rule(hook.URL, uuid.Nil)
	failed := f.ended(f.publish(event()))
	b := newBrowser(t)
	if status, to, _ := b.do(f, "/", nil); status != http.StatusFound || to != "/portal/" {
		t.Fatalf("/ answers %d to %q", status, to)
	}
	if status, to, _ := b.do(f, "/portal/", nil); status != http.StatusSeeOther || to != "/portal/sign-in?next=%2Fportal%2F" {
		t.Fatalf("/portal/ answers %d to %q", status, to)
	}
	if status, to, _ := b.do(f, "/portal/sign-in", url.Values{"key": {f.account.APIKey}}); status != http.StatusSeeOther || to != "/portal/" {
		t.Fatalf("the sign-in answers %d to %q", status, to)
	}
	if _, to, _ := b.do(f, "/portal/", nil); to != f.pagesOf() {
		t.Fatalf("/portal/ leads to %q", to)
	}
	if status, _, text := b.do(f, f.pagesOf(), nil); status != http.StatusOK || !strings.Contains(text, "1 delivery failed in the last 24 hours") {
		t.Errorf("the overview answers %d: %s", status, text)
	}
	one := f.pagesOf() + "/deliveries/" + failed.ID.String()
	if status, _, text := b.do(f, one, nil); status != http.StatusOK || !strings.Contains(text, "Your server answered 401 in ") {
		t.Errorf("the delivery answers %d: %s", status, text)
	}
	status, to, _ := b.do(f, one+"/redeliver", url.Values{})
	if status != http.StatusSeeOther || !strings.HasSuffix(to, "?notice=redelivered") || strings.Contains(to, failed.ID.String()) {
		t.Fatalf("redelivering answers %d to %q", status, to)
	}
	again := uuid.MustParse(strings.TrimSuffix(to[len(f.pagesOf()+"/deliveries/"):], "?notice=redelivered"))
	eventually(t, "the redelivery arrives", func() bool {
		d, err := f.Delivery(t.Context(), again)
		return err == nil && d.State == herald.Delivered
	})
	if _, _, text := b.do(f, one, nil); !strings.Contains(text, "/deliveries/"+again.String()) {
		t.Error("the delivery does not link to what repeats it")
	}
}

// TestPersonSendsAnExampleAndSeesWhatBecameOfIt goes from the catalogue to the event, and to the rules that it met and
// did not meet.
func TestPersonSendsAnExampleAndSeesWhatBecameOfIt(t *testing.T) {
	f := newFixture(t)
	hook := newReceiver(t, statuses(200))
	met, other := f.rule(hook.URL, uuid.Nil), f.rule(hook.URL, uuid.New())
	b := newBrowser(t)
	b.do(f, "/portal/sign-in", url.Values{"key": {f.account.APIKey}})
	kind := f.pagesOf() + "/catalogue/" + url.PathEscape(met.Type)
	status, _, text := b.do(f, kind, nil)
	field := regexp.MustCompile(`name="(company|connection)" value="([^"]+)"`).FindAllStringSubmatch(text, -1)
	data := regexp.MustCompile(`(?s)<textarea[^>]*name="data"[^>]*>(.*?)</textarea>`).FindStringSubmatch(text)
	if status != http.StatusOK || data == nil {
		t.Fatalf("the catalogue answers %d with the data %q: %s", status, data, text)
	}
	form := url.Values{"data": {html.UnescapeString(data[1])}}
	for _, one := range field {
		form.Set(one[1], one[2])
	}
	status, to, text := b.do(f, kind, form)
	event, published := strings.CutSuffix(to, "?notice=published")
	if status != http.StatusSeeOther || !published {
		t.Fatalf("the example as it is offered is answered with %d to %q: %s", status, to, text)
	}
	eventually(t, "the page says that it was delivered", func() bool {
		_, _, text = b.do(f, event, nil)
		return strings.Contains(text, "Delivered")
	})
	for _, says := range []string{"/rules/" + met.ID.String(), "/rules/" + other.ID.String(), "The rule is for the company"} {
		if !strings.Contains(text, says) {
			t.Errorf("the event's page does not have %q: %s", says, text)
		}
	}
	if _, _, text := b.do(f, f.pagesOf()+"/events?type="+url.QueryEscape(met.Type), nil); !strings.Contains(text, event) {
		t.Error("the event is not in the list of its type")
	}
	for data, says := range map[string]string{`{}`: "must have the member", `{"a":1,"a":2}`: "data-error", `[]`: "data-error", `{"a":`: "data-error"} {
		form.Set("data", data)
		if status, _, text := b.do(f, kind, form); status != http.StatusUnprocessableEntity || !strings.Contains(text, says) {
			t.Errorf("%s is answered with %d, without %q", data, status, says)
		}
	}
}

// TestSessionsEndOnEveryNode: a session that one node made is good at the other, until its key is revoked
// at the first.
func TestSessionsEndOnEveryNode(t *testing.T) {
	one := newFixture(t, onPostgres(t))
	two := one.secondNode()
	made, err := one.CreateKey(t.Context(), "portal", "analyst")
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	b.do(one, "/portal/sign-in", url.Values{"key": {made.APIKey}})
	if status, _, _ := b.do(two, one.pagesOf()+"/deliveries", nil); status != http.StatusOK {
		t.Fatalf("the other node answers %d", status)
	}
	if err := one.DeleteKey(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	for _, node := range []*fixture{two, one} {
		if status, to, _ := b.do(node, one.pagesOf()+"/deliveries", nil); status != http.StatusSeeOther || !strings.HasPrefix(to, "/portal/sign-in") {
			t.Errorf("after the key was revoked a node answers %d to %q", status, to)
		}
	}
}

func TestPortalLinkSignsInAtItsPage(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.PublicURL = "https://herald.example/" })
	made, err := f.operator.CreatePortalLink(t.Context(), f.account.ID, client.PortalLinkOptions{Role: "analyst", Path: "/deliveries?state=failed"})
	if err != nil {
		t.Fatal(err)
	}
	secret, found := strings.CutPrefix(made.URL, "https://herald.example/portal/link#")
	if !found || len(secret) != 43 {
		t.Fatalf("the link is %q", made.URL)
	}
	b := newBrowser(t)
	if status, to, _ := b.do(f, "/portal/link", url.Values{"secret": {secret}}); status != http.StatusSeeOther || to != f.pagesOf()+"/deliveries?state=failed" {
		t.Errorf("the link answers %d to %q", status, to)
	}
	if status, _, _ := newBrowser(t).do(f, "/portal/link", url.Values{"secret": {secret}}); status != http.StatusUnauthorized {
		t.Errorf("the link's second use answers %d", status)
	}
	if _, err := f.API.CreatePortalLink(t.Context(), f.account.ID, client.PortalLinkOptions{}); err == nil {
		t.Error("a client's key makes portal links")
	}
}

func TestPortalCanBeSwitchedOff(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.NoPortal = true })
	b := newBrowser(t)
	if status, _, text := b.do(f, "/", nil); status != http.StatusOK || !strings.Contains(text, "Herald is running") {
		t.Errorf("/ answers %d", status)
	}
	for _, path := range []string{"/portal/", "/portal/sign-in", "/portal/link"} {
		if status, _, text := b.do(f, path, nil); status != http.StatusNotFound || !strings.Contains(text, "statusCode") {
			t.Errorf("%s answers %d", path, status)
		}
	}
	if _, err := f.operator.CreatePortalLink(t.Context(), f.account.ID, client.PortalLinkOptions{}); err == nil || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("a link without the portal: %v", err)
	}
	if _, err := app.Start(t.Context(), app.Config{Listen: "127.0.0.1:0", DataDir: t.TempDir(), OperatorKeys: []string{operatorKey}, PortalFrameAncestors: []string{"https://a.example"}}); err == nil ||
		!strings.Contains(err.Error(), "without https") {
		t.Errorf("frames without https: %v", err)
	}
}

func TestFrameAncestorsAreOrigins(t *testing.T) {
	for _, text := range []string{"https://a.example", "https://a.example:8443"} {
		if err := app.CheckFrameAncestor(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "a.example", "http://a.example", "https://", "https://a.example/", "https://a.example/x", "https://a.example;script-src *", "https://a.example, *", "*", "'self'", "https://u@a.example"} {
		if app.CheckFrameAncestor(text) == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestOperatorLooksOnRecord: the audit log says which pages of a client the operator has opened, once for each kind.
func TestOperatorLooksOnRecord(t *testing.T) {
	f := newFixture(t)
	b := newBrowser(t)
	b.do(f, "/portal/sign-in", url.Values{"key": {operatorKey}})
	for _, page := range []string{"", "/deliveries", "/deliveries?state=failed", "/deliveries"} {
		if status, _, text := b.do(f, f.pagesOf()+page, nil); status != http.StatusOK || !strings.Contains(text, "as the operator, on record") {
			t.Errorf("%q answers %d", page, status)
		}
	}
	for _, page := range []string{"clients", "system", "event-types", "operator/clients/" + f.account.ID.String()} {
		if status, _, text := b.do(f, "/portal/"+page, nil); status != http.StatusOK {
			t.Errorf("%s answers %d: %s", page, status, text)
		}
	}
	changes, err := f.operator.Changes(t.Context(), f.account.ID, client.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	var viewed []string
	for _, c := range changes.Results {
		if c.Action == string(herald.ClientViewed) {
			viewed = append(viewed, c.Subject)
		}
	}
	if got := strings.Join(viewed, " "); got != "/deliveries /" {
		t.Errorf("on record is %q", got)
	}
}
