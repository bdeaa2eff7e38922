package explain

import (
	"encoding/json"
	"strings"
	"testing"

	"herald"
)

// TestMailServerIsNotShown: a client sees what its mails' attempts came to, and not where the
// operator's mail server is. Webhooks' attempts are shown as they are.
func TestMailServerIsNotShown(t *testing.T) {
	for _, place := range []struct{ host, address string }{
		{"mx.internal.example", "mx.internal.example:587"}, {"10.1.2.3", "10.1.2.3:25"}, {"fd00::25", "[fd00::25]:465"},
	} {
		attempts := WithoutMailServer([]herald.Attempt{{
			Error:    "dial tcp 10.1.2.3:587: connection refused; lookup " + place.host + " on 192.168.0.53:53; [fd00::25]:465; " + place.address,
			Request:  &herald.RequestRecord{Method: "SMTP", URL: "smtp://" + place.address},
			Response: &herald.ResponseRecord{Body: "550 5.1.1 rejected by " + place.host + " [10.1.2.3]"},
		}})
		text, err := json.Marshal(attempts)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{place.host, place.address, "10.1.2.3", "192.168.0.53", "fd00::25", "587"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s is in %s", secret, text)
			}
		}
		for _, kept := range []string{"connection refused", "550 5.1.1 rejected", `"url":"smtp:"`} {
			if !strings.Contains(string(text), kept) {
				t.Errorf("%s is missing in %s", kept, text)
			}
		}
	}
	webhook := herald.Attempt{Error: "dial tcp 10.1.2.3:80", Request: &herald.RequestRecord{Method: "POST", URL: "http://10.1.2.3/"}}
	if got := WithoutMailServer([]herald.Attempt{webhook})[0]; got.Error != webhook.Error || got.Request.URL != webhook.Request.URL {
		t.Errorf("a webhook's attempt is changed: %+v", got)
	}
}
