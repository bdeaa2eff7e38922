package webhook_test

import (
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

// TestOddAddressesArriveLegal: an address with characters that may not be sent arrives percent-encoded,
// wherever it comes from: the rule, an older version's rule, or a redirect.
func TestOddAddressesArriveLegal(t *testing.T) {
	var uri atomic.Pointer[string]
	end := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { uri.Store(&r.RequestURI) }))
	defer end.Close()
	for odd, want := range map[string]string{
		"/x?name=Ann Lee&q=\"a|b\"": "/x?name=Ann%20Lee&q=%22a%7Cb%22", "/a b/{c}?[d]": "/a%20b/%7Bc%7D?%5Bd%5D", "/ü?ü": "/%C3%BC?%C3%BC", "?x": "/?x",
		`\a\..\b?c\d`: "/b?c%5Cd", "/100%?50%": "/100%25?50%25", "/a/../b#c d": "/b", "/x?a^b`c": "/x?a%5Eb%60c", "": "/", "/a\tb": "/ab",
	} {
		start := raw(t, func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nConnection: close\r\nLocation: "+end.URL+odd+"\r\n\r\n")
		})
		for kind, url := range map[string]string{"saved": end.URL + odd, "redirected to": start} {
			none := ""
			uri.Store(&none)
			got := send(t, url)
			if got.Status != 200 || *uri.Load() != want {
				t.Errorf("%s, %q: status %d (%s), the receiver saw %q, want %q", kind, odd, got.Status, got.Error, *uri.Load(), want)
			}
			at := got.Request.URL
			if len(got.Request.Hops) > 0 {
				at = got.Request.Hops[0].URL
			}
			if at != end.URL+want {
				t.Errorf("%s, %q: the record has %q, want %q", kind, odd, at, end.URL+want)
			}
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
