package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"herald/internal/work"
)

var sqliteClaimSQL = `UPDATE queue SET node = $1, reason = NULL WHERE id IN (
  SELECT id FROM queue WHERE node IS NULL AND client_id = $2 AND lane = $3 AND due_at BETWEEN $4 AND $5 ORDER BY due_at LIMIT $6)
RETURNING ` + claimedColumns(sqliteAlertOf)

func sqliteClaim(ctx context.Context, tx *sql.Tx, node int64, claims []work.Claim, floors []int64, now int64) (claimed []claimedRow, err error) {
	for i, claim := range claims {
		some, err := list(ctx, tx, scanClaimed(node), sqliteClaimSQL, node, claim.Client[:], claim.Origin, floors[i], now, claim.N)
		if err != nil {
			return nil, err
		}
		claimed = append(claimed, some...)
	}
	return claimed, nil
}

func sqliteReadBodies(ctx context.Context, s *Store, items []work.Item) (missing map[uuid.UUID]bool, err error) {
	alerts, events := idsOf(items)
	found := make(bodies, len(alerts)+len(events))
	for _, part := range []struct {
		ids  []uuid.UUID
		text string
	}{{alerts, `SELECT rule_id, ` + isNotificationSQL + `, head FROM alerts WHERE id = $1`}, {events, `SELECT NULL, false, data FROM events WHERE id = $1`}} {
		for _, id := range part.ids {
			var b bodyPart
			err := s.read.QueryRowContext(ctx, part.text, id[:]).Scan(&b.rule, &b.notification, &b.text)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return nil, err
			}
			found[id] = b
		}
	}
	return found.setOn(items), nil
}
