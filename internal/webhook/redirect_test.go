package webhook_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"herald"
	"herald/internal/webhook"
)

func TestRedirectsKeepMethodAndBody(t *testing.T) {
	for _, status := range []int{300, 301, 302, 303, 307, 308, 305, 399} {
		var method, body, authorization string
		end := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			method, body, authorization = r.Method, string(text), r.Header.Get("Authorization")
		}))
		start := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", end.URL+"/end")
			w.WriteHeader(status)
		}))
		got := send(t, start.URL)
		start.Close()
		end.Close()
		if got.Status != 200 || method != "POST" || body != `{"a":1}` {
			t.Errorf("%d: status %d (%s); the end got %s %s", status, got.Status, got.Error, method, body)
		}
		if authorization != "" {
			t.Errorf("%d: another origin got the Authorization header", status)
		}
		if len(got.Request.Hops) != 1 || got.Request.Hops[0].Status != status {
			t.Errorf("%d: the record's hops are %+v", status, got.Request.Hops)
		}
	}
}

func TestAuthorizationIsNotSentAgainAfterAnotherOrigin(t *testing.T) {
	var there, back string
	var home *httptest.Server
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		there = r.Header.Get("Authorization")
		http.Redirect(w, r, home.URL+"/end", http.StatusTemporaryRedirect)
	}))
	defer away.Close()
	var same string
	home = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			http.Redirect(w, r, "/same", http.StatusTemporaryRedirect)
		case "/same":
			same = r.Header.Get("Authorization")
			http.Redirect(w, r, away.URL, http.StatusTemporaryRedirect)
		default:
			back = r.Header.Get("Authorization")
		}
	}))
	defer home.Close()
	if got := send(t, home.URL+"/"); got.Status != 200 || same != "Basic c2VjcmV0" || there != "" || back != "" {
		t.Errorf("status %d (%s); same origin %q, other %q, back %q", got.Status, got.Error, same, there, back)
	}
}

func TestRedirectsThatMayNotBeFollowed(t *testing.T) {
	for _, test := range []struct {
		name, location string
		status         int
		reason         herald.Reason
	}{
		{"none", "", 302, herald.ReasonRedirect},
		{"300 without one", "", 300, herald.ReasonRedirect},
		{"304", "/x", 304, herald.ReasonRedirect},
		{"not an address", "http://%zz/", 302, herald.ReasonRedirect},
		{"another scheme", "ftp://example.com/", 302, herald.ReasonRedirect},
		{"a user", "http://a:b@127.0.0.1/", 302, herald.ReasonRedirect},
		{"a loop", "/", 307, herald.ReasonRedirect},
		{"a private address", "http://10.0.0.1/", 307, herald.ReasonNotAllowed},
		{"the cloud's metadata", "http://169.254.169.254/latest", 301, herald.ReasonNotAllowed},
	} {
		t.Run(test.name, func(t *testing.T) {
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				if test.location != "" {
					w.Header().Set("Location", test.location)
				}
				w.WriteHeader(test.status)
			}))
			defer server.Close()
			got := send(t, server.URL+"/")
			if got.Reason != test.reason || got.Error == "" || strings.Contains(got.Error, "denied by") {
				t.Errorf("reason %q, error %q; want %q", got.Reason, got.Error, test.reason)
			}
			if want := map[bool]int{true: 6, false: 1}[test.name == "a loop"]; requests != want {
				t.Errorf("%d requests, want %d", requests, want)
			}
		})
	}
}

func TestHopTakesAPlaceWhereItLeads(t *testing.T) {
	end := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer end.Close()
	start := httptest.NewServer(http.RedirectHandler(end.URL, http.StatusTemporaryRedirect))
	defer start.Close()
	var entered []string
	left := 0
	enter := func(_ context.Context, origin string) (func(), error) {
		entered = append(entered, origin)
		return func() { left++ }, nil
	}
	newSender(t).Send(t.Context(), webhook.Request{URL: start.URL, Body: []byte("{}"), Enter: enter})
	if len(entered) != 1 || entered[0] != end.URL || left != 1 {
		t.Errorf("entered %v and left %d times, want %s once", entered, left, end.URL)
	}
}

// certificate makes a self-signed certificate and a pool that trusts it.
func certificate(t *testing.T, host string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{host},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestCertificatesAreVerified(t *testing.T) {
	for _, test := range []struct {
		name, host string
		until      time.Time
		trusted    bool
		says       string
	}{
		{"good", "localhost", time.Now().Add(time.Hour), true, ""},
		{"expired", "localhost", time.Now().Add(-time.Hour), true, "expired"},
		{"another host's", "elsewhere.example", time.Now().Add(time.Hour), true, "another host"},
		{"self-signed", "localhost", time.Now().Add(time.Hour), false, "signed by an unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			made, pool := certificate(t, test.host, test.until)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{made}}
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			s := newSender(t, func(o *webhook.Options) {
				o.Timeout = 5 * time.Second
				if test.trusted {
					o.RootCAs = pool
				}
			})
			got := s.Send(t.Context(), webhook.Request{URL: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), Body: []byte("{}")})
			s.Close()
			switch {
			case test.says == "" && got.Status != 200:
				t.Errorf("status %d: %s", got.Status, got.Error)
			case test.says != "" && (got.Reason != herald.ReasonTLS || !strings.Contains(got.Error, test.says)):
				t.Errorf("reason %q, error %q; want tls and %q", got.Reason, got.Error, test.says)
			}
		})
	}
}

// TestWhatAllowSaysOfARedirect: a refusal has its own reason, what can be called later has its wait, and
// any other error is a fault of this service. In each case the redirect is on record.
func TestWhatAllowSaysOfARedirect(t *testing.T) {
	var arrived atomic.Int64
	target := httptest.NewServer(counting(&arrived))
	defer target.Close()
	redirects := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	defer redirects.Close()
	for _, test := range []struct {
		err    error
		reason herald.Reason
		wait   time.Duration
	}{
		{&webhook.Refusal{Reason: herald.ReasonNoConsent, Why: "it does not consent"}, herald.ReasonNoConsent, 0},
		{&webhook.Refusal{Reason: herald.ReasonNotAllowed, Why: "a forbidden address"}, herald.ReasonNotAllowed, 0},
		{&webhook.Refusal{Reason: herald.ReasonAttemptLimit, Why: "not now", Wait: time.Minute}, herald.ReasonAttemptLimit, time.Minute},
		{errors.New("the database is away"), herald.ReasonLocal, 0},
	} {
		r := newSender(t).Send(t.Context(), webhook.Request{URL: redirects.URL, Body: []byte(`{}`), Allow: func(context.Context, string) error { return test.err }})
		if r.Reason != test.reason || r.Wait != test.wait || !r.Sent() || r.Status != http.StatusTemporaryRedirect || !strings.Contains(r.Error, test.err.Error()) {
			t.Errorf("%v: %+v", test.err, r)
		}
	}
	if n := arrived.Load(); n != 0 {
		t.Errorf("%d requests arrived at the target", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := newSender(t).Send(ctx, webhook.Request{URL: redirects.URL, Body: []byte(`{}`), Allow: func(context.Context, string) error {
		cancel()
		return ctx.Err()
	}})
	if r.Reason != herald.ReasonInterrupted {
		t.Errorf("the service stops: %+v", r)
	}
}
