package webhook_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"herald"
	"herald/internal/egress"
	"herald/internal/webhook"
)

// wire records what arrives on the connections of a server, byte for byte.
type wire struct {
	net.Listener
	mu   sync.Mutex
	read bytes.Buffer
	open int
	all  int // connections that were accepted
}

func (w *wire) accepted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}

func (w *wire) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
	w.all++
	return &recorded{Conn: c, wire: w}, nil
}

type recorded struct {
	net.Conn
	wire   *wire
	closed sync.Once
}

func (c *recorded) Close() error {
	c.closed.Do(func() {
		c.wire.mu.Lock()
		defer c.wire.mu.Unlock()
		c.wire.open--
	})
	return c.Conn.Close()
}

// waitClosed waits until the server has closed all connections, and so has read all that came.
func (w *wire) waitClosed(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		open := w.open
		w.mu.Unlock()
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open after ten seconds", open)
		}
	}
}

func (c *recorded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.wire.read.Write(p[:n])
	return n, err
}

func (w *wire) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.read.Bytes())
}

// onTheWire starts a server and returns what arrives there, and a change for a sender that trusts it.
// Without protocols it speaks plain HTTP.
func onTheWire(t *testing.T, handler http.Handler, protocols ...string) (*httptest.Server, *wire, func(*webhook.Options)) {
	server := httptest.NewUnstartedServer(handler)
	w := &wire{Listener: server.Listener}
	server.Listener = w
	roots := x509.NewCertPool()
	if len(protocols) == 0 {
		server.Start()
	} else {
		server.TLS = &tls.Config{NextProtos: protocols}
		if server.EnableHTTP2 = protocols[0] == "h2"; !server.EnableHTTP2 {
			server.TLS.MaxVersion = tls.VersionTLS12 // 1.3 sends the end of the handshake as data
		}
		server.StartTLS()
		roots.AddCert(server.Certificate())
	}
	t.Cleanup(server.Close)
	return server, w, func(o *webhook.Options) { o.RootCAs = roots }
}

// dataRecords counts the TLS records with data of the application in what arrived.
func dataRecords(arrived []byte) (n int) {
	for len(arrived) >= 5 {
		if arrived[0] == 23 {
			n++
		}
		arrived = arrived[min(5+int(binary.BigEndian.Uint16(arrived[3:])), len(arrived)):]
	}
	return n
}

// TestNothingIsWrittenOfARefusedAttempt: a kept-alive connection is there, and the address has had its
// attempts. Not one byte of the request may then go out, and the connection is kept.
func TestNothingIsWrittenOfARefusedAttempt(t *testing.T) {
	if onlyTransport {
		return // the next test; and a transport does not keep the connection
	}
	for name, protocols := range map[string][]string{"http": nil, "https": {"http/1.1"}} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			server, w, trust := onTheWire(t, counting(&requests), protocols...)
			guard := egress.New(egress.Options{Allow: loopback, AttemptsPerAddress: attemptsPerSecond})
			s := newSender(t, trust, func(o *webhook.Options) { o.Guard, o.Timeout = guard, 10*time.Second })
			request := webhook.Request{URL: server.URL, Body: []byte(`{"a":1}`), ClientID: clientID}
			eventually(t, "nothing was delivered", func() bool { return s.Send(t.Context(), request).Status == http.StatusOK })
			before := len(w.bytes())
			for range attemptsPerSecond {
				_ = guard.TakeAttempt(server.Listener.Addr()) // others have its attempts for a second
			}
			for range 10 {
				if r := s.Send(t.Context(), request); r.Reason != herald.ReasonAttemptLimit || r.Wait <= 0 || r.Sent() {
					t.Fatalf("%+v, want it refused", r)
				}
			}
			if n := len(w.bytes()) - before; n != 0 {
				t.Errorf("%d bytes of refused attempts arrived", n)
			}
			eventually(t, "nothing more was delivered", func() bool { return s.Send(t.Context(), request).Status == http.StatusOK })
			if n := w.accepted(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

// TestTransportWritesNothingOfARefusedAttempt: the address has its last attempt while the transport looks
// for a kept-alive connection. Not one byte of the request may then go out.
func TestTransportWritesNothingOfARefusedAttempt(t *testing.T) {
	for name, protocols := range map[string][]string{"http": nil, "https": {"http/1.1"}, "http2": {"h2"}} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			server, w, trust := onTheWire(t, counting(&requests), protocols...)
			arrived := func() int {
				switch name {
				case "http":
					return len(w.bytes())
				case "https":
					return dataRecords(w.bytes())
				default: // the connection is kept, and has other frames
					return int(requests.Load())
				}
			}
			guard := egress.New(egress.Options{Allow: loopback, AttemptsPerAddress: attemptsPerSecond})
			s := webhook.OnlyTransport(newSender(t, trust, func(o *webhook.Options) { o.Guard, o.Timeout = guard, 10*time.Second }))
			request := webhook.Request{URL: server.URL, Body: []byte(strings.Repeat("x", 100)), ClientID: clientID}
			deadline := time.Now().Add(time.Minute)
			sendOne := func() {
				for s.Send(t.Context(), request).Status != http.StatusOK && time.Now().Before(deadline) {
					time.Sleep(time.Millisecond) // until there is a token
				}
			}
			for refused := 0; refused < 10; {
				if time.Now().After(deadline) {
					t.Fatalf("%d attempts were refused at the connection within a minute", refused)
				}
				sendOne() // now there is a connection
				for guard.CheckAttempt(server.Listener.Addr()) != nil {
					time.Sleep(time.Millisecond)
				}
				looked, before := false, arrived()
				r := s.Send(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) {
					for looked = true; guard.TakeAttempt(server.Listener.Addr()) == nil; {
					}
				}}), request)
				if !looked || r.Status == http.StatusOK { // a token came too late, or too early
					continue
				}
				refused++
				if r.Reason != herald.ReasonAttemptLimit || r.Wait <= 0 || r.Sent() {
					t.Fatalf("%+v, want it refused", r)
				}
				if name == "http2" {
					sendOne() // on the same connection: what was written before has arrived before
					before++
				} else {
					w.waitClosed(t)
				}
				if n := arrived() - before; n != 0 {
					t.Fatalf("%d of the refused attempt arrived", n)
				}
			}
		})
	}
}

// TestLimitedAttemptIsOnePacket: a small request goes out in one write, as it does without a limit.
func TestLimitedAttemptIsOnePacket(t *testing.T) {
	var requests atomic.Int64
	server, w, trust := onTheWire(t, counting(&requests), "http/1.1")
	for _, limit := range []int{0, 1000} {
		s := newSender(t, trust, func(o *webhook.Options) {
			o.Guard = egress.New(egress.Options{Allow: loopback, AttemptsPerAddress: limit})
		})
		for range 3 { // on a new connection, and on the same one
			before := dataRecords(w.bytes())
			if r := s.Send(t.Context(), webhook.Request{URL: server.URL, Body: []byte(`{"a":`), Data: []byte(`1`), ClientID: clientID}); r.Status != http.StatusOK {
				t.Fatalf("%+v", r)
			}
			if n := dataRecords(w.bytes()) - before; n != 1 {
				t.Errorf("limit %d: the request came in %d records, want 1", limit, n)
			}
		}
	}
}
