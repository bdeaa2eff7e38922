package webhook_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"herald/internal/webhook"
)

// TestAttemptsThatShareHeadersDoNotChangeThem: rules of two clients, with and without a header, whose
// receivers redirect to another origin or answer at once. Each request has its own rule's headers, and so has
// its record, whatever attempts were made before or are made at the same time.
func TestAttemptsThatShareHeadersDoNotChangeThem(t *testing.T) {
	got := func(r *http.Request) string {
		return fmt.Sprint(r.Header.Get("X-Codat-ClientId"), " ", r.Header.Get("Authorization"), " ", r.Header.Get(webhook.TestHeader))
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, got(r)) }))
	defer other.Close()
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, other.URL+"/there", http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprint(w, got(r))
	}))
	defer home.Close()
	s := newSender(t, func(o *webhook.Options) { o.Timeout = 0 })
	check := func(path string, client uuid.UUID, authorization string, test bool) {
		result := s.Send(t.Context(), webhook.Request{URL: home.URL + path, Body: []byte(`{}`), ClientID: client, Authorization: authorization, Test: test})
		sent, recorded, value := authorization, "", ""
		if path == "/away" {
			sent = ""
		}
		if authorization != "" {
			recorded = "Bearer …"
		}
		if test {
			value = "true"
		}
		want := fmt.Sprint(client, " ", sent, " ", value)
		if sent != "" {
			want = strings.Replace(want, sent, "…", 1) // the answer repeats it
		}
		if result.Status != 200 || result.Response.Body != want {
			t.Errorf("%s %s: status %d (%s), the receiver got %q, want %q", path, authorization, result.Status, result.Error, result.Response.Body, want)
		}
		headers := result.Request.Headers
		if headers["Authorization"] != recorded || headers["X-Codat-ClientId"] != client.String() || headers[webhook.TestHeader] != value {
			t.Errorf("%s %s: the record has %v", path, authorization, headers)
		}
		if path == "/away" && (len(result.Request.Hops) != 1 || result.Request.Hops[0].Headers["Authorization"] != "") {
			t.Errorf("%s %s: hops %+v", path, authorization, result.Request.Hops)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, client := range []uuid.UUID{clientID, uuid.Max} {
				for _, authorization := range []string{"Bearer first-secret", "", "Bearer second-secret"} {
					for _, path := range []string{"/away", "/"} {
						check(path, client, authorization, false)
						check(path, client, authorization, true)
					}
				}
			}
		})
	}
	wg.Wait()
}
