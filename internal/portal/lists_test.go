package portal

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"herald"
)

// TestUnknownFiltersAreRefused on every page with filters: a list without them would look like what was asked for.
func TestUnknownFiltersAreRefused(t *testing.T) {
	f := newFixture(t)
	for range 11 { // the form of the rules' filter needs some
		f.rules = append(f.rules, f.rules[0])
		f.unsubscribed = append(f.unsubscribed, herald.Unsubscribed{Address: "x@y.example"})
	}
	lists := 0
	for _, at := range f.portal.routes() {
		method, target := filled(t, at.pattern, pathValues(acme))
		session := f.signedIn("operator")
		if method != http.MethodGet || at.pattern == livePattern || strings.HasSuffix(at.pattern, "/compare") || strings.HasSuffix(at.pattern, "/inbox") {
			continue // the forms of these two are no filters
		}
		if w := f.request(session, method, target, nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `class="filters"`) {
			continue
		}
		lists++
		w := f.request(session, method, target+"?shape=round%3Cb%3E", nil)
		if w.Code != http.StatusUnprocessableEntity && w.Code != http.StatusBadRequest {
			t.Errorf("%s with an unknown filter: status %d", target, w.Code)
		}
		has(t, w.Body.String(), "“shape” is no filter of this list. It can be filtered by ")
	}
	if lists < 7 {
		t.Errorf("%d lists were found: the test proves nothing", lists)
	}
	session := f.signedIn("acme")
	for query, want := range map[string]string{
		"state=failed&state=pending":         "“state” has 2 values; the list takes one.",
		"statuses=503&Rule=" + acme.String(): "“statuses” is no filter of this list. It can be filtered by state, type, receiver, company, alert, event, rule, status, reason, since, until.",
		"a=1&b=1&c=1&d=1&e=1&f=1&g=1":        "“e” is no filter of this list. 2 more are wrong.",
		"status=5":                           "is no status such as 503",
		"status=failed":                      "and no class of them such as 5xx",
		"rule=x":                             "is not an id",
	} {
		has(t, f.page(session, http.StatusUnprocessableEntity, of(acme, "/deliveries?"+query)), want, "Clear filters")
	}
	has(t, f.page(session, http.StatusBadRequest, of(acme, "/deliveries?state=failed&receiver=%zz")), "cannot be read")
	f.page(session, http.StatusOK, of(acme, "/deliveries?notice=cancelled&state=failed&state=failed&back=&after="))
}

// TestDeliveriesAreFilteredByStatus: by one, and by a class.
func TestDeliveriesAreFilteredByStatus(t *testing.T) {
	f := newFixture(t)
	session := f.signedIn("acme")
	for text, want := range map[string]herald.Statuses{"503": {From: 503, To: 503}, "5xx": {From: 500, To: 599}} {
		has(t, f.page(session, http.StatusOK, of(acme, "/deliveries?"+url.Values{"status": {text}}.Encode())), `value="`+text+`"`, "<details open>")
		if f.filter.Status != want {
			t.Errorf("%s selects %+v, want %+v", text, f.filter.Status, want)
		}
	}
}
