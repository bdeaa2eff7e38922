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

// Bounds of the writer. A batch holds the requests that arrived while the batch before was
// being synced. batchRows and batchBytes keep one transaction short, so that no request
// waits long behind it. waitingBytes bounds the memory when the disk is slow.
const (
	batchRows    = 4000
	batchBytes   = 8 << 20
	waitingBytes = 64 << 20
)

// A commit has a fixed cost: a sync, and rewriting the last page of each table. So while
// requests arrive quickly, the writer waits for more of them before it begins a batch:
// for the dialect's gatherFor at most, and until there are gatherRequests. After a batch of
// at most gatherAbove requests it does not wait.
//
// Nobody waits for a result as a publisher waits for an answer. So results wait for the next
// events to be committed with them, for resultsFor at most. But they do not wait behind events:
// until a result is committed, its delivery takes memory that others need.
const (
	gatherRequests = 128
	gatherAbove    = 4
	resultsFor     = 10 * time.Millisecond
)

// writer is the group commit: one loop takes the waiting requests, writes them in one
// transaction, and answers each once it is synced.
type writer struct {
	store   *Store
	metrics commitMetrics
	ended   chan struct{}

	mu      sync.Mutex
	events  requestQueue
	results requestQueue
	since   time.Time // when the first of the results began to wait
	bytes   int
	closed  bool
	wake    chan struct{}
}

// request is one caller's part of a batch: events to accept or a result to record. It
// succeeds or fails as a whole.
type request struct {
	client uuid.UUID
	rows   int
	bytes  int

	events   []work.PreparedEvent
	receipts []herald.Receipt

	result *encodedResult

	// refused is an error of this request alone; the rest of the batch is
	// committed. Nothing of a refused request is written, except the attempt of
	// a result.
	refused error
	answer  chan error
}

func newWriter(s *Store) *writer {
	w := &writer{
		store: s,
		ended: make(chan struct{}),
		wake:  make(chan struct{}, 1),
	}
	w.metrics = newCommitMetrics(w, s.options.Metrics)
	go w.run()
	return w
}

var errWriterClosed = &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Message: "The service is stopping. Try again."}

// do enqueues a request and waits for its commit. It takes no context: a request that is
// enqueued may be committed in any case, and the caller must know the outcome.
func (w *writer) do(req *request) error {
	req.answer = make(chan error, 1)
	if err := w.enqueue(req); err != nil {
		return err
	}
	return <-req.answer
}

func (w *writer) enqueue(req *request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return errWriterClosed
	case req.result == nil && w.bytes+req.bytes > waitingBytes:
		return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second,
			Message: "More is being published than the disk takes. Try again."}
	}
	w.bytes += req.bytes
	if req.result == nil {
		w.events.push(req)
		if w.events.n == 1 {
			w.signal()
		}
	} else if w.results.push(req); w.results.n == 1 {
		w.since = time.Now()
		w.signal()
	}
	if w.events.n+w.results.n == gatherRequests {
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

// take waits for requests and returns a batch, see gatherRequests. before is how many requests
// the batch before had. take returns nil when the writer is closed and no request waits.
func (w *writer) take(before int) []*request {
	gathered := time.Now()
	if before > gatherAbove {
		gathered = gathered.Add(w.store.dialect.gatherFor)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.mu.Lock()
		wait := time.Until(w.beginAt(gathered))
		if wait <= 0 {
			batch := w.fill()
			w.mu.Unlock()
			return batch
		}
		w.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// beginAt returns when the next batch begins if nothing more arrives. gathered is when enough
// requests have arrived since the batch before. The caller holds mu.
func (w *writer) beginAt(gathered time.Time) time.Time {
	switch {
	case w.closed || w.events.n+w.results.n >= gatherRequests:
		return time.Time{}
	case w.events.n > 0:
		return gathered
	case w.results.n == 0:
		return time.Now().Add(time.Hour) // a request wakes the writer
	}
	if alone := w.since.Add(resultsFor); alone.After(gathered) {
		return alone
	}
	return gathered
}

// fill removes a batch from the waiting requests, up to the bounds: results first, but no more than
// half of it while events wait. The caller holds mu.
func (w *writer) fill() []*request {
	var batch []*request
	for rows, bytes := 0, 0; w.events.n+w.results.n > 0 && rows < batchRows && bytes < batchBytes; {
		from := &w.events
		if w.results.n > 0 && (w.events.n == 0 || rows < batchRows/2 && bytes < batchBytes/2) {
			from = &w.results
		}
		req := from.pop()
		rows += req.rows
		bytes += req.bytes
		w.bytes -= req.bytes
		batch = append(batch, req)
	}
	return batch
}

func (w *writer) run() {
	defer close(w.ended)
	for batch := w.take(0); batch != nil; batch = w.take(len(batch)) {
		w.commit(batch)
	}
}

// commit writes a batch and answers its requests. When a statement is at fault, it commits
// each half of the batch by itself, and so on, so that one bad request fails alone.
func (w *writer) commit(batch []*request) {
	// A batch belongs to many callers, so no caller's context may end it.
	ctx, began := context.Background(), time.Now()
	node, end := w.store.holding.begin()
	err := w.store.retry(ctx, func() error {
		err := w.transaction(ctx, batch, node)
		if lost := (*lostAnswer)(nil); errors.As(err, &lost) {
			return w.store.resolveBatch(ctx, lost, batch)
		}
		return err
	})
	end()
	if err != nil && len(batch) > 1 && w.store.dialect.classify(err) == faultStatement {
		middle := len(batch) / 2
		w.commit(batch[:middle])
		w.commit(batch[middle:])
		return
	}
	err = w.store.failed("commit", err)
	w.metrics.committed(began, err)
	if err == nil {
		w.tell(batch)
	}
	for _, req := range batch {
		if err != nil {
			req.answer <- err
		} else {
			req.answer <- req.refused
		}
	}
}

// tell says that something of the clients of a batch has happened.
func (w *writer) tell(batch []*request) {
	for _, req := range batch {
		if req.result != nil {
			w.store.happened(req.client)
		}
		for i := range req.events { // of many clients, if the operator published them
			if client := req.events[i].Event.ClientID; i == 0 || client != req.events[i-1].Event.ClientID {
				w.store.happened(client)
			}
		}
	}
}

// transaction writes a batch. Deliveries that are to be held are held by node.
func (w *writer) transaction(ctx context.Context, requests []*request, node int64) error {
	s := w.store
	if s.dialect.shared {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, batchTimeout)
		defer cancel()
	}
	tx, found, err := s.dialect.begin(ctx, s, node, questions{clientsOf(requests), keysOf(requests), issueChangesOf(requests)})
	if err == nil {
		err = tx.commit(ctx, newBatch(requests, found, node))
	}
	if err != nil && ctx.Err() != nil {
		s.trust.lose()
	}
	return err
}

// close refuses new requests and returns when the waiting ones are answered.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	<-w.ended
}
