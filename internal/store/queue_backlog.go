package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"herald/internal/work"
)

// countStep is how many rows of the queue one CountWaiting reads, in some milliseconds.
const countStep = 2000

// countWaitingSQL counts a range of the queue's key by state. What a registered node holds is left out:
// that node knows how far it is. The prefix in it is parkedLane.
const countWaitingSQL = `SELECT CASE
  WHEN node IS NOT NULL THEN 'ready'
  WHEN substr(lane, 1, 7) = 'digest:' THEN 'digest'
  WHEN due_at <= $1 THEN 'ready'
  WHEN reason IS NOT NULL THEN 'postponed'
  ELSE 'retry' END AS state, count(*)
FROM queue WHERE id > $2 AND id <= $3 AND (node IS NULL OR node NOT IN (SELECT id FROM nodes)) GROUP BY state`

// CountWaiting counts the deliveries that no node holds, in one step that reads at most countStep rows of
// the queue after an id. It returns the last id that it read; uuid.Nil when there are no more. Rows that
// move while the steps of one count run are counted as they are met. On PostgreSQL all nodes count the
// same.
func (s *Store) CountWaiting(ctx context.Context, after uuid.UUID) (n work.Waiting, last uuid.UUID, err error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	now, err := s.now(ctx, s.read)
	if err != nil {
		return n, after, s.failed("read the database's clock", err)
	}
	// The end is found first: taking the rows of a LIMIT from a subquery takes six times as long on SQLite.
	end, err := first(ctx, s.read, scanID, `SELECT id FROM queue WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2`, after[:], countStep-1)
	if last = end; errors.Is(err, sql.ErrNoRows) {
		end, last, err = uuid.Max, uuid.Nil, nil
	}
	if err != nil {
		return n, after, s.failed("find the end of a step of the queue", err)
	}
	_, err = list(ctx, s.read, func(rows *sql.Rows) (none struct{}, err error) {
		var state string
		var count int
		err = rows.Scan(&state, &count)
		switch state {
		case "ready":
			n.Ready = count
		case "retry":
			n.Retry = count
		case "postponed":
			n.Postponed = count
		case "digest":
			n.Digest = count
		}
		return none, err
	}, countWaitingSQL, now, after[:], end[:])
	if err != nil {
		return work.Waiting{}, after, s.failed("count what waits", err)
	}
	return n, last, nil
}
