package browser_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"herald/internal/app"
	"herald/internal/secret"
	"herald/internal/test/browser"
	"herald/internal/test/postgres"
)

// TestTwoNodesAreOnePortal has two nodes behind a balancer that sends each request to the other one: the session that one made
// is good at both, until its key is revoked.
func TestTwoNodesAreOnePortal(t *testing.T) {
	address, keyFile := postgres.Database(t), t.TempDir()+"/secret.key"
	if _, err := secret.LoadOrMakeKey(keyFile); err != nil {
		t.Fatal(err)
	}
	onPostgres := func(c *app.Config) { c.Database, c.SecretKeyFile, c.NodeTimeout = address, keyFile, 5*time.Second }
	one, two := startService(t, onPostgres), startService(t, onPostgres)
	origins := []string{one.origin, two.origin}
	var count atomic.Int64
	served := make([]atomic.Int64, len(origins))
	balancer := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		n := int(count.Add(1)) % len(origins)
		served[n].Add(1)
		to, err := url.Parse(origins[n])
		if err != nil {
			panic(err)
		}
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}, ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() != context.Canceled {
			w.WriteHeader(http.StatusBadGateway)
		}
	}})
	t.Cleanup(balancer.Close)
	a := one.account("Acme")
	a.seed(t)
	key := a.key("developer")
	tab := browser.NewTab(t, balancer.URL)
	signIn(tab, key.APIKey)
	for range 3 {
		tab.Open(a.path("/deliveries"), http.StatusOK)
		tab.Goes("open the first", click("#results a.whole"))
		tab.Goes("overview", click(`nav a`))
		if tab.Path() != a.path("") {
			t.Fatalf("the overview is at %s", tab.Path())
		}
	}
	for n := range served {
		if served[n].Load() < 5 {
			t.Errorf("node %d served %d requests", n, served[n].Load())
		}
	}
	if err := a.api.DeleteKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		tab.Open(a.path("/deliveries"), http.StatusOK)
		if !strings.HasPrefix(tab.Path(), "/portal/sign-in") {
			t.Errorf("after its key was revoked the session opens %s", tab.Path())
		}
	}
}
