package portal

import (
	"strconv"
	"strings"

	"herald"
)

// inPortal replaces what a message tells to do with the API by what to do in the portal.
var inPortal = strings.NewReplacer(" GET /eventTypes lists those there are.", " The catalogue lists those there are.",
	"DELETE /unsubscribed/{address} allows mail again", "the page Mail of the settings allows mail again")

// resultOf returns the result of an attempt in a word or two, for a list.
func resultOf(status int, last, own herald.Reason) string {
	reason := last
	if reason == herald.ReasonNone {
		reason = own
	}
	switch {
	case status != 0:
		return strconv.Itoa(status)
	case reason == herald.ReasonNone:
		return ""
	}
	return reasonWord(reason)
}

// reasonWords are the reasons whose own word says too little.
var reasonWords = map[herald.Reason]string{
	herald.ReasonDNS: "name not found", herald.ReasonTLS: "TLS", herald.ReasonReset: "connection broken", herald.ReasonProtocol: "not HTTP",
	herald.ReasonNotAllowed: "address not allowed", herald.ReasonLocal: "fault of Herald", herald.ReasonConnect: "no connection",
	herald.ReasonExhausted: "retries used up", herald.ReasonInterrupted: "cut off", herald.ReasonStatus: "status",
}

func reasonWord(r herald.Reason) string {
	if word := reasonWords[r]; word != "" {
		return word
	}
	return strings.ReplaceAll(string(r), "_", " ")
}

// failingWords say what a receiver does that fails with a reason.
var failingWords = map[herald.Reason]string{
	herald.ReasonDNS: "its name is not found", herald.ReasonConnectRefused: "nobody listens there", herald.ReasonConnectTimeout: "it does not answer to a connection",
	herald.ReasonConnect: "no connection is possible", herald.ReasonProxy: "the operator’s proxy refuses to connect", herald.ReasonTLS: "its TLS certificate or handshake fails",
	herald.ReasonTimeout: "it does not answer in time", herald.ReasonReset: "it breaks the connection off", herald.ReasonProtocol: "it does not answer in HTTP",
	herald.ReasonNotAllowed: "its address may not be called", herald.ReasonRedirect: "it redirects to where may not be followed", herald.ReasonAddress: "its address cannot be called",
	herald.ReasonExhausted: "all retries are used up", herald.ReasonExpired: "it did not answer until deliveries were too old", herald.ReasonNoMailServer: "there is no mail server",
	herald.ReasonUnsubscribed: "the mailbox wants no mail", herald.ReasonUnconfirmed: "the mailbox has not confirmed", herald.ReasonNoConsent: "the receiver has not agreed to be called",
	herald.ReasonContentMissing: "what was to be sent is deleted", herald.ReasonMailLimit: "the day’s mails are used up",
}

// failing says why deliveries to a receiver fail, as the end of a sentence. The answers before may have had other statuses.
func failing(r herald.Reason, status int) string {
	if (r == herald.ReasonStatus || r == herald.ReasonNone) && status != 0 {
		return "its last answer was " + strconv.Itoa(status)
	}
	if words := failingWords[r]; words != "" {
		return words
	}
	return reasonWord(r)
}
