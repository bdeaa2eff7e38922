package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Unsubscribe stops a client's mail to a mailbox. A second call does nothing. The error
// is CodeNotFound when there is no such client.
func (s *Store) Unsubscribe(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error {
	return s.changeClient(ctx, client, "unsubscribe a mailbox", func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, `INSERT INTO unsubscribed (client_id, address, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			client[:], herald.MailboxKey(box), micros(time.Now())))
		if err != nil || n == 0 {
			return err
		}
		return audit(ctx, tx, by, auditEntry{client: client, action: herald.MailboxUnsubscribed, subject: herald.MailboxKey(box)})
	})
}

// Unsubscribed lists the mailboxes that have unsubscribed from a client's mail, by address.
func (s *Store) Unsubscribed(ctx context.Context, client uuid.UUID) ([]herald.Unsubscribed, error) {
	boxes, err := unsubscribed(ctx, s.read, client)
	return boxes, s.failed("list unsubscribed mailboxes", err)
}

func unsubscribed(ctx context.Context, q querier, client uuid.UUID) ([]herald.Unsubscribed, error) {
	return list(ctx, q, func(rows *sql.Rows) (u herald.Unsubscribed, err error) {
		var at int64
		err = rows.Scan(&u.Address, &at)
		u.At = fromMicros(at)
		return u, err
	}, `SELECT address, at FROM unsubscribed WHERE client_id = $1 ORDER BY address`, client[:])
}

// Resubscribe lets a client's mail go to a mailbox again. The error is CodeNotFound when
// the mailbox has not unsubscribed, or when there is no such client.
func (s *Store) Resubscribe(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error {
	return s.changeClient(ctx, client, "resubscribe a mailbox", func(tx *sql.Tx) error {
		boxes, err := unsubscribed(ctx, tx, client)
		if err != nil {
			return err
		}
		found := false
		for _, stored := range boxes { // an older version stored the mailbox with its domain as posted
			if herald.MailboxKey(stored.Address) != herald.MailboxKey(box) {
				continue
			}
			found = true
			if _, err := tx.ExecContext(ctx, `DELETE FROM unsubscribed WHERE client_id = $1 AND address = $2`, client[:], stored.Address); err != nil {
				return err
			}
		}
		if !found {
			return herald.Errorf(herald.CodeNotFound, "The mailbox %.200s is not unsubscribed.", box)
		}
		return audit(ctx, tx, by, auditEntry{client: client, action: herald.MailboxResubscribed, subject: herald.MailboxKey(box)})
	})
}
