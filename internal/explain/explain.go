// Package explain says in sentences what became of a delivery, and what happens next: the command line and
// the portal show the same ones. It also hides what of an attempt is the operator's. It is pure.
package explain

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Cause returns sentences that say why a delivery is in its state.
func Cause(d herald.Delivery, attempts []herald.Attempt) string {
	a, tried := last(attempts)
	switch d.State {
	case herald.Delivered:
		switch {
		case !tried:
			return "It was delivered."
		case strings.HasPrefix(d.Address, herald.MailScheme):
			return fmt.Sprintf("The mail server took the mail at attempt %d%s.", a.N, took(a))
		}
		return fmt.Sprintf("Your server answered %d%s, at attempt %d.", a.Status, took(a), a.N)
	case herald.Cancelled:
		if d.Reason == herald.ReasonClientDeleted {
			return "It was cancelled because its client was deleted."
		}
		if d.Reason == herald.ReasonUnsubscribed {
			return "It was cancelled because the mailbox's reader has unsubscribed; DELETE /unsubscribed/{address} allows mail again."
		}
		return "It was cancelled on request."
	case herald.Failed:
		return failure(d, attempts, a)
	}
	if d.Waiting != "" {
		return waiting(d.Waiting)
	}
	if !tried {
		return "It is waiting for its first attempt."
	}
	if refusesCaller(a) {
		return fmt.Sprintf("%s It will be retried. %s", Attempt(a), authorization(a))
	}
	return fmt.Sprintf("%s It will be retried.", Attempt(a))
}

// waiting returns the cause of a delivery that Herald holds back. Where its receiver has to agree
// first, the text begins with that reason; everything else is a fault of Herald.
func waiting(text string) string {
	reason, said, found := strings.Cut(text, ": ")
	switch {
	case found && (reason == string(herald.ReasonUnconfirmed) || reason == string(herald.ReasonNoConsent)):
		return fmt.Sprintf("It is waiting because %s.", said)
	default:
		return fmt.Sprintf("It is waiting because of a fault of Herald, not of the receiver: %s.", text)
	}
}

// failure returns the cause of a failed delivery; a is its last attempt.
func failure(d herald.Delivery, attempts []herald.Attempt, a herald.Attempt) string {
	mail := strings.HasPrefix(d.Address, herald.MailScheme)
	switch d.Reason {
	case herald.ReasonExhausted:
		said := fmt.Sprintf("%s All retries are used up, after %s.", Attempt(a), Attempts(len(attempts)))
		if refusesCaller(a) {
			said += " " + authorization(a)
		}
		return said
	case herald.ReasonExpired:
		return "It was pending for longer than Herald keeps trying, which is seven days or more."
	case herald.ReasonNoMailServer:
		return "It is an e-mail, and no mail server is configured."
	case herald.ReasonAddress:
		if mail {
			return "No mail can be sent to this mailbox. Correct the rule's mailboxes."
		}
	case herald.ReasonMailLimit:
		return "The client had had all its mails or mailboxes of the day. It can be sent again on the next day in UTC."
	case herald.ReasonStatus:
		switch {
		case mail:
			return fmt.Sprintf("%s Only replies that begin with 4 are retried.", Attempt(a))
		case refusesCaller(a):
			return fmt.Sprintf("%s %d is not retried. %s", Attempt(a), a.Status, authorization(a))
		}
		return fmt.Sprintf("%s %d is not retried; only 408, 420, 429, 460, 502, 503, 504, 522 and 524 are.", Attempt(a), a.Status)
	}
	if a.Reason == herald.ReasonNone {
		a.Reason = d.Reason // without an attempt the delivery has the reason
	}
	return fmt.Sprintf("%s That is not retried.", Attempt(a))
}

// refusesCaller reports whether a receiver did not accept who called.
func refusesCaller(a herald.Attempt) bool {
	return a.Reason == herald.ReasonStatus && (a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden)
}

// authorization says in a sentence which Authorization header an attempt carried: its scheme, and never the
// secret. The record holds a masked value.
func authorization(a herald.Attempt) string {
	value, sent := sentAuthorization(a)
	if sent && len(a.Request.Hops) > 0 {
		if last := a.Request.Hops[len(a.Request.Hops)-1]; last.AuthorizationDropped != "" {
			return fmt.Sprintf("Your server had redirected to %s, and the Authorization header was not sent there, because %s.", last.URL, last.AuthorizationDropped)
		}
	}
	switch {
	case a.Request == nil:
		return "Whether an Authorization header was sent is not on record."
	case !sent:
		return "No Authorization header was sent."
	}
	if scheme, _, found := strings.Cut(value, " "); found {
		return fmt.Sprintf("The Authorization header was sent (%s …).", scheme)
	}
	return "The Authorization header was sent, with neither Basic nor Bearer before its value."
}

func sentAuthorization(a herald.Attempt) (string, bool) {
	if a.Request != nil {
		for name, value := range a.Request.Headers {
			if strings.EqualFold(name, "Authorization") {
				return value, true
			}
		}
	}
	return "", false
}

// LacksAuthorization reports whether a receiver refused a delivery's last attempt because of who called,
// and the attempt carried no Authorization header.
func LacksAuthorization(attempts []herald.Attempt) bool {
	a, tried := last(attempts)
	if !tried || !refusesCaller(a) || a.Request == nil {
		return false
	}
	_, sent := sentAuthorization(a)
	return !sent
}

// NoAuthorization returns sentences that say why a delivery for which LacksAuthorization carries no Authorization header,
// by what its client's profile and its rule are now. rule is nil if it is deleted. byRule says that the header is withheld
// because of the rule, whatever it is, so that its changes explain nothing.
func NoAuthorization(d herald.Delivery, profileHasHeader bool, rule *herald.Rule) (said string, byRule bool) {
	switch {
	case !profileHasHeader:
		return "The profile has no Authorization header.", false
	case rule == nil:
		return "The profile has one now. It is not sent for a rule that is deleted.", true
	case rule.WithoutAuthorization:
		return "The profile has one now, and the rule leaves it out: its authorization is none.", true
	case rule.Webhook != d.Address:
		return "The profile has one now. The rule has another address now, and a former one does not get it.", true
	}
	return "The profile has one now, and the rule sends it: one of the two was changed after the attempt.", false
}

// Attempt returns a sentence that says what went wrong in an attempt.
func Attempt(a herald.Attempt) string {
	if isMail(a) {
		return mailAttempt(a)
	}
	switch a.Reason {
	case herald.ReasonStatus:
		return fmt.Sprintf("Your server answered %d%s.", a.Status, took(a))
	case herald.ReasonDNS:
		return "The host name in the address could not be resolved."
	case herald.ReasonConnectRefused:
		return "Your server refused the connection; nothing listens at its port."
	case herald.ReasonConnectTimeout:
		return "Your server could not be reached; it may be down or behind a firewall."
	case herald.ReasonConnect:
		return "No connection to your server could be made."
	case herald.ReasonProxy:
		if a.Request != nil && !a.Request.Unsent {
			return "The egress proxy of Herald, or your server behind it, refused the request; Herald's operator can find out which in the proxy."
		}
		return "The egress proxy of Herald refused to connect to your server, which was not called; Herald's operator can change that in the proxy."
	case herald.ReasonTLS:
		return "The TLS connection to your server could not be set up."
	case herald.ReasonTimeout:
		if a.Timings.Total > 0 {
			return fmt.Sprintf("Your server had not answered after %s.", duration(a.Timings.Total))
		}
		return "Your server did not answer in time."
	case herald.ReasonReset:
		return "Your server broke the connection before it answered."
	case herald.ReasonProtocol:
		return "Your server's answer was not proper HTTP."
	case herald.ReasonNotAllowed:
		return "The address lies in a network that Herald may not call, such as a private one; its operator can allow it with --allow-target."
	case herald.ReasonRedirect:
		return "Your server redirected to where Herald does not follow."
	case herald.ReasonAddress:
		return "The address is not one that can be called; correct the rule's webhook."
	case herald.ReasonAttemptLimit:
		return "Your server redirected to one that takes no more requests for the moment."
	case herald.ReasonNoConsent:
		return "Your server redirected to one that has not consented to be called, or not yet."
	case herald.ReasonUnconfirmed:
		return "The mailbox has not confirmed that it takes mail of the client."
	case herald.ReasonLocal:
		if a.Status != 0 {
			return "Herald itself could not follow your server's redirect; its log has the cause."
		}
		return "Herald itself could not make the attempt, so nothing was sent; its log has the cause."
	case herald.ReasonInterrupted:
		return "Herald stopped during the attempt; your server may have got the request."
	case herald.ReasonContentMissing:
		return "Its alert or event is not in the database any more, so there is nothing to send; Herald's log has a line for it."
	default:
		return "It failed for an unknown reason."
	}
}

func isMail(a herald.Attempt) bool { return a.Request != nil && a.Request.Method == smtpMethod }

// took says how long an attempt took, if that is known, to go behind what was answered.
func took(a herald.Attempt) string {
	if a.Timings.Total <= 0 {
		return ""
	}
	return " in " + duration(a.Timings.Total)
}

// duration writes milliseconds with their unit.
func duration(ms float64) string {
	switch {
	case ms < 1:
		return "less than 1 ms"
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
}

// Issue returns a sentence that says why the deliveries of an issue fail.
func Issue(i herald.Issue) string {
	switch i.Reason {
	case herald.ReasonNone:
		return "The reasons differ."
	case herald.ReasonExpired:
		return "They had been pending for longer than Herald keeps trying."
	case herald.ReasonNoMailServer:
		return "No mail server is configured."
	case herald.ReasonMailLimit:
		return "The client had had all its mails or mailboxes of the day."
	default:
		return Attempt(herald.Attempt{Reason: i.Reason, Status: i.LastStatus})
	}
}

// Attempts returns a number of attempts in words.
func Attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

// Next returns a sentence that says what happens next to a delivery. clock writes a time for the reader.
func Next(d herald.Delivery, attempts []herald.Attempt, now time.Time, clock func(time.Time) string) string {
	switch {
	case d.State == herald.Delivered:
		return "Nothing; it is done."
	case d.Reason == herald.ReasonClientDeleted:
		return "Nothing; the client is gone."
	case d.State != herald.Pending && d.RepeatedBy != uuid.Nil:
		return fmt.Sprintf("Nothing more happens by itself. It was sent again as the delivery %s.", d.RepeatedBy)
	case d.State != herald.Pending:
		return "Nothing more happens by itself."
	case d.InFlight:
		return "An attempt is under way or about to be."
	case d.NextAttemptAt.After(now):
		return fmt.Sprintf("Attempt %d at %s, in %s.", len(attempts)+1, clock(d.NextAttemptAt), d.NextAttemptAt.Sub(now).Round(time.Second))
	default:
		return fmt.Sprintf("Attempt %d as soon as it is this delivery's turn.", len(attempts)+1)
	}
}

func last(attempts []herald.Attempt) (herald.Attempt, bool) {
	if len(attempts) == 0 {
		return herald.Attempt{}, false
	}
	return attempts[len(attempts)-1], true
}
