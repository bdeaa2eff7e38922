package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"herald/internal/api"
)

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("fe80::/10")}

// remote returns a request's address in its log line and from CallerAddress.
func remote(t *testing.T, peer string, forwarded ...string) string {
	t.Helper()
	var address netip.Addr
	s := newFixture(map[string]http.HandlerFunc{"POST /rules": func(_ http.ResponseWriter, r *http.Request) {
		address = api.CallerAddress(r.Context())
	}}, proxies...)
	request := httptest.NewRequest("POST", "/rules", nil)
	request.RemoteAddr, request.Header["X-Forwarded-For"] = peer, forwarded
	s.ServeHTTP(httptest.NewRecorder(), request)
	if line := s.line(t); line["remote"] != address.String() {
		t.Errorf("the log says %v, CallerAddress %v", line["remote"], address)
	}
	return address.String()
}

func TestCallersAddressIsWhomTrustedProxiesName(t *testing.T) {
	const peer = "10.0.0.1:4711"
	for _, test := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "192.0.2.1:80", nil, "192.0.2.1"},
		{"not a proxy, and says so", "192.0.2.1:80", []string{"198.51.100.7"}, "192.0.2.1"},
		{"a proxy that names nobody", peer, nil, "10.0.0.1"},
		{"a proxy that names one", peer, []string{"198.51.100.7"}, "198.51.100.7"},
		{"what the caller said itself", peer, []string{"1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		{"proxies behind each other", peer, []string{"1.1.1.1,198.51.100.7 ,10.9.9.9,\t10.8.8.8"}, "198.51.100.7"},
		{"several lines", peer, []string{"1.1.1.1", "198.51.100.7,10.9.9.9", "10.8.8.8"}, "198.51.100.7"},
		{"all are proxies", peer, []string{"10.3.3.3,10.2.2.2"}, "10.3.3.3"},
		{"garbage behind the caller", peer, []string{"garbage, 198.51.100.7"}, "198.51.100.7"},
		{"garbage before the caller", peer, []string{"198.51.100.7, unknown"}, "10.0.0.1"},
		{"an empty entry", peer, []string{"198.51.100.7,"}, "10.0.0.1"},
		{"an empty line", peer, []string{""}, "10.0.0.1"},
		{"a port", peer, []string{"198.51.100.7:5000"}, "198.51.100.7"},
		{"IPv6", peer, []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", peer, []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 with a port", peer, []string{"[2001:db8::7]:443"}, "2001:db8::7"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:80", []string{"::ffff:198.51.100.7, ::ffff:10.2.2.2"}, "198.51.100.7"},
		{"a zone", "[fe80::1%eth0]:80", []string{"fe80::2%forged, fd00::3"}, "fe80::2"},
		{"no address at all", "@", []string{"198.51.100.7"}, "invalid IP"},
	} {
		if got := remote(t, test.peer, test.forwarded...); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestNobodyIsTrustedUnlessSaid(t *testing.T) {
	s := newFixture(map[string]http.HandlerFunc{"POST /rules": fine})
	request := httptest.NewRequest("POST", "/rules", nil)
	request.RemoteAddr = "127.0.0.1:80"
	request.Header.Set("X-Forwarded-For", "198.51.100.7")
	s.ServeHTTP(httptest.NewRecorder(), request)
	if line := s.line(t); line["remote"] != "127.0.0.1" {
		t.Errorf("the log says %v", line["remote"])
	}
}

// FuzzCallersAddress: for every header the result is an address without a zone. Entries
// before a proxy's own entry never count.
func FuzzCallersAddress(f *testing.F) {
	for _, seed := range []string{"", ",", "198.51.100.7", "[::1]:80, 10.0.0.1", "fe80::1%a,b", "::ffff:1.2.3.4", "[", "]:,[", strings.Repeat("10.0.0.1,", 50)} {
		f.Add(seed, "10.2.2.2")
	}
	f.Fuzz(func(t *testing.T, said, second string) {
		mux := http.NewServeMux()
		var got netip.Addr
		mux.HandleFunc("POST /rules", func(_ http.ResponseWriter, r *http.Request) { got = api.CallerAddress(r.Context()) })
		m := api.NewMiddleware(mux, slog.New(slog.DiscardHandler), nil, proxies...)
		ask := func(peer string, lines ...string) netip.Addr {
			request := httptest.NewRequest("POST", "/rules", nil)
			request.RemoteAddr, request.Header["X-Forwarded-For"] = peer, lines
			m.ServeHTTP(httptest.NewRecorder(), request)
			return got
		}
		if a := ask("10.0.0.1:80", said, second); !a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Errorf("%q, %q: %v", said, second, a)
		}
		if a := ask("10.0.0.1:80", said, second+",198.51.100.7"); a.String() != "198.51.100.7" {
			t.Errorf("%q, %q before the proxy's own word: %v", said, second, a)
		}
		if a := ask("192.0.2.1:80", said, second); a.String() != "192.0.2.1" {
			t.Errorf("%q, %q from nobody trusted: %v", said, second, a)
		}
	})
}
