package mail

import (
	"fmt"
	"net/netip"
	"strings"

	"herald"
)

// ParseHello returns the name that EHLO tells a server: a domain in ASCII, or an address literal such
// as [192.0.2.1] or [IPv6:2001:db8::1] (RFC 5321 section 4.1.1.1). The error names the text.
func ParseHello(text string) (string, error) {
	inner, literal := strings.CutPrefix(text, "[")
	if !literal {
		name, err := herald.ParseMailDomain(text)
		if err != nil {
			return "", fmt.Errorf("%.100q: %w; want a name such as mail.example.com, or an address such as [192.0.2.1]", text, err)
		}
		return name, nil
	}
	inner, closed := strings.CutSuffix(inner, "]")
	version6 := len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:")
	if version6 {
		inner = inner[5:]
	}
	address, err := netip.ParseAddr(inner)
	if err != nil || !closed || address.Is4() == version6 || address.Zone() != "" {
		return "", fmt.Errorf("%.100q: want an address such as [192.0.2.1] or [IPv6:2001:db8::1]", text)
	}
	return text, nil
}

// defaultHello returns the machine's name if it is fully qualified, and else the domain of the sender.
// Servers refuse a name without a domain.
func defaultHello(machine, from string) string {
	name, err := herald.ParseMailDomain(strings.TrimSuffix(machine, "."))
	if err != nil || !strings.Contains(name, ".") || strings.HasPrefix(name, "localhost.") {
		return from[strings.LastIndexByte(from, '@')+1:]
	}
	return name
}
