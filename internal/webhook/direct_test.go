package webhook_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"herald/internal/egress"
	"herald/internal/webhook"
)

// switching is an https receiver that changes which of HTTP/1.1 and HTTP/2 it chooses.
type switching struct {
	mu       sync.Mutex
	offers   []string
	accepted int
	protos   []string
}

func (s *switching) change(t *testing.T, offers string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers = []string{offers}
}

func (s *switching) last() (proto string, accepted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.protos[len(s.protos)-1], s.accepted
}

func newSwitching(t *testing.T) (s *switching, url string, drop func(), trust func(*webhook.Options)) {
	t.Helper()
	s = &switching{}
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.protos = append(s.protos, r.Proto)
	})
	server, _, trust := onTheWire(t, handler, "h2", "http/1.1")
	config := server.TLS
	server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.accepted++
		c := config.Clone()
		c.GetConfigForClient, c.NextProtos = nil, s.offers
		return c, nil
	}
	return s, server.URL, server.CloseClientConnections, trust
}

// TestReceiverChangesItsProtocol: from HTTP/1.1 to HTTP/2 and back, as when another server takes over. No
// request is lost or sent twice, and a connection that was made is used whatever was chosen on it.
func TestReceiverChangesItsProtocol(t *testing.T) {
	h, url, drop, trust := newSwitching(t)
	s := newSender(t, trust, func(o *webhook.Options) { o.Timeout = 10 * time.Second })
	sent, dialled := 0, 0
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/1.1", "HTTP/2.0", "HTTP/2.0", "HTTP/1.1", "HTTP/1.1"} {
		h.change(t, map[string]string{"HTTP/1.1": "http/1.1", "HTTP/2.0": "h2"}[proto])
		if drop(); sent > 0 {
			// The closed connections are noticed by whoever uses them next.
			eventually(t, "nothing was delivered after the connections were closed", func() bool {
				sent++
				return s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)}).Status == 200
			})
			_, dialled = h.last()
			dialled--
		}
		for range 3 {
			sent++
			if got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)}); got.Status != 200 {
				t.Fatalf("%s: %+v", proto, got)
			}
		}
		if last, accepted := h.last(); last != proto || accepted > dialled+2 {
			t.Errorf("the last came over %s, want %s; %d connections, want %d", last, proto, accepted, dialled+1)
		}
	}
}

// TestFirstRequestOverHTTP2NeedsOneConnection: the connection on which a receiver chose HTTP/2 gets the
// request, and it counts once for the address.
func TestFirstRequestOverHTTP2NeedsOneConnection(t *testing.T) {
	for _, limit := range []int{0, 1} {
		h, url, _, trust := newSwitching(t)
		h.change(t, "h2")
		s := newSender(t, trust, func(o *webhook.Options) {
			o.Guard, o.Timeout = egress.New(egress.Options{Allow: loopback, AttemptsPerAddress: limit}), 10*time.Second
		})
		got := s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)})
		if got.Status != 200 || got.Timings.TLS <= 0 || got.Request.Unsent {
			t.Errorf("%+v", got)
		}
		if proto, accepted := h.last(); proto != "HTTP/2.0" || accepted != 1 {
			t.Errorf("%s on %d connections, want one", proto, accepted)
		}
	}
}

// TestManyFirstRequestsOverHTTP2: each of those that begin at once may make a connection. All are
// delivered, and those that come later share one.
func TestManyFirstRequestsOverHTTP2(t *testing.T) {
	if onlyTransport {
		return // its dials go on when nobody needs them any more
	}
	h, url, _, trust := newSwitching(t)
	h.change(t, "h2")
	s := newSender(t, trust, func(o *webhook.Options) { o.Timeout = 10 * time.Second })
	var sending sync.WaitGroup
	for range 32 {
		sending.Go(func() {
			if got := s.Send(context.Background(), webhook.Request{URL: url, Body: []byte(`{}`)}); got.Status != 200 {
				t.Errorf("%+v", got)
			}
		})
	}
	sending.Wait()
	_, before := h.last()
	for range 8 {
		s.Send(t.Context(), webhook.Request{URL: url, Body: []byte(`{}`)})
	}
	if _, after := h.last(); after != before || before > 32 {
		t.Errorf("%d connections for the first 32, %d after 8 more", before, after)
	}
}
