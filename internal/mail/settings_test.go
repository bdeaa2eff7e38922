package mail

import (
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"herald"
)

func TestTimeoutsOfTheDialogue(t *testing.T) {
	standard := Timeouts{
		Connect: 30 * time.Second, Greeting: 5 * time.Minute, Hello: 5 * time.Minute, Mail: 5 * time.Minute, Rcpt: 5 * time.Minute,
		Data: 2 * time.Minute, Block: 3 * time.Minute, End: 10 * time.Minute,
	}
	some := standard
	some.Greeting, some.End = time.Second, time.Hour
	for text, want := range map[string]Timeouts{"": standard, " , ": standard, "greeting=1s, end = 1h": some} {
		got, err := ParseTimeouts(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for text, says := range map[string]string{
		"5m": "the steps are connect, greeting", "quit=5m": `"quit=5m"`, "end": "such as end=10m", "end=": "such as end=10m", "end=10": "such as end=10m",
		"data=0s": "longer than 0s", "data=-1s": "longer than 0s", "data=2h": "at most 1h0m0s", "end=1m,end=2m": "given twice",
	} {
		if _, err := ParseTimeouts(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want an error with %q", text, err, says)
		}
	}
}

func TestHelloIsADomainOrAnAddress(t *testing.T) {
	for text, want := range map[string]string{
		"mail.example.com": "mail.example.com", "Mail.Bücher.example": "mail.xn--bcher-kva.example", "gateway": "gateway",
		"[192.0.2.1]": "[192.0.2.1]", "[IPv6:2001:db8::1]": "[IPv6:2001:db8::1]",
		"": "", "192.0.2.1": "", "[192.0.2.1": "", "[2001:db8::1]": "", "[IPv6:192.0.2.1]": "", "[IPv6:fe80::1%eth0]": "", "[]": "", "a b": "", "host_1.example": "",
		"a.example.": "", "a..b": "", "mail.example\r\nMAIL FROM:<x@y>": "", "[192.0.2.1]\r\nRSET": "",
	} {
		got, err := ParseHello(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for machine, want := range map[string]string{
		"node1.example.com": "node1.example.com", "NODE1.Example.com.": "node1.example.com", "node1": "acme.example", "": "acme.example",
		"localhost": "acme.example", "localhost.localdomain": "acme.example", "node_1.example.com": "acme.example", "10.0.0.1": "acme.example", "3f2a9c": "acme.example",
	} {
		if got := defaultHello(machine, "alerts@acme.example"); got != want {
			t.Errorf("on the machine %q: %q, want %q", machine, got, want)
		}
	}
}

// TestServerIsToldAName: EHLO says the same name before and after STARTTLS, and a HELO too. The sender's
// domain is in ASCII wherever it goes out.
func TestServerIsToldAName(t *testing.T) {
	for hello, want := range map[string]string{"mail.example.com": "mail.example.com", "": "xn--bcher-kva.example"} {
		for _, encrypted := range []bool{true, false} {
			s := &script{tls: encrypted}
			s.set(func(_ int, at string, _ int) *trouble {
				if at == "EHLO" && !encrypted {
					return &trouble{send: []string{"502 what?\r\n"}}
				}
				return nil
			})
			from := sender(t, s.start(t), func(o *Options) {
				o.Hello, o.From = hello, netmail.Address{Name: "Herald", Address: "alerts@Bücher.example"}
			})
			if hello == "" {
				from.Hello = defaultHello("bare", from.From.Address)
			}
			if result := from.Send(t.Context(), request("two@acme.example")); result.Status != 250 {
				t.Fatalf("%+v", result)
			}
			if len(s.names) != 2 || s.names[0] != want || s.names[1] != want {
				t.Errorf("the names are %q, want %s twice", s.names, want)
			}
			if s.from != "MAIL FROM:<alerts@xn--bcher-kva.example>\r\n" || !strings.Contains(s.last, "From: \"Herald\" <alerts@xn--bcher-kva.example>\r\n") ||
				!strings.Contains(s.last, "@xn--bcher-kva.example>\r\n") || strings.Contains(s.last, "cher.example") {
				t.Errorf("%q with the message %s", s.from, s.last)
			}
		}
	}
	for _, address := range []string{"jörg@acme.example", "alerts@[192.0.2.1]", "alerts@a_b.example"} {
		if _, err := New(Options{Server: &Server{}, From: netmail.Address{Address: address}}); err == nil || !strings.Contains(err.Error(), "cannot") && !strings.Contains(err.Error(), "not valid") {
			t.Errorf("the sender %s: %v", address, err)
		}
	}
}

// TestMailboxThatCannotBeWrittenToIsNotSent: the function that decides when a rule is saved decides again.
func TestMailboxThatCannotBeWrittenToIsNotSent(t *testing.T) {
	s := &script{}
	from := sender(t, s.start(t))
	for _, box := range []string{"ops@[192.0.2.1]", "ops@a_b.example", "jörg@acme.example"} {
		if result := from.Send(t.Context(), request(box)); result.Reason != herald.ReasonAddress || !strings.Contains(result.Error, "@") {
			t.Errorf("%s: %+v", box, result)
		}
	}
	if _, sessions := s.copies(""); sessions != 0 {
		t.Errorf("%d connections were made", sessions)
	}
}
