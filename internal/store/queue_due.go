package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"
)

// dueMargin is how far a due time may lie beyond the longest wait that there is. It is more than
// the clocks of one service can be apart while they agree.
const dueMargin = 2 * time.Minute

// idsAhead is how far a due time may lie before the time in the delivery's id: ids run ahead a
// little to rise strictly.
const idsAhead = time.Minute

// dueScan is how many rows of the queue one step of PullBackDue reads.
const dueScan = 5000

// lateSQL reads the waiting deliveries with ids after $1 up to $2 that are due too late, because
// a clock that was ahead scheduled them. decided is when it did: at the last attempt, or when
// the delivery was made. There are two kinds:
//
//   - decided lies in the future, and the wait is shorter than that: the wait begins now. A
//     longer wait hardly changes, and must not begin again at every step: once brought forward,
//     a due time lies far before decided;
//   - the due time is further away than the longest wait: the delivery is due now.
const lateSQL = `SELECT id, due_at, decided FROM (
SELECT q.id, q.due_at, coalesce((SELECT max(t.at) FROM attempts t WHERE t.delivery_id = q.id), q.made_at) AS decided
FROM queue q WHERE q.id > $1 AND q.id <= $2 AND q.node IS NULL AND q.due_at > $3) x
WHERE due_at > $4 OR decided > $3 AND due_at >= decided - $5 AND due_at - decided < decided - $3`

// PullBackDue brings forward waiting deliveries that a clock which was ahead has scheduled, in
// one step that reads at most dueScan rows of the queue after an id. longest is the longest wait
// that the policies have. It returns the last id that it read; uuid.Nil when there are no more.
func (s *Store) PullBackDue(ctx context.Context, after uuid.UUID, longest time.Duration) (last uuid.UUID, err error) {
	now, err := s.now(ctx, s.read)
	if err != nil {
		return after, s.failed("read the clock", err)
	}
	ids, err := list(ctx, s.read, scanID, `SELECT id FROM queue WHERE id > $1 ORDER BY id LIMIT $2`, after[:], dueScan)
	if err != nil || len(ids) == 0 {
		return uuid.Nil, s.failed("read the queue", err)
	}
	if len(ids) == dueScan {
		last = ids[dueScan-1]
	}
	end := ids[len(ids)-1]
	type row struct {
		id           uuid.UUID
		due, decided int64
	}
	late, err := list(ctx, s.read, func(rows *sql.Rows) (r row, err error) {
		err = rows.Scan(&r.id, &r.due, &r.decided)
		return r, err
	}, lateSQL, after[:], end[:], now+dueMargin.Microseconds(), now+(longest+dueMargin).Microseconds(), idsAhead.Microseconds())
	if err != nil || len(late) == 0 {
		return last, s.failed("read deliveries that are due too late", err)
	}
	err = s.inTransaction(ctx, "bring deliveries forward", func(ctx context.Context, tx *sql.Tx) error {
		for _, r := range late {
			due := now
			if r.decided > now {
				due += min(max(r.due-r.decided, 0), longest.Microseconds())
			}
			if _, err := tx.ExecContext(ctx, `UPDATE queue SET due_at = $1 WHERE id = $2 AND node IS NULL AND due_at = $3`, due, r.id[:], r.due); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.log.Warn("deliveries were due too late, because the clock was ahead when they were scheduled; they are brought forward", "deliveries", len(late))
	}
	return last, err
}
