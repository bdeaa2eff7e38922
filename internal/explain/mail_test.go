package explain_test

import (
	"strings"
	"testing"

	"herald"
	"herald/internal/explain"
)

// TestMailServersFaultsAreNotTheReceivers: the explanation of a mail's failure names the mail server, and
// never speaks of HTTP or of a receiver.
func TestMailServersFaultsAreNotTheReceivers(t *testing.T) {
	for _, reason := range []herald.Reason{herald.ReasonStatus, herald.ReasonDNS, herald.ReasonConnectRefused, herald.ReasonConnectTimeout, herald.ReasonConnect,
		herald.ReasonTLS, herald.ReasonTimeout, herald.ReasonReset, herald.ReasonProtocol, herald.ReasonInterrupted} {
		d := herald.Delivery{State: herald.Failed, Reason: herald.ReasonExhausted, Address: "mailto:ops@acme.example"}
		attempts := []herald.Attempt{{Outcome: herald.OutcomeRejected, Status: 450, Reason: reason, Request: &herald.RequestRecord{Method: "SMTP"}}}
		cause := explain.Cause(d, attempts)
		if !strings.Contains(cause, "mail server") || strings.Contains(cause, "HTTP") || strings.Contains(cause, "receiver") {
			t.Errorf("%s: %s", reason, cause)
		}
	}
}
