package store

import (
	"context"
	"database/sql"

	"github.com/google/uuid"

	"herald/internal/work"
)

// countStep is how many rows of the queue one CountWaiting reads, in about 10 ms. countWaitingSQL
// repeats it.
const countStep = 5000

// countWaitingSQL counts one step of the queue in the order of its key. What a registered node holds
// is left out: that node knows how far it is. The prefix in it is parkedLane.
const countWaitingSQL = `WITH page AS MATERIALIZED (SELECT id, node, lane, due_at, reason FROM queue WHERE id > $1 ORDER BY id LIMIT 5000),
free AS (SELECT CASE
  WHEN node IS NOT NULL THEN 'ready'
  WHEN substr(lane, 1, 7) = 'digest:' THEN 'digest'
  WHEN due_at <= $2 THEN 'ready'
  WHEN reason IS NOT NULL THEN 'postponed'
  ELSE 'retry' END AS state FROM page WHERE node IS NULL OR node NOT IN (SELECT id FROM nodes))
SELECT (SELECT count(*) FROM page), (SELECT id FROM page ORDER BY id DESC LIMIT 1),
  count(CASE state WHEN 'ready' THEN 1 END), count(CASE state WHEN 'retry' THEN 1 END),
  count(CASE state WHEN 'postponed' THEN 1 END), count(CASE state WHEN 'digest' THEN 1 END) FROM free`

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
	read, err := first(ctx, s.read, func(rows *sql.Rows) (read int, err error) {
		err = rows.Scan(&read, &last, &n.Ready, &n.Retry, &n.Postponed, &n.Digest)
		return read, err
	}, countWaitingSQL, after[:], now)
	if err != nil {
		return work.Waiting{}, after, s.failed("count what waits", err)
	}
	if read < countStep {
		last = uuid.Nil
	}
	return n, last, nil
}
