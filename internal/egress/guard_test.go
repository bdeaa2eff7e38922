package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"herald"
	"herald/internal/test/dns"
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// TestDeniedNetworkWins: --deny-target takes precedence over public networks and over
// --allow-target.
func TestDeniedNetworkWins(t *testing.T) {
	g := New(Options{
		Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Deny:  []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("93.184.216.0/24"), netip.MustParsePrefix("2606:4700::/32")},
	})
	for address, want := range map[string]bool{
		"10.1.0.1:22": true, "10.9.0.1:443": false, "93.184.216.34:443": false, "93.184.217.34:443": true,
		"[2606:4700::1111]:443": false, "[::ffff:10.9.0.1]:443": false, "[::ffff:10.1.0.1]:443": true,
	} {
		if got := g.allowed(netip.MustParseAddrPort(address)); got != want {
			t.Errorf("%s is allowed: %v, want %v", address, got, want)
		}
	}
}

func TestPortsAreTheOperators(t *testing.T) {
	ports, err := ParsePorts([]string{"443", " 8000-8999"})
	if err != nil || ports.String() != "443, 8000-8999" {
		t.Fatalf("ports %v, %v", ports, err)
	}
	g := New(Options{Ports: ports})
	for port, want := range map[uint16]bool{443: true, 8000: true, 8999: true, 80: false, 22: false, 25: false, 6379: false, 9000: false} {
		if got := g.allowed(netip.AddrPortFrom(netip.MustParseAddr("93.184.216.34"), port)); got != want {
			t.Errorf("port %d is allowed: %v, want %v", port, got, want)
		}
	}
	if err := g.CheckURL("http://example.com/"); herald.CodeOf(err) != herald.CodeInvalid || !strings.Contains(err.Error(), "443, 8000-8999") {
		t.Errorf("port 80: %v", err)
	}
	for _, bad := range []string{"", "0", "x", "70000", "9-8", "1-", "-5", "80,443"} {
		if _, err := ParsePorts([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestOwnAddressIsRefused(t *testing.T) {
	all := Options{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	for listener, targets := range map[string]map[string]bool{
		"127.0.0.1:8080": {"127.0.0.1:8080": false, "127.0.0.1:8081": true, "127.0.0.2:8080": true, "[::ffff:127.0.0.1]:8080": false, "0.0.0.0:8080": false},
		"[::]:8080":      {"127.0.0.1:8080": false, "127.8.8.8:8080": false, "[::1]:8080": false, "[::]:8080": false, "93.184.216.34:8080": true, "127.0.0.1:80": true},
		"0.0.0.0:8080":   {"127.0.0.1:8080": false, "0.0.0.0:8080": false},
	} {
		g := New(all)
		g.DenyOwn(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(listener)))
		for target, want := range targets {
			if got := g.allowed(netip.MustParseAddrPort(target)); got != want {
				t.Errorf("listening on %s, %s is allowed: %v, want %v", listener, target, got, want)
			}
		}
	}
}

// watched is a guard that records its sockets instead of opening them.
type watched struct {
	*Guard
	mu     sync.Mutex
	dialed []netip.AddrPort
}

var errNotDialed = errors.New("the test dials nothing")

func watch(o Options) *watched {
	w := &watched{Guard: New(o)}
	control := w.dialer.Control
	w.dialer.Control = func(network, address string, c syscall.RawConn) error {
		if err := control(network, address, c); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dialed = append(w.dialed, netip.MustParseAddrPort(address))
		return errNotDialed
	}
	return w
}

// TestNameWithAPrivateAddressIsCalledAtThePublicOneOnly: the guard opens no socket to a
// name's forbidden addresses, whatever their order.
func TestNameWithAPrivateAddressIsCalledAtThePublicOneOnly(t *testing.T) {
	public, private := netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("10.0.0.1")
	for _, addrs := range [][]netip.Addr{{public, private}, {private, public}} {
		w := watch(Options{Resolver: dns.Resolver(t, func(string) dns.Answer { return dns.Answer{Addrs: addrs} })})
		_, _ = w.DialContext(t.Context(), "tcp", "both.example:443")
		if len(w.dialed) != 1 || w.dialed[0].Addr() != public {
			t.Errorf("of %v, %v were dialled", addrs, w.dialed)
		}
	}
	w := watch(Options{Resolver: dns.Resolver(t, func(string) dns.Answer { return dns.Answer{Addrs: []netip.Addr{private}} })})
	if _, err := w.DialContext(t.Context(), "tcp", "private.example:443"); !errors.Is(err, ErrNotAllowed) || len(w.dialed) > 0 {
		t.Errorf("a private name: %v, dialled %v", err, w.dialed)
	}
}

// TestNameThatIsRebound: the name had a public address when the rule was saved. It now has
// a private one, so the dial refuses it.
func TestNameThatIsRebound(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	w := watch(Options{Resolver: dns.Resolver(t, func(string) dns.Answer {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked <= 2 { // A and AAAA of the first dial
			return dns.Answer{Addrs: []netip.Addr{netip.MustParseAddr("93.184.216.34")}}
		}
		return dns.Answer{Addrs: []netip.Addr{netip.MustParseAddr("169.254.169.254")}}
	})})
	if err := w.CheckURL("https://rebound.example/"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DialContext(t.Context(), "tcp", "rebound.example:443"); !errors.Is(err, errNotDialed) {
		t.Errorf("first: %v", err)
	}
	if _, err := w.DialContext(t.Context(), "tcp", "rebound.example:443"); !errors.Is(err, ErrNotAllowed) || len(w.dialed) != 1 {
		t.Errorf("second: %v, dialled %v", err, w.dialed)
	}
}

func TestEnvironmentsProxyIsNotHonoured(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	request := httptest.NewRequest(http.MethodPost, "http://example.com/", nil)
	if proxy, err := New(Options{}).Proxy(request); proxy != nil || err != nil {
		t.Errorf("the proxy is %v, %v", proxy, err)
	}
}

// TestEgressProxyIsAskedForWhatIsNotPlainlyForbidden uses a proxy on loopback, where no
// receiver may be.
func TestEgressProxyIsAskedForWhatIsNotPlainlyForbidden(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Proxy-Authorization"))
		_, _ = io.WriteString(w, "from the proxy")
	}))
	defer proxy.Close()
	address, err := ParseProxy(strings.Replace(proxy.URL, "http://", "http://user:password@", 1))
	if err != nil {
		t.Fatal(err)
	}
	g := New(Options{Proxy: address})
	transport := &http.Transport{Proxy: g.Proxy, DialContext: g.DialProxy}
	defer transport.CloseIdleConnections()
	call := func(target string) error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err == nil {
			response.Body.Close()
		}
		return err
	}
	if err := call("http://receiver.example/hook"); err != nil {
		t.Error(err)
	}
	for _, forbidden := range []string{"http://10.0.0.1/", "http://169.254.169.254/latest", "https://[::1]/", "http://localhost/", "http://2130706433/", proxy.URL, "http://localhost../", "http://localhost.../",
		"http://a.localhost../", "http://127.0.0.1../", "http://metadata.google.internal../"} {
		if err := call(forbidden); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v, want ErrNotAllowed", forbidden, err)
		}
	}
	want := []string{"POST http://receiver.example/hook Basic dXNlcjpwYXNzd29yZA=="}
	if !slices.Equal(asked, want) {
		t.Errorf("the proxy was asked %q, want %q", asked, want)
	}
	for _, bad := range []string{"proxy:3128", "socks5://proxy:1080", "http://", "http://proxy/path", "http://a:b@pro xy/"} {
		if _, err := ParseProxy(bad); err == nil || strings.Contains(err.Error(), "a:b") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzNoSocketToARefusedAddress calls every address that CheckURL accepts with an HTTP
// client. The name server answers every name with one public and one private address. The
// guard must open sockets to public addresses only.
func FuzzNoSocketToARefusedAddress(f *testing.F) {
	for _, host := range hostile {
		f.Add("http://" + host + "/")
		f.Add("https://example.com@" + host + ":8443/")
	}
	for _, raw := range []string{"https://example.com:8443/x", "http://0x7f.1.example/", "http://1.2.3.4.:80/", "http://[::ffff:0:127.0.0.1]/", "http://example.com:00080/"} {
		f.Add(raw)
	}
	public := New(Options{})
	w := watch(Options{Resolver: dns.Resolver(f, func(string) dns.Answer {
		return dns.Answer{Addrs: []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("127.0.0.1")}}
	})})
	client := &http.Client{Transport: &http.Transport{Proxy: w.Proxy, DialContext: w.DialContext, DisableKeepAlives: true}}
	f.Fuzz(func(t *testing.T, raw string) {
		if w.CheckURL(raw) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q was accepted and does not parse", raw)
		}
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, u.String(), nil)
		if err != nil {
			return
		}
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
			t.Fatalf("%q was answered", raw)
		}
		for _, target := range w.dialed {
			if !public.allowed(target) || loopback.Contains(target.Addr()) {
				t.Errorf("%q opened a socket to %s", raw, target)
			}
		}
		w.dialed = nil
	})
}
