package delivery

import (
	"github.com/google/uuid"

	"herald"
	"herald/internal/fairqueue"
	"herald/internal/work"
)

// A final result that the database refuses in every form stays in memory while its delivery waits in the
// database. When this node claims the delivery again, it does not make another attempt: it records the
// result. Another node, or this one after a restart, does not know the result and makes the attempt
// again.

// maxUnrecorded bounds how many results are kept. Over it, any one is dropped, and its attempt is made
// again.
const maxUnrecorded = 10_000

// unrecorded is a final result that is not recorded yet, without its details.
type unrecorded struct {
	result work.Result
	save   func(work.Result) error
}

// keepResult keeps the final result of a delivery that is about to wait in the database.
func (e *Engine) keepResult(id uuid.UUID, r work.Result, save func(work.Result) error) {
	r.Item = work.Item{} // the claim brings it again
	if r.Attempt != nil {
		r.Attempt = withoutDetails(r.Attempt, nil, refusedDetails)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for other := range e.unrecorded {
		if len(e.unrecorded) < maxUnrecorded {
			break
		}
		delete(e.unrecorded, other)
	}
	e.unrecorded[id] = unrecorded{r, save}
}

// recordKept records the result that is kept of a delivery. If the database still refuses it, record
// keeps it again.
func (e *Engine) recordKept(i *item, kept unrecorded) {
	e.mu.Lock()
	delete(e.unrecorded, i.ID)
	e.mu.Unlock()
	e.endAttempt(i, fairqueue.Result{Skipped: true})
	kept.result.Item = i.Item
	if kept.result.Attempt != nil {
		kept.result.Attempt.N = i.Attempt
	}
	e.record(i, kept.result, kept.save)
}

// Ended counts deliveries that have ended, in whichever way.
func (e *Engine) Ended(state herald.State, n int) {
	e.metrics.ended.WithLabelValues(state.String()).Add(float64(n))
}
