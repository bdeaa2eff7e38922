package egress

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"herald"
)

// hostile are hosts in a webhook's address that attackers may try.
var hostile = []string{
	"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.0.0.1", "0", "0.0.0.0", "[::]", "[::1]",
	"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::1%25lo]", "[fe80::1%25lo]", "[64:ff9b::a9fe:a9fe]",
	"[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[5f00::1]",
	"[3fff::1]", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "metadata.google.internal",
	"100.100.100.200", "168.63.129.16", "192.0.0.192", "①②⑦.⓪.⓪.①", "127。0。0。1", "localhost", "localhost.", ":80",
	"user:pw@10.0.0.1", "LOCALHOST", "a.localhost", "127.0.0.1.", "192.168.257", "1.2.3.4.5", "0x7f.1", "[::ffff:10.0.0.1]",
	"localhost..", "localhost...", "a.localhost..", "LOCALHOST。。", "localhost.。", "localhost。.", "localhost%2e%2e", "127.0.0.1..", "127.1..", "2130706433..",
	"metadata.google.internal..", "metadata.google.internal。", "localhost｡｡", "..localhost", "localhost．．", "example..com", ".", "..",
}

func TestHostileAddressesAreRefusedWhenSaved(t *testing.T) {
	g := New(Options{})
	for _, host := range hostile {
		if err := g.CheckURL("http://" + host + "/"); herald.CodeOf(err) != herald.CodeInvalid {
			t.Errorf("%s: %v, want it refused", host, err)
		}
	}
	for _, raw := range []string{
		"file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "//example.com/", "/relative", "example.com/x", "",
		"https://", "https://example.com:0/", "https://example.com:70000/", "https://exa mple.com/", "https://example.com/\r\nX: y",
		"https://example.com:22/", "https://example.com:25/", "https://u@example.com/", "https://exa\x00mple.com/",
	} {
		if err := g.CheckURL(raw); herald.CodeOf(err) != herald.CodeInvalid {
			t.Errorf("%q: %v, want it refused", raw, err)
		}
	}
}

func TestHostileAddressesAreRefusedAtTheDial(t *testing.T) {
	g := New(Options{})
	for _, host := range hostile {
		u, err := url.Parse("http://" + host + "/")
		if err != nil || u.Hostname() == "" {
			continue // nothing that could be dialled
		}
		addr, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			continue // a name, which Go's resolver does not take for an address
		}
		network := "tcp4"
		if addr.Is6() {
			network = "tcp6"
		}
		if err := g.control(network, netip.AddrPortFrom(addr, 80).String(), nil); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v, want ErrNotAllowed", host, err)
		}
	}
	for _, address := range []string{"93.184.216.34:25", "93.184.216.34:22", "[2606:4700::1111]:110", "nonsense"} {
		if err := g.control("tcp4", address, nil); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v, want ErrNotAllowed", address, err)
		}
	}
	if err := g.control("udp4", "93.184.216.34:443", nil); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("udp: %v, want ErrNotAllowed", err)
	}
}

func TestPublicAddressesAreAllowed(t *testing.T) {
	g := New(Options{})
	for _, raw := range []string{
		"https://example.com/hook?a=1", "http://93.184.216.34/", "https://[2606:4700::1111]:8443/x", "https://bücher.example/",
		"https://my_host.example/", "http://example.com:8080", "https://1.example.com", "https://EXAMPLE.com.",
	} {
		if err := g.CheckURL(raw); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for _, address := range []string{"93.184.216.34:443", "8.8.8.8:8080"} {
		if err := g.control("tcp4", address, nil); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAllowedNetworkIsCalled(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	address := server.Listener.Addr().String()
	conn, err := New(Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := New(Options{}).DialContext(t.Context(), "tcp", address); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("without permission: %v, want ErrNotAllowed", err)
	}
	if err := New(Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}).CheckURL("http://localhost:22/"); err != nil {
		t.Errorf("an allowed network takes any port: %v", err)
	}
}

func TestNameThatResolvesToAForbiddenAddressIsRefused(t *testing.T) {
	// Every machine's hosts file has this name.
	_, err := New(Options{}).DialContext(t.Context(), "tcp", "localhost:80")
	if !errors.Is(err, ErrNotAllowed) {
		t.Errorf("localhost: %v, want ErrNotAllowed", err)
	}
}

func TestUnansweredConnectionIsTold(t *testing.T) {
	g := New(Options{ConnectTimeout: time.Nanosecond, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	_, err := g.DialContext(context.Background(), "tcp", "127.0.0.1:9")
	if !errors.Is(err, ErrConnectTimeout) {
		t.Errorf("error %v, want ErrConnectTimeout", err)
	}
}

func TestNetworksAreParsed(t *testing.T) {
	got, err := ParsePrefixes([]string{"10.0.0.0/8", " 10.1.2.3", "::1", "fd00::1/8"})
	if err != nil || len(got) != 4 || got[1].String() != "10.1.2.3/32" || got[3].String() != "fd00::/8" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "10.0.0.0/33", "localhost", "::ffff:10.0.0.0/104", "fe80::1%lo"} {
		if _, err := ParsePrefixes([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// FuzzAcceptedAddressesStayPublic compares CheckURL with the guard: the dial must allow
// every IP address that CheckURL accepts.
func FuzzAcceptedAddressesStayPublic(f *testing.F) {
	for _, host := range hostile {
		f.Add("http://" + host + "/")
	}
	f.Add("https://example.com:8443/x")
	g := New(Options{})
	f.Fuzz(func(t *testing.T, raw string) {
		if g.CheckURL(raw) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q was accepted and does not parse", raw)
		}
		addr, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			return
		}
		port, err := parsePort(u.Scheme, u.Port())
		if err != nil || !g.allowed(netip.AddrPortFrom(addr, port)) {
			t.Errorf("%q was accepted, and the dial refuses it", raw)
		}
	})
}
