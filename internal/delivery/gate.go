package delivery

import (
	"maps"
	"slices"

	"herald"
	"herald/internal/safetext"
)

// Bounds of the texts of an attempt, in bytes. internal/webhook and internal/mail read less in most
// cases; these hold whatever a text comes from.
const (
	maxWordText    = 64       // an outcome, a reason, a method
	maxErrorText   = 2 << 10  // a sentence, with the text of an error or a reply in it
	maxURLText     = 8 << 10  // the longest that common servers accept
	maxHeaderName  = 256      //
	maxHeaderValue = 8 << 10  //
	maxHeadersText = 16 << 10 // all names and values of a request or a response
	maxBodyText    = 64 << 10 // the start of a response's body
	maxHopsText    = 16       // hops; an attempt follows fewer
	maxOriginText  = 300      // in the log; a host name has 253 at most
)

// cleanAttempt makes every text of an attempt fit to be stored, logged and shown. It is the one gate
// for what receivers, mail servers, name servers and certificates say: whatever decides on an attempt
// calls it first. A text that is clean already is not copied.
func cleanAttempt(a *herald.Attempt) {
	a.Outcome = herald.Outcome(safetext.Line(string(a.Outcome), maxWordText))
	a.Reason = herald.Reason(safetext.Line(string(a.Reason), maxWordText))
	a.Error = safetext.Line(a.Error, maxErrorText)
	if r := a.Request; r != nil {
		r.Method = safetext.Line(r.Method, maxWordText)
		r.URL = safetext.Line(r.URL, maxURLText)
		r.Headers = cleanRequestHeaders(r.Headers)
		r.Hops = r.Hops[:min(len(r.Hops), maxHopsText)]
		for i := range r.Hops {
			hop := &r.Hops[i]
			hop.Method = safetext.Line(hop.Method, maxWordText)
			hop.URL = safetext.Line(hop.URL, maxURLText)
			hop.Headers = cleanRequestHeaders(hop.Headers)
			hop.AuthorizationDropped = safetext.Line(hop.AuthorizationDropped, maxErrorText)
		}
	}
	if r := a.Response; r != nil {
		r.Headers = cleanResponseHeaders(r.Headers)
		if body := safetext.Clean(r.Body, maxBodyText); body != r.Body {
			whole := safetext.Clean(r.Body, 3*len(r.Body)) // a replaced byte takes three
			r.Body, r.Truncated = body, r.Truncated || len(whole) > len(body)
		}
		r.Note = safetext.Line(r.Note, maxErrorText)
	}
}

func cleanRequestHeaders(headers map[string]string) map[string]string {
	size, clean := 0, true
	for name, value := range headers {
		size += len(name) + len(value)
		clean = clean && safetext.Line(name, maxHeaderName) == name && safetext.Line(value, maxHeaderValue) == value
	}
	if clean && size <= maxHeadersText {
		return headers
	}
	cleaned, size := make(map[string]string, len(headers)), 0
	for _, name := range slices.Sorted(maps.Keys(headers)) { // sorted, so that what is left out does not vary
		to, value := safetext.Line(name, maxHeaderName), safetext.Line(headers[name], maxHeaderValue)
		if size += len(to) + len(value); size > maxHeadersText {
			break
		}
		cleaned[to] = value
	}
	return cleaned
}

func cleanResponseHeaders(headers map[string][]string) map[string][]string {
	size, clean := 0, true
	for name, values := range headers {
		clean = clean && safetext.Line(name, maxHeaderName) == name
		for _, value := range values {
			size += len(name) + len(value)
			clean = clean && safetext.Line(value, maxHeaderValue) == value
		}
	}
	if clean && size <= maxHeadersText {
		return headers
	}
	cleaned, size := make(map[string][]string, len(headers)), 0
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		to := safetext.Line(name, maxHeaderName)
		for _, value := range headers[name] {
			value = safetext.Line(value, maxHeaderValue)
			if size += len(to) + len(value); size > maxHeadersText {
				return cleaned
			}
			cleaned[to] = append(cleaned[to], value)
		}
	}
	return cleaned
}
