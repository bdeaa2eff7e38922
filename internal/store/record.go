package store

import (
	"encoding/json"
	"fmt"
	"time"

	"herald"
)

// recording is a herald.Recording with its records encoded, which is done
// before the writer's loop.
type recording struct {
	herald.Recording
	timings, request, response []byte
}

// Record keeps the result of an attempt: the delivery moves to history, or
// waits for its next attempt and is no longer held. The attempt itself is kept
// in any case.
//
// Errors: herald.ErrNotHeld when the delivery was cancelled or taken over in
// the meantime; CodeUnavailable when the database takes nothing right now, and
// then the same call can be made again.
func (s *Store) Record(r herald.Recording) error {
	k := &work{client: r.Due.ClientID, rows: 3, recording: &recording{Recording: r}}
	for _, part := range []struct {
		value any
		into  *[]byte
	}{
		{r.Attempt.Timings, &k.recording.timings},
		{r.Attempt.Request, &k.recording.request},
		{r.Attempt.Response, &k.recording.response},
	} {
		text, err := json.Marshal(part.value)
		if err != nil {
			return fmt.Errorf("encode an attempt's record: %w", err)
		}
		*part.into = text
		k.bytes += len(text)
	}
	return s.writer.do(k)
}

func (tx *batchTx) record(k *work) error {
	r := k.recording
	d := &r.Due
	held, err := tx.settle(r)
	if err != nil {
		return err
	}
	if !held {
		k.refused = herald.ErrNotHeld
	}
	a := &r.Attempt
	if a.Outcome == "" {
		return nil
	}
	return tx.exec(tx.addAttempt, d.ID[:], d.Attempt, micros(a.At), string(a.Outcome), a.Status, string(a.Reason), a.Error,
		r.timings, r.request, r.response)
}

// settle moves the delivery on and reports whether this node still held it.
func (tx *batchTx) settle(r *recording) (bool, error) {
	d := &r.Due
	if r.State == herald.Pending {
		due := tx.now.Add(max(r.Delay, 0)).Truncate(time.Microsecond)
		n, err := affected(tx.retryQueue.ExecContext(tx.ctx, micros(due), r.Retries, d.ID[:], tx.node, d.Attempt))
		return n > 0, err
	}
	n, err := affected(tx.endQueue.ExecContext(tx.ctx, d.ID[:], tx.node, d.Attempt))
	if err != nil || n == 0 {
		return false, err
	}
	return true, tx.exec(tx.addDelivery, d.ID[:], d.ClientID[:], d.Address, int(r.State), string(r.Reason), micros(tx.now))
}
