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

// Bounds of the memory that requests' bodies take beside each other, in bytes.
// A publish is decoded and rendered into copies of its body, so the service as
// a whole takes about three times as much.
const (
	// uncountedBody of each body is not counted: small requests never wait for, nor
	// are refused because of, large ones that come slowly.
	uncountedBody = 64 << 10
	// maxBodies is for all requests: eight of the largest publishes.
	maxBodies = 128 << 20
	// maxBodiesOfOne is for one client's, so that it leaves room to others. The
	// operator publishes for everybody and is bound by maxBodies alone.
	maxBodiesOfOne = maxBodies / 2
)

// busyWait is what a caller is asked to wait when there is no memory for its
// body. Most bodies are done with in less.
const busyWait = time.Second

// bodies counts the memory of bodies. It refuses and never waits: requests that
// wait for each other with half a body each would wait for good.
type bodyBudget struct {
	mu       sync.Mutex
	all      int64
	byClient map[uuid.UUID]int64
}

// hold is what one request has of bodies; without bodies it may have anything.
type bodyShare struct {
	of     *bodyBudget
	client uuid.UUID
	bytes  int64
}

// grow makes the hold one of so many bytes, and reports whether there is room.
func (h *bodyShare) grow(client uuid.UUID, bytes int64) bool {
	more := bytes - uncountedBody - h.bytes
	if h.of == nil || more <= 0 {
		return true
	}
	b := h.of
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all+more > maxBodies || client != uuid.Nil && b.byClient[client]+more > maxBodiesOfOne {
		return false
	}
	if b.byClient == nil {
		b.byClient = make(map[uuid.UUID]int64)
	}
	b.all += more
	b.byClient[client] += more
	h.client, h.bytes = client, h.bytes+more
	return true
}

// release gives all of the hold back.
func (h *bodyShare) release() {
	if h.bytes == 0 {
		return
	}
	b := h.of
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all -= h.bytes
	if b.byClient[h.client] -= h.bytes; b.byClient[h.client] == 0 {
		delete(b.byClient, h.client)
	}
	h.bytes = 0
}

// ReadBody reads a request's body of at most limit bytes; CodeTooLarge when it
// has more, CodeInvalid when it breaks off, CodeSlow when it does not arrive in
// time, and CodeUnavailable when other bodies take all the memory there is for
// them. The Middleware counts the memory until the request has been answered.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	n := infoOf(r.Context())
	// Memory follows what has arrived: the word of a Content-Length costs
	// nothing. One byte over tells what is too large, or that the end is there.
	room := max(min(r.ContentLength, uncountedBody-1)+1, 512)
	text := make([]byte, 0, min(room, limit+1))
	for {
		if len(text) == cap(text) {
			room := min(2*int64(cap(text)), limit+1)
			if r.ContentLength >= int64(len(text)) {
				room = min(room, r.ContentLength+1)
			}
			if !n.body.grow(n.client, room) {
				return nil, &herald.Error{Code: herald.CodeUnavailable, RetryAfter: busyWait,
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
			return nil, brokeOff(r, err)
		}
	}
}

// brokeOff says why a body ended before its end.
func brokeOff(r *http.Request, err error) error {
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
