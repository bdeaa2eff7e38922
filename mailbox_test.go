package herald_test

import (
	"strings"
	"testing"

	"herald"
)

func TestMailboxesThatCanBeWrittenTo(t *testing.T) {
	domain := func(n int) string { return strings.Repeat("abcdefgh.", 40)[:n-2] + "de" }
	for address, want := range map[string]string{
		"ann@acme.example":               "ann@acme.example",
		"Ann@Acme.Example":               "Ann@acme.example",
		"ann@bücher.example":             "ann@xn--bcher-kva.example",
		"ann@BÜCHER.example":             "ann@xn--bcher-kva.example",
		strings.Repeat("a", 64) + "@x.y": strings.Repeat("a", 64) + "@x.y",
		strings.Repeat("a", 65) + "@x.y": "",
		"a@" + domain(252):               "a@" + domain(252),
		"a@" + domain(253):               "",
		"ops@[192.0.2.1]":                "", "ops@[IPv6:2001:db8::1]": "", "ops@[": "", "ops@192.0.2.1": "", "ops@x.1": "", "ops@１２": "",
		"ops@a_b.example": "", "ops@_dmarc.a.example": "", "ops@mail_1.bücher.example": "", "ops@xn--bcher-kva.xn--": "", "ops@xn--.example": "",
		"jörg@acme.example": "", "jo\u00adrg@acme.example": "", "用户@例え.jp": "", `"jörg"@acme.example`: "",
		"ops@" + strings.Repeat("a", 63) + ".example": "ops@" + strings.Repeat("a", 63) + ".example", "ops@" + strings.Repeat("a", 64) + ".example": "",
		"ops@例え。jp": "ops@xn--r8jz45g.jp", "o'ps+x/y=z@faß.example": "o'ps+x/y=z@xn--fa-hia.example", "ops@localhost": "ops@localhost",
		strings.Repeat("a", 64) + "@" + domain(189): strings.Repeat("a", 64) + "@" + domain(189),
		strings.Repeat("a", 64) + "@" + domain(190): "",
		strings.Repeat("ü", 33) + "@x.y":            "", // 66 bytes
		"a@" + strings.Repeat("ü.", 40) + "example": "", // long in punycode only
		strings.Repeat("a", 1<<20) + "@x.y":         "", "": "", "ann": "", "@x.y": "", "ann@": "", "Ann <ann@x.y>": "", "ann@x.y\r\nRCPT TO:<b@x.y>": "", "a\x00@x.y": "",
		"ann@x y": "", "ann@[127.0.0.1]": "", " ann@x.y": "", "ann@-.y": "", "ann@x.y.": "", "a\xff@x.y": "",
	} {
		got, err := herald.ParseMailbox(address)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.60q (%d bytes): %.60q, %v; want %.60q", address, len(address), got, err, want)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("%.60q: the error has %d bytes", address, len(err.Error()))
		}
	}
}

func TestSpellingsOfOneMailboxHaveOneKey(t *testing.T) {
	for _, spellings := range [][]string{
		{"ann@bücher.example", "ANN@Bücher.Example", "ann@xn--bcher-kva.example", "Ann@XN--BCHER-KVA.example"},
		{"ann@acme.example", "ANN@ACME.example"},
		{"ÄNN@acme.example", "änn@acme.example"},
		{"not a mailbox Ü", "NOT A MAILBOX ü"},
	} {
		for _, other := range spellings {
			if herald.MailboxKey(other) != herald.MailboxKey(spellings[0]) {
				t.Errorf("%q has the key %q and %q has %q", other, herald.MailboxKey(other), spellings[0], herald.MailboxKey(spellings[0]))
			}
		}
		if boxes := herald.Mailboxes(spellings); len(boxes) != 1 || boxes[0] != spellings[0] {
			t.Errorf("the mailboxes of %q are %q", spellings, boxes)
		}
	}
}
