package native

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"herald"
)

// FuzzParameters: every query string of a list is read within the limits of a page, or
// refused with a 400 of bounded length.
func FuzzParameters(f *testing.F) {
	for _, seed := range []string{
		"", "limit=50&after=11111111-1111-4111-8111-111111111111", "limit=0", "limit=501", "limit=%2b7", "limit=9999999999999999999", "limit=1&limit=2",
		"after=x", "colour=red", "%zz", "a;b", "limit=&after=", "LIMIT=1", "after=%00", "limit=" + strings.Repeat("9", 500), "%ff=%fe", "after=%ff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/events", nil)
		r.URL = &url.URL{Path: "/events", RawQuery: query}
		err := checkParameters(r, pageParameters())
		p := parametersOf(r)
		limit, after := p.limit(), p.id("after")
		if err == nil {
			err = p.err
		}
		if err == nil {
			if limit < 1 || limit > maxLimit {
				t.Errorf("%q: limit %d", query, limit)
			}
			if given := r.URL.Query().Get("after"); given != "" && !strings.EqualFold(after.String(), given) {
				t.Errorf("%q: after %s", query, after)
			}
			return
		}
		if herald.CodeOf(err) != herald.CodeInvalid || len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
			t.Errorf("%q: %s, %q", query, herald.CodeOf(err), err)
		}
	})
}
