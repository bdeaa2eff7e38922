package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Bounds on the memory of the bodies of concurrent requests, in bytes. The service
// decodes and renders a publish into copies of its body, so the service as a whole
// uses about three times as much.
const (
	// uncountedBody is the part of each body that does not count. So a small
	// request is never refused because of large ones that arrive slowly.
	uncountedBody = 64 << 10
	// maxBodies bounds all requests together: eight of the largest publishes.
	maxBodies = 128 << 20
	// maxBodiesPerClient bounds the requests of one client, so that others have room.
	// The operator publishes for every client, so only maxBodies bounds it.
	maxBodiesPerClient = maxBodies / 2
)

// bodyRetryAfter is the Retry-After of a request for whose body there is no memory. Most
// bodies are processed in less time.
const bodyRetryAfter = time.Second

// bodyBudget counts the memory of bodies. It refuses and never waits: requests that
// each had half of their body and waited for memory would deadlock.
type bodyBudget struct {
	mu       sync.Mutex
	all      int64
	byClient map[uuid.UUID]int64
}

// bodyShare is one request's part of a bodyBudget. Without a budget there is no bound.
type bodyShare struct {
	budget *bodyBudget
	client uuid.UUID
	bytes  int64
}

// grow raises the share to the given number of bytes. It reports whether the budget had room.
func (s *bodyShare) grow(client uuid.UUID, bytes int64) bool {
	more := bytes - uncountedBody - s.bytes
	if s.budget == nil || more <= 0 {
		return true
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all+more > maxBodies || client != uuid.Nil && b.byClient[client]+more > maxBodiesPerClient {
		return false
	}
	if b.byClient == nil {
		b.byClient = make(map[uuid.UUID]int64)
	}
	b.all += more
	b.byClient[client] += more
	s.client, s.bytes = client, s.bytes+more
	return true
}

// release returns the whole share to the budget.
func (s *bodyShare) release() {
	if s.bytes == 0 {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all -= s.bytes
	if b.byClient[s.client] -= s.bytes; b.byClient[s.client] == 0 {
		delete(b.byClient, s.client)
	}
	s.bytes = 0
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
	room := max(min(r.ContentLength, uncountedBody-1)+1, 512)
	text := make([]byte, 0, min(room, limit+1))
	for {
		if len(text) == cap(text) {
			room := min(2*int64(cap(text)), limit+1)
			if r.ContentLength >= int64(len(text)) {
				room = min(room, r.ContentLength+1)
			}
			if !info.body.grow(info.client, room) {
				return nil, &herald.Error{Code: herald.CodeUnavailable, RetryAfter: bodyRetryAfter,
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
