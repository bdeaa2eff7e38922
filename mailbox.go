package herald

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of a mailbox in bytes (RFC 5321, section 4.5.3.1). The whole is 256 with the "<" and ">" of a
// path. The domain counts in ASCII.
const (
	maxLocalPart  = 64
	maxMailDomain = 255
	maxMailbox    = 254
)

// ParseMailbox returns the form of a mailbox that a message is sent to: with its domain in ASCII (IDNA
// 2008). It decides alone whether a mailbox can be written to. The error names the address.
func ParseMailbox(address string) (string, error) {
	if len(address) > 4*maxMailbox { // longer than any form of a valid one; not worth parsing
		return "", fmt.Errorf("%.100q is not an e-mail address: it has %d bytes, and the most is %d", address, len(address), maxMailbox)
	}
	parsed, err := mail.ParseAddress(address)
	at := strings.LastIndexByte(address, '@')
	if err != nil || parsed.Name != "" || parsed.Address != address || at < 0 || strings.ContainsAny(address, "\r\n\x00") {
		return "", fmt.Errorf("%.100q is not an e-mail address; want one such as ann@example.com", address)
	}
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	if err != nil {
		return "", fmt.Errorf("%.100q is not an e-mail address: its domain is not valid (%v)", address, err)
	}
	for _, part := range []struct {
		name       string
		bytes, max int
	}{{"the part before the @", at, maxLocalPart}, {"the domain", len(domain), maxMailDomain}, {"it", at + 1 + len(domain), maxMailbox}} {
		if part.bytes > part.max {
			return "", fmt.Errorf("%.100q is not an e-mail address: %s has %d bytes, and the most is %d", address, part.name, part.bytes, part.max)
		}
	}
	return address[:at+1] + domain, nil
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
