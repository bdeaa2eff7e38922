package webhook_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"herald"
	"herald/internal/egress"
	"herald/internal/webhook"
)

// withoutDescriptors runs fn while the process can open no file and no socket.
func withoutDescriptors(t *testing.T, fn func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	fn()
}

// TestFaultsOfThisServiceAreTold: what fails on this side is not taken for the receiver's fault.
func TestFaultsOfThisServiceAreTold(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	nobody := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", closed.Addr().String())
	}}
	var calls int
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
	defer receiver.Close()
	proxy := func(address string) egress.Options {
		return egress.Options{Proxy: &url.URL{Scheme: "http", Host: address}}
	}
	for _, test := range []struct {
		name  string
		guard egress.Options
		url   string
		says  string
		run   func(*testing.T, func())
	}{
		{"no descriptors", egress.Options{Allow: loopback}, receiver.URL, "file descriptors", withoutDescriptors},
		{"no descriptors to resolve", egress.Options{}, "https://a.example/", "file descriptors", withoutDescriptors},
		{"name server", egress.Options{Resolver: nobody}, "https://a.example/", "name server", nil},
		{"proxy", proxy(closed.Addr().String()), "https://a.example/", "egress proxy", nil},
		{"proxy, over http", proxy(closed.Addr().String()), "http://a.example/", "egress proxy", nil},
		{"proxy's name", proxy("no-such-host.invalid:3128"), "https://a.example/", "egress proxy", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSender(t, func(o *webhook.Options) { o.Guard, o.Timeout = egress.New(test.guard), 5*time.Second })
			var got webhook.Result
			send := func() { got = s.Send(t.Context(), webhook.Request{URL: test.url, Body: []byte(`{}`)}) }
			if test.run != nil {
				test.run(t, send)
			} else {
				send()
			}
			if got.Reason != herald.ReasonLocal || !strings.Contains(got.Error, test.says) || !strings.Contains(got.Error, "nothing was sent") {
				t.Errorf("reason %q, error %q; want local, with %q", got.Reason, got.Error, test.says)
			}
		})
	}
	if calls != 0 {
		t.Errorf("the receiver got %d requests", calls)
	}
}

// TestFaultAfterARedirectUsesUpARetry: the first receiver has got the request, so it is not true that
// nothing was sent.
func TestFaultAfterARedirectUsesUpARetry(t *testing.T) {
	nobody := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "udp", Err: syscall.ECONNREFUSED}
	}}
	redirects := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", "http://a.example/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer redirects.Close()
	s := newSender(t, func(o *webhook.Options) { o.Guard = egress.New(egress.Options{Allow: loopback, Resolver: nobody}) })
	if got := s.Send(t.Context(), webhook.Request{URL: redirects.URL, Body: []byte(`{}`)}); got.Reason != herald.ReasonDNS {
		t.Errorf("reason %q (%s), want dns", got.Reason, got.Error)
	}
}
