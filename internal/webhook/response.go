package webhook

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"herald"
	"herald/internal/secret"
)

// Bounds of what is read and recorded of a response: sizes in bytes, and times. The body of a
// failure is recorded longer than that of a success, because it helps to find the cause.
const (
	maxBody            = 64 << 10
	maxSuccessBody     = 1 << 10
	maxRecordedHeaders = 8 << 10
	bodyTimeout        = 5 * time.Second
	discardTimeout     = time.Second
)

// recordResponse reads the start of a response's body, records it and closes the body. The result
// of the attempt is already known from the status. So a body that is slow, breaks off or never ends
// changes nothing; it is read for bodyTimeout at most.
func recordResponse(r *http.Response, mask secret.Mask) *herald.ResponseRecord {
	limit := maxBody
	if r.StatusCode >= 200 && r.StatusCode <= 299 {
		limit = maxSuccessBody
	}
	// A success is read further than it is recorded, because its connection can be used again then.
	body := read(r, bodyTimeout, maxBody+1+mask.Longest())
	record := &herald.ResponseRecord{Headers: recordHeaders(r.Header, mask)}
	record.Body, record.Truncated = recordBody(body, limit, mask)
	return record
}

// recordBody returns the start of a body, of limit bytes at most, and whether there was more. mask replaces
// what a receiver echoes of the Authorization header. A part of it at the end of what is looked at would
// not be found, so as many bytes are left out there as a part can have.
func recordBody(body []byte, limit int, mask secret.Mask) (text string, truncated bool) {
	if longest := mask.Longest(); len(body) > limit+longest {
		text, truncated = mask.Text(string(body[:limit+longest])), true
		text = text[:max(len(text)-longest, 0)]
	} else {
		text = mask.Text(string(body))
	}
	return printable(text[:min(len(text), limit)]), truncated || len(text) > limit
}

// discard reads a short body to its end, so that the connection can be used again.
func discard(r *http.Response) { read(r, discardTimeout, maxBody+1) }

// read returns up to limit bytes and closes the body. If the body is read to its end, its
// connection can be used again.
func read(r *http.Response, timeout time.Duration, limit int) []byte {
	defer r.Body.Close()
	if r.ContentLength == 0 {
		return nil
	}
	if own, ok := r.Body.(*http1Body); !ok || !own.arrived(r.ContentLength) {
		// Closing the body ends a Read that waits.
		timer := time.AfterFunc(timeout, func() { r.Body.Close() })
		defer timer.Stop()
	}
	size := 512
	if r.ContentLength > 0 {
		size = int(min(r.ContentLength, int64(size)))
	}
	body := make([]byte, 0, size)
	for len(body) < limit {
		if len(body) == cap(body) {
			body = slices.Grow(body, 512)
		}
		n, err := r.Body.Read(body[len(body):min(cap(body), limit)])
		body = body[:len(body)+n]
		if err != nil {
			break // what was read before it counts
		}
	}
	return body
}

// recordHeaders returns the headers as they are recorded. It returns h itself if there is nothing to
// replace or to leave out, as is so with almost every response.
func recordHeaders(h http.Header, mask secret.Mask) map[string][]string {
	shown := func(value string) string { return printable(mask.Text(value)) }
	size, same := 0, true
	for name, values := range h {
		same = same && mask.Name(name) == name
		for _, value := range values {
			size += len(name) + len(value)
			same = same && shown(value) == value
		}
	}
	if same && size <= maxRecordedHeaders {
		return h
	}
	recorded := make(map[string][]string, len(h))
	size = 0
	for name, values := range h {
		for _, value := range values {
			if size += len(name) + len(value); size > maxRecordedHeaders {
				return recorded
			}
			recorded[mask.Name(name)] = append(recorded[mask.Name(name)], shown(value))
		}
	}
	return recorded
}

// printable makes valid UTF-8 without NUL of what a receiver sent. PostgreSQL stores neither invalid UTF-8
// nor NUL.
func printable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

// retryAfter returns a response's Retry-After. A date is that of the receiver's clock, which may differ
// from ours, so it is read against the response's own Date and returned in seconds.
func retryAfter(h http.Header) string {
	value := h.Get("Retry-After")
	at, err := http.ParseTime(strings.TrimSpace(value))
	if err != nil {
		return value
	}
	sent, err := http.ParseTime(strings.TrimSpace(h.Get("Date")))
	if err != nil {
		return value
	}
	return strconv.FormatInt(max(int64(at.Sub(sent)/time.Second), 0), 10)
}
