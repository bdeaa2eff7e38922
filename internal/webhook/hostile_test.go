package webhook_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"herald"
	"herald/internal/egress"
	"herald/internal/test/dns"
	"herald/internal/webhook"
)

// TestNamesThatDoNotResolve is fault 12.
func TestNamesThatDoNotResolve(t *testing.T) {
	resolver := dns.Resolver(t, func(name string) dns.Answer {
		switch name {
		case "fails.example":
			return dns.Answer{Code: dnsmessage.RCodeServerFailure}
		case "silent.example":
			return dns.Answer{Silent: true}
		default:
			return dns.Answer{Code: dnsmessage.RCodeNameError}
		}
	})
	for name, want := range map[string]struct {
		reason herald.Reason
		says   string
	}{
		"none.example":   {herald.ReasonDNS, "does not exist"},
		"fails.example":  {herald.ReasonDNS, "could not be resolved"},
		"silent.example": {herald.ReasonTimeout, "within 400ms"}, // the deadline of the attempt comes first
	} {
		t.Run(name, func(t *testing.T) {
			s := newSender(t, func(o *webhook.Options) { o.Guard = egress.New(egress.Options{Resolver: resolver}) })
			got := s.Send(t.Context(), webhook.Request{URL: "https://" + name + "/"})
			if got.Reason != want.reason || !strings.Contains(got.Error, want.says) || got.Status != 0 {
				t.Errorf("reason %q, error %q; want %q and %q", got.Reason, got.Error, want.reason, want.says)
			}
		})
	}
}

// overTLS is raw behind a TLS handshake. The options that it returns trust its certificate.
func overTLS(t *testing.T, config func(*tls.Config), handle func(c *tls.Conn)) (url string, trust func(*webhook.Options)) {
	t.Helper()
	made, pool := certificate(t, "localhost", time.Now().Add(time.Hour))
	c := &tls.Config{Certificates: []tls.Certificate{made}}
	config(c)
	url = raw(t, func(conn net.Conn) {
		server := tls.Server(conn, c)
		if server.Handshake() == nil {
			handle(server)
		}
		_, _ = io.Copy(io.Discard, conn)
	})
	url = strings.NewReplacer("http:", "https:", "127.0.0.1", "localhost").Replace(url)
	return url, func(o *webhook.Options) { o.RootCAs, o.Timeout = pool, time.Second }
}

// TestTLSMustBeNewAndAnswer is the rest of fault 14: a receiver that speaks only TLS 1.1, and one
// that does not continue the handshake.
func TestTLSMustBeNewAndAnswer(t *testing.T) {
	old, trust := overTLS(t, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, func(*tls.Conn) {})
	if got := newSender(t, trust).Send(t.Context(), webhook.Request{URL: old}); got.Reason != herald.ReasonTLS || !strings.Contains(got.Error, "version") {
		t.Errorf("TLS 1.1: reason %q, error %q", got.Reason, got.Error)
	}
	stalls := strings.Replace(raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "http:", "https:", 1)
	if got := send(t, stalls); got.Reason != herald.ReasonTimeout || !strings.Contains(got.Error, "TLS") {
		t.Errorf("a handshake that stalls: reason %q, error %q", got.Reason, got.Error)
	}
}

// TestPackedBodyStaysPacked is fault 18: a compressed body of eight megabytes of zeros, which is
// about eight kilobytes long.
func TestPackedBodyStaysPacked(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	zeros := make([]byte, 1<<20)
	for range 8 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write(packed.Bytes())
	}))
	defer server.Close()
	got := send(t, server.URL)
	if got.Status != 502 || !strings.HasPrefix(got.Response.Body, "\x1f\ufffd\b") || len(got.Response.Body) > 3*(64<<10) {
		t.Errorf("status %d, body %.20q of %d bytes", got.Status, got.Response.Body, len(got.Response.Body))
	}
}

// TestMalformedResponses is fault 19: none of these counts as a response, and the result says what
// may have happened.
func TestMalformedResponses(t *testing.T) {
	for name, response := range map[string]string{
		"a status of letters": "HTTP/1.1 OK\r\n\r\n", "a status of two digits": "HTTP/1.1 20 OK\r\n\r\n", "another protocol": "HTTQ/1.1 200 OK\r\n\r\n",
		"a negative length": "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a length of letters": "HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
		"two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "an unknown encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: hopes\r\n\r\n",
		"a header without a colon": "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "half a status line": "HTTP/1.1 2",
	} {
		t.Run(name, func(t *testing.T) {
			got := send(t, raw(t, func(c net.Conn) {
				readRequest(c)
				_, _ = io.WriteString(c, response)
			}))
			if got.Status != 0 || got.Reason != herald.ReasonProtocol && got.Reason != herald.ReasonReset || got.Error == "" {
				t.Errorf("status %d, reason %q, error %q", got.Status, got.Reason, got.Error)
			}
		})
	}
	// A body that breaks off after a status is not malformed: the status counts.
	got := send(t, raw(t, func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		_ = c.(*net.TCPConn).SetLinger(0)
	}))
	if got.Status != 200 {
		t.Errorf("a broken chunk: status %d, %s", got.Status, got.Error)
	}
}

// TestStaleConnectionDoesNotCostNeighbours is fault 20 for the other receivers: replacing the
// connection to one receiver leaves the connections to others open.
func TestStaleConnectionDoesNotCostNeighbours(t *testing.T) {
	var connections atomic.Int32
	neighbour := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	neighbour.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	neighbour.Start()
	defer neighbour.Close()
	again := make(chan struct{})
	stale := raw(t, func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		select {
		case <-again: // the redial's connection
		default:
			close(again)
			readRequest(c) // takes the second request and breaks the connection
		}
	})
	s := newSender(t)
	for range 2 {
		if got := s.Send(t.Context(), webhook.Request{URL: neighbour.URL, Body: []byte(`{"a":1}`)}); got.Status != 200 {
			t.Fatalf("the neighbour: %+v", got)
		}
		if got := s.Send(t.Context(), webhook.Request{URL: stale, Body: []byte(`{"a":1}`)}); got.Status != 200 {
			t.Fatalf("the stale one: %+v", got)
		}
	}
	if got := s.Send(t.Context(), webhook.Request{URL: neighbour.URL, Body: []byte(`{"a":1}`)}); got.Status != 200 || connections.Load() != 1 {
		t.Errorf("the neighbour had %d connections, want 1", connections.Load())
	}
}

// http2Receiver is an HTTP/2 server; answer answers the n-th stream of a connection.
func http2Receiver(t *testing.T, settings []http2.Setting, answer func(n int, f *http2.Framer, stream uint32)) (url string, trust func(*webhook.Options)) {
	t.Helper()
	made, pool := certificate(t, "localhost", time.Now().Add(time.Hour))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{made}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				serveHTTP2(c, settings, answer)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return strings.Replace("https://"+l.Addr().String()+"/", "127.0.0.1", "localhost", 1), func(o *webhook.Options) { o.RootCAs, o.Timeout = pool, 3*time.Second }
}

func serveHTTP2(c net.Conn, settings []http2.Setting, answer func(n int, f *http2.Framer, stream uint32)) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	if f.WriteSettings(settings...) != nil {
		return
	}
	for n := 0; ; {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				n++
				answer(n, f, frame.StreamID)
			}
		}
	}
}

func respond(f *http2.Framer, stream uint32, status int) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: fmt.Sprint(status)})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
}

// TestHTTP2ThatBreaks is fault 21: a reset of the stream or the connection after a request means a
// retry and no second POST in this attempt. A receiver that allows one stream at a time gets all
// requests.
func TestHTTP2ThatBreaks(t *testing.T) {
	for name, answer := range map[string]func(f *http2.Framer, stream uint32){
		"RST_STREAM": func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeInternal) },
		"GOAWAY":     func(f *http2.Framer, stream uint32) { _ = f.WriteGoAway(stream, http2.ErrCodeInternal, nil) },
		"a lost frame": func(f *http2.Framer, stream uint32) {
			_ = f.WriteRawFrame(http2.FrameHeaders, 0, 0, []byte("nonsense"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			url, trust := http2Receiver(t, nil, func(_ int, f *http2.Framer, stream uint32) {
				requests.Add(1)
				answer(f, stream)
			})
			got := newSender(t, trust).Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{"a":1}`)})
			retried := got.Reason == herald.ReasonProtocol || got.Reason == herald.ReasonReset || got.Reason == herald.ReasonTimeout
			if got.Status != 0 || !retried || requests.Load() != 1 {
				t.Errorf("status %d, reason %q, error %q, %d requests; want a retry after one", got.Status, got.Reason, got.Error, requests.Load())
			}
		})
	}
	url, trust := http2Receiver(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(_ int, f *http2.Framer, stream uint32) { respond(f, stream, 204) })
	s := newSender(t, trust)
	var sending sync.WaitGroup
	for range 8 {
		sending.Go(func() {
			if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{"a":1}`)}); got.Status != 204 {
				t.Errorf("one stream at most: status %d, %s", got.Status, got.Error)
			}
		})
	}
	sending.Wait()
}

// TestRedirectsToForbiddenPlaces is the rest of fault 22: an allowed receiver redirects, with each
// status, to each kind of address that may not be called.
func TestRedirectsToForbiddenPlaces(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{
			"http://10.0.0.1/", "http://[::1]:80/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest/meta-data", "http://0.0.0.0/", "http://[fe80::1%25lo]/",
			"http://[64:ff9b::a9fe:a9fe]/", "http://168.63.129.16/", "http://100.64.0.1/", "http://93.184.216.34:25/", "file:///etc/passwd", "gopher://10.0.0.1/", "//10.0.0.1/",
		} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			}))
			got := send(t, server.URL)
			server.Close()
			if got.Reason != herald.ReasonNotAllowed && got.Reason != herald.ReasonRedirect || got.Status != 0 && got.Reason == herald.ReasonNotAllowed {
				t.Errorf("%d to %s: status %d, reason %q, error %q", status, location, got.Status, got.Reason, got.Error)
			}
		}
	}
	url, trust := overTLS(t, func(*tls.Config) {}, func(c *tls.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
		c.Close()
	})
	got := newSender(t, trust).Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{"a":1}`)})
	if got.Status != 307 || got.Reason != herald.ReasonRedirect || !strings.Contains(got.Error, "from https to http") {
		t.Errorf("to plain http: status %d, reason %q, error %q", got.Status, got.Reason, got.Error)
	}
}

// TestRetryAfterIsHandedOn is the part of fault 23 before the policy: the header reaches the policy
// unchanged, but for a date in a response that says its own Date. The receiver's clock counts then.
func TestRetryAfterIsHandedOn(t *testing.T) {
	for _, test := range []struct{ date, value, want string }{
		{"Fri, 31 Dec 1999 23:59:00 GMT", "315360000", "315360000"}, {"", "-5", "-5"}, {"", "soon", "soon"},
		{"", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT"},
		{"yesterday", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT"},
		{"Fri, 31 Dec 1999 23:59:29 GMT", "Fri, 31 Dec 1999 23:59:59 GMT", "30"},
		{"Sun, 06 Nov 2094 08:49:37 GMT", "Saturday, 06-Nov-94 08:50:37 GMT", "0"}, // the obsolete form means 1994
		{"Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 31 Dec 1999 23:59:59 GMT", "0"},
		{"Mon, 01 Jan 2090 00:00:00 GMT", "Mon, 01 Jan 2090 00:01:30 GMT", "90"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			if test.date != "" {
				w.Header().Set("Date", test.date)
			}
			w.Header().Set("Retry-After", test.value)
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		if got := send(t, server.URL); got.RetryAfter != test.want || got.Status != 503 {
			t.Errorf("Date %q, Retry-After %q: %q is handed on, want %q", test.date, test.value, got.RetryAfter, test.want)
		}
		server.Close()
	}
}

// TestMemoryOfTheWorst measures the memory of attempts to the worst receivers. Each has sent as
// many headers and as much of a body as an attempt reads, and goes on.
func TestMemoryOfTheWorst(t *testing.T) {
	const attempts = 64
	full, measured := make(chan struct{}, attempts), make(chan struct{})
	header := strings.Repeat("X-Flood: "+strings.Repeat("x", 991)+"\r\n", 60) // almost 64 KiB
	worst := func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, "HTTP/1.1 500 No\r\n"+header+"\r\n"+strings.Repeat("x", 60<<10))
		full <- struct{}{}
		<-measured
	}
	var urls []string
	for range attempts {
		urls = append(urls, raw(t, worst))
	}
	before := inUse()
	var sending sync.WaitGroup
	s := newSender(t, func(o *webhook.Options) { o.Timeout = time.Minute })
	for _, url := range urls {
		sending.Go(func() {
			if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{"a":1}`)}); got.Status != 500 {
				t.Errorf("status %d, %s", got.Status, got.Error)
			}
		})
	}
	for range attempts {
		<-full
	}
	each := (inUse() - before) / attempts
	close(measured)
	t.Logf("%d KiB for each attempt", each>>10)
	if each > 1<<20 {
		t.Errorf("%d KiB for each attempt in flight, want less than 1024", each>>10)
	}
	sending.Wait()
}

// inUse returns how many bytes of the heap and of stacks are in use. Both ends of every connection
// are in this process.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
