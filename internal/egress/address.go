package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// An address can come from a rule, from the database or from the Location header of a redirect. All of
// them are read here, as the URL Standard of the WHATWG reads an http or https address (section 4.4),
// so all programs agree on the host. What is sent is what the standard serialises. It leaves some bytes that
// RFC 3986 does not allow, such as | and a percent sign that begins nothing. url.URL would encode those of a
// path, so Text and RequestURI are used instead of its methods, and ForTransport for http.Transport.

// maxAddress bounds an address as it is sent, in bytes. Common servers accept no longer ones.
const maxAddress = 8 << 10

// ParseAddress reads an absolute http or https address. The URL that it returns is sent as it is: its
// host is in ASCII and lower case without the scheme's own port, its path begins with a slash and has
// no dot segments, and every byte that the standard does not leave is percent-encoded. It has no fragment,
// because none is sent. The error names what is wrong.
func ParseAddress(raw string) (*url.URL, error) { return ResolveAddress(nil, raw) }

// ResolveAddress is ParseAddress for an address that may be relative to base, such as that of a
// redirect. base is a URL of ParseAddress, or nil.
func ResolveAddress(base *url.URL, raw string) (*url.URL, error) {
	if len(raw) > maxAddress {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(raw), maxAddress)
	}
	text, _, _ := strings.Cut(stripBlanks(raw), "#")
	u := &url.URL{}
	scheme, rest, found := cutScheme(text)
	switch {
	case found && scheme != "http" && scheme != "https":
		return nil, fmt.Errorf("its scheme is %.20q; want an absolute address that begins with https:// or http://", scheme)
	case !found && base == nil:
		return nil, errors.New("want an absolute address that begins with https:// or http://")
	case !found:
		u.Scheme = base.Scheme
	default:
		u.Scheme = scheme
	}
	path := rest
	absolute := found && (base == nil || scheme != base.Scheme)
	if absolute || len(rest) > 1 && isSlash(rest[0]) && isSlash(rest[1]) {
		rest = strings.TrimLeft(rest, `/\`)
		end := strings.IndexAny(rest, `/\?`)
		if end < 0 {
			end = len(rest)
		}
		var err error
		if u.Host, err = serialiseHost(u.Scheme, rest[:end]); err != nil {
			return nil, err
		}
		base, path = nil, rest[end:]
	} else {
		u.Host = base.Host
	}
	setPath(u, base, path)
	if size := len(pathOf(u)) + len(u.RawQuery); size > maxAddress {
		return nil, fmt.Errorf("its path and query have %d bytes when they are percent-encoded, more than %d", size, maxAddress)
	}
	return u, nil
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

// stripBlanks removes what the standard ignores: control characters and blanks at both ends, and tabs
// and line breaks anywhere.
func stripBlanks(raw string) string {
	text := strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' })
	if !strings.ContainsAny(text, "\t\r\n") {
		return text
	}
	return strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(text)
}

// cutScheme splits off a scheme and its colon.
func cutScheme(text string) (scheme, rest string, found bool) {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return strings.ToLower(text[:i]), text[i+1:], true
		default:
			return "", text, false
		}
	}
	return "", text, false
}

// setPath sets the path and the query of a URL from the text after the host. base has those that a
// relative text builds on; nil has none.
func setPath(u, base *url.URL, text string) {
	path, query, hasQuery := strings.Cut(text, "?")
	path = strings.ReplaceAll(path, `\`, "/")
	switch {
	case base == nil, strings.HasPrefix(path, "/"):
	case path == "":
		path = pathOf(base)
		if !hasQuery {
			query, hasQuery = base.RawQuery, base.RawQuery != "" || base.ForceQuery
		}
	default:
		whole := pathOf(base)
		path = whole[:strings.LastIndexByte(whole, '/')+1] + path
	}
	u.RawPath = encode(withoutDotSegments(path), isPathByte)
	var err error
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		u.Path = u.RawPath // a percent sign begins nothing
	}
	u.RawQuery = encode(query, isQueryByte)
	u.ForceQuery = hasQuery && query == ""
}

// pathOf returns the path of a URL of ParseAddress as it is sent.
func pathOf(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.EscapedPath()
}

// RequestURI returns the path and the query of a URL of ParseAddress as they are sent.
func RequestURI(u *url.URL) string {
	path := pathOf(u)
	if u.RawQuery != "" || u.ForceQuery {
		return path + "?" + u.RawQuery
	}
	return path
}

// Text returns a URL of ParseAddress as it is sent.
func Text(u *url.URL) string { return u.Scheme + "://" + u.Host + RequestURI(u) }

// ForTransport returns a URL of ParseAddress with which http.Transport sends the same bytes as Text and
// RequestURI return. whole is for one that hands whole requests to a proxy.
func ForTransport(u *url.URL, whole bool) *url.URL {
	path := pathOf(u)
	if path == u.EscapedPath() {
		return u
	}
	exact := *u
	if exact.Opaque = path; whole || strings.HasPrefix(path, "//") {
		exact.Opaque = "//" + u.Host + path // net/http takes what begins so for an address with its host
	}
	return &exact
}

// withoutDotSegments resolves the segments . and .. of a path, also where they are percent-encoded, and
// begins it with a slash.
func withoutDotSegments(path string) string {
	if strings.HasPrefix(path, "/") && !strings.Contains(path, "/.") && !strings.Contains(path, "/%2") {
		return path
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	kept := make([]string, 0, len(segments))
	for i, segment := range segments {
		last := i == len(segments)-1
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
			if last {
				kept = append(kept, "")
			}
		case ".":
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// encode percent-encodes the bytes of a text that are not left as they are.
func encode(text string, left func(byte) bool) string {
	for i := range len(text) {
		if left(text[i]) {
			continue
		}
		var b strings.Builder
		b.Grow(len(text) + 16)
		b.WriteString(text[:i])
		for ; i < len(text); i++ {
			if left(text[i]) {
				b.WriteByte(text[i])
			} else {
				const digits = "0123456789ABCDEF"
				b.Write([]byte{'%', digits[text[i]>>4], digits[text[i]&15]})
			}
		}
		return b.String()
	}
	return text
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// isPathByte reports whether a byte is left in a path: it is not in the standard's path percent-encode set
// (URL Standard, "Percent-encoded bytes").
func isPathByte(c byte) bool { return pathBytes[c] }

var pathBytes = bytesBut("\"#<>?^`{}")

// isQueryByte reports whether a byte is left in a query: it is not in the special-query percent-encode set.
func isQueryByte(c byte) bool { return queryBytes[c] }

var queryBytes = bytesBut("\"#<>'")

// bytesBut are the printable bytes of ASCII, without the blank and some others.
func bytesBut(others string) (left [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		left[c] = strings.IndexByte(others, c) < 0
	}
	return left
}

// serialiseHost returns the host and the port of an address as they are sent.
func serialiseHost(scheme, authority string) (string, error) {
	if strings.Contains(authority, "@") {
		return "", errors.New("it has a user name in it; set alertAuthHeader in the profile instead")
	}
	host, port := authority, ""
	if end := strings.LastIndexByte(authority, ']'); strings.HasPrefix(authority, "[") {
		if end < 0 {
			return "", fmt.Errorf("%q begins with [ and has no ]", authority)
		}
		var hasPort bool
		if port, hasPort = strings.CutPrefix(authority[end+1:], ":"); !hasPort && port != "" {
			return "", fmt.Errorf("%q has %q after the ]; want a port such as :8443", authority, port)
		}
		if host = authority[1:end]; !strings.Contains(host, ":") {
			return "", fmt.Errorf("%q is not an IPv6 address", host)
		}
	} else if colon := strings.IndexByte(authority, ':'); colon >= 0 {
		host, port = authority[:colon], authority[colon+1:]
	}
	host, err := serialiseName(host)
	if err != nil {
		return "", err
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	number, err := parsePort(scheme, port)
	if err != nil || number == defaultPort(scheme) {
		return host, err
	}
	return host + ":" + strconv.Itoa(int(number)), nil
}

func defaultPort(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

func parsePort(scheme, text string) (uint16, error) {
	if text == "" {
		return defaultPort(scheme), nil
	}
	digits := strings.TrimLeft(text, "0")
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %.20q: want a number from 1 to 65535", text)
	}
	return uint16(port), nil
}

// serialiseName returns a host as it is sent: an IP address in its usual form, without brackets, or a
// name in ASCII and lower case.
func serialiseName(host string) (string, error) {
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			if strings.Contains(host, "%") {
				return "", fmt.Errorf("%q: an address with a zone is not allowed", host)
			}
			return "", fmt.Errorf("%q is not an IPv6 address", host)
		}
		return addr.String(), nil
	}
	ascii, err := asciiName(host)
	if err != nil {
		return "", err
	}
	name := strings.TrimSuffix(ascii, ".")
	if last := name[strings.LastIndexByte(name, '.')+1:]; last == "" || last[0] < '0' || last[0] > '9' {
		return ascii, nil
	} else if _, numeric := parseNumber(last); !numeric && strings.Trim(last, "0123456789") != "" {
		return ascii, nil
	}
	addr, ok := looseIPv4(name)
	if !ok {
		return "", fmt.Errorf("%q is neither an IP address nor the name of a host", host)
	}
	return addr.String(), nil
}

// hostNames writes names in ASCII as the URL Standard does. It takes underscores and two hyphens in a row:
// names in private networks and of content delivery networks have them.
var hostNames = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckJoiners(true), idna.Transitional(false),
	idna.StrictDomainName(false), idna.CheckHyphens(false))

// asciiName returns the name of a host in ASCII and lower case. It keeps the dot of the root.
func asciiName(host string) (string, error) {
	if host == "" {
		return "", errors.New("it names no host")
	}
	ascii, root := host, ""
	if !plainName(host) || strings.Contains(host, "xn--") {
		decoded, err := url.PathUnescape(host)
		if err != nil || !utf8.ValidString(decoded) {
			return "", fmt.Errorf("%q is not the name of a host: its %% begins no encoded UTF-8", host)
		}
		decoded, root = cutRoot(decoded)
		ascii, err = hostNames.ToASCII(decoded)
		if err != nil {
			ascii = strings.ToLower(decoded)
		}
		if strange := strangeIn(ascii); ascii != "" && strange != "" {
			return "", fmt.Errorf("%q is not the name of a host%s", host, strange)
		}
	}
	// IDNA maps other full stops to dots, so the dot of the root can come off here too. More of them, or
	// two in a row, are no name: some resolvers drop all of them, and localhost.. is localhost.
	name, mapped := cutRoot(ascii)
	if root += mapped; name == "" || root == ".." || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return "", fmt.Errorf("%q is not the name of a host: it has an empty part between dots", host)
	}
	return name + root, nil
}

// cutRoot splits off the dot of the root of names.
func cutRoot(name string) (string, string) {
	if cut, found := strings.CutSuffix(name, "."); found {
		return cut, "."
	}
	return name, ""
}

// strangeIn names the first character of a name that no name has.
func strangeIn(name string) string {
	for _, r := range name {
		if !isNameChar(r) {
			return fmt.Sprintf(": it has the character %q", r)
		}
	}
	return ""
}

func plainName(name string) bool { return name != "" && strangeIn(name) == "" }

func isNameChar(r rune) bool {
	return r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z'
}

// looseIPv4 parses what inet_aton accepts as an IPv4 address: one to four parts, each
// decimal, octal or hexadecimal. The last part fills the remaining bytes.
func looseIPv4(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 32 - 8*i
		}
		n, ok := parseNumber(part)
		if !ok || n >= 1<<bits {
			return netip.Addr{}, false
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// parseNumber parses a part of an IPv4 address. 0x alone is 0.
func parseNumber(part string) (uint64, bool) {
	base, digits := 10, part
	switch lower := strings.ToLower(part); {
	case lower == "0x":
		return 0, true
	case strings.HasPrefix(lower, "0x"):
		base, digits = 16, part[2:]
	case len(part) > 1 && part[0] == '0':
		base, digits = 8, part[1:]
	}
	n, err := strconv.ParseUint(digits, base, 64)
	return n, err == nil
}
