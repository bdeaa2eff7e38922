package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"herald"
	"herald/internal/webhook"
)

// hanging is a receiver that does not answer on the connections that it knew when hang was called. They
// stay open, and answer pings.
type hanging struct {
	mu      sync.Mutex
	known   map[string]bool // by the client's address
	hangs   map[string]bool
	protos  map[string]bool
	release chan struct{} // lets what hangs be answered
}

func (h *hanging) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	h.mu.Lock()
	h.known[r.RemoteAddr], h.protos[r.Proto] = true, true
	hangs, release := h.hangs[r.RemoteAddr], h.release
	h.mu.Unlock()
	if hangs || r.URL.Path == "/slow" {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}
}

func (h *hanging) hang() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	for address := range h.known {
		h.hangs[address] = true
	}
	return len(h.known)
}

// answer lets what hangs be answered.
func (h *hanging) answer() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.release)
	h.release = make(chan struct{})
}

func newHanging(t *testing.T, http2 bool) (h *hanging, url string, trust func(*webhook.Options)) {
	t.Helper()
	h = &hanging{known: make(map[string]bool), hangs: make(map[string]bool), protos: make(map[string]bool), release: make(chan struct{})}
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return h, server.URL, func(o *webhook.Options) { o.RootCAs = roots }
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// TestTimedOutConnectionGetsNoMoreRequests: one attempt times out, and the next is delivered. What was
// under way on the same connection goes on.
func TestTimedOutConnectionGetsNoMoreRequests(t *testing.T) {
	for _, over := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			h, url, trust := newHanging(t, over == "HTTP/2.0")
			s := newSender(t, trust, func(o *webhook.Options) { o.Timeout = 2 * time.Second })
			patient, cancel := context.WithCancel(t.Context())
			defer cancel()
			var slow sync.WaitGroup
			request := webhook.Request{URL: url, Body: []byte(`{"a":1}`)}
			for range 4 { // several at once make several connections of HTTP/1.1
				slow.Go(func() { s.Send(patient, webhook.Request{URL: url + "/slow", Body: []byte(`{"a":1}`)}) })
			}
			eventually(t, "the receiver got no request", func() bool { return h.hang() > 0 })
			h.answer()
			slow.Wait()
			for range 2 {
				h.hang()
				if got := s.Send(t.Context(), request); got.Reason != herald.ReasonTimeout && got.Status != 200 {
					t.Fatalf("reason %q, status %d (%s)", got.Reason, got.Status, got.Error)
				}
				if got := s.Send(t.Context(), request); got.Status != 200 {
					t.Fatalf("after a timeout: reason %q (%s); want a new connection", got.Reason, got.Error)
				}
			}
			if !h.protos[over] || len(h.protos) != 1 {
				t.Errorf("the requests came over %v", h.protos)
			}
		})
	}
}

// TestAttemptsUnderWayOutliveATimeout: a timeout of one attempt does not break the others on the same
// connection of HTTP/2.
func TestAttemptsUnderWayOutliveATimeout(t *testing.T) {
	t.Parallel() // it waits
	h, url, trust := newHanging(t, true)
	const timeout = 3 * time.Second
	s := newSender(t, trust, func(o *webhook.Options) { o.Timeout = timeout })
	began := time.Now()
	results := make(chan webhook.Result, 2)
	slow := func() { results <- s.Send(t.Context(), webhook.Request{URL: url + "/slow", Body: []byte(`{}`)}) }
	go slow()
	eventually(t, "the first did not arrive", func() bool { return h.hang() == 1 && time.Since(began) > timeout/2 })
	go slow()
	if got := <-results; got.Reason != herald.ReasonTimeout {
		t.Fatalf("the first: %+v", got)
	}
	h.answer()
	if got := <-results; got.Status != 200 || h.hang() != 1 {
		t.Errorf("the second: reason %q (%s)", got.Reason, got.Error)
	}
	if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)}); got.Status != 200 || h.hang() != 2 {
		t.Errorf("after the timeout: %+v, %d connections, want 2", got, h.hang())
	}
}

// TestSilentHTTP2ConnectionIsFoundByAPing: the receiver takes what is sent and answers nothing, not even a
// ping. The attempt learns it before its time is over, and the next one gets a new connection.
func TestSilentHTTP2ConnectionIsFoundByAPing(t *testing.T) {
	t.Parallel() // it waits
	var mu sync.Mutex
	streams := 0
	url, trust := http2Receiver(t, nil, func(_ int, f *http2.Framer, stream uint32) {
		mu.Lock()
		defer mu.Unlock()
		if streams++; streams > 1 {
			respond(f, stream, 204)
		}
	})
	s := newSender(t, trust, func(o *webhook.Options) { o.Timeout = 6 * time.Second })
	dead := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)})
	if dead.Reason != herald.ReasonTimeout || !strings.Contains(dead.Error, "ping") {
		t.Errorf("reason %q, error %q; want a timeout that a ping found", dead.Reason, dead.Error)
	}
	if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)}); got.Status != 204 {
		t.Errorf("after it: %+v", got)
	}
}

// TestConnectionEndsWithItsCertificate: a busy connection is not used beyond the time of its certificate.
func TestConnectionEndsWithItsCertificate(t *testing.T) {
	t.Parallel() // it waits
	made, pool := certificate(t, "localhost", time.Now().Add(2*time.Second))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{made}}
	server.StartTLS()
	defer server.Close()
	s := newSender(t, func(o *webhook.Options) { o.RootCAs, o.Timeout = pool, 10*time.Second })
	url, delivered := strings.Replace(server.URL, "127.0.0.1", "localhost", 1), 0
	var got webhook.Result
	eventually(t, "the connection is used although its certificate has expired", func() bool {
		if got = s.Send(t.Context(), webhook.Request{URL: url, Body: []byte("{}")}); got.Status == 200 {
			delivered++
		}
		return got.Status != 200
	})
	if got.Reason != herald.ReasonTLS || !strings.Contains(got.Error, "expired") || delivered == 0 {
		t.Errorf("after %d: reason %q, error %q", delivered, got.Reason, got.Error)
	}
}

// TestAnswerThatCameEarlyCounts: the receiver answers before it has read the body, and closes. The write
// of the body fails then, but the answer decides.
func TestAnswerThatCameEarlyCounts(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 4<<20)
	for _, status := range []int{200, 401, 413, 503} {
		t.Run(fmt.Sprint("HTTP/1.1 ", status), func(t *testing.T) {
			url := raw(t, func(c net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = fmt.Fprintf(c, "HTTP/1.1 %d Early\r\nContent-Length: 3\r\n\r\nwhy", status)
			})
			early(t, newSender(t, func(o *webhook.Options) { o.Timeout = 10 * time.Second }), url, big, status)
		})
		t.Run(fmt.Sprint("TLS ", status), func(t *testing.T) {
			url, trust := overTLS(t, func(*tls.Config) {}, func(c *tls.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = fmt.Fprintf(c, "HTTP/1.1 %d Early\r\nContent-Length: 3\r\n\r\nwhy", status)
				_ = c.NetConn().Close()
			})
			early(t, newSender(t, trust, func(o *webhook.Options) { o.Timeout = 10 * time.Second }), url, big, status)
		})
		t.Run(fmt.Sprint("HTTP/2 ", status), func(t *testing.T) {
			url, trust := earlyHTTP2(t, status)
			early(t, newSender(t, trust, func(o *webhook.Options) { o.Timeout = 10 * time.Second }), url, big, status)
		})
	}
}

func early(t *testing.T, s *webhook.Sender, url string, body []byte, status int) {
	t.Helper()
	for n := range 25 { // which of the write's error and the answer is seen first varies
		if got := s.Send(t.Context(), webhook.Request{URL: url, Body: body}); got.Status != status {
			t.Fatalf("time %d: status %d, reason %q (%s); want %d", n, got.Status, got.Reason, got.Error, status)
		}
	}
}

// earlyHTTP2 answers each request when it has its headers, and closes the connection.
func earlyHTTP2(t *testing.T, status int) (url string, trust func(*webhook.Options)) {
	return overTLS(t, func(c *tls.Config) { c.NextProtos = []string{"h2"} }, func(c *tls.Conn) {
		defer c.NetConn().Close()
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if headers, ok := frame.(*http2.HeadersFrame); ok {
				respond(f, headers.StreamID, status)
				return
			}
		}
	})
}
