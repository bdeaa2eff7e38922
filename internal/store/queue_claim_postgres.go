package store

import (
	"context"
	"database/sql"

	"github.com/google/uuid"

	"herald/internal/work"
)

// postgresClaimSQL lets several nodes claim from one lane at once: SKIP LOCKED passes over
// the rows that another node is claiming. A node that was declared dead claims nothing. The
// statement first collects the ids in an array, because a join would let the planner read the
// whole queue.
var postgresClaimSQL = `UPDATE queue SET node = $1, reason = NULL WHERE (SELECT count(*) FROM nodes WHERE id = $1) = 1 AND id = ANY(ARRAY(
  SELECT c.id FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[]) w(client_id, lane, n, floor), LATERAL (
    SELECT q.id FROM queue q WHERE q.node IS NULL AND q.client_id = w.client_id AND q.lane = w.lane AND q.due_at BETWEEN w.floor AND $6
    ORDER BY q.due_at LIMIT w.n FOR UPDATE SKIP LOCKED) c))
RETURNING ` + claimedColumns(postgresAlertOf)

func postgresClaim(ctx context.Context, tx *sql.Tx, node int64, claims []work.Claim, floors []int64, now int64) ([]claimedRow, error) {
	var (
		clients [][]byte
		lanes   []string
		numbers []int64
	)
	for i := range claims {
		c := &claims[i]
		clients, lanes, numbers = append(clients, c.Client[:]), append(lanes, c.Origin), append(numbers, int64(c.N))
	}
	return list(ctx, tx, scanClaimed(node), postgresClaimSQL, node, clients, lanes, numbers, floors, now)
}

var postgresBodiesSQL = bodiesSQL(`id = ANY($1::uuid[])`, `id = ANY($2::uuid[])`)

func postgresReadBodies(ctx context.Context, s *Store, items []work.Item) (missing map[uuid.UUID]bool, err error) {
	alerts, events := idsOf(items)
	return s.setBodies(ctx, items, postgresBodiesSQL, uuids(alerts), uuids(events))
}
