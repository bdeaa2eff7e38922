package mail

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"herald"
)

// TestMailThatAsksIsNoRoomForAMessage: what a client calls itself is shown to people who do not know
// it, and must not become a link or a text of its own.
func TestMailThatAsksIsNoRoomForAMessage(t *testing.T) {
	s := newServer(t, nil)
	from := sender(t, "smtp://"+s.address)
	from.Confirm = func(client uuid.UUID, box string) string { return "https://herald.example/confirm/" + token }
	r := request("joe@acme.example")
	r.AskToConfirm = true
	var err error
	r.Body, err = json.Marshal(map[string]any{
		"ClientName": "You won! https://evil.example/x\r\nBcc: all@evil.example\n" + strings.Repeat("<b>pay</b> ", 100),
		"Message":    "Secret message", "RuleType": "Secret type", "AlertId": uuid.Nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	if result := from.Send(t.Context(), r); result.Status != 250 || result.Reason != herald.ReasonNone {
		t.Fatalf("%+v", result)
	}
	header, parts := parse(t, s.got[len(s.got)-1].message)
	if subject := header.Get("Subject"); len(subject) > 150 || strings.Contains(subject, "evil.example") {
		t.Errorf("subject %q", subject)
	}
	if !strings.HasPrefix(header.Get("Message-ID"), "<confirm-") || header.Get("Bcc") != "" {
		t.Errorf("headers %v", header)
	}
	for kind, text := range parts {
		if strings.Contains(text, "Secret") || strings.Contains(text, "evil.example") || strings.Contains(text, "<b>") || strings.Count(text, "pay") > 10 {
			t.Errorf("%s:\n%s", kind, text)
		}
		if strings.Count(text, "https://") != 1 || !strings.Contains(text, "joe@acme.example") {
			t.Errorf("%s does not have one link and the mailbox:\n%s", kind, text)
		}
	}
}
