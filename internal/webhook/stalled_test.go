package webhook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"herald/internal/egress"
)

// overPipe returns both ends of a TLS connection over a pipe, which has room for no byte.
func overPipe(certificate tls.Certificate) (here, there *tls.Conn, below net.Conn) {
	a, b := net.Pipe()
	here = tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	return here, tls.Server(b, &tls.Config{Certificates: []tls.Certificate{certificate}}), a
}

func testCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	server.Close()
	return server.TLS.Certificates[0]
}

// TestReceiverThatStallsDoesNotHoldTheAttempt: over TLS, a receiver takes no bytes any more: of a request, or
// after its response. The attempt ends when its time is over, or with the response. It does not wait to tell
// the receiver the end.
func TestReceiverThatStallsDoesNotHoldTheAttempt(t *testing.T) {
	made := testCertificate(t)
	for name, test := range map[string]struct {
		size   int
		answer string
		takes  time.Duration
	}{
		"small":               {10, "", 2 * time.Second},
		"large":               {1 << 20, "", 2 * time.Second},
		"answered":            {10, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 0},
		"body that goes on":   {10, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", 2 * time.Second},
		"large, and answered": {1 << 20, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", maxWriteWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there, below := overPipe(made)
				release := make(chan struct{})
				go func() {
					defer below.Close()
					if there.Handshake() != nil {
						return
					}
					if test.answer != "" {
						_, _ = http.ReadRequest(bufio.NewReader(io.LimitReader(there, 300)))
						_, _ = io.WriteString(there, test.answer)
					}
					<-release
				}()
				if err := here.Handshake(); err != nil {
					t.Fatal(err)
				}
				s := New(Options{Guard: egress.New(egress.Options{}), Timeout: 2 * time.Second})
				defer s.Close()
				a := &attempt{sender: s, outer: t.Context(), deadline: time.Now().Add(s.Timeout), Request: Request{Body: bytes.Repeat([]byte("x"), test.size)}}
				a.headers = s.headers(headersOf{})
				began := time.Now()
				target := s.targetOf(&url.URL{Scheme: "https", Host: "a.example", Path: "/"})
				response, err := a.exchange(newHTTP1Conn(here, &conn{Conn: below}, target.receiver, newIdleConns(1)), target)
				if err == nil {
					a.finish(response)
				}
				if took := time.Since(began); took != test.takes || (err == nil) != (test.answer != "") {
					t.Errorf("it took %v (%v), want %v", took, err, test.takes)
				}
				close(release)
			})
		})
	}
}

// TestHandshakeHasItsOwnBound: a receiver that does not go on with the handshake.
func TestHandshakeHasItsOwnBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		began := time.Now()
		_, err := handshake(t.Context(), here, &tls.Config{}, "a.example")
		if took := time.Since(began); took != egress.DefaultConnectTimeout || !errors.Is(err, errHandshake) {
			t.Errorf("%v after %v", err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		here, other := net.Pipe()
		defer other.Close()
		go func() { _, _ = io.Copy(io.Discard, other) }()
		if _, err = handshake(ctx, here, &tls.Config{}, "a.example"); !errors.Is((&attempt{outer: ctx, deadline: time.Now()}).ended(err), context.DeadlineExceeded) {
			t.Errorf("%v, want that the attempt's time was over", err)
		}
	})
}
