package webhook_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"herald"
	"herald/internal/egress"
	"herald/internal/webhook"
)

func TestQuestionForConsentIsAsSpecified(t *testing.T) {
	var got http.Header
	var method, uri string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, method, uri = r.Header, r.Method, r.RequestURI
		w.Header().Set("WebHook-Allowed-Origin", "herald.example")
		w.Header().Set("WebHook-Allowed-Rate", "120")
	}))
	defer server.Close()
	c := newSender(t).AskConsent(t.Context(), server.URL+"/hook?a=1", "herald.example", 600)
	if !c.Given || c.PerMinute != 120 {
		t.Errorf("%+v", c)
	}
	if method != http.MethodOptions || uri != "/hook?a=1" || got.Get("WebHook-Request-Origin") != "herald.example" || got.Get("WebHook-Request-Rate") != "600" {
		t.Errorf("%s %s with %v", method, uri, got)
	}
	newSender(t).AskConsent(t.Context(), server.URL, "herald.example", 0)
	if _, has := got["Webhook-Request-Rate"]; has {
		t.Errorf("a rate without a limit: %v", got)
	}
}

// TestWhatIsNoConsent: only a 2xx with the right header is one, and a redirect is not followed.
func TestWhatIsNoConsent(t *testing.T) {
	answer := func(status int, header ...string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	consents := answer(200, "WebHook-Allowed-Origin", "*")
	for _, test := range []struct {
		name, url, says string
		reason          herald.Reason
	}{
		{"method not allowed", answer(405, "WebHook-Allowed-Origin", "*"), "405", ""},
		{"redirect", answer(307, "Location", consents, "WebHook-Allowed-Origin", "*"), "307", ""},
		{"CORS only", answer(204, "Access-Control-Allow-Origin", "*"), "no WebHook-Allowed-Origin", ""},
		{"another origin", answer(200, "WebHook-Allowed-Origin", "evil.example"), "evil.example", ""},
		{"a list", answer(200, "WebHook-Allowed-Origin", "evil.example, *"), "evil.example", ""},
		{"a negative rate", answer(200, "WebHook-Allowed-Origin", "*", "WebHook-Allowed-Rate", "-1"), "-1", ""},
		{"a rate that overflows", answer(200, "WebHook-Allowed-Origin", "*", "WebHook-Allowed-Rate", "99999999999999999999"), "9999", ""},
		{"a long origin", answer(200, "WebHook-Allowed-Origin", strings.Repeat("x", 50_000)), "xxx", ""},
		{"nobody listens", nobodyListens, "refused", herald.ReasonConnectRefused},
		{"no answer", raw(t, func(c net.Conn) { readRequest(c) }), "broke", herald.ReasonReset},
	} {
		c := newSender(t).AskConsent(t.Context(), test.url, "herald.example", 60)
		if c.Given || c.Reason != test.reason || !strings.Contains(c.Why, test.says) || len(c.Why) > 1000 {
			t.Errorf("%s: %.300v", test.name, c)
		}
	}
	if c := newSender(t, func(o *webhook.Options) { o.Guard = egress.New(egress.Options{}) }).AskConsent(t.Context(), consents, "herald.example", 0); c.Given || c.Reason != herald.ReasonNotAllowed {
		t.Errorf("a forbidden address: %+v", c)
	}
}

// TestQuestionsCountAsAttempts: they are bounded for each address too.
func TestQuestionsCountAsAttempts(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(counting(&asked))
	defer server.Close()
	sender := newSender(t, func(o *webhook.Options) {
		o.Guard = egress.New(egress.Options{Allow: loopback, AttemptsPerAddress: 1})
	})
	for n := 1; ; n++ {
		before := asked.Load()
		c := sender.AskConsent(t.Context(), server.URL, "herald.example", 0)
		if c.Wait > 0 {
			if c.Given || asked.Load() != before {
				t.Errorf("refused, but asked: %+v", c)
			}
			return
		}
		if n == 1000 {
			t.Fatal("a thousand questions were not bounded")
		}
	}
}
