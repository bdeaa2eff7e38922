package webhook_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"herald"
	"herald/internal/webhook"
)

// lines is a receiver over http that notes the first line of the last request, as it arrived.
func lines(t *testing.T) (url string, last *atomic.Value) {
	last = new(atomic.Value)
	last.Store("")
	return strings.TrimSuffix(raw(t, func(c net.Conn) {
		reader := bufio.NewReader(c)
		line, _ := reader.ReadString('\n')
		last.Store(strings.TrimSuffix(line, " HTTP/1.1\r\n"))
		// What net/http does not read is put in the place of the first line.
		if r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\n"), reader))); err == nil {
			_, _ = io.Copy(io.Discard, r.Body) // the request may break off
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nVia: 1.1 proxy\r\n\r\n")
	}), "/"), last
}

// oddAddresses are paths and queries, and how the URL Standard serialises them.
var oddAddresses = map[string]string{
	"/x?name=Ann Lee&q=\"a|b\"": "/x?name=Ann%20Lee&q=%22a|b%22", "/a b/{c}?[d]": "/a%20b/%7Bc%7D?[d]", "/ü?ü": "/%C3%BC?%C3%BC", "?x": "/?x", "?x=[1]": "/?x=[1]",
	`\a\..\b?c\d`: `/b?c\d`, "/100%?50%": "/100%?50%", "/a/../b#c d": "/b", "/x?a^b`c{d}": "/x?a^b`c{d}", "": "/", "/a\tb": "/ab", "/a|[b]^`?'": "/a|[b]%5E%60?%27",
	"/%zz/%2f|?%": "/%zz/%2f|?%",
}

// TestOddAddressesArrive: an address with odd characters arrives as the URL Standard serialises it, wherever it
// comes from: the rule, an older version's rule, or a redirect. The record has the same.
func TestOddAddressesArrive(t *testing.T) {
	end, line := lines(t)
	for odd, want := range oddAddresses {
		start := raw(t, func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nConnection: close\r\nLocation: "+end+odd+"\r\n\r\n")
		})
		for kind, url := range map[string]string{"saved": end + odd, "redirected to": start} {
			line.Store("")
			got := send(t, url)
			if got.Status != 200 || line.Load() != "POST "+want {
				t.Errorf("%s, %q: status %d (%s), the receiver saw %q, want %q", kind, odd, got.Status, got.Error, line.Load(), want)
			}
			at := got.Request.URL
			if len(got.Request.Hops) > 0 {
				at = got.Request.Hops[0].URL
			}
			if at != end+want {
				t.Errorf("%s, %q: the record has %q, want %q", kind, odd, at, end+want)
			}
		}
	}
}

// TestOddAddressesArriveByEveryWay: over HTTP/2, through a tunnel, and handed to a proxy whole, the same bytes
// arrive.
func TestOddAddressesArriveByEveryWay(t *testing.T) {
	end, line := lines(t)
	tunnels := httptest.NewServer(&egressProxy{})
	defer tunnels.Close()
	tunnelled := through(t, tunnels, nil)
	asked, forwarded := lines(t)
	noTunnel := raw(t, func(c net.Conn) {
		reader := bufio.NewReader(c)
		if first, _ := reader.Peek(len("CONNECT")); string(first) == "CONNECT" {
			_, _ = io.WriteString(c, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		there, err := net.Dial("tcp", strings.TrimPrefix(asked, "http://"))
		if err != nil {
			return
		}
		defer there.Close()
		go func() { _, _ = io.Copy(there, reader) }()
		_, _ = io.Copy(c, there)
	})
	whole := through(t, &httptest.Server{URL: strings.TrimSuffix(noTunnel, "/")}, nil)
	h2, _, trust := onTheWire(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Location", r.RequestURI) }), "h2")
	overHTTP2 := newSender(t, trust)
	for odd, want := range oddAddresses {
		line.Store("")
		forwarded.Store("")
		if got := deliver(t, tunnelled, end+odd); got.Status != 200 || line.Load() != "POST "+want {
			t.Errorf("through a tunnel, %q: status %d (%s), the receiver saw %q, want %q", odd, got.Status, got.Error, line.Load(), want)
		}
		if got := deliver(t, whole, end+odd); got.Status != 200 || forwarded.Load() != "POST "+end+want {
			t.Errorf("handed to a proxy, %q: status %d (%s), the proxy saw %q, want %q", odd, got.Status, got.Error, forwarded.Load(), end+want)
		}
		if path, _, _ := strings.Cut(want, "?"); strings.HasPrefix(path, "/100%") || strings.HasPrefix(path, "/%zz") {
			continue // Go's server over HTTP/2 refuses these
		}
		if got := deliver(t, overHTTP2, h2.URL+odd); got.Status != 200 || strings.Join(got.Response.Headers["Location"], "") != want {
			t.Errorf("over HTTP/2, %q: status %d (%s), the receiver saw %q, want %q", odd, got.Status, got.Error, got.Response.Headers["Location"], want)
		}
	}
}

// TestAddressThatCannotBeCalledSaysWhy: one that was saved by an older version, and the one of a redirect.
func TestAddressThatCannotBeCalledSaysWhy(t *testing.T) {
	for url, says := range map[string]string{"http://a|b.example/": "'|'", "http://u:p@a.example/": "user name", "http://a.example:99999/": "port", "http://[::1%25lo]/": "zone"} {
		if got := send(t, url); got.Reason != herald.ReasonAddress || !strings.Contains(got.Error, says) {
			t.Errorf("%s: reason %q, error %q; want %q", url, got.Reason, got.Error, says)
		}
		start := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", url)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}))
		if got := send(t, start.URL); got.Reason != herald.ReasonRedirect || !strings.Contains(got.Error, says) {
			t.Errorf("redirect to %s: reason %q, error %q; want %q", url, got.Reason, got.Error, says)
		}
		start.Close()
	}
}

// TestSpellingsOfOneReceiverHaveOneOrigin: and so one lane, and one consent.
func TestSpellingsOfOneReceiverHaveOneOrigin(t *testing.T) {
	for _, raw := range []string{"https://bücher.example/a", "https://BÜCHER.example:443/a", "https://xn--bcher-kva.example:0443/x/../a", `https:\\b%C3%BCcher.example\a`} {
		origin, err := webhook.Origin(raw)
		receiver, err2 := webhook.Receiver(raw)
		if err != nil || err2 != nil || origin != "https://xn--bcher-kva.example:443" || receiver != origin+"/a" {
			t.Errorf("%s: %s (%v), %s (%v)", raw, origin, err, receiver, err2)
		}
	}
}
