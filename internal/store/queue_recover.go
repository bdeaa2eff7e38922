package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// recoverStep is how many deliveries one transaction of Recover makes at most. It is the same lock
// time for publishers as a step of the background work.
const recoverStep = 100

// Recover makes other deliveries of failed ones, like AddDelivery, and returns how many. It leaves out
// a delivery whose alert has reached its receiver since, or is on its way there, and one whose alert
// has herald.MaxDeliveries. The audit log says by whom they were made, in one entry for each transaction.
func (s *Store) Recover(ctx context.Context, by herald.Caller, client uuid.UUID, again []work.Redelivery) (n int, err error) {
	for part := range slices.Chunk(again, recoverStep) {
		var made []uuid.UUID
		err := s.changeInTurn(ctx, client, "make deliveries again", func(ctx context.Context, tx *sql.Tx) error {
			made = nil
			for _, r := range part {
				lost, err := s.isUnrepeated(ctx, tx, r.Repeats)
				if err != nil {
					return err
				}
				if !lost {
					continue
				}
				id, err := s.addDelivery(ctx, tx, client, r)
				switch code := herald.CodeOf(err); {
				case err == nil:
					made = append(made, id)
				case code != herald.CodeConflict && code != herald.CodeNotFound:
					return err
				}
			}
			if len(made) == 0 {
				return nil
			}
			return s.audit(ctx, tx, by, auditEntry{client, herald.DeliveriesRecovered, made[0].String(), nil, auditedRecovery{len(made), made[len(made)-1]}})
		})
		if err != nil {
			return n, err
		}
		n += len(made)
	}
	return n, nil
}

// isUnrepeated locks the alert of a delivery, and reports whether the delivery is a failed one that
// DeliveryFilter.Unrepeated selects. The lock makes two calls at once see each other's deliveries.
func (s *Store) isUnrepeated(ctx context.Context, tx *sql.Tx, id uuid.UUID) (bool, error) {
	alert := herald.AlertOf(id)
	if _, err := list(ctx, tx, scanID, `SELECT id FROM alerts WHERE id = $1 `+s.dialect.forUpdate, alert[:]); err != nil {
		return false, err
	}
	found, err := list(ctx, tx, scanID, `SELECT d.id FROM deliveries d WHERE d.id = $1 AND d.state = $2 AND `+s.unrepeated("d"), id[:], int(herald.Failed))
	return len(found) > 0, err
}
