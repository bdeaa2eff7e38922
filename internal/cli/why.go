package cli

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"herald"
	"herald/client"
)

// Explanation explains the state of a delivery: the cause in a sentence, the evidence, and
// what happens next.
type Explanation struct {
	Cause    string   `json:"cause"`
	Evidence []string `json:"evidence"`
	Next     string   `json:"next"`
}

// Why explains a delivery with its attempts.
func Why(d client.Delivery, now time.Time) Explanation {
	return Explanation{Cause: cause(d), Evidence: evidence(d), Next: next(d, now)}
}

// WriteWhy writes an explanation for a person.
func WriteWhy(out io.Writer, e Explanation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", Clean(e.Cause))
	if len(e.Evidence) > 0 {
		fmt.Fprintf(&b, "\nEvidence\n")
		for _, line := range e.Evidence {
			fmt.Fprintf(&b, "  %s\n", Clean(line))
		}
	}
	fmt.Fprintf(&b, "\nNext\n  %s\n", Clean(e.Next))
	_, err := io.WriteString(out, b.String())
	return err
}

func last(d client.Delivery) (herald.Attempt, bool) {
	if len(d.Attempts) == 0 {
		return herald.Attempt{}, false
	}
	return d.Attempts[len(d.Attempts)-1], true
}

func cause(d client.Delivery) string {
	a, tried := last(d)
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
		return failure(d, a)
	}
	if d.Waiting != "" {
		return waiting(d.Waiting)
	}
	if !tried {
		return "It is waiting for its first attempt."
	}
	return fmt.Sprintf("It is being retried because %s.", why(a))
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
func failure(d client.Delivery, a herald.Attempt) string {
	switch d.Reason {
	case herald.ReasonExhausted:
		return fmt.Sprintf("It failed for good because all retries are used up; the last of %s failed because %s.", Attempts(len(d.Attempts)), why(a))
	case herald.ReasonExpired:
		return "It failed for good because it had been pending for longer than Herald keeps trying, which is seven days or more."
	case herald.ReasonNoMailServer:
		return "It failed because it is an e-mail and no mail server is configured."
	case herald.ReasonMailLimit:
		return "It failed because the client had had all its mails or mailboxes of the day; it can be sent again on the next day in UTC."
	case herald.ReasonStatus:
		if strings.HasPrefix(d.Address, herald.MailScheme) {
			return fmt.Sprintf("It failed for good because %s; of a mail server's replies only those that begin with 4 are retried.", why(a))
		}
		if d.State == herald.Failed && refusesCaller(a) {
			return fmt.Sprintf("It failed for good because %s; %s.", why(a), authorization(a))
		}
		return fmt.Sprintf("It failed for good because %s; only 408, 420, 429, 460, 502, 503, 504, 522 and 524 are retried.", why(a))
	}
	if a.Reason == herald.ReasonNone {
		a.Reason = d.Reason // without an attempt the delivery has the reason
	}
	return fmt.Sprintf("It failed for good because %s; trying again would not change that.", why(a))
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

// LacksAuthorization reports whether a receiver refused a delivery's last attempt because of who called,
// and the attempt carried no Authorization header.
func LacksAuthorization(d client.Delivery) bool {
	a, tried := last(d)
	if !tried || !refusesCaller(a) || a.Request == nil {
		return false
	}
	_, sent := sentAuthorization(a)
	return !sent
}

// why returns the end of a sentence that says what went wrong in an attempt.
func why(a herald.Attempt) string {
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
		return "the address that the receiver redirected to had had all its attempts for the moment"
	case herald.ReasonNoConsent:
		return "the receiver redirected to one that has not consented to be called"
	case herald.ReasonUnconfirmed:
		return "the mailbox has not confirmed that it takes mail of the client"
	case herald.ReasonLocal:
		return "Herald itself could not make the attempt, so nothing was sent; its log has the cause"
	case herald.ReasonInterrupted:
		return "Herald stopped during the attempt; the receiver may have got the request"
	case herald.ReasonContentMissing:
		return "its alert or event is not in the database any more, so there is nothing to send; Herald's log has a line for it"
	default:
		return "of an unknown reason"
	}
}

func evidence(d client.Delivery) []string {
	lines := []string{"to " + d.Address, fmt.Sprintf("raised %s, %s", Time(d.RaisedAt), Attempts(len(d.Attempts)))}
	for _, a := range d.Attempts {
		line := fmt.Sprintf("attempt %d at %s: %s", a.N, Time(a.At), a.Outcome)
		if a.Status != 0 {
			line += fmt.Sprintf(", status %d", a.Status)
		}
		if a.Reason != herald.ReasonNone && a.Reason != herald.ReasonStatus {
			line += ", " + string(a.Reason)
		}
		if a.Timings.Total > 0 {
			line += fmt.Sprintf(", %.0f ms", a.Timings.Total)
		}
		lines = append(lines, line)
		if a.Error != "" {
			lines = append(lines, "  "+a.Error)
		}
	}
	if a, tried := last(d); tried {
		lines = append(lines, lastEvidence(a)...)
	}
	return lines
}

// lastEvidence returns the last attempt's request, timings and response.
func lastEvidence(a herald.Attempt) []string {
	var lines []string
	if a.Request != nil {
		lines = append(lines, fmt.Sprintf("the request: %s %s", a.Request.Method, a.Request.URL))
		for _, name := range slices.Sorted(maps.Keys(a.Request.Headers)) {
			lines = append(lines, fmt.Sprintf("  %s: %s", name, a.Request.Headers[name]))
		}
		if a.Request.Unsent {
			lines = append(lines, "  nothing of it was sent, because there was no connection")
		}
		for _, hop := range a.Request.Hops {
			lines = append(lines, hopEvidence(hop)...)
		}
		if a.Request.Redialled {
			lines = append(lines, "a kept-alive connection was found closed; the request was made once more on a new one")
		}
	}
	if phases := phases(a.Timings); phases != "" {
		lines = append(lines, "the time went to: "+phases)
	}
	if a.Response != nil && a.Response.Body != "" {
		lines = append(lines, "the response began: "+Brief(a.Response.Body, 300))
	}
	return lines
}

// hopEvidence returns a redirect, and the request that was sent to where it led.
func hopEvidence(hop herald.Hop) []string {
	lines := []string{fmt.Sprintf("redirected (%d) to %s", hop.Status, hop.URL)}
	if hop.Method != "" {
		lines[0] += ", called with " + hop.Method + " and the same body"
	}
	for _, name := range slices.Sorted(maps.Keys(hop.Headers)) {
		lines = append(lines, fmt.Sprintf("  %s: %s", name, hop.Headers[name]))
	}
	if hop.AuthorizationDropped != "" {
		lines = append(lines, "  the Authorization header was not sent, because "+hop.AuthorizationDropped)
	}
	if hop.Unsent {
		lines = append(lines, "  nothing of it was sent, because there was no connection")
	}
	return lines
}

// phases lists the phases that took time.
func phases(t herald.Timings) string {
	var parts []string
	for _, phase := range []struct {
		name string
		ms   float64
	}{{"name lookup", t.DNS}, {"connecting", t.Connect}, {"TLS handshake", t.TLS}, {"waiting for the response", t.FirstByte}} {
		if phase.ms > 0 {
			parts = append(parts, fmt.Sprintf("%s %v ms", phase.name, phase.ms))
		}
	}
	return strings.Join(parts, ", ")
}

// Attempts returns a number of attempts in words.
func Attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

func next(d client.Delivery, now time.Time) string {
	again := "Nothing more by itself. Send it again with: herald deliveries redeliver " + d.ID.String()
	switch {
	case d.State == herald.Delivered:
		return "Nothing; it is done."
	case d.Reason == herald.ReasonClientDeleted:
		return "Nothing; the client is gone."
	case d.State != herald.Pending:
		return again
	case d.InFlight:
		return "An attempt is under way or about to be."
	case d.NextAttemptAt.After(now):
		return fmt.Sprintf("Attempt %d at %s, in %s.", len(d.Attempts)+1, Time(d.NextAttemptAt), d.NextAttemptAt.Sub(now).Round(time.Second))
	default:
		return fmt.Sprintf("Attempt %d as soon as it is this delivery's turn.", len(d.Attempts)+1)
	}
}
