package webhook

import (
	"io"
	"net/http"
	"strings"
	"time"

	"herald"
)

// How much of a response is read and kept, in bytes. The body of a success
// says little; that of a failure is what a developer needs at night.
const (
	maxBody         = 64 << 10
	keptOfSuccess   = 1 << 10
	keptOfHeaders   = 8 << 10
	bodyPatience    = 5 * time.Second
	discardPatience = time.Second
)

// keep reads the start of a response's body and closes it. The status counts
// already: a body that trickles, breaks off or never ends changes nothing, it
// is read for bodyPatience at most.
func keep(r *http.Response) *herald.ResponseRecord {
	kept := maxBody
	if r.StatusCode >= 200 && r.StatusCode <= 299 {
		kept = keptOfSuccess
	}
	body := read(r, bodyPatience)
	record := &herald.ResponseRecord{Headers: keepHeaders(r.Header), Truncated: len(body) > kept}
	record.Body = printable(body[:min(len(body), kept)])
	return record
}

// discard reads a short body away, so that the connection can be used again.
func discard(r *http.Response) { read(r, discardPatience) }

// read returns up to one byte more than maxBody and closes the body. A body
// that is read to its end leaves its connection for the next request.
func read(r *http.Response, patience time.Duration) []byte {
	defer r.Body.Close()
	if r.ContentLength == 0 {
		return nil
	}
	// Closing the body ends a Read that waits; the timer is not worth it when
	// all of the body is likely there already.
	timer := time.AfterFunc(patience, func() { r.Body.Close() })
	defer timer.Stop()
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody+1)) // what came counts
	return body
}

func keepHeaders(h http.Header) map[string][]string {
	kept := make(map[string][]string, len(h))
	size := 0
	for name, values := range h {
		for _, value := range values {
			if size += len(name) + len(value); size > keptOfHeaders {
				return kept
			}
			kept[name] = append(kept[name], printable([]byte(value)))
		}
	}
	return kept
}

// printable makes text of whatever a receiver sent: valid UTF-8 without NUL,
// which no database takes.
func printable(raw []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(raw), "\ufffd"), "\x00", "\ufffd")
}
