package egress

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"herald"
)

// maxURL bounds a webhook's address, in bytes.
const maxURL = 2048

// CheckURL returns a CodeInvalid Error for a webhook's address that cannot be called. The
// address must be an absolute http or https URI (spec section 5.5) without user info. Its
// host must not be an address or a name that is certainly forbidden. The dial refuses a
// name that resolves to a forbidden address.
func (g *Guard) CheckURL(raw string) error {
	if len(raw) > maxURL {
		return refuse("the address has %d bytes, more than %d", len(raw), maxURL)
	}
	for _, r := range raw {
		if r <= ' ' || r == 0x7f {
			return refuse("the address %q has a blank or a control character; percent-encode it", raw)
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return refuse("%q is not an address: %v", raw, err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse("%q: want an absolute address that begins with https:// or http://", raw)
	case u.User != nil:
		return refuse("the address has a user name in it; set alertAuthHeader in the profile instead")
	case u.Hostname() == "":
		return refuse("%q names no host", raw)
	}
	port, err := portOf(u)
	if err != nil {
		return err
	}
	return g.checkHost(u.Hostname(), port)
}

func portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		if u.Scheme == "http" {
			return 80, nil
		}
		return 443, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, refuse("port %q: want a number from 1 to 65535", text)
	}
	return uint16(port), nil
}

func (g *Guard) checkHost(host string, port uint16) error {
	if strings.Contains(host, "%") {
		return refuse("%q: an address with a zone is not allowed", host)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.checkAddr(host, addr, port)
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil {
		// IDNA refuses an underscore, but names in private networks may have one.
		if ascii, err = strings.ToLower(strings.TrimSuffix(host, ".")), nil; !plainName(ascii) {
			return refuse("%q is not the name of a host", host)
		}
	}
	// IDNA maps other full stops to dots, so the dot of the root comes off here. More of them, or
	// two in a row, are no name: some resolvers drop all of them, and localhost.. is localhost.
	ascii = strings.TrimSuffix(ascii, ".")
	if ascii == "" || strings.HasPrefix(ascii, ".") || strings.HasSuffix(ascii, ".") || strings.Contains(ascii, "..") {
		return refuse("%q is not the name of a host: it has an empty part between dots", host)
	}
	if addr, ok := looseIPv4(ascii); ok {
		return g.checkAddr(host, addr, port)
	}
	if lastLabelIsNumeric(ascii) {
		return refuse("%q is neither an IP address nor the name of a host", host)
	}
	if name := ascii; name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return g.checkAddr(host, netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	} else if name == "metadata.google.internal" {
		return g.checkAddr(host, netip.AddrFrom4([4]byte{169, 254, 169, 254}), port)
	}
	if !g.ports.allow(port) && len(g.allow) == 0 {
		return refuse("port %d is not allowed: receivers' ports are %s", port, g.ports)
	}
	return nil
}

func (g *Guard) checkAddr(shown string, addr netip.Addr, port uint16) error {
	if !g.allowed(netip.AddrPortFrom(addr, port)) {
		return refuse("%s, port %d, is not allowed as a receiver: receivers have public addresses and ports %s, unless the operator allows more.", shown, port, g.ports)
	}
	return nil
}

func plainName(name string) bool {
	for _, r := range name {
		if !(r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z') {
			return false
		}
	}
	return name != ""
}

func lastLabelIsNumeric(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil
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
		n, err := strconv.ParseUint(octal(part), 0, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// octal returns a number that Go parses as C does: C has neither 0o17 nor 1_7.
func octal(part string) string {
	if strings.ContainsAny(part, "_oObB") && !strings.HasPrefix(strings.ToLower(part), "0x") {
		return ""
	}
	return part
}

func refuse(format string, args ...any) error {
	return herald.Invalid("notifiers.webhook", "Webhook: "+format, args...)
}
