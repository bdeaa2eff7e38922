package webhook_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"herald/internal/webhook"
)

// TestEchoedAuthorizationIsNotRecorded: a receiver puts the header everywhere in its answer, in several
// forms, also across the place where the body is cut. The record of the attempt has none of it.
func TestEchoedAuthorizationIsNotRecorded(t *testing.T) {
	const credentials = "hunter2/secret+token"
	header := "Bearer " + credentials
	for name, answer := range map[string]func(w http.ResponseWriter, got string){
		"body":   func(w http.ResponseWriter, got string) { w.WriteHeader(500); _, _ = io.WriteString(w, "you sent "+got) },
		"header": func(w http.ResponseWriter, got string) { w.Header().Set("X-Echo", got); w.WriteHeader(500) },
		"name of a header": func(w http.ResponseWriter, got string) {
			w.Header()["X-"+strings.NewReplacer(" ", "-", "/", "-", "+", "-").Replace(got)+"-Hunter2"] = []string{credentials}
			w.WriteHeader(500)
		},
		"redirect": func(w http.ResponseWriter, got string) {
			w.Header().Set("Location", "/?echo="+url.QueryEscape(got))
			w.WriteHeader(307)
		},
		"bad redirect": func(w http.ResponseWriter, got string) {
			w.Header().Set("Location", "ftp://"+url.PathEscape(got))
			w.WriteHeader(302)
		},
		"base64": func(w http.ResponseWriter, _ string) {
			_, _ = io.WriteString(w, base64.StdEncoding.EncodeToString([]byte(credentials)))
		},
		"cut of a success": func(w http.ResponseWriter, got string) {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<10-20)+got+strings.Repeat("y", 1<<10))
		},
		"many times, and at the end of what is read": func(w http.ResponseWriter, got string) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, strings.Repeat(got+"\n", 4000))
		},
		"many times in a success": func(w http.ResponseWriter, got string) { _, _ = io.WriteString(w, strings.Repeat(got, 4000)) },
		"cut of a failure": func(w http.ResponseWriter, got string) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, strings.Repeat("x", 64<<10-20)+got+strings.Repeat("y", 1<<10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				answer(w, r.Header.Get("Authorization"))
			}))
			defer server.Close()
			got := newSender(t).Send(t.Context(), webhook.Request{URL: server.URL, Body: []byte(`{}`), Authorization: header})
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{"hunter2", "secret+token", "secret%2Btoken", base64.RawStdEncoding.EncodeToString([]byte(credentials))[:12]} {
				if strings.Contains(string(text), part) && name != "name of a header" || strings.Contains(string(text), "secret+token") {
					t.Errorf("the record has %q: %.300s", part, text)
				}
			}
			if calls == 0 || !strings.Contains(string(text), "…") {
				t.Errorf("%d calls; nothing is masked: %.300s", calls, text)
			}
		})
	}
}
