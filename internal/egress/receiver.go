package egress

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"

	"herald"
)

// ParseReceiver returns the form in which receivers are compared, of an address in any spelling: that of a
// webhook as it is sent (ParseAddress), and "mailto:" with the herald.MailboxKey of a mailbox, which may come
// without mailto:. The error names the address.
func ParseReceiver(raw string) (string, error) {
	text := strings.TrimSpace(raw)
	n := len(herald.MailScheme)
	isMail := len(text) >= n && strings.EqualFold(text[:n], herald.MailScheme)
	if isMail {
		text = text[n:]
	}
	if isMail || strings.Contains(text, "@") && !strings.ContainsAny(text, `:/\`) {
		if _, err := herald.ParseMailbox(text); err != nil {
			return "", err
		}
		return herald.MailScheme + herald.MailboxKey(text), nil
	}
	u, err := ParseAddress(text)
	if err != nil {
		return "", fmt.Errorf("%.200q is neither the address of a webhook, such as https://acme.example/hook, nor a mailbox, such as ops@acme.example: %w", text, err)
	}
	return Text(u), nil
}

// ReceiverSpellings returns spellings of a receiver for a search among addresses as clients wrote them: the
// text itself, what ParseReceiver returns, and a mailbox with its domain in Unicode. Those of mailboxes are in
// lower case. There is at least one.
func ReceiverSpellings(raw string) []string {
	canonical, err := ParseReceiver(raw)
	if err != nil {
		return []string{raw}
	}
	box, isMail := strings.CutPrefix(canonical, herald.MailScheme)
	if !isMail {
		return []string{raw, canonical}
	}
	at := strings.LastIndexByte(box, '@')
	domain, err := idna.Lookup.ToUnicode(box[at+1:])
	if err != nil {
		return []string{canonical}
	}
	return []string{canonical, herald.MailScheme + box[:at+1] + domain}
}
