package codat_test

import (
	"net/http"
	"strings"
	"testing"

	"herald/internal/api/codat"
)

// TestPathsMatchInAnyCaseAndWithASlash for every call of the surface, whose answer and body are the same.
func TestPathsMatchInAnyCaseAndWithASlash(t *testing.T) {
	r := newFixture(t)
	rule := r.create(`{"type":"Sync Failed"}`)
	upper := strings.ToUpper(rule.ID.String())
	spellings := map[string]func(string) string{
		"lower case": strings.ToLower, "upper case": strings.ToUpper, "a slash": func(path string) string { return path + "/" },
		"both":    func(path string) string { return strings.ToUpper(path) + "/" },
		"escapes": func(path string) string { return strings.NewReplacer("r", "%72", "p", "%50", "K", "%6b").Replace(path) },
	}
	for _, c := range calls {
		if c.method == "DELETE" {
			continue // is the last below
		}
		path := strings.Replace(c.path, someID, upper, 1)
		want := r.as(acmeKey, c.method, path, c.body)
		for name, spell := range spellings {
			got := r.as(acmeKey, c.method, spell(path), c.body)
			if got.Code != want.Code || got.Header().Get("Location") != "" {
				t.Errorf("%s %s with %s: %d %s, want %d", c.method, path, name, got.Code, got.Body, want.Code)
			}
			if c.method == "GET" && want.Code == 200 {
				// The links of a list have the id as it came.
				same(t, c.method+" "+path+" with "+name, strings.ToLower(want.Body.String()), strings.ToLower(got.Body.String()))
			}
		}
	}
	if len(r.keys) < 2+len(spellings) {
		t.Errorf("%d keys: a POST lost its body", len(r.keys))
	}
	r.must(200, "DELETE", "/Rules/"+upper+"/", "")
	r.must(204, "DELETE", "/APIKEYS/"+r.keys[len(r.keys)-1].ID.String()+"/", "")
}

// TestOtherSpellingsAreNotFound: what is no spelling of a path stays unknown, and a wrong method of
// any spelling is told the right ones.
func TestOtherSpellingsAreNotFound(t *testing.T) {
	r := newFixture(t)
	for _, path := range []string{"//rules", "/rules//", "/rules//alerts", "/./rules", "/rules/../profile", "/rule", "/rules%2F", "/rules%2Falerts", "/api/rules", "/apiKeys\u212a", "/profile/syncSettings/x"} {
		if f := failed(t, r.as(acmeKey, "GET", path, "")); f.Status != 404 {
			t.Errorf("%s: %+v, want 404", path, f)
		}
	}
	for _, path := range []string{"/rules", "/RULES", "/Rules/"} {
		answer := r.as(acmeKey, "PATCH", path, `{}`)
		if f := failed(t, answer); f.Status != 405 || answer.Header().Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("PATCH %s: %+v, Allow %q", path, f, answer.Header().Get("Allow"))
		}
	}
}

func FuzzAnyCase(f *testing.F) {
	for _, path := range []string{"/rules", "/RULES/x/", "/apikeys/%2f", "/Profile/SYNCSETTINGS//", "/x", "rules", "/rules/%41LERTS"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		request, err := http.NewRequest("GET", "http://x.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		if request.URL, err = request.URL.Parse(path); err != nil {
			return
		}
		spell := func(r *http.Request) (got *http.Request) {
			codat.AnyCase(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r })).ServeHTTP(nil, r)
			return got
		}
		once := spell(request)
		before, after := request.URL.Path, once.URL.Path
		if !strings.EqualFold(before, after) && !strings.EqualFold(before, after+"/") {
			t.Errorf("%q becomes %q: more than case and a slash changed", before, after)
		}
		if twice := spell(once).URL.Path; twice != after && !strings.HasSuffix(after, "/") {
			t.Errorf("%q becomes %q and then %q", path, after, twice)
		}
	})
}
