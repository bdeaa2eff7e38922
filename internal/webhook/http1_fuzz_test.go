package webhook

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"herald/internal/egress"
)

// FuzzBothWaysReadTheSame: whatever a receiver answers, the attempt's own way and http.Transport come to
// the same result. The connections are pipes, so the machine does not run out of ports.
func FuzzBothWaysReadTheSame(f *testing.F) {
	for _, response := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nto the end",
		"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\nX: y\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\nx",
		"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "HTTP/1.1 307 There\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 429 No\r\nRetry-After: 5\r\n\r\n", "\r\n", "", "HTTP/2.0 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 000 OK\r\n\r\n", "HTTP/1.1 199 OK\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	} {
		f.Add([]byte(response))
	}
	s := New(Options{Guard: egress.New(egress.Options{}), Timeout: 10 * time.Second})
	f.Cleanup(s.Close)
	target := s.targetOf(&url.URL{Scheme: "http", Host: "a.example", Path: "/"})
	f.Fuzz(func(t *testing.T, answer []byte) {
		outcome := func(send func(*attempt) (*http.Response, error)) string {
			a := &attempt{sender: s, outer: t.Context(), deadline: time.Now().Add(s.Timeout), Request: Request{Body: []byte(`{}`)}}
			a.headers = s.headers(headersOf{})
			defer a.end()
			var result Result
			if response, err := send(a); err != nil {
				result = a.failure(err)
			} else {
				result = a.finish(response)
			}
			text := fmt.Sprintf("status %d, reason %s, Retry-After %q", result.Status, result.Reason, result.RetryAfter)
			if r := result.Response; r != nil {
				text += fmt.Sprintf(", headers %v, body %q, truncated %v", r.Headers, r.Body, r.Truncated)
			}
			return text
		}
		own := outcome(func(a *attempt) (*http.Response, error) {
			pipe, idle := &conn{Conn: answers(answer)}, newIdleConns(1)
			idle.close() // keeps nothing
			return a.exchange(newHTTP1Conn(pipe, pipe, target.receiver, idle), target)
		})
		want := outcome(func(a *attempt) (*http.Response, error) {
			transport := newTransport(s.Options)
			transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return answers(answer), nil }
			transport.MaxIdleConnsPerHost = -1
			return a.through(transport, target)
		})
		if own != want {
			t.Errorf("%q:\n%s, want\n%s", answer, own, want)
		}
	})
}

// answers returns a connection to a receiver that reads a request, answers, and closes the connection.
func answers(answer []byte) net.Conn {
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		if r, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = there.Write(answer)
		}
	}()
	return here
}
