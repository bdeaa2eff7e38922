package egress

import (
	"bufio"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"herald"
)

// TestAddressesAreSerialised: whatever an address is spelled like, what is sent has legal bytes only, and
// names the host that the URL Standard names.
func TestAddressesAreSerialised(t *testing.T) {
	for raw, want := range map[string]string{
		"https://a.example":                      "https://a.example/",
		"HTTPS://A.Example:443?x":                "https://a.example/?x",
		"http://a.example:00080/":                "http://a.example/",
		"http://a.example:/x":                    "http://a.example/x",
		"http://a.example:443/?":                 "http://a.example:443/?",
		"https://a.example/a b?c=d e&f=\"g\"":    "https://a.example/a%20b?c=d%20e&f=%22g%22",
		" \thttps://a.example/a\tb\r\n/c\n ":     "https://a.example/ab/c",
		"https://a.example/ü/€?n=Zoë":            "https://a.example/%C3%BC/%E2%82%AC?n=Zo%C3%AB",
		"https://a.example/\xff?\xfe":            "https://a.example/%FF?%FE",
		"https://a.example/a|b^c`{d}[e]<f>\"g'":  "https://a.example/a|b%5Ec%60%7Bd%7D[e]%3Cf%3E%22g'",
		"https://a.example/?a|b^c`{d}[e]<f>g'\\": "https://a.example/?a|b^c`{d}[e]%3Cf%3Eg%27\\",
		"https://a.example/100%?50%&%zz=%2":      "https://a.example/100%?50%&%zz=%2",
		"https://a.example//a|b/%/../%2F|?%":     "https://a.example//a|b/%2F|?%",
		"https://a.example/\x7f?\x7f\x01x":       "https://a.example/%7F?%7F%01x",
		"https://a.example/%2f%7e%C3?%2F":        "https://a.example/%2f%7e%C3?%2F",
		`https:\\a.example\b\..\c?\d`:            `https://a.example/c?\d`,
		"https://a.example/a/./b/../c/%2e%2E/d":  "https://a.example/a/d",
		"https://a.example/a/..":                 "https://a.example/",
		"https://a.example/../../a/.":            "https://a.example/a/",
		"https://a.example//b//../c":             "https://a.example//b/c",
		"https://a.example/x#part":               "https://a.example/x",
		"https://a.example/!$&'()*+,;=:@~":       "https://a.example/!$&'()*+,;=:@~",
		"https://bücher.example/":                "https://xn--bcher-kva.example/",
		"https://BÜCHER.example.":                "https://xn--bcher-kva.example./",
		"https://b%C3%BCcher.example/":           "https://xn--bcher-kva.example/",
		"https://日本語。jp/":                        "https://xn--wgv71a119e.jp/",
		"https://my_host.example/":               "https://my_host.example/",
		"https://my_bücher.example/":             "https://xn--my_bcher-95a.example/",
		"https://a--b.r3---sn.example/":          "https://a--b.r3---sn.example/",
		"https://faß.example/":                   "https://xn--fa-hia.example/",
		"http://0x5db8d822/":                     "http://93.184.216.34/",
		"http://93.184.55330.:81/":               "http://93.184.216.34:81/",
		"http://0135.0270.0330.042/":             "http://93.184.216.34/",
		"http://[2606:4700:0:0::1111]:80/":       "http://[2606:4700::1111]/",
	} {
		u, err := ParseAddress(raw)
		if err != nil || Text(u) != want {
			t.Errorf("%q: %v, %v; want %s", raw, u, err, want)
		}
	}
}

func TestAddressesThatNameNothingAreRefused(t *testing.T) {
	for raw, says := range map[string]string{
		"": "begins with https://", "/x": "begins with https://", "a.example/x": "begins with https://", "ftp://a.example/": `"ftp"`, "javascript:x": `"javascript"`,
		"https://": "names no host", "https:///": "names no host", "https://:443/": "names no host", "https://u@a.example/": "user name", "https://@a.example/": "user name",
		"https://a.example:0/": "port", "https://a.example:65536/": "port", "https://a.example:x/": "port", "https://a.example:8 0/": "port",
		"https://a b.example/": "' '", "https://a|b.example/": "'|'", "https://a^b/": "'^'", "https://a%00b/": `'\x00'`, "https://a%2fb/": "'/'", "https://a%zz/": "%",
		"https://a..example/": "between dots", "https://a.example../": "between dots", "https://./": "between dots",
		"https://[::1%25lo]/": "zone", "https://[::1/": "no ]", "https://[::1]x/": "after the ]", "https://[1.2.3.4]/": "IPv6", "https://[::g]/": "IPv6",
		"https://1.2.3.4.5/": "neither", "https://256.1.1.1/": "neither", "https://09.1.1.1/": "", "https://a.0x/": "neither", "https://a.08/": "neither",
		"https://a.example/" + strings.Repeat("x", maxAddress): "bytes", "https://a.example/" + strings.Repeat("ü", maxAddress/4): "bytes",
	} {
		if raw == "https://09.1.1.1/" { // no octal number, so it is no address
			says = "neither"
		}
		if u, err := ParseAddress(raw); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: %v, %v; want an error with %q", raw, u, err, says)
		}
	}
}

func TestRelativeAddressesAreResolved(t *testing.T) {
	base, err := ParseAddress("https://a.example:8443/b/c?d=e")
	if err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]string{
		"": "/b/c?d=e", "#f": "/b/c?d=e", "?": "/b/c?", "?x y": "/b/c?x%20y", "x": "/b/x", "./x": "/b/x", "../x": "/x", "../../x?": "/x?", ".": "/b/", "/x": "/x", `\x\y`: "/x/y",
		"x:y": "", "x|%": "/b/x|%", "x/y:z": "/b/x/y:z", "/ü": "/%C3%BC", "https:x": "/b/x", "https:/x": "/x", "x/..": "/b/",
	} {
		u, err := ResolveAddress(base, raw)
		if want == "" {
			if err == nil {
				t.Errorf("%q: %v, want an error", raw, u)
			}
		} else if err != nil || Text(u) != "https://a.example:8443"+want {
			t.Errorf("%q: %v, %v; want %s", raw, u, err, want)
		}
	}
	for raw, want := range map[string]string{
		"//b.example": "https://b.example/", `\\b.example\x`: "https://b.example/x", `/\b.example`: "https://b.example/", "///b.example": "https://b.example/",
		"http:b.example/x": "http://b.example/x", "http://B.example:80": "http://b.example/", "https:\\\\b.example": "https://b.example/",
	} {
		if u, err := ResolveAddress(base, raw); err != nil || u.String() != want {
			t.Errorf("%q: %v, %v; want %s", raw, u, err, want)
		}
	}
}

// TestSaveNamesTheWrongCharacter: what is repaired in a redirect is refused in a rule, with the character.
func TestSaveNamesTheWrongCharacter(t *testing.T) {
	g := New(Options{})
	for raw, says := range map[string]string{
		"https://a.example/a b": "' '", "https://a.example/\u00a0": `'\u00a0'`, "https://a.example/a\tb": `'\t'`, "https://a.example/\n": `'\n'`, " https://a.example/": "byte 1",
		`https://a.example\b`: `\ (byte 18)`, "https://a.example/x#y": "# (byte 20)", "https://a.example/100%": "% without", "https://a.example/?a=%zz": "% without",
		"https://a|b.example/": "'|'", "https:///a.example/": "names no host", "https:a.example": "names no host",
	} {
		if err := g.CheckURL(raw); herald.CodeOf(err) != herald.CodeInvalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want it refused with %q", raw, err, says)
		}
	}
	for _, raw := range []string{"https://a.example/ü?x=|", `https://a.example/"{x}"?[y]=^`, "https://a.example/a/../b"} {
		if err := g.CheckURL(raw); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// FuzzAddressIsSentAndReadAlike: what is sent has only bytes that the URL Standard leaves, and both ways out send
// them. A server reads the same from it, but for a percent sign that begins nothing. It is the same when it is
// read again.
func FuzzAddressIsSentAndReadAlike(f *testing.F) {
	for _, raw := range []string{"https://a.example/a b?c=d e#f", `http:\\ü.example:080\..\x|y`, "https://a.example//%2e./?%zz", "http://[::ffff:1.2.3.4]/", "http://0x7f.1/'?'", "https://a.example//x|/%?|%", "/a|b%zz/../[c]", "//b.example/*", "?x", "https://a.example/\xff"} {
		f.Add(raw)
	}
	for _, host := range hostile {
		f.Add("http://" + host + "/")
	}
	base, err := ParseAddress("https://a.example/b/c")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ResolveAddress(base, raw)
		if err != nil {
			return
		}
		sent := Text(u)
		for i := range len(sent) {
			if c := sent[i]; c <= ' ' || c > '~' || strings.IndexByte("\"#<>", c) >= 0 {
				t.Fatalf("%q is sent as %q, with the byte %q", raw, sent, c)
			}
		}
		if path, _, _ := strings.Cut(RequestURI(u), "?"); !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "^`{}\\") {
			t.Fatalf("%q is sent as %q", raw, sent)
		}
		whole := ForTransport(u, true)
		if got := whole.RequestURI(); got != sent && got != RequestURI(u) || whole.Host != u.Host || whole.Scheme != u.Scheme {
			t.Fatalf("%q is sent as %q, and by a transport to a proxy as %q", raw, sent, got)
		}
		if got := ForTransport(u, false).RequestURI(); got != RequestURI(u) && (got != sent || !strings.HasPrefix(RequestURI(u), "//")) {
			t.Fatalf("%q is sent as %q, and by a transport as %q", raw, sent, got)
		}
		if again, err := ParseAddress(sent); err != nil || Text(again) != sent {
			t.Fatalf("%q is sent as %q, which is read as %v, %v", raw, sent, again, err)
		}
		if _, err := url.PathUnescape(pathOf(u)); err != nil {
			return
		}
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST " + RequestURI(u) + " HTTP/1.1\r\nHost: " + u.Host + "\r\n\r\n")))
		if err != nil || request.URL.Path != u.Path || request.URL.RawQuery != u.RawQuery || request.Host != u.Host {
			t.Fatalf("%q is sent as %q; a server reads %+v, %v", raw, sent, request, err)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && addr.String() != u.Hostname() {
			t.Fatalf("%q is sent to %q, which is the address %s", raw, u.Hostname(), addr)
		}
	})
}

func BenchmarkParseAddress(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseAddress("https://hooks.example.com:8443/codat/alerts?tenant=42"); err != nil {
			b.Fatal(err)
		}
	}
}
