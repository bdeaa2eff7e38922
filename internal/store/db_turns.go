package store

import (
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"
)

// turns bounds how many operations of callers run at the same time, all together and for each
// client, and lets clients take turns when more of them wait. So one client's lists, however
// many and however slow, leave places to others. The operator is the client uuid.Nil.
type turns struct {
	perClient int

	mu      sync.Mutex
	free    int
	running map[uuid.UUID]int
	waiting []*clientTurns // in turn: the client that was served last is at the end
}

// clientTurns are the operations of one client that wait, the oldest first.
type clientTurns struct {
	client uuid.UUID
	queue  []chan struct{}
}

// newTurns returns turns for places operations at a time, perClient of one client.
func newTurns(places, perClient int) *turns {
	return &turns{perClient: perClient, free: places, running: make(map[uuid.UUID]int)}
}

// take waits for a place. done gives it back. The error is that of ctx.
func (t *turns) take(ctx context.Context, client uuid.UUID) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	turn := make(chan struct{})
	t.mu.Lock()
	i := slices.IndexFunc(t.waiting, func(c *clientTurns) bool { return c.client == client })
	if i < 0 {
		i = len(t.waiting)
		t.waiting = append(t.waiting, &clientTurns{client: client})
	}
	t.waiting[i].queue = append(t.waiting[i].queue, turn)
	t.serve()
	t.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
		if t.leave(client, turn) {
			return nil, ctx.Err()
		} // else it was served meanwhile
	}
	return func() { t.giveBack(client) }, nil
}

// serve gives free places to those that wait: to the client with the fewest running
// operations, and among equals to the one that has waited longest for its turn. The caller
// holds mu.
func (t *turns) serve() {
	for t.free > 0 {
		next := -1
		for i, c := range t.waiting {
			if n := t.running[c.client]; n < t.perClient && (next < 0 || n < t.running[t.waiting[next].client]) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		c := t.waiting[next]
		t.waiting = slices.Delete(t.waiting, next, next+1)
		close(c.queue[0])
		if c.queue = c.queue[1:]; len(c.queue) > 0 {
			t.waiting = append(t.waiting, c)
		}
		t.running[c.client]++
		t.free--
	}
}

// leave removes an operation that waits. It reports false when the operation has got its place.
func (t *turns) leave(client uuid.UUID, turn chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, c := range t.waiting {
		if at := slices.Index(c.queue, turn); c.client == client && at >= 0 {
			if c.queue = slices.Delete(c.queue, at, at+1); len(c.queue) == 0 {
				t.waiting = slices.Delete(t.waiting, i, i+1)
			}
			return true
		}
	}
	return false
}

func (t *turns) giveBack(client uuid.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[client]--; t.running[client] == 0 {
		delete(t.running, client)
	}
	t.free++
	t.serve()
}

// How many operations of callers run at the same time. The pool of transactions has more
// connections than changesAtOnce: the others are for claims and maintenance. A client may have
// half of the places.
const (
	listsAtOnce   = 4 // as postgresLists and sqliteLists
	changesAtOnce = 2
)

// readTurn waits until a caller may read from s.lists. The returned context ends readDeadline
// from now: waiting counts. done must be called when all is read.
func (s *Store) readTurn(ctx context.Context, client uuid.UUID) (_ context.Context, done func(), err error) {
	ctx, cancel := withReadDeadline(ctx)
	giveBack, err := s.readTurns.take(ctx, client)
	if err != nil {
		cancel()
		return ctx, nil, s.failed("wait for a turn to read", err)
	}
	return ctx, func() { giveBack(); cancel() }, nil
}
