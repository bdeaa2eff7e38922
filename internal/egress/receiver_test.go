package egress

import (
	"slices"
	"strings"
	"testing"
)

// TestReceiverInAnySpelling: a webhook and a mailbox are found by every spelling that names them, and what is
// neither is refused with its text.
func TestReceiverInAnySpelling(t *testing.T) {
	for want, spellings := range map[string][]string{
		"http://127.0.0.1:9100/f":          {"http://127.0.0.1:9100/f", "HTTP://127.0.0.1:9100/f", " http://127.1:9100/f\n", "http://127.0.0.1:9100/x/../f#top"},
		"https://acme.example/":            {"https://ACME.example", "https://acme.example:443/", `https:\\acme.example\`},
		"https://xn--bcher-kva.example/":   {"https://bücher.example/", "https://B%C3%BCcher.example"},
		"mailto:ops@acme.example":          {"ops@acme.example", "mailto:ops@acme.example", "MailTo:OPS@Acme.Example", " Ops@acme.example "},
		"mailto:ops@xn--bcher-kva.example": {"ops@bücher.example", "mailto:ops@BÜCHER.example", "ops@xn--bcher-kva.example"},
	} {
		for _, spelling := range spellings {
			if got, err := ParseReceiver(spelling); got != want || err != nil {
				t.Errorf("%q: %q, %v, want %q", spelling, got, err, want)
			}
			if all := ReceiverSpellings(spelling); !slices.Contains(all, want) {
				t.Errorf("%q: %q is not among %q", spelling, want, all)
			}
		}
	}
	if all := ReceiverSpellings("ops@xn--bcher-kva.example"); !slices.Contains(all, "mailto:ops@bücher.example") {
		t.Errorf("%q", all)
	}
	for _, neither := range []string{"acme.example", "ftp://acme.example/", "mailto:", "mailto:ops", "ops@", "ops@[192.0.2.1]", "/f", "http://"} {
		if got, err := ParseReceiver(neither); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(neither, "mailto:")) {
			t.Errorf("%q: %q, %v", neither, got, err)
		}
		if all := ReceiverSpellings(neither); !slices.Equal(all, []string{neither}) {
			t.Errorf("%q: %q", neither, all)
		}
	}
}
