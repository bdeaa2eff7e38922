// Package explain says in sentences what became of a delivery, and what happens next: the command line and
// the portal show the same ones. It also hides what of an attempt is the operator's. It is pure.
package explain

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"herald"
)

// Cause returns a sentence that says why a delivery is in its state.
func Cause(d herald.Delivery, attempts []herald.Attempt) string {
	a, tried := last(attempts)
	switch d.State {
	case herald.Delivered:
		if !tried {
			return "It was delivered."
		}
		return fmt.Sprintf("It was delivered: %s answered %d at attempt %d.", d.Address, a.Status, a.N)
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
	return fmt.Sprintf("It is being retried because %s.", Attempt(a))
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
	switch d.Reason {
	case herald.ReasonExhausted:
		return fmt.Sprintf("It failed for good because all retries are used up; the last of %s failed because %s.", Attempts(len(attempts)), Attempt(a))
	case herald.ReasonExpired:
		return "It failed for good because it had been pending for longer than Herald keeps trying, which is seven days or more."
	case herald.ReasonNoMailServer:
		return "It failed because it is an e-mail and no mail server is configured."
	case herald.ReasonAddress:
		if strings.HasPrefix(d.Address, herald.MailScheme) {
			return "It failed for good because no mail can be sent to this mailbox; correct the rule's mailboxes."
		}
	case herald.ReasonMailLimit:
		return "It failed because the client had had all its mails or mailboxes of the day; it can be sent again on the next day in UTC."
	case herald.ReasonStatus:
		if strings.HasPrefix(d.Address, herald.MailScheme) {
			return fmt.Sprintf("It failed for good because %s; of a mail server's replies only those that begin with 4 are retried.", Attempt(a))
		}
		if d.State == herald.Failed && refusesCaller(a) {
			return fmt.Sprintf("It failed for good because %s; %s.", Attempt(a), authorization(a))
		}
		return fmt.Sprintf("It failed for good because %s; only 408, 420, 429, 460, 502, 503, 504, 522 and 524 are retried.", Attempt(a))
	}
	if a.Reason == herald.ReasonNone {
		a.Reason = d.Reason // without an attempt the delivery has the reason
	}
	return fmt.Sprintf("It failed for good because %s; trying again would not change that.", Attempt(a))
}

// refusesCaller reports whether a receiver did not accept who called.
func refusesCaller(a herald.Attempt) bool {
	return a.Reason == herald.ReasonStatus && (a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden)
}

// authorization says which Authorization header an attempt carried: its scheme, and never the secret.
// The record holds a masked value.
func authorization(a herald.Attempt) string {
	value, sent := sentAuthorization(a)
	if sent && len(a.Request.Hops) > 0 {
		if last := a.Request.Hops[len(a.Request.Hops)-1]; last.AuthorizationDropped != "" {
			return fmt.Sprintf("the receiver had redirected to %s, and the Authorization header was not sent there, because %s", last.URL, last.AuthorizationDropped)
		}
	}
	switch {
	case a.Request == nil:
		return "whether the request carried an Authorization header is not on record"
	case !sent:
		return "the request carried no Authorization header"
	default:
		scheme, _, found := strings.Cut(value, " ")
		if !found {
			return "the request carried an Authorization header without the scheme Basic or Bearer, which the receiver does not accept"
		}
		return "the request carried an Authorization header of the scheme " + scheme + ", which the receiver does not accept"
	}
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

// RefusesCaller reports whether a receiver refused a delivery's last attempt because of who called.
func RefusesCaller(attempts []herald.Attempt) bool {
	a, tried := last(attempts)
	return tried && refusesCaller(a)
}

// HeaderChanged returns when the client's Authorization header was changed last, by the newest entries of
// the audit log; the zero time if none of them did.
func HeaderChanged(changes []herald.Change) time.Time {
	for _, c := range changes {
		var before, after struct{ AlertAuthHeader string }
		if c.Action != herald.ProfileUpdated || json.Unmarshal(c.Before, &before) != nil || json.Unmarshal(c.After, &after) != nil {
			continue
		}
		// A changed header is marked, because masked ones look alike.
		if strings.HasSuffix(after.AlertAuthHeader, "(changed)") || before.AlertAuthHeader != "" && after.AlertAuthHeader == "" {
			return c.At
		}
	}
	return time.Time{}
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

// Attempt returns the end of a sentence that says what went wrong in an attempt.
func Attempt(a herald.Attempt) string {
	if a.Request != nil && a.Request.Method == smtpMethod {
		return mailAttempt(a)
	}
	switch a.Reason {
	case herald.ReasonStatus:
		return fmt.Sprintf("the receiver answered %d", a.Status)
	case herald.ReasonDNS:
		return "the host name in the address could not be resolved"
	case herald.ReasonConnectRefused:
		return "the receiver refused the connection; nothing listens at its port"
	case herald.ReasonConnectTimeout:
		return "the receiver did not answer when connecting; it may be down or behind a firewall"
	case herald.ReasonConnect:
		return "no connection to the receiver could be made"
	case herald.ReasonProxy:
		return "the egress proxy of Herald refused to connect to the receiver, which was not called; Herald's operator can change that in the proxy"
	case herald.ReasonTLS:
		return "the TLS connection to the receiver could not be set up"
	case herald.ReasonTimeout:
		return "the receiver did not respond in time"
	case herald.ReasonReset:
		return "the receiver broke the connection before it answered"
	case herald.ReasonProtocol:
		return "the receiver's answer was not proper HTTP"
	case herald.ReasonNotAllowed:
		return "the address lies in a network that Herald may not call, such as a private one; its operator can allow it with --allow-target"
	case herald.ReasonRedirect:
		return "the receiver redirected to where Herald does not follow"
	case herald.ReasonAddress:
		return "the address is not one that can be called; correct the rule's webhook"
	case herald.ReasonAttemptLimit:
		return "the receiver redirected to one that takes no more requests for the moment"
	case herald.ReasonNoConsent:
		return "the receiver redirected to one that has not consented to be called, or not yet"
	case herald.ReasonUnconfirmed:
		return "the mailbox has not confirmed that it takes mail of the client"
	case herald.ReasonLocal:
		if a.Status != 0 {
			return "Herald itself could not follow the receiver's redirect; its log has the cause"
		}
		return "Herald itself could not make the attempt, so nothing was sent; its log has the cause"
	case herald.ReasonInterrupted:
		return "Herald stopped during the attempt; the receiver may have got the request"
	case herald.ReasonContentMissing:
		return "its alert or event is not in the database any more, so there is nothing to send; Herald's log has a line for it"
	default:
		return "of an unknown reason"
	}
}

// Issue returns the end of a sentence that says why the deliveries of an issue fail.
func Issue(i herald.Issue) string {
	switch i.Reason {
	case herald.ReasonNone:
		return "of several reasons"
	case herald.ReasonExpired:
		return "they had been pending for longer than Herald keeps trying"
	case herald.ReasonNoMailServer:
		return "no mail server is configured"
	case herald.ReasonMailLimit:
		return "the client had had all its mails or mailboxes of the day"
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
	case d.State != herald.Pending:
		return "Nothing more by itself."
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
