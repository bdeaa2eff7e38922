package webhook_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"herald"
	"herald/internal/egress"
	"herald/internal/webhook"
)

// onlyTransport is true while the tests run over http.Transport alone.
var onlyTransport bool

// bothWays runs all tests twice: as the service sends, and with each request over http.Transport, as it
// sends over HTTP/2 and through the operator's proxy. What a receiver does must have the same outcome.
type bothWays struct{ *testing.M }

func (m bothWays) Run() int {
	if code := m.M.Run(); code != 0 || benchmarksOrFuzzes() {
		return code
	}
	fmt.Println("again, over http.Transport alone:")
	onlyTransport = true
	return m.M.Run()
}

func benchmarksOrFuzzes() bool {
	for _, name := range []string{"test.bench", "test.fuzz"} {
		if flag.Lookup(name).Value.String() != "" {
			return true
		}
	}
	return false
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(bothWays{m}) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

var clientID = uuid.MustParse("f1c35bdc-1546-41b9-baf4-3f31135af968")

func newSender(t testing.TB, change ...func(*webhook.Options)) *webhook.Sender {
	t.Helper()
	o := webhook.Options{Guard: egress.New(egress.Options{Allow: loopback}), Timeout: 400 * time.Millisecond, UserAgent: "Herald/test"}
	for _, c := range change {
		c(&o)
	}
	s := webhook.New(o)
	if onlyTransport {
		webhook.OnlyTransport(s)
	}
	t.Cleanup(s.Close)
	return s
}

func send(t *testing.T, url string) webhook.Result {
	t.Helper()
	return newSender(t).Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{"a":1}`), ClientID: clientID, Authorization: "Basic c2VjcmV0"})
}

// raw is a receiver that hands each connection to handle.
func raw(t *testing.T, handle func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return "http://" + l.Addr().String() + "/"
}

// readRequest reads the headers and the body of a request.
func readRequest(c net.Conn) {
	reader := bufio.NewReader(c)
	if r, err := http.ReadRequest(reader); err == nil {
		_, _ = io.Copy(io.Discard, r.Body) // the request may break off
	}
}

// trickle writes one byte every 20 ms until the other side closes the connection.
func trickle(c net.Conn, text string) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; ; i++ {
		if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
			return
		}
		<-ticker.C
	}
}

// nobodyListens is an address that refuses connections. A port that was free a moment ago may be another test's.
const nobodyListens = "http://127.0.0.1:1"

func TestFailuresHaveTheirReasons(t *testing.T) {
	for _, test := range []struct {
		name   string
		url    string
		reason herald.Reason
		says   string
	}{
		{"refused", nobodyListens, herald.ReasonConnectRefused, "refused"},
		{"closed after the request", raw(t, readRequest), herald.ReasonReset, "broke"},
		{"reset", raw(t, func(c net.Conn) {
			readRequest(c)
			_ = c.(*net.TCPConn).SetLinger(0)
		}), herald.ReasonReset, "broke"},
		{"no answer", raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), herald.ReasonTimeout, "headers"},
		{"headers trickle", raw(t, func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			trickle(c, "X-A: b\r\n")
		}), herald.ReasonTimeout, "within 400ms"},
		{"not HTTP", raw(t, func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
		}), herald.ReasonProtocol, "not HTTP"},
		{"a flood of headers", raw(t, func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X-Flood: "+strings.Repeat("x", 8000)+"\r\n"); err != nil {
					return
				}
			}
		}), herald.ReasonProtocol, "not HTTP"},
		{"a flood of 1xx", raw(t, func(c net.Conn) {
			readRequest(c)
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nX-Flood: "+strings.Repeat("x", 8000)+"\r\n\r\n"); err != nil {
					return
				}
			}
		}), herald.ReasonProtocol, "not HTTP"},
		{"plain text on a TLS port", strings.Replace(raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}), "http:", "https:", 1), herald.ReasonTLS, "does not speak TLS"},
		{"no such name", "http://no-such-name.invalid/", herald.ReasonDNS, "no-such-name.invalid"},
		{"no address", "http://%zz/", herald.ReasonAddress, "not an address"},
		{"not allowed", "http://169.254.169.254/", herald.ReasonNotAllowed, "not allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := send(t, test.url)
			if got.Reason != test.reason || got.Status != 0 || !strings.Contains(got.Error, test.says) {
				t.Errorf("reason %q, status %d, error %q; want reason %q and %q in the error", got.Reason, got.Status, got.Error, test.reason, test.says)
			}
			if got.Request == nil || got.Request.Headers["Authorization"] != "Basic …" {
				t.Errorf("the record of the request is %+v", got.Request)
			}
		})
	}
}

func TestStatusCountsWhateverTheBodyDoes(t *testing.T) {
	for name, body := range map[string]func(c net.Conn){
		"breaks off": func(c net.Conn) { _, _ = io.WriteString(c, "Content-Length: 100\r\n\r\nshort") },
		"never ends": func(c net.Conn) {
			_, _ = io.WriteString(c, "\r\n")
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", 8000)); err != nil {
					return
				}
			}
		},
		"trickles": func(c net.Conn) {
			_, _ = io.WriteString(c, "\r\n")
			trickle(c, "slow ")
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := send(t, raw(t, func(c net.Conn) {
				readRequest(c)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
				body(c)
			}))
			if got.Status != 200 || got.Reason != herald.ReasonNone || len(got.Response.Body) > 1024 {
				t.Errorf("status %d, reason %q, %d bytes kept", got.Status, got.Reason, len(got.Response.Body))
			}
		})
	}
}

func TestStartOfTheBodyIsKept(t *testing.T) {
	for _, test := range []struct{ status, kept int }{{200, 1 << 10}, {500, 64 << 10}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip") // although it is not compressed: no body is decompressed
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte("a\x00\xff" + strings.Repeat("x", 100<<10)))
		}))
		got := send(t, server.URL)
		server.Close()
		if got.Status != test.status || !got.Response.Truncated || !strings.HasPrefix(got.Response.Body, "a\ufffd\ufffdxxx") {
			t.Errorf("%d: %+v", test.status, got.Response.Headers)
		}
		if n := len(got.Response.Body); n < test.kept || n > test.kept+8 { // two bytes became three each
			t.Errorf("%d: %d bytes are kept, want %d", test.status, n, test.kept)
		}
	}
}

func TestRequestHasTheExpectedHeaders(t *testing.T) {
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { header = r.Header.Clone() }))
	defer server.Close()
	got := send(t, server.URL)
	if got.Status != 200 || header.Get("X-Codat-ClientId") != clientID.String() || header.Get("Authorization") != "Basic c2VjcmV0" || header.Get("Accept") != "*/*" {
		t.Errorf("status %d, headers %v", got.Status, header)
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "Accept-Encoding"} {
		if header.Get(name) != "" {
			t.Errorf("the request has the header %s", name)
		}
	}
	if got.Timings.Total <= 0 || got.Timings.Connect < 0 || got.Timings.FirstByte <= 0 {
		t.Errorf("timings %+v", got.Timings)
	}
}

func TestInterruptedAttemptIsReported(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := raw(t, func(c net.Conn) {
		readRequest(c)
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	if got := newSender(t).Send(ctx, webhook.Request{URL: url, Body: []byte(`{"a":1}`)}); got.Reason != herald.ReasonInterrupted {
		t.Errorf("reason %q (%s)", got.Reason, got.Error)
	}
}

// TestClosedIdleConnectionIsReplacedOnce: the receiver closes each connection after one response,
// without a Connection header that announces it.
func TestClosedIdleConnectionIsReplacedOnce(t *testing.T) {
	var requests atomic.Int32
	closeNow := make(chan struct{}, 1)
	url := raw(t, func(c net.Conn) {
		readRequest(c)
		if requests.Add(1) == 1 {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			readRequest(c) // takes the second request, and breaks the connection
			requests.Add(1)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		<-closeNow
	})
	defer close(closeNow)
	s := newSender(t)
	r := webhook.Request{URL: url, Body: []byte(`{"a":1}`)}
	if got := s.Send(t.Context(), r); got.Status != 200 || got.Request.Redialled {
		t.Fatalf("the first: %+v", got)
	}
	if got := s.Send(t.Context(), r); got.Status != 200 || !got.Request.Redialled {
		t.Errorf("the second: status %d, redialled %v (%s)", got.Status, got.Request.Redialled, got.Error)
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestOrigin(t *testing.T) {
	for raw, want := range map[string]string{
		"https://Example.com/hook?a=b":  "https://example.com:443",
		"HTTP://example.com":            "http://example.com:80",
		"https://example.com:8443/":     "https://example.com:8443",
		"http://[2606:4700::1111]:81/x": "http://[2606:4700::1111]:81",
	} {
		if got, err := webhook.Origin(raw); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", raw, got, err, want)
		}
	}
	for _, raw := range []string{"", "/x", "ftp://example.com", "http://", "http://%zz"} {
		if got, err := webhook.Origin(raw); err == nil {
			t.Errorf("%q: %s, want an error", raw, got)
		}
	}
}

// FuzzOrigin: no text causes a panic, and the origin of an origin is itself.
func FuzzOrigin(f *testing.F) {
	f.Add("https://example.com:8443/")
	f.Fuzz(func(t *testing.T, raw string) {
		origin, err := webhook.Origin(raw)
		if err != nil {
			return
		}
		if again, err := webhook.Origin(origin); err != nil || again != origin {
			t.Errorf("%q has the origin %q, which has %q (%v)", raw, origin, again, err)
		}
	})
}
