package store

import (
	"context"
	"database/sql"

	"github.com/google/uuid"

	"herald"
)

// CancelDeletedClients cancels pending deliveries of deleted clients, in one step of at most
// step deliveries. It leaves out those that a node holds: their result ends them, or a later
// step. It returns how many it cancelled.
func (s *Store) CancelDeletedClients(ctx context.Context) (n int, err error) {
	waiting, err := list(ctx, s.read, scanID, `SELECT q.id FROM clients c JOIN queue q ON q.client_id = c.id AND q.node IS NULL
WHERE c.deleted_at IS NOT NULL LIMIT $1`, step)
	if err != nil || len(waiting) == 0 {
		return 0, s.failed("read a deleted client's deliveries", err)
	}
	err = s.inTransaction(ctx, "cancel a deleted client's deliveries", func(ctx context.Context, tx *sql.Tx) error {
		n = 0
		c := counting{now: micros(s.clock.Now())}
		for _, id := range waiting {
			cancelled, err := s.cancelDelivery(ctx, tx, &c, id, herald.ReasonClientDeleted, false)
			if err != nil {
				return err
			}
			if cancelled {
				n++
			}
		}
		return c.save(ctx, tx)
	})
	return n, err
}

// ExpireIdempotencyKeys deletes expired idempotency keys, in one step of at most step keys.
// It returns how many it found.
func (s *Store) ExpireIdempotencyKeys(ctx context.Context) (n int, err error) {
	type key struct {
		client uuid.UUID
		text   string
	}
	now := micros(s.clock.Cautious())
	keys, err := list(ctx, s.read, func(rows *sql.Rows) (k key, err error) {
		err = rows.Scan(&k.client, &k.text)
		return k, err
	}, `SELECT client_id, key FROM idempotency WHERE expires_at <= $1 LIMIT $2`, now, step)
	if err != nil || len(keys) == 0 {
		return 0, s.failed("read expired idempotency keys", err)
	}
	err = s.inTransaction(ctx, "delete expired idempotency keys", func(ctx context.Context, tx *sql.Tx) error {
		for _, k := range keys {
			_, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE client_id = $1 AND key = $2 AND expires_at <= $3`, k.client[:], k.text, now)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return len(keys), err
}
