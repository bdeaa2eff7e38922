package explain

import (
	"fmt"

	"herald"
)

// mailAttempt is Attempt for a mail. Between Herald and the mailbox is the operator's mail
// server: what fails on the way to it is no fault of the mailbox.
func mailAttempt(a herald.Attempt) string {
	switch a.Reason {
	case herald.ReasonStatus:
		return fmt.Sprintf("The mail server answered %d for this mailbox%s.", a.Status, took(a))
	case herald.ReasonDNS:
		return "The host name of Herald's mail server could not be resolved; its operator must look at it."
	case herald.ReasonConnectRefused, herald.ReasonConnectTimeout:
		return "Herald's mail server could not be reached; its operator must look at it."
	case herald.ReasonConnect:
		return "Herald's mail server refused the connection, the name that Herald told it or the login; its operator must look at it."
	case herald.ReasonTLS:
		return "The TLS connection to Herald's mail server could not be set up; its operator must look at it."
	case herald.ReasonTimeout:
		return "Herald's mail server did not answer in time."
	case herald.ReasonReset:
		return "Herald's mail server broke the connection before it answered."
	case herald.ReasonProtocol:
		return "The answer of Herald's mail server was not proper SMTP, or did not fit what was asked."
	case herald.ReasonInterrupted:
		return "Herald stopped before the mail server had answered; the mail may have been sent."
	case herald.ReasonLocal:
		return "Herald itself could not make the attempt, so nothing was sent; its log has the cause."
	default:
		return "It failed: " + string(a.Reason) + "."
	}
}
