package portal

import (
	"strconv"
	"strings"

	"herald"
)

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
