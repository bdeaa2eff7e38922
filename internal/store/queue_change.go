package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// cancelDelivery moves a pending delivery to history as cancelled, and reports whether it
// did. It moves a delivery that a node holds only if includeHeld. The caller saves the counting.
func (s *Store) cancelDelivery(ctx context.Context, tx *sql.Tx, c *counting, id uuid.UUID, reason herald.Reason, includeHeld bool) (bool, error) {
	var (
		client  uuid.UUID
		address string
	)
	err := tx.QueryRowContext(ctx, `DELETE FROM queue WHERE id = $1 AND (node IS NULL OR $2) RETURNING client_id, address`,
		id[:], includeHeld).Scan(&client, &address)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, c.addEnded(ctx, tx, &endedDelivery{id: id, client: client, address: address, state: herald.Cancelled, reason: reason})
}

// CancelDelivery cancels a client's pending delivery. An attempt that is under way may still
// arrive at the receiver. The error is CodeNotFound when there is no such delivery, and
// CodeConflict when it has ended. The audit log says by whom it was cancelled.
func (s *Store) CancelDelivery(ctx context.Context, by herald.Caller, client, id uuid.UUID) error {
	d, _, err := s.Delivery(ctx, client, id)
	if err != nil {
		return err
	}
	if d.State != herald.Pending {
		return herald.Errorf(herald.CodeConflict, "The delivery %s has ended: it is %s. Only a pending one can be cancelled.", id, d.State)
	}
	err = s.changeInTurn(ctx, client, "cancel a delivery", func(ctx context.Context, tx *sql.Tx) error {
		c := counting{now: micros(s.clock.Now())}
		cancelled, err := s.cancelDelivery(ctx, tx, &c, id, herald.ReasonCancelled, true)
		if err == nil && !cancelled {
			return herald.Errorf(herald.CodeConflict, "The delivery %s has just ended. Only a pending one can be cancelled.", id)
		}
		if err == nil {
			err = c.save(ctx, tx)
		}
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client, herald.DeliveryCancelled, id.String(), nil, auditedDelivery{Receiver: d.Address}})
	})
	if err == nil {
		s.endUnusedOf(ctx, client, d.Address)
	}
	return err
}

// RetryDelivery makes a client's pending delivery due now, and reports whether that is earlier than it
// was. One that a node holds is being made anyway. The audit log says by whom it was made due earlier.
//
// Errors: CodeNotFound when there is no such delivery, CodeConflict when it has ended, or is a mail that
// was not tried yet: it waits for its digest or for its mailbox.
func (s *Store) RetryDelivery(ctx context.Context, by herald.Caller, client, id uuid.UUID) (earlier bool, err error) {
	d, _, err := s.Delivery(ctx, client, id)
	switch {
	case err != nil:
		return false, err
	case d.State != herald.Pending:
		return false, herald.Errorf(herald.CodeConflict, "The delivery %s has ended: it is %s. Redeliver it instead.", id, d.State)
	case strings.HasPrefix(d.Address, herald.MailScheme) && d.AttemptCount == 0:
		return false, herald.Errorf(herald.CodeConflict, "The mail %s has not been tried yet: it waits for its digest, or until the mailbox may get it.", id)
	}
	err = s.changeInTurn(ctx, client, "make a delivery due", func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, `UPDATE queue SET due_at = $1 WHERE id = $2 AND node IS NULL AND due_at > $1`, now, id[:]))
		if earlier = n > 0; err != nil || !earlier {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client, herald.DeliveryRetried, id.String(), nil, auditedDelivery{Receiver: d.Address}})
	})
	return earlier, err
}

// AddDelivery makes another delivery of the alert of a delivery, which waits to be claimed, and
// returns its id. The error is CodeNotFound when there is no such alert, and CodeConflict when the
// alert has herald.MaxDeliveries. The audit log says by whom it was made. The caller must check that the
// delivery is the client's.
func (s *Store) AddDelivery(ctx context.Context, by herald.Caller, client uuid.UUID, r work.Redelivery) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.changeInTurn(ctx, client, "make a delivery", func(ctx context.Context, tx *sql.Tx) (err error) {
		if id, err = s.addDelivery(ctx, tx, client, r); err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client, herald.DeliveryRedelivered, id.String(), nil, auditedDelivery{r.Address, r.Repeats}})
	})
	return id, err
}

func (s *Store) addDelivery(ctx context.Context, tx *sql.Tx, client uuid.UUID, r work.Redelivery) (uuid.UUID, error) {
	alert := herald.AlertOf(r.Repeats)
	// The lock keeps Expire from deleting the history that the delivery needs.
	keptFrom, err := first(ctx, tx, scanID, `SELECT kept_from FROM history `+s.dialect.forShare)
	if err != nil {
		return alert, err
	}
	// The lock on the alert's row makes concurrent calls for one alert wait, so that
	// two deliveries do not get the same number.
	_, err = first(ctx, tx, scanID, `SELECT id FROM alerts WHERE id = $1 AND id >= $2 `+s.dialect.forUpdate, alert[:], keptFrom[:])
	if errors.Is(err, sql.ErrNoRows) {
		return alert, herald.Errorf(herald.CodeNotFound, "No alert was found with ID %s", alert)
	}
	if err != nil {
		return alert, err
	}
	from, to := herald.DeliveryID(alert, 0), herald.DeliveryID(alert, herald.MaxDeliveries-1)
	last, err := first(ctx, tx, scanID, `SELECT id FROM (
SELECT id FROM queue WHERE id BETWEEN $1 AND $2 UNION ALL SELECT id FROM deliveries WHERE id BETWEEN $1 AND $2) x ORDER BY id DESC LIMIT 1`, from[:], to[:])
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return alert, err
	}
	n := 0
	if err == nil {
		n = int(last[15]) + 1
	}
	if n == herald.MaxDeliveries {
		return alert, herald.Errorf(herald.CodeConflict, "The alert %s has been sent %d times; no more are kept.", alert, n)
	}
	id := herald.DeliveryID(alert, n)
	now, err := s.now(ctx, tx)
	if err != nil {
		return id, err
	}
	if _, err := tx.ExecContext(ctx, addQueueSQL, id[:], client[:], r.Origin, r.Address, now, now, nil, 1, 0); err != nil {
		return id, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO redeliveries (id, client_id, repeats, made_at) VALUES ($1, $2, $3, $4)`, id[:], client[:], r.Repeats[:], now)
	return id, err
}

// Postpone ends this node's hold on a delivery whose attempt this service could not make. The delivery
// waits for delay before it can be claimed again, and shows why until then. Its attempt is not
// counted. The error is work.ErrNotHeld when this node did not hold the delivery.
func (s *Store) Postpone(ctx context.Context, d work.Item, delay time.Duration, why string) error {
	return s.changeOf(ctx, d.ClientID, "postpone a delivery", func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, `UPDATE queue SET node = NULL, due_at = $1, reason = $2 WHERE id = $3 AND node = $4 AND attempt = $5`,
			now+max(delay, 0).Microseconds(), why, d.ID[:], d.Node, d.Attempt))
		if err == nil && n == 0 {
			err = work.ErrNotHeld
		}
		return err
	})
}
