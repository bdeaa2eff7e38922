package webhook_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"herald"
	"herald/internal/webhook"
)

// seen keeps the headers of the requests that receivers got, by path.
type seen struct {
	mu      sync.Mutex
	headers map[string]http.Header
}

func (s *seen) redirect(to string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.headers[r.URL.Path] = r.Header.Clone()
		if to != "" {
			w.Header().Set("Location", to)
		}
		w.WriteHeader(status)
	}
}

// TestRecordHasEachRequestAsItWasSent: through redirects within an origin, to another one, and back. The
// record of each request has the headers that its receiver got, and why there was no Authorization.
func TestRecordHasEachRequestAsItWasSent(t *testing.T) {
	s := &seen{headers: make(map[string]http.Header)}
	home, away := http.NewServeMux(), http.NewServeMux()
	first, other := httptest.NewServer(home), httptest.NewServer(away)
	defer first.Close()
	defer other.Close()
	home.Handle("/start", s.redirect("/same", 300))
	home.Handle("/same", s.redirect(other.URL+"/there", 308))
	away.Handle("/there", s.redirect(first.URL+"/back", 307))
	home.Handle("/back", s.redirect("", 401))
	got := send(t, first.URL+"/start")
	if got.Status != 401 || len(got.Request.Hops) != 3 {
		t.Fatalf("status %d (%s), hops %+v", got.Status, got.Error, got.Request.Hops)
	}
	hops := got.Request.Hops
	records := append([]herald.Hop{{Status: 0, URL: got.Request.URL, Method: got.Request.Method, Headers: got.Request.Headers}}, hops...)
	for i, path := range []string{first.URL + "/start", first.URL + "/same", other.URL + "/there", first.URL + "/back"} {
		r := records[i]
		if r.URL != path || r.Method != "POST" || r.Status != []int{0, 300, 308, 307}[i] || r.Unsent {
			t.Errorf("request %d: %+v", i, r)
		}
		sent := map[string]string{}
		for name, values := range s.headers[path[strings.LastIndexByte(path, '/'):]] {
			sent[strings.ToLower(name)] = values[0]
		}
		delete(sent, "content-length") // net/http adds it
		if sent["authorization"] != "" {
			sent["authorization"] = "Basic …"
		}
		recorded := map[string]string{}
		for name, value := range r.Headers {
			recorded[strings.ToLower(name)] = value
		}
		if diff := cmp.Diff(sent, recorded); diff != "" {
			t.Errorf("request %d (-received +recorded):\n%s", i, diff)
		}
		why := []string{"", "", "leads to another origin", "an earlier redirect"}[i]
		if _, has := sent["authorization"]; has != (why == "") || !strings.Contains(r.AuthorizationDropped, why) || has && r.AuthorizationDropped != "" {
			t.Errorf("request %d: Authorization was sent: %v; %q", i, has, r.AuthorizationDropped)
		}
	}
}

// TestRecordSaysWhatWasNotSent: a request for which there was no connection, the first or after a redirect.
func TestRecordSaysWhatWasNotSent(t *testing.T) {
	if got := send(t, nobodyListens); got.Reason != herald.ReasonConnectRefused || !got.Request.Unsent {
		t.Errorf("refused: %q, %+v", got.Reason, got.Request)
	}
	start := httptest.NewServer(http.RedirectHandler(nobodyListens, http.StatusTemporaryRedirect))
	defer start.Close()
	if got := send(t, start.URL); got.Request.Unsent || len(got.Request.Hops) != 1 || !got.Request.Hops[0].Unsent {
		t.Errorf("refused after a redirect: %q, %+v", got.Reason, got.Request)
	}
	silent := raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	if got := newSender(t).Send(t.Context(), webhook.Request{URL: silent}); got.Reason != herald.ReasonTimeout || got.Request.Unsent {
		t.Errorf("no answer: %q, %+v", got.Reason, got.Request)
	}
}
