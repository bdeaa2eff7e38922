package webhook

import (
	"io"
	"net/http"
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
//
// mask replaces what a receiver echoes of the Authorization header, before the body is cut: a part of
// it at the cut would not be found.
func recordResponse(r *http.Response, mask secret.Mask) *herald.ResponseRecord {
	limit := maxBody
	if r.StatusCode >= 200 && r.StatusCode <= 299 {
		limit = maxSuccessBody
	}
	body := read(r, bodyTimeout, maxBody+1+mask.Longest())
	if mask.Longest() > 0 {
		body = []byte(mask.Text(string(body)))
	}
	record := &herald.ResponseRecord{Headers: recordHeaders(r.Header, mask), Truncated: len(body) > limit}
	record.Body = printable(body[:min(len(body), limit)])
	return record
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
	// Closing the body ends a Read that waits.
	timer := time.AfterFunc(timeout, func() { r.Body.Close() })
	defer timer.Stop()
	body, _ := io.ReadAll(io.LimitReader(r.Body, int64(limit))) // what was read before an error counts
	return body
}

func recordHeaders(h http.Header, mask secret.Mask) map[string][]string {
	recorded := make(map[string][]string, len(h))
	size := 0
	for name, values := range h {
		for _, value := range values {
			if size += len(name) + len(value); size > maxRecordedHeaders {
				return recorded
			}
			shown := mask.Name(name)
			recorded[shown] = append(recorded[shown], printable([]byte(mask.Text(value))))
		}
	}
	return recorded
}

// printable makes valid UTF-8 without NUL of the bytes that a receiver sent. PostgreSQL stores
// neither invalid UTF-8 nor NUL.
func printable(raw []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(raw), "\ufffd"), "\x00", "\ufffd")
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
