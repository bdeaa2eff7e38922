package store

import (
	"errors"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// The attempt that ends a delivery is stored in the delivery's own row, because most deliveries have no
// other. The table attempts has the others:
//
//	result ─▶ still held? ── retry ─▶ attempts, and the row of queue waits
//	              │   └────── final ▶ deliveries, with the attempt
//	              └─ no ────────────▶ attempts, unless it is on record
//
// So an attempt is in one of the two tables, and counted when it is added there.

// encodedResult is a work.Result with its attempt's record. The record is encoded before the writer's
// loop, which must not wait for it.
type encodedResult struct {
	work.Result
	record []byte // nil without an attempt
	// late says that the delivery is not held any more: only the attempt is stored.
	late bool
}

// Record stores the result of an attempt and returns when it is synced to disk. The
// delivery moves to history, or it waits for its next attempt and no node holds it. The
// attempt is stored even if the result is refused.
//
// Errors: work.ErrNotHeld when the delivery was cancelled or another node took it over;
// CodeUnavailable when the database fails. The caller can then repeat the call.
func (s *Store) Record(r work.Result) error {
	result := encodeResult(r)
	err := s.writer.do(result.request())
	if !errors.Is(err, work.ErrNotHeld) || r.Attempt == nil {
		return err
	}
	late := *result
	late.late = true
	if failed := s.writer.do(late.request()); failed != nil {
		return failed
	}
	return err
}

func (r *encodedResult) request() *request {
	return &request{client: r.Item.ClientID, rows: 2, bytes: len(r.record), result: r}
}

func encodeResult(r work.Result) *encodedResult {
	encoded := &encodedResult{Result: r}
	if r.Attempt != nil {
		encoded.record = encodeAttempt(r.Attempt)
	}
	return encoded
}

// endedDelivery is a row of deliveries.
type endedDelivery struct {
	id, client uuid.UUID
	address    string
	state      herald.State
	reason     herald.Reason
	// by is the attempt that ended it, n its number and record what encodeAttempt makes of it. by is nil
	// if no attempt did.
	by     *herald.Attempt
	n      int
	record []byte
}

// args are the arguments of addDeliverySQL for a delivery that ended at a time in microseconds.
func (d *endedDelivery) args(at int64) []any {
	args := []any{d.id[:], d.client[:], d.address, int64(d.state), string(d.reason), at, nil, nil, nil, nil}
	if d.by != nil {
		copy(args[6:], []any{int64(d.n), int64(d.by.Status), string(d.by.Reason), d.record})
	}
	return args
}

// ended is the row for a result that ends its delivery.
func (r *encodedResult) ended() *endedDelivery {
	return &endedDelivery{r.Item.ID, r.Item.ClientID, r.Item.Address, r.State, r.Reason, r.Attempt, r.Item.Attempt, r.record}
}
