package herald

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of a mailbox in bytes (RFC 5321, section 4.5.3.1; RFC 1035, section 2.3.4). The whole is 256
// with the "<" and ">" of a path. The domain counts in ASCII.
const (
	maxLocalPart  = 64
	maxMailDomain = 253
	maxLabel      = 63
	maxMailbox    = 254
)

// ParseMailbox returns the form of a mailbox that a message is sent to: with its domain in ASCII (IDNA
// 2008). It decides alone whether a mailbox can be written to, and is asked when a mailbox is saved
// and when a message is sent. The error names the address.
//
// The part before the @ must be ASCII: other characters need SMTPUTF8 (RFC 6531) on every server on the
// way, which cannot be known when the mailbox is saved.
func ParseMailbox(address string) (string, error) {
	if len(address) > 4*maxMailbox { // longer than any form of a valid one; not worth parsing
		return "", fmt.Errorf("%.100q is not an e-mail address: it has %d bytes, and the most is %d", address, len(address), maxMailbox)
	}
	at := strings.LastIndexByte(address, '@')
	if strings.HasPrefix(address[at+1:], "[") {
		return "", fmt.Errorf("%.100q cannot be written to: mail goes to domain names and not to IP addresses; want one such as ann@example.com", address)
	}
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Name != "" || parsed.Address != address || at < 0 || strings.ContainsAny(address, "\r\n\x00") {
		return "", fmt.Errorf("%.100q is not an e-mail address; want one such as ann@example.com", address)
	}
	if !isASCII(address[:at]) {
		return "", fmt.Errorf("%.100q cannot be written to: the part before the @ has characters other than ASCII, which few mail servers take", address)
	}
	domain, err := ParseMailDomain(address[at+1:])
	if err != nil {
		return "", fmt.Errorf("%.100q is not an e-mail address: its domain is not valid (%w)", address, err)
	}
	for _, part := range []struct {
		name       string
		bytes, max int
	}{{"the part before the @", at, maxLocalPart}, {"it", at + 1 + len(domain), maxMailbox}} {
		if part.bytes > part.max {
			return "", fmt.Errorf("%.100q is not an e-mail address: %s has %d bytes, and the most is %d", address, part.name, part.bytes, part.max)
		}
	}
	return address[:at+1] + domain, nil
}

// ParseMailDomain returns a domain name in ASCII (IDNA 2008), in lower case. It is a name that a host
// can have (RFC 5321, section 4.1.2): no underscore, no IP address, no dot at the end.
func ParseMailDomain(text string) (string, error) {
	for _, r := range text {
		letter := r|0x20 >= 'a' && r|0x20 <= 'z'
		if r < utf8.RuneSelf && !letter && (r < '0' || r > '9') && r != '-' && r != '.' {
			return "", fmt.Errorf("it has the character %q; a name has letters, digits and hyphens", r)
		}
	}
	domain, err := idna.Lookup.ToASCII(text)
	if err != nil {
		return "", err
	}
	if len(domain) > maxMailDomain {
		return "", fmt.Errorf("it has %d bytes in ASCII, and the most is %d", len(domain), maxMailDomain)
	}
	labels := strings.Split(domain, ".")
	for _, label := range labels {
		if label == "" || len(label) > maxLabel {
			return "", fmt.Errorf("its part %.100q has %d bytes, and can have 1 to %d", label, len(label), maxLabel)
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" { // no top-level domain is a number (RFC 3696, section 2)
		return "", fmt.Errorf("it ends with the number %q, as an IP address does", labels[len(labels)-1])
	}
	return domain, nil
}

// MailboxKey returns the form in which mailboxes are compared: the domain in ASCII, and all in lower
// case. Two spellings of one mailbox have the same key. An address that ParseMailbox refuses is its
// own key, in lower case.
func MailboxKey(address string) string {
	if isASCII(address) { // IDNA would only put the domain in lower case
		return strings.ToLower(address)
	}
	if parsed, err := ParseMailbox(address); err == nil {
		address = parsed
	}
	return strings.ToLower(address)
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
