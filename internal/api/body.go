package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/memory"
)

// Bounds on the memory of the bodies and the answers of concurrent requests, in bytes. A client
// gets half of each, so that others have room; the operator acts for every client and gets all.
const (
	// uncounted is the part of each body and each answer that does not count. So a small
	// request is never refused because of large ones.
	uncounted = memory.Small
	// maxBodies bounds all bodies together: eight of the largest publishes. The service
	// decodes and renders a publish into copies of its body, so it uses about three times
	// as much.
	maxBodies = 128 << 20
	// maxAnswers bounds what is read from the database for all answers together: four of
	// the largest pages. The service encodes it and waits until it has been sent, so it
	// uses about four times as much.
	maxAnswers = 64 << 20
)

// memoryRetryAfter is the Retry-After of a request for which there is no memory. Most requests
// are processed in less time.
const memoryRetryAfter = time.Second

// held is what one request holds of the memory for bodies or answers.
type held struct {
	share memory.Share
	bytes int64 // what it was told to hold, with the part that does not count
}

// grow raises the number of bytes. It reports whether the budget had room. The first call sets
// the client, which is known then.
func (h *held) grow(b *memory.Budget, client uuid.UUID, to int64) bool {
	if b == nil {
		return true // outside of a Middleware
	}
	if h.bytes == 0 {
		h.share = b.Share(client)
	}
	if !h.share.Grow(to - uncounted) {
		return false
	}
	h.bytes = max(h.bytes, to)
	return true
}

// reserve takes the memory for more bytes of the answer. Store calls it by memory.Reserve before
// it reads them.
func (i *requestInfo) reserve(bytes int64) error {
	if i.answer.grow(i.answers, i.client, i.answer.bytes+bytes) {
		return nil
	}
	return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: memoryRetryAfter,
		Message: "Too many large answers are under way at once; try again, or ask for smaller pages."}
}

// DecodeTurn waits for a turn to decode a request's body of some bytes. end ends the turn.
func DecodeTurn(r *http.Request, bytes int) (end func(), err error) {
	return infoOf(r.Context()).turns.Take(r.Context(), bytes)
}

// IsNoBody reports whether a body is as good as none, for a call that needs none: it is empty, or blanks or null
// alone. Some clients write null for an argument that was not given.
func IsNoBody(body []byte) bool {
	text := bytes.TrimSpace(body)
	return len(text) == 0 || string(text) == "null"
}

// ReadBody reads a request's body of at most limit bytes. Its errors are CodeTooLarge for
// a longer body, CodeInvalid for one that ends early, CodeSlow for one that does not arrive
// in time, and CodeUnavailable when other bodies use all the memory for bodies.
// The Middleware counts the memory until the request has been answered.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	info := infoOf(r.Context())
	// The buffer grows with the bytes that have arrived, because a Content-Length
	// costs a caller nothing. The one byte over limit detects a body that is too
	// large, and lets the last Read return io.EOF.
	room := min(r.ContentLength, uncounted-1) + 1
	if r.ContentLength < 0 {
		room = 512
	}
	text := make([]byte, 0, min(room, limit+1))
	for {
		if len(text) == cap(text) {
			room := min(2*int64(cap(text)), limit+1)
			if r.ContentLength >= int64(len(text)) {
				room = min(room, r.ContentLength+1)
			}
			if !info.body.grow(info.bodies, info.client, room) {
				return nil, &herald.Error{Code: herald.CodeUnavailable, RetryAfter: memoryRetryAfter,
					Message: "Too many large requests are under way at once; try again, or send smaller ones."}
			}
			text = append(make([]byte, 0, room), text...)
		}
		read, err := r.Body.Read(text[len(text):cap(text)])
		text = text[:len(text)+read]
		switch {
		case int64(len(text)) > limit:
			return nil, tooLarge(limit)
		case errors.Is(err, io.EOF):
			return text, nil
		case err != nil:
			return nil, bodyError(r, err)
		}
	}
}

// bodyError returns the error for a body that could not be read to its end.
func bodyError(r *http.Request, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &herald.Error{Code: herald.CodeSlow, Message: "The request's body came too slowly.", Cause: err}
	case r.Context().Err() != nil:
		return context.Cause(r.Context())
	default:
		return &herald.Error{Code: herald.CodeInvalid, Message: "The request's body broke off.", Cause: err}
	}
}

func tooLarge(limit int64) error {
	return herald.Errorf(herald.CodeTooLarge, "The request's body is larger than %d bytes, which is the most this call takes.", limit)
}
