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
// so all programs agree on the host. What is sent has only the bytes that RFC 3986 allows: in a path
// and a query the standard leaves |, ^ and some others as they are, and strict receivers refuse them.

// maxAddress bounds an address as it is sent, in bytes. Common servers accept no longer ones.
const maxAddress = 8 << 10

// ParseAddress reads an absolute http or https address. The URL that it returns is sent as it is: its
// host is in ASCII and lower case without the scheme's own port, its path begins with a slash and has
// no dot segments, and every byte that may not be sent is percent-encoded. It has no fragment, because
// none is sent. The error names what is wrong.
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
	if size := len(u.EscapedPath()) + len(u.RawQuery); size > maxAddress {
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
		path = base.EscapedPath()
		if !hasQuery {
			query, hasQuery = base.RawQuery, base.RawQuery != "" || base.ForceQuery
		}
	default:
		whole := base.EscapedPath()
		path = whole[:strings.LastIndexByte(whole, '/')+1] + path
	}
	u.RawPath = encode(withoutDotSegments(path), isPathByte)
	u.Path, _ = url.PathUnescape(u.RawPath) // encode leaves no percent sign that begins nothing
	u.RawQuery = encode(query, isQueryByte)
	u.ForceQuery = hasQuery && query == ""
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

// encode percent-encodes the bytes of a text that are not legal, and a percent sign that begins no
// encoded byte.
func encode(text string, legal func(byte) bool) string {
	legalAt := func(i int) bool {
		if text[i] == '%' {
			return i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2])
		}
		return legal(text[i])
	}
	for i := range len(text) {
		if legalAt(i) {
			continue
		}
		var b strings.Builder
		b.Grow(len(text) + 16)
		b.WriteString(text[:i])
		for ; i < len(text); i++ {
			if legalAt(i) {
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

// pathBytes are the bytes that may be in a path (RFC 3986 section 3.3).
var pathBytes = func() (legal [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/") {
		legal[c] = true
	}
	return legal
}()

func isPathByte(c byte) bool { return pathBytes[c] }

// isQueryByte reports whether a byte may be in a query (RFC 3986 section 3.4). The standard of the WHATWG
// encodes the apostrophe there.
func isQueryByte(c byte) bool { return c == '?' || c != '\'' && pathBytes[c] }

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
