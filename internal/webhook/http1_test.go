package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"herald"
	"herald/internal/webhook"
)

// transportsOwn returns the same sender, but over http.Transport alone.
func transportsOwn(t testing.TB, change ...func(*webhook.Options)) *webhook.Sender {
	return webhook.OnlyTransport(newSender(t, change...))
}

// sentBytes returns what arrives when a sender sends one request, byte for byte.
func sentBytes(t *testing.T, s *webhook.Sender, r webhook.Request, path string) string {
	t.Helper()
	var got bytes.Buffer
	url := raw(t, func(c net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &got)))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	r.URL = strings.TrimSuffix(url, "/") + path
	if result := s.Send(t.Context(), r); result.Status != 204 {
		t.Fatalf("%+v", result)
	}
	host := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	return strings.Replace(got.String(), host, "HOST", 1)
}

// TestBothWaysSendTheSameBytes: header names, their order and values, and the body.
func TestBothWaysSendTheSameBytes(t *testing.T) {
	long := []byte(`"` + strings.Repeat("x", 100<<10) + `"`)
	for _, test := range []struct {
		name    string
		request webhook.Request
		options webhook.Options
		path    string
	}{
		{"plain", webhook.Request{Body: []byte(`{"a":1}`)}, webhook.Options{UserAgent: "Herald/test"}, "/"},
		{"all headers", webhook.Request{Body: []byte(`{"a":`), Data: []byte(`1`), Authorization: "Basic c2VjcmV0", Test: true}, webhook.Options{UserAgent: "Herald/test"}, "/a?b=c&d"},
		{"blanks", webhook.Request{Body: []byte(`{}`), Authorization: " \tkey one\ttwo "}, webhook.Options{UserAgent: "Herald/test"}, "/?"},
		{"no agent", webhook.Request{Body: []byte(`{}`)}, webhook.Options{}, "/%C3%BC//x?y=%20"},
		{"header first", webhook.Request{Body: []byte(`{}`), Test: true}, webhook.Options{UserAgent: "H", ClientIDHeader: "A-client"}, "/"},
		{"header last", webhook.Request{Body: []byte(`{}`), Test: true}, webhook.Options{UserAgent: "H", ClientIDHeader: "x-client"}, "/"},
		{"long", webhook.Request{Body: []byte(`{"a":`), Data: long}, webhook.Options{UserAgent: "H"}, "/" + strings.Repeat("p", 3000)},
		{"long alone", webhook.Request{Body: long}, webhook.Options{UserAgent: "H"}, "/"},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := func(o *webhook.Options) {
				o.UserAgent, o.ClientIDHeader, o.Timeout = test.options.UserAgent, test.options.ClientIDHeader, 10*time.Second
			}
			test.request.ClientID = clientID
			own := sentBytes(t, newSender(t, options), test.request, test.path)
			want := sentBytes(t, transportsOwn(t, options), test.request, test.path)
			if own != want || !strings.HasPrefix(own, "POST /") {
				t.Errorf("sent %.2000q, want %.2000q", own, want)
			}
		})
	}
}

// TestHeaderThatCannotBeSentIsNotSent: net/http refuses such a value, and so do the attempt's own requests.
func TestHeaderThatCannotBeSentIsNotSent(t *testing.T) {
	var requests atomic.Int64
	server, w, _ := onTheWire(t, counting(&requests))
	for _, value := range []string{"a\r\nX-Evil: b", "a\nb", "a\x00b", "\x7f"} {
		got := newSender(t).Send(t.Context(), webhook.Request{URL: server.URL, Body: []byte(`{}`), Authorization: value})
		if got.Status != 0 || got.Reason != herald.ReasonProtocol || !strings.Contains(got.Error, "header") || !got.Request.Unsent || len(w.bytes()) != 0 {
			t.Errorf("%q: %+v, %q arrived", value, got, w.bytes())
		}
	}
}

// serveEach answers the nth request of each connection with answers[n], and closes the connection after
// the last. It counts connections and requests.
func serveEach(t *testing.T, connections, requests *atomic.Int64, answers ...string) string {
	t.Helper()
	return raw(t, func(c net.Conn) {
		connections.Add(1)
		reader := bufio.NewReader(c)
		for _, answer := range answers {
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			requests.Add(1)
			_, _ = io.WriteString(c, answer)
		}
	})
}

// TestConnectionIsUsedAgainOnlyAfterAWholeResponse: three requests in a row, each on the connection of the
// one before if nothing of the response is left on it.
func TestConnectionIsUsedAgainOnlyAfterAWholeResponse(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		status       int
		again        bool
	}{
		{"no body", "HTTP/1.1 204 No Content\r\n\r\n", 204, true},
		{"a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, true},
		{"a failure with a body", "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", 500, true},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, true},
		{"chunks and trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", 200, true},
		{"a 1xx before", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, true},
		{"keep-alive of HTTP/1.0", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, true},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, false},
		{"Connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, false},
		{"more than the body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 200, false},
		{"a body that is not read to its end", "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 200000), 200, false},
		{"no end of chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", 200, false},
		{"switching", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var connections, requests atomic.Int64
			url := serveEach(t, &connections, &requests, test.answer, test.answer, test.answer)
			s := newSender(t, func(o *webhook.Options) { o.Timeout = 10 * time.Second })
			for range 3 {
				if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)}); got.Status != test.status || got.Request.Redialled {
					t.Fatalf("%+v", got)
				}
			}
			want := int64(3)
			if test.again {
				want = 1
			}
			if requests.Load() != 3 || connections.Load() != want {
				t.Errorf("%d requests on %d connections, want 3 on %d", requests.Load(), connections.Load(), want)
			}
		})
	}
}

// TestIdleConnectionThatTheReceiverClosedIsNotUsed: the receiver closes a connection while nobody uses it,
// or says something on it. The next request goes to a new one at once, and counts as made once.
func TestIdleConnectionThatTheReceiverClosedIsNotUsed(t *testing.T) {
	if onlyTransport {
		return // it may write before it notices, and takes what came before for the answer
	}
	for name, last := range map[string]string{"closed": "", "with a 408": "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", "with another answer": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			answer := "HTTP/1.1 204 No Content\r\n\r\n"
			goOn, done := make(chan struct{}), make(chan struct{}, 1)
			var requests atomic.Int64
			url := raw(t, func(c net.Conn) {
				readRequest(c)
				requests.Add(1)
				_, _ = io.WriteString(c, answer)
				<-goOn
				_, _ = io.WriteString(c, last)
				c.Close()
				done <- struct{}{}
			})
			defer close(goOn)
			s := newSender(t, func(o *webhook.Options) { o.Timeout = 10 * time.Second })
			for n := range 3 {
				if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)}); got.Status != 204 || got.Request.Redialled || requests.Load() != int64(n+1) {
					t.Fatalf("request %d: %+v; %d arrived", n, got, requests.Load())
				}
				goOn <- struct{}{}
				<-done
			}
		})
	}
}

// TestIdleTLSConnectionThatTheReceiverClosedIsNotUsed: with a close_notify, or without.
func TestIdleTLSConnectionThatTheReceiverClosedIsNotUsed(t *testing.T) {
	if onlyTransport {
		return // as above
	}
	for _, politely := range []bool{true, false} {
		goOn, done := make(chan struct{}), make(chan struct{}, 1)
		var requests atomic.Int64
		url, trust := overTLS(t, func(*tls.Config) {}, func(c *tls.Conn) {
			readRequest(c)
			requests.Add(1)
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
			<-goOn
			if politely {
				_ = c.CloseWrite()
			} else {
				_ = c.NetConn().(*net.TCPConn).CloseWrite()
			}
			done <- struct{}{}
		})
		s := newSender(t, trust, func(o *webhook.Options) { o.Timeout = 10 * time.Second })
		for n := range 3 {
			if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)}); got.Status != 204 || got.Request.Redialled || requests.Load() != int64(n+1) {
				t.Fatalf("request %d: %+v; %d arrived", n, got, requests.Load())
			}
			goOn <- struct{}{}
			<-done
		}
		s.Close()
		close(goOn)
	}
}

// TestAnswerWhileTheReceiverReadsNothing: the receiver answers when it has the headers. It reads no more,
// and keeps the connection open.
func TestAnswerWhileTheReceiverReadsNothing(t *testing.T) {
	release := make(chan struct{})
	url := raw(t, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		<-release
	})
	defer close(release)
	s := newSender(t, func(o *webhook.Options) { o.Timeout = time.Minute })
	got := s.Send(t.Context(), webhook.Request{URL: url, Body: bytes.Repeat([]byte("x"), 32<<20)})
	if got.Status != 413 || got.Response.Body != "big" || got.Timings.Total > 30_000 {
		t.Errorf("%+v", got)
	}
}

// TestLongBodyKeepsItsConnection: a request that is written while the response is waited for.
func TestLongBodyKeepsItsConnection(t *testing.T) {
	var connections, requests atomic.Int64
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	url := serveEach(t, &connections, &requests, answer, answer, answer)
	s := newSender(t, func(o *webhook.Options) { o.Timeout = time.Minute })
	for range 3 {
		if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{"a":`), Data: bytes.Repeat([]byte("1"), 1<<20)}); got.Status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	if requests.Load() != 3 || connections.Load() != 1 {
		t.Errorf("%d requests on %d connections, want 3 on 1", requests.Load(), connections.Load())
	}
}

// TestConnectionThatBreaksAtEachByte: the receiver takes the request and closes the connection after each
// number of bytes of its response. Nothing is sent twice. Only the whole header counts.
func TestConnectionThatBreaksAtEachByte(t *testing.T) {
	header := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\n"
	response := header + "ok"
	for end := range len(response) {
		var connections, requests atomic.Int64
		url := serveEach(t, &connections, &requests, response[:end])
		got := send(t, url)
		want := 0
		if end >= len(header) {
			want = 200
		}
		if got.Status != want || requests.Load() != 1 || want == 0 && got.Reason != herald.ReasonReset && got.Reason != herald.ReasonProtocol {
			t.Errorf("%q: %d requests, %+v", response[:end], requests.Load(), got)
		}
	}
}

// TestHeadersAreReadUpToTheLimit: of the response, and of the 1xx responses before it together.
func TestHeadersAreReadUpToTheLimit(t *testing.T) {
	const limit = 64 << 10
	final := "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
	early := "HTTP/1.1 103 Early Hints\r\nX: " + strings.Repeat("x", 993) + "\r\n\r\n" // 1,024 bytes
	for _, test := range []struct {
		name, response string
		status         int
	}{
		{"within it", strings.Replace(final, "\r\n", "\r\nX: "+strings.Repeat("x", limit-100)+"\r\n", 1), 204},
		{"beyond it", strings.Replace(final, "\r\n", "\r\nX: "+strings.Repeat("x", limit)+"\r\n", 1), 0},
		{"many 1xx", strings.Repeat(early, 62) + final, 204},
		{"too many 1xx", strings.Repeat(early, 66) + final, 0},
	} {
		got := send(t, raw(t, func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, test.response)
			_, _ = io.Copy(io.Discard, c) // until the attempt closes it
		}))
		if got.Status != test.status || test.status == 0 && (got.Reason != herald.ReasonProtocol || !strings.Contains(got.Error, "65536 bytes")) {
			t.Errorf("%s: status %d, reason %q (%s)", test.name, got.Status, got.Reason, got.Error)
		}
	}
}

// TestOnlyARequestWithoutAResponseIsMadeAgain: the receiver breaks each connection when a second
// request comes on it. Once a response has begun, nothing is made again.
func TestOnlyARequestWithoutAResponseIsMadeAgain(t *testing.T) {
	for half, redialled := range map[string]bool{"": true, "H": false, "HTTP/1.1 200 OK\r\n": false} {
		var connections, requests atomic.Int64
		url := serveEach(t, &connections, &requests, "HTTP/1.1 204 No Content\r\n\r\n", half)
		s := newSender(t, func(o *webhook.Options) { o.Timeout = 10 * time.Second })
		s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)})
		got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)})
		want := int64(2)
		if redialled {
			want = 3
		}
		if got.Request.Redialled != redialled || (got.Status == 204) != redialled || requests.Load() != want {
			t.Errorf("%q: %+v, %d requests; want %d", half, got, requests.Load(), want)
		}
	}
}

// TestStopInterruptsEachPhase: the attempt ends at once, and says that the service stopped.
func TestStopInterruptsEachPhase(t *testing.T) {
	for name, answer := range map[string]string{"no answer": "", "in the headers": "HTTP/1.1 200 OK\r\nX-A: ", "in a 1xx": "HTTP/1.1 103 Early Hints\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			url := raw(t, func(c net.Conn) {
				readRequest(c)
				_, _ = io.WriteString(c, answer)
				cancel()
				_, _ = io.Copy(io.Discard, c) // until the attempt closes it
			})
			s := newSender(t, func(o *webhook.Options) { o.Timeout = time.Hour })
			if got := s.Send(ctx, webhook.Request{URL: url, Body: []byte(`{}`)}); got.Reason != herald.ReasonInterrupted || got.Status != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("in the TLS handshake", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		url := strings.Replace(raw(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			cancel()
			_, _ = io.Copy(io.Discard, c)
		}), "http:", "https:", 1)
		s := newSender(t, func(o *webhook.Options) { o.Timeout = time.Hour })
		if got := s.Send(ctx, webhook.Request{URL: url, Body: []byte(`{}`)}); got.Reason != herald.ReasonInterrupted {
			t.Errorf("%+v", got)
		}
	})
	t.Run("while it writes", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		url := raw(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			cancel()
			<-release
		})
		defer close(release)
		s := newSender(t, func(o *webhook.Options) { o.Timeout = time.Hour })
		if got := s.Send(ctx, webhook.Request{URL: url, Body: bytes.Repeat([]byte("x"), 32<<20)}); got.Reason != herald.ReasonInterrupted {
			t.Errorf("%+v", got)
		}
	})
}

// TestReceiverThatTakesNothingIsATimeout: not even the request.
func TestReceiverThatTakesNothingIsATimeout(t *testing.T) {
	says := "sending the request"
	if onlyTransport {
		says = "within 400ms" // it may say that it has written the request
	}
	release := make(chan struct{})
	url := raw(t, func(net.Conn) { <-release })
	defer close(release)
	got := newSender(t).Send(t.Context(), webhook.Request{URL: url, Body: bytes.Repeat([]byte("x"), 32<<20)})
	if got.Reason != herald.ReasonTimeout || !strings.Contains(got.Error, says) || got.Request.Unsent {
		t.Errorf("%+v", got)
	}
}

// TestRedirectBeforeTheRequestIsRead: the receiver redirects as soon as it has a connection, to an origin
// that does not get the Authorization header. The first request is still being written then.
func TestRedirectBeforeTheRequestIsRead(t *testing.T) {
	var authorization atomic.Bool
	end := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		authorization.Store(r.Header.Get("Authorization") != "")
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer end.Close()
	url := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 307 There\r\nConnection: close\r\nContent-Length: 0\r\nLocation: "+end.URL+"/\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	s := newSender(t, func(o *webhook.Options) { o.Timeout = 10 * time.Second })
	for range 20 {
		got := s.Send(t.Context(), webhook.Request{URL: url, Body: bytes.Repeat([]byte("x"), 1<<20), Authorization: "Basic c2VjcmV0"})
		if redirected := len(got.Request.Hops) == 1; redirected && got.Status != 200 || !redirected && !onlyTransport || authorization.Load() {
			t.Fatalf("%+v", got) // a transport may take such an answer for one to nothing
		}
	}
}
