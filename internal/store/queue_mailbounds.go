package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/policy"
	"herald/internal/work"
)

// mailboxKey returns the key of a delivery's mailbox in the tables of this file.
func mailboxKey(d *work.Item) string {
	return herald.MailboxKey(strings.TrimPrefix(d.Address, herald.MailScheme))
}

// countMail counts a mail that is about to be sent, and reports whether the bounds of its client's
// day allow it. A mail counts once in a day, however often it is tried, and whatever is lost of the
// answer to this transaction.
func (s *Store) countMail(ctx context.Context, tx *sql.Tx, client, delivery uuid.UUID, box string, now int64, bounds policy.MailBounds) (bool, error) {
	day := policy.Day(fromMicros(now))
	_, err := tx.ExecContext(ctx, `INSERT INTO mail_days (client_id, day, mails, mailboxes) VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING`, client[:], day)
	if err != nil {
		return false, err
	}
	// The lock makes the decisions about one client's mails wait for each other.
	counted, err := first(ctx, tx, func(rows *sql.Rows) (d policy.MailDay, err error) {
		return d, rows.Scan(&d.Mails, &d.Mailboxes)
	}, `SELECT mails, mailboxes FROM mail_days WHERE client_id = $1 AND day = $2 `+s.dialect.forUpdate, client[:], day)
	if err != nil {
		return false, err
	}
	var again, known bool
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM day_mails WHERE client_id = $1 AND day = $2 AND delivery_id = $3),
EXISTS (SELECT 1 FROM day_mails WHERE client_id = $1 AND day = $2 AND address = $4)`, client[:], day, delivery[:], box).Scan(&again, &known)
	if err != nil || again {
		return again, err
	}
	next, allowed := bounds.Allow(counted, !known)
	if !allowed {
		return false, nil
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO day_mails (client_id, day, delivery_id, address) VALUES ($1, $2, $3, $4)`, client[:], day, delivery[:], box)
	if err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE mail_days SET mails = $1, mailboxes = $2 WHERE client_id = $3 AND day = $4`, next.Mails, next.Mailboxes, client[:], day)
	return true, err
}

// unconfirmed is the reason that a delivery shows while its mailbox has not confirmed. Confirm finds
// the deliveries by it.
func unconfirmed(box string) string {
	return fmt.Sprintf("%s: the mailbox %s has not confirmed that it takes mail of this client", herald.ReasonUnconfirmed, box)
}

// decideOnMailbox returns policy.SendMail if the reader of a mailbox has confirmed. Otherwise it lets
// the delivery wait. With policy.AskMailbox the caller sends the mail that asks; no other is sent to
// the mailbox before policy.AskMailboxEvery, unless AskMailboxAgain allows it.
func (s *Store) decideOnMailbox(ctx context.Context, tx *sql.Tx, d *work.Item, box string, now int64, bounds policy.MailBounds) (policy.MailAction, error) {
	_, err := tx.ExecContext(ctx, `INSERT INTO confirmations (client_id, address, ask_after) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING`, d.ClientID[:], box)
	if err != nil {
		return policy.SendMail, err
	}
	// The lock makes Confirm wait, so that it finds the delivery.
	var askAfter int64
	var confirmedAt *int64
	err = tx.QueryRowContext(ctx, `SELECT ask_after, confirmed_at FROM confirmations WHERE client_id = $1 AND address = $2 `+s.dialect.forUpdate,
		d.ClientID[:], box).Scan(&askAfter, &confirmedAt)
	if err != nil || confirmedAt != nil {
		return policy.SendMail, err
	}
	action := policy.AwaitMailbox
	if askAfter <= now {
		if action, askAfter, err = s.askMailbox(ctx, tx, d, box, now, bounds); err != nil {
			return action, err
		}
	}
	due := min(askAfter, micros(d.MadeAt.Add(bounds.MaxAge))+time.Second.Microseconds()) // not long after it expires
	return action, waitForMailbox(ctx, tx, d, box, due)
}

// askMailbox decides whether a mailbox is asked now, and returns when it can be asked next.
func (s *Store) askMailbox(ctx context.Context, tx *sql.Tx, d *work.Item, box string, now int64, bounds policy.MailBounds) (policy.MailAction, int64, error) {
	action, askAfter := policy.AskMailbox, now+policy.AskMailboxEvery.Microseconds()
	if bounds.PerDay() {
		// The mail that asks counts as a mail of its own.
		allowed, err := s.countMail(ctx, tx, d.ClientID, uuid.NewSHA1(d.ClientID, []byte(box)), box, now, bounds)
		if err != nil {
			return action, 0, err
		}
		if !allowed {
			action, askAfter = policy.AwaitMailbox, now+policy.NextDay(fromMicros(now)).Microseconds()
		}
	}
	_, err := tx.ExecContext(ctx, `UPDATE confirmations SET ask_after = $1 WHERE client_id = $2 AND address = $3`, askAfter, d.ClientID[:], box)
	return action, askAfter, err
}

// waitForMailbox ends this node's hold on a delivery and lets it wait for its mailbox.
func waitForMailbox(ctx context.Context, tx *sql.Tx, d *work.Item, box string, due int64) error {
	n, err := affected(tx.ExecContext(ctx, `UPDATE queue SET node = NULL, due_at = $1, reason = $2 WHERE id = $3 AND node = $4 AND attempt = $5`,
		due, unconfirmed(box), d.ID[:], d.Node, d.Attempt))
	if err == nil && n == 0 {
		err = work.ErrNotHeld
	}
	return err
}

// AskMailboxAgain lets a mailbox be asked again after policy.AskMailboxAgain, because the mail that
// asked was not taken.
func (s *Store) AskMailboxAgain(ctx context.Context, d work.Item) error {
	box := mailboxKey(&d)
	return s.changeOf(ctx, d.ClientID, "ask a mailbox again", func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		due := now + policy.AskMailboxAgain.Microseconds()
		_, err = tx.ExecContext(ctx, `UPDATE confirmations SET ask_after = $1 WHERE client_id = $2 AND address = $3 AND confirmed_at IS NULL AND ask_after > $1`,
			due, d.ClientID[:], box)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE queue SET due_at = $1 WHERE id = $2 AND node IS NULL AND reason = $3 AND due_at > $1`, due, d.ID[:], unconfirmed(box))
		return err
	})
}

// Confirm stores that the reader of a mailbox takes a client's mail, and lets the deliveries that wait
// for it go on. A second call changes nothing. The error is CodeNotFound when there is no such client.
func (s *Store) Confirm(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error {
	box = herald.MailboxKey(box)
	var now int64
	err := s.inTransaction(ctx, "confirm a mailbox", func(ctx context.Context, tx *sql.Tx) (err error) {
		if _, err = first(ctx, tx, scanInt, `SELECT version FROM clients WHERE id = $1 AND deleted_at IS NULL`, client[:]); errors.Is(err, sql.ErrNoRows) {
			return herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", client)
		}
		if err != nil {
			return err
		}
		if now, err = s.now(ctx, tx); err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, `INSERT INTO confirmations (client_id, address, ask_after, confirmed_at) VALUES ($1, $2, 0, $3)
ON CONFLICT (client_id, address) DO UPDATE SET confirmed_at = excluded.confirmed_at WHERE confirmations.confirmed_at IS NULL`, client[:], box, now))
		if err != nil || n == 0 {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client: client, action: herald.MailboxConfirmed, subject: box})
	})
	if err != nil {
		return err
	}
	return s.releaseWaiting(ctx, client, herald.MailScheme, unconfirmed(box))
}

// releaseWaiting makes the deliveries of a lane due whose reason begins with reason, in small steps.
func (s *Store) releaseWaiting(ctx context.Context, client uuid.UUID, lane, reason string) error {
	for {
		var n int64
		err := s.changeOf(ctx, client, "release waiting deliveries", func(ctx context.Context, tx *sql.Tx) error {
			now, err := s.now(ctx, tx)
			if err != nil {
				return err
			}
			n, err = affected(tx.ExecContext(ctx, `UPDATE queue SET due_at = $1, reason = NULL WHERE id IN (
  SELECT id FROM queue WHERE client_id = $2 AND lane = $3 AND node IS NULL AND due_at > $1 AND substr(reason, 1, length($4)) = $4 LIMIT $5)
AND node IS NULL`, now, client[:], lane, reason, step))
			return err
		})
		if err != nil || n < step {
			return err
		}
	}
}

// keepOpenConfirmations is how long a mailbox that has not confirmed stays known after it could have
// been asked again.
const keepOpenConfirmations = 30 * 24 * time.Hour

// ExpireMailBounds deletes what is known of days that are over and of mailboxes that do not confirm,
// in one step of at most step rows of each. It returns how many rows it deleted.
func (s *Store) ExpireMailBounds(ctx context.Context) (n int, err error) {
	now, err := s.now(ctx, s.read)
	if err != nil {
		return 0, s.failed("read the database's clock", err)
	}
	yesterday := policy.Day(fromMicros(now)) - 1
	for _, row := range []struct {
		text  string
		until int64
	}{
		{`DELETE FROM day_mails WHERE (client_id, day, delivery_id) IN (SELECT client_id, day, delivery_id FROM day_mails WHERE day < $1 LIMIT $2)`, yesterday},
		{`DELETE FROM mail_days WHERE (client_id, day) IN (SELECT client_id, day FROM mail_days WHERE day < $1 LIMIT $2)`, yesterday},
		{`DELETE FROM confirmations WHERE (client_id, address) IN (SELECT client_id, address FROM confirmations WHERE confirmed_at IS NULL AND ask_after < $1 LIMIT $2)
AND confirmed_at IS NULL`, now - keepOpenConfirmations.Microseconds()},
		{`DELETE FROM consents WHERE (client_id, receiver) IN (SELECT client_id, receiver FROM consents WHERE ask_after < $1 AND until < $1 LIMIT $2)`, now - keepRefusals.Microseconds()},
	} {
		err := s.inTransaction(ctx, "delete old bounds", func(ctx context.Context, tx *sql.Tx) error {
			deleted, err := affected(tx.ExecContext(ctx, row.text, row.until, step))
			n += int(deleted)
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
