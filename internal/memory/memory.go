// Package memory counts the bytes that requests under way hold, so that all of them together, and
// those of each client, stay within a bound. It counts what the holders say, and allocates nothing.
package memory

import (
	"context"
	"runtime"
	"sync"

	"github.com/google/uuid"
)

// Budget is a number of bytes that concurrent requests share. It refuses and never waits: requests
// that each had half of what they need and waited for the rest would deadlock. It is safe for
// concurrent use.
type Budget struct {
	limit, perClient int64

	mu       sync.Mutex
	taken    int64
	byClient map[uuid.UUID]int64
}

// NewBudget returns a budget of limit bytes. One client gets at most half of it, so that others
// have room. uuid.Nil is the operator, who acts for every client and is bound by limit alone.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, perClient: limit / 2, byClient: make(map[uuid.UUID]int64)}
}

// Share is what one request has taken of a Budget. The zero Share has no budget and no bound. It
// is not safe for concurrent use.
type Share struct {
	budget *Budget
	client uuid.UUID
	bytes  int64
}

// Share returns an empty share of the budget for a request of a client.
func (b *Budget) Share(client uuid.UUID) Share { return Share{budget: b, client: client} }

// Grow takes more bytes, so that the share has the given number. It takes none if the share has as
// many. It returns false if there is no room; the share then has as many as before.
func (s *Share) Grow(to int64) bool {
	more := to - s.bytes
	if s.budget == nil || more <= 0 {
		return true
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken+more > b.limit || s.client != uuid.Nil && b.byClient[s.client]+more > b.perClient {
		return false
	}
	b.taken += more
	b.byClient[s.client] += more
	s.bytes += more
	return true
}

// Release gives all bytes of the share back. A second call does nothing.
func (s *Share) Release() {
	if s.bytes == 0 {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken -= s.bytes
	if b.byClient[s.client] -= s.bytes; b.byClient[s.client] == 0 {
		delete(b.byClient, s.client)
	}
	s.bytes = 0
}

// reserveKey is the context key of a request's reserve function.
type reserveKey struct{}

// WithReserve returns a context in which Reserve calls reserve. The bytes that it takes belong to
// the request of the context until its end.
func WithReserve(ctx context.Context, reserve func(bytes int64) error) context.Context {
	return context.WithValue(ctx, reserveKey{}, reserve)
}

// Reserve takes memory for bytes that are about to be read for the answer to a request. An error
// says that other answers hold too much now. Outside a request there is no bound.
func Reserve(ctx context.Context, bytes int64) error {
	if reserve, ok := ctx.Value(reserveKey{}).(func(int64) error); ok {
		return reserve(bytes)
	}
	return nil
}

// WithReuse returns a context in which each Reserve is for bytes that replace those of the Reserve
// before: it takes memory only for what is more than the most so far. Calls must not be concurrent.
func WithReuse(ctx context.Context) context.Context {
	var most int64
	return WithReserve(ctx, func(bytes int64) error {
		if bytes <= most {
			return nil
		}
		err := Reserve(ctx, bytes-most)
		if err == nil {
			most = bytes
		}
		return err
	})
}

// Small is the size up to which a text is decoded without a turn, in bytes.
const Small = 64 << 10

// Turns bounds how many large texts are decoded at once: decoded, they may take twenty times their
// size. Decoding waits for nothing, so more at once would not be faster. It is safe for concurrent use.
type Turns struct{ places chan struct{} }

// NewTurns returns one turn for each processor.
func NewTurns() *Turns { return &Turns{make(chan struct{}, runtime.GOMAXPROCS(0))} }

// Take waits for a turn to decode bytes. end ends it, and must be called. The error is that of ctx.
func (t *Turns) Take(ctx context.Context, bytes int) (end func(), err error) {
	if t == nil || bytes <= Small {
		return func() {}, nil
	}
	select {
	case t.places <- struct{}{}:
		return func() { <-t.places }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
