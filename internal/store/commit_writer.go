package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// Bounds of the writer. A batch is as large as what gathered while the one
// before was being synced; the bounds keep one transaction short, so that
// nobody waits long behind it, and memory finite when the disk is slow.
const (
	batchRows    = 4000
	batchBytes   = 8 << 20
	waitingBytes = 64 << 20
)

// A commit costs a sync and the rewriting of each table's last page, whatever
// it holds. So while works come in quickly, the writer lets some gather: at most
// for the dialect's gatherFor, and no more than gatherWorks. One that comes alone
// goes at once.
const (
	gatherRequests = 128
	gatherAbove    = 4 // requests in the batch before
)

// writer is the group commit: one loop takes what waits, writes it in one
// transaction, and answers everybody once it is synced. Clients take turns in
// filling a batch, so that one who publishes without pause does not make the
// others wait for more than a batch.
type writer struct {
	store *Store
	ended chan struct{}

	mu       sync.Mutex
	waiting  map[uuid.UUID]*clientQueue
	ring     []*clientQueue // the clients that have something waiting, in turn
	requests int
	bytes    int
	closed   bool
	wake     chan struct{}
}

// lineup is what waits of one client.
type clientQueue struct {
	client   uuid.UUID
	requests []*request
}

// work is one caller's part of a batch: entries to accept or an attempt to
// record. It succeeds or fails as a whole.
type request struct {
	client uuid.UUID
	rows   int
	bytes  int

	entries  []work.PreparedEvent
	receipts []herald.Receipt

	recording *recording

	// refused is what is wrong with this work alone; nothing of it has been
	// written then, or all that should be.
	refused error
	answer  chan error
}

func newWriter(s *Store) *writer {
	w := &writer{
		store:   s,
		ended:   make(chan struct{}),
		waiting: make(map[uuid.UUID]*clientQueue),
		wake:    make(chan struct{}, 1),
	}
	go w.run()
	return w
}

var errWriterClosed = &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Message: "The service is stopping. Try again."}

// do hands work in and waits for its commit. It does not wait for ctx: what
// was handed in may be committed in any case, and the caller must know.
func (w *writer) do(k *request) error {
	k.answer = make(chan error, 1)
	if err := w.enqueue(k); err != nil {
		return err
	}
	return <-k.answer
}

func (w *writer) enqueue(k *request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return errWriterClosed
	case k.recording == nil && w.bytes+k.bytes > waitingBytes:
		return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second,
			Message: "More is being published than the disk takes. Try again."}
	}
	l := w.waiting[k.client]
	if l == nil {
		l = &clientQueue{client: k.client}
		w.waiting[k.client] = l
		w.ring = append(w.ring, l)
	}
	l.requests = append(l.requests, k)
	w.requests++
	w.bytes += k.bytes
	if w.requests == 1 || w.requests == gatherRequests {
		w.signal()
	}
	return nil
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take waits until there is something to write, lets more gather if the batch
// before was not small, and fills a batch in turns. It returns nil when the
// writer is closed and nothing waits any more.
func (w *writer) take(before int) []*request {
	gather := time.NewTimer(w.store.dialect.gatherFor)
	defer gather.Stop()
	gathered := before <= gatherAbove
	for {
		w.mu.Lock()
		if w.closed || w.requests >= gatherRequests || w.requests > 0 && gathered {
			batch := w.fill()
			w.mu.Unlock()
			return batch
		}
		w.mu.Unlock()
		select {
		case <-w.wake:
		case <-gather.C:
			gathered = true
		}
	}
}

func (w *writer) fill() []*request {
	var batch []*request
	for rows, bytes := 0, 0; len(w.ring) > 0 && rows < batchRows && bytes < batchBytes; {
		l := w.ring[0]
		k := l.requests[0]
		l.requests = l.requests[1:]
		w.ring = w.ring[1:]
		if len(l.requests) > 0 {
			w.ring = append(w.ring, l)
		} else {
			delete(w.waiting, l.client)
		}
		rows += k.rows
		bytes += k.bytes
		w.requests--
		w.bytes -= k.bytes
		batch = append(batch, k)
	}
	return batch
}

func (w *writer) run() {
	defer close(w.ended)
	for batch := w.take(0); batch != nil; batch = w.take(len(batch)) {
		w.commit(batch)
	}
}

// commit writes a batch and answers it. When the database refuses it for a
// statement's sake, the batch is halved until the work at fault stands alone:
// one bad request fails alone.
func (w *writer) commit(batch []*request) {
	// Nobody's context ends a batch, which is many callers'.
	ctx := context.Background()
	err := w.store.retry(ctx, func() error { return w.transaction(ctx, batch) })
	if lost := (*lostAnswer)(nil); errors.As(err, &lost) && w.store.wasCommitted(ctx, batch) {
		err = nil
	}
	if err != nil && len(batch) > 1 && w.store.dialect.classify(err) == faultStatement {
		middle := len(batch) / 2
		w.commit(batch[:middle])
		w.commit(batch[middle:])
		return
	}
	err = w.store.failed("commit", err)
	for _, k := range batch {
		if err != nil {
			k.answer <- err
		} else {
			k.answer <- k.refused
		}
	}
}

func (w *writer) transaction(ctx context.Context, requests []*request) error {
	s := w.store
	tx, found, err := s.dialect.begin(ctx, s, clientsOf(requests), keysOf(requests))
	if err != nil {
		return err
	}
	return tx.commit(ctx, newBatch(requests, found, s.node.Load()))
}

// close lets the writer finish what waits and refuses what comes.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	<-w.ended
}
