package egress

import (
	"net/netip"
	"strings"
	"unicode"

	"herald"
)

// maxURL bounds a webhook's address, in bytes.
const maxURL = 2048

// CheckURL returns a CodeInvalid Error for a webhook's address that cannot be called. The
// address must be an absolute http or https URI (spec section 5.5) without user info. Its
// host must not be an address or a name that is certainly forbidden. The dial refuses a
// name that resolves to a forbidden address. What programs read differently, or what would be left out
// when it is sent, is refused here although ParseAddress takes it.
func (g *Guard) CheckURL(raw string) error {
	if len(raw) > maxURL {
		return refuse("the address has %d bytes, more than %d", len(raw), maxURL)
	}
	if err := checkCharacters(raw); err != nil {
		return err
	}
	u, err := ParseAddress(raw)
	if err != nil {
		return refuse("%q cannot be called: %v", raw, err)
	}
	if rest := raw[strings.IndexByte(raw, ':')+1:]; !strings.HasPrefix(rest, "//") || strings.HasPrefix(rest, "///") {
		return refuse("%q names no host after https:// or http://", raw)
	}
	port, err := parsePort(u.Scheme, u.Port())
	if err != nil {
		return refuse("%v", err)
	}
	return g.checkHost(u.Hostname(), port)
}

// checkCharacters refuses the characters that can only be a mistake in an address, and says which.
func checkCharacters(raw string) error {
	for i, r := range raw {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return refuse("the address %q has a blank or a control character (%q, byte %d); percent-encode it", raw, r, i+1)
		case r == '\\':
			return refuse(`the address %q has a \ (byte %d); write / or %%5C`, raw, i+1)
		case r == '#':
			return refuse("the address %q has a # (byte %d), and what follows it is never sent; leave it out, or write %%23", raw, i+1)
		case r == '%' && !(i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2])):
			return refuse("the address %q has a %% without two hexadecimal digits after it (byte %d); write %%25", raw, i+1)
		}
	}
	return nil
}

// checkHost refuses a host, without brackets, that is certainly forbidden.
func (g *Guard) checkHost(host string, port uint16) error {
	name, err := serialiseName(host)
	if err != nil {
		return refuse("%v", err)
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return g.checkAddr(host, addr, port)
	}
	name = strings.TrimSuffix(name, ".")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
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

func refuse(format string, args ...any) error {
	return herald.Invalid("notifiers.webhook", "Webhook: "+format, args...)
}
