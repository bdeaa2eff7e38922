package webhook_test

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"herald"
	"herald/internal/egress"
	"herald/internal/test/dns"
	"herald/internal/webhook"
)

// attemptsPerSecond is the bound of the tests.
const attemptsPerSecond = 20

// limitedSender sends at most attemptsPerSecond attempts to an address.
func limitedSender(t *testing.T, change ...func(*webhook.Options)) *webhook.Sender {
	t.Helper()
	return newSender(t, append([]func(*webhook.Options){func(o *webhook.Options) {
		o.Guard = egress.New(egress.Options{Allow: loopback, AttemptsPerAddress: attemptsPerSecond})
		o.Timeout = 10 * time.Second
	}}, change...)...)
}

// withinLimit sends to the addresses in turn, as fast as it can, until attempts were refused a
// hundred times. It fails if more requests arrived than the time allows.
func withinLimit(t *testing.T, s *webhook.Sender, arrived *atomic.Int64, urls ...string) {
	t.Helper()
	began, sent, refused := time.Now(), 0, 0
	for n := 0; refused < 100 || sent < attemptsPerSecond; n++ {
		if time.Since(began) > time.Minute {
			t.Fatalf("%d sent and %d refused within a minute", sent, refused)
		}
		r := s.Send(t.Context(), webhook.Request{URL: urls[n%len(urls)], Body: []byte(`{"a":1}`), ClientID: clientID})
		switch {
		case r.Wait > 0 && r.Reason == herald.ReasonAttemptLimit:
			refused++
		case r.Status == http.StatusOK && r.Wait == 0:
			sent++
		default:
			t.Fatalf("%+v", r)
		}
	}
	allowed := int64(time.Since(began).Seconds()*attemptsPerSecond) + 3
	if got := arrived.Load(); got > allowed || got != int64(sent) {
		t.Errorf("%d requests arrived of %d sent in %v, more than %d", got, sent, time.Since(began), allowed)
	}
}

func counting(arrived *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) })
}

// TestKeptAliveConnectionsCountToo: the attempts on one connection are bounded, and the refused ones
// do not cost the connection.
func TestKeptAliveConnectionsCountToo(t *testing.T) {
	var arrived, connections atomic.Int64
	server := httptest.NewUnstartedServer(counting(&arrived))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	withinLimit(t, limitedSender(t), &arrived, server.URL)
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestAttemptsAreLimitedOverHTTP2(t *testing.T) {
	var arrived atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			arrived.Add(1)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	withinLimit(t, limitedSender(t, func(o *webhook.Options) { o.RootCAs = roots }), &arrived, server.URL)
}

// TestNamesOfOneAddressShareItsLimit: so do its ports.
func TestNamesOfOneAddressShareItsLimit(t *testing.T) {
	var arrived atomic.Int64
	server, other := httptest.NewServer(counting(&arrived)), httptest.NewServer(counting(&arrived))
	defer server.Close()
	defer other.Close()
	names := dns.Resolver(t, func(string) dns.Answer { return dns.Answer{Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}} })
	sender := limitedSender(t, func(o *webhook.Options) {
		o.Guard = egress.New(egress.Options{Allow: loopback, AttemptsPerAddress: attemptsPerSecond, Resolver: names})
	})
	port := func(s *httptest.Server) string { return s.URL[strings.LastIndexByte(s.URL, ':'):] }
	withinLimit(t, sender, &arrived, "http://a.example"+port(server), "http://b.example"+port(server), "http://c.example"+port(other))
}

// TestManyAtOnceAreLimited: attempts that begin at the same time, each of which may find a kept-alive
// connection or make one, do not slip through together.
func TestManyAtOnceAreLimited(t *testing.T) {
	var arrived atomic.Int64
	server := httptest.NewServer(counting(&arrived))
	defer server.Close()
	sender := limitedSender(t)
	began := time.Now()
	var refused atomic.Int64
	for refused.Load() < 100 && time.Since(began) < time.Minute {
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				r := sender.Send(context.Background(), webhook.Request{URL: server.URL, Body: []byte(`{}`), ClientID: clientID})
				if r.Wait > 0 {
					refused.Add(1)
				} else if r.Status != http.StatusOK {
					t.Errorf("%+v", r)
				}
			})
		}
		all.Wait()
	}
	allowed := int64(time.Since(began).Seconds()*attemptsPerSecond) + 3
	if got := arrived.Load(); got > allowed || refused.Load() < 100 || got == 0 {
		t.Errorf("%d requests arrived in %v, more than %d; %d were refused", got, time.Since(began), allowed, refused.Load())
	}
}

// TestRedirectsCountAtTheirTargets: whoever redirects to an address cannot exceed its limit either.
func TestRedirectsCountAtTheirTargets(t *testing.T) {
	var arrived atomic.Int64
	target := httptest.NewServer(counting(&arrived))
	defer target.Close()
	redirects := httptest.NewUnstartedServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	redirects.Listener.Close()
	redirects.Listener = listener
	redirects.Start()
	defer redirects.Close()
	sender := limitedSender(t)
	began := time.Now()
	for time.Since(began) < time.Minute && arrived.Load() < 2*attemptsPerSecond {
		for _, url := range []string{redirects.URL, target.URL} {
			sender.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`), ClientID: clientID})
		}
	}
	allowed := int64(time.Since(began).Seconds()*attemptsPerSecond) + 3
	if got := arrived.Load(); got > allowed || got < 2*attemptsPerSecond {
		t.Errorf("%d requests arrived in %v, want %d to %d", got, time.Since(began), 2*attemptsPerSecond, allowed)
	}
}

// TestLimitAfterARedirectIsAWait: an attempt whose redirect leads to an address that has had its attempts
// for longer than the attempt waits says when to try again, and that the first receiver has answered.
func TestLimitAfterARedirectIsAWait(t *testing.T) {
	var arrived atomic.Int64
	target := httptest.NewServer(counting(&arrived))
	defer target.Close()
	redirects := httptest.NewUnstartedServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	redirects.Listener.Close()
	redirects.Listener = listener
	redirects.Start()
	defer redirects.Close()
	guard := egress.New(egress.Options{Allow: loopback, AttemptsPerAddress: 1})
	for range 10 { // others wait for their turns
		_ = guard.TakeAttempt(target.Listener.Addr())
	}
	s := newSender(t, func(o *webhook.Options) { o.Guard, o.Timeout = guard, 10*time.Second })
	r := s.Send(t.Context(), webhook.Request{URL: redirects.URL, Body: []byte(`{}`), ClientID: clientID})
	if r.Reason != herald.ReasonAttemptLimit || r.Wait < 2*time.Second || !r.Sent() || arrived.Load() != 0 {
		t.Errorf("%+v; %d requests arrived", r, arrived.Load())
	}
}
