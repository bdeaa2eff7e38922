package store

import (
	"context"
	"database/sql"

	"github.com/google/uuid"

	"herald/internal/work"
)

var sqliteClaimSQL = `UPDATE queue SET node = $1, reason = NULL WHERE id IN (
  SELECT id FROM queue WHERE node IS NULL AND client_id = $2 AND lane = $3 AND due_at BETWEEN $4 AND $5 ORDER BY due_at LIMIT $6)
RETURNING ` + claimedColumns(sqliteAlertOf)

// sqliteClaim claims from one lane after the other with one prepared statement: reading its text takes as long
// as claiming some deliveries.
func sqliteClaim(ctx context.Context, tx *sql.Tx, node int64, claims []work.Claim, floors []int64, now int64) (claimed []claimedRow, err error) {
	claim, err := tx.PrepareContext(ctx, sqliteClaimSQL)
	if err != nil {
		return nil, err
	}
	defer claim.Close() //nolint:errcheck // it only reports the error of the last run, which is known
	for i := range claims {
		c := &claims[i]
		some, err := list(ctx, prepared{claim}, scanClaimed(node), sqliteClaimSQL, node, c.Client[:], c.Origin, floors[i], now, c.N)
		if err != nil {
			return nil, err
		}
		claimed = append(claimed, some...)
	}
	return claimed, nil
}

var sqliteBodiesSQL = bodiesSQL(`id IN (SELECT unhex(value, '-') FROM json_each($1))`, `id IN (SELECT unhex(value, '-') FROM json_each($2))`)

func sqliteReadBodies(ctx context.Context, s *Store, items []work.Item) (missing map[uuid.UUID]bool, err error) {
	alerts, events := idsOf(items)
	return s.setBodies(ctx, items, sqliteBodiesSQL, jsonIDs(alerts), jsonIDs(events))
}
