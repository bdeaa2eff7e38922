package webhook

import (
	"io"
	"net/http"
	"strings"
	"time"

	"herald"
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
func recordResponse(r *http.Response) *herald.ResponseRecord {
	limit := maxBody
	if r.StatusCode >= 200 && r.StatusCode <= 299 {
		limit = maxSuccessBody
	}
	body := read(r, bodyTimeout)
	record := &herald.ResponseRecord{Headers: recordHeaders(r.Header), Truncated: len(body) > limit}
	record.Body = printable(body[:min(len(body), limit)])
	return record
}

// discard reads a short body to its end, so that the connection can be used again.
func discard(r *http.Response) { read(r, discardTimeout) }

// read returns up to maxBody+1 bytes and closes the body. If the body is read to its end, its
// connection can be used again.
func read(r *http.Response, timeout time.Duration) []byte {
	defer r.Body.Close()
	if r.ContentLength == 0 {
		return nil
	}
	// Closing the body ends a Read that waits.
	timer := time.AfterFunc(timeout, func() { r.Body.Close() })
	defer timer.Stop()
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody+1)) // what was read before an error counts
	return body
}

func recordHeaders(h http.Header) map[string][]string {
	recorded := make(map[string][]string, len(h))
	size := 0
	for name, values := range h {
		for _, value := range values {
			if size += len(name) + len(value); size > maxRecordedHeaders {
				return recorded
			}
			recorded[name] = append(recorded[name], printable([]byte(value)))
		}
	}
	return recorded
}

// printable makes valid UTF-8 without NUL of the bytes that a receiver sent. PostgreSQL stores
// neither invalid UTF-8 nor NUL.
func printable(raw []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(raw), "\ufffd"), "\x00", "\ufffd")
}
