package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"herald"
)

// errUnchanged ends a transaction that found nothing to change.
var errUnchanged = errors.New("nothing has changed")

// Unsubscribe stops a client's mail to a mailbox. A second call writes nothing. The error
// is CodeNotFound when there is no such client.
func (s *Store) Unsubscribe(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error {
	posted := box
	box = herald.MailboxKey(box)
	// Look first, without a lock: a reader may post the link of a mail any number of times.
	n, err := first(ctx, s.read, scanInt, `SELECT count(*) FROM unsubscribed WHERE client_id = $1 AND address = $2
AND EXISTS (SELECT 1 FROM clients WHERE id = $1 AND deleted_at IS NULL)`, client[:], box)
	if err != nil || n > 0 {
		return s.failed("look for an unsubscribed mailbox", err)
	}
	err = s.changeSettings(ctx, client, "unsubscribe a mailbox", func(ctx context.Context, tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, `INSERT INTO unsubscribed (client_id, address, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			client[:], box, micros(s.clock.Now())))
		if err == nil && n == 0 {
			err = errUnchanged // another call was faster
		}
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client: client, action: herald.MailboxUnsubscribed, subject: box})
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err == nil {
		s.endUnusedOf(ctx, client, herald.MailScheme+posted, herald.MailScheme+box)
	}
	return err
}

// Unsubscribed lists the mailboxes that have unsubscribed from a client's mail, by address.
func (s *Store) Unsubscribed(ctx context.Context, client uuid.UUID) ([]herald.Unsubscribed, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, err
	}
	defer done()
	boxes, err := unsubscribed(ctx, s.lists, client)
	return boxes, s.failed("list unsubscribed mailboxes", err)
}

func unsubscribed(ctx context.Context, q querier, client uuid.UUID) ([]herald.Unsubscribed, error) {
	return list(ctx, q, scanUnsubscribed, unsubscribedSQL, client[:])
}

const unsubscribedSQL = `SELECT address, at FROM unsubscribed WHERE client_id = $1 ORDER BY address`

func scanUnsubscribed[R row](rows R) (u herald.Unsubscribed, err error) {
	var at int64
	err = rows.Scan(&u.Address, &at)
	u.At = fromMicros(at)
	return u, err
}

// Resubscribe lets a client's mail go to a mailbox again. The error is CodeNotFound when
// the mailbox has not unsubscribed, or when there is no such client.
func (s *Store) Resubscribe(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error {
	return s.changeSettings(ctx, client, "resubscribe a mailbox", func(ctx context.Context, tx *sql.Tx) error {
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
		return s.audit(ctx, tx, by, auditEntry{client: client, action: herald.MailboxResubscribed, subject: herald.MailboxKey(box)})
	})
}
