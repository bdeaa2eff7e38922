package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/policy"
	"herald/internal/work"
)

// When a mailbox has got the limit of mails within a window of time, further mails wait until
// the window ends and are sent as one mail, the digest. One of their deliveries is the
// carrier: its row of queue waits in the lane of mails until the window ends, and is claimed,
// held, freed and retried like any other. The others are parked in a lane of their own, which
// nobody claims from, and end with the carrier:
//
//	mail ── room in the window ─────────────────────────▶ sent by itself
//	  ├──── the first without ─▶ carrier, due at the end ─▶ sent as the digest ─┐
//	  └──── others ────────────▶ parked ────────────────── end as it does ◀─────┘

// parkedLane is the prefix of the lanes of parked deliveries. The mailbox follows.
const parkedLane = work.DigestLanePrefix

// maxDigest is how many deliveries one digest ends at most. The others wait for the next one.
const maxDigest = 2000

// mailbox returns the key of a delivery's window. A window that an older version began is under the
// mailbox in lower case, with its domain as posted; it is used until it is deleted.
func mailbox(ctx context.Context, tx *sql.Tx, d *work.Item) (string, error) {
	address := strings.TrimPrefix(d.Address, herald.MailScheme)
	key, old := herald.MailboxKey(address), strings.ToLower(address)
	if key == old {
		return key, nil
	}
	n, err := first(ctx, tx, scanInt, `SELECT count(*) FROM mail_windows WHERE client_id = $1 AND address = $2`, d.ClientID[:], old)
	if n > 0 {
		key = old
	}
	return key, err
}

// DecideMail asks the policy what happens to a mail that this node holds and is about to
// send, and stores the mailbox's new window. A mail that has to wait is no longer held. For
// a carrier, entries are the alerts of the digest, including the carrier's own. A mail to a
// mailbox that has not confirmed waits, and one beyond the bounds of its client's day is
// refused, if digest.Bounds say so.
//
// Errors: work.ErrNotHeld when the delivery was cancelled or taken over.
func (s *Store) DecideMail(ctx context.Context, d work.Item, digest policy.Digest) (action policy.MailAction, entries []work.DigestEntry, err error) {
	key := mailboxKey(&d)
	err = s.changeOf(ctx, d.ClientID, "decide on a mail", func(ctx context.Context, tx *sql.Tx) error {
		action, entries = policy.SendMail, nil
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		if digest.Bounds.Confirm {
			if action, err = s.decideOnMailbox(ctx, tx, &d, key, now, digest.Bounds); err != nil || action.Waits() {
				return err
			}
		}
		if digest.Limit > 0 {
			box, err := mailbox(ctx, tx, &d)
			if err != nil {
				return err
			}
			if action, entries, err = s.decideOnWindow(ctx, tx, &d, box, now, digest); err != nil || action.Waits() {
				return err
			}
		}
		if !digest.Bounds.PerDay() {
			return nil
		}
		allowed, err := s.countMail(ctx, tx, d.ClientID, d.ID, key, now, digest.Bounds)
		if !allowed {
			action = policy.RefuseMail
		}
		return err
	})
	return action, entries, err
}

// wasTried reports whether a delivery has an attempt with a known outcome. The number of the
// attempt does not say so: FreeOrphans raises it for deliveries that a dead node held and may
// not have begun to send.
func wasTried(ctx context.Context, tx *sql.Tx, d *work.Item) (bool, error) {
	if d.Attempt == 1 {
		return false, nil
	}
	n, err := first(ctx, tx, scanInt, `SELECT count(*) FROM attempts WHERE delivery_id = $1 AND outcome <> $2`, d.ID[:], string(herald.OutcomeUnknown))
	return n > 0, err
}

// decideOnWindow decides by the window of the mailbox, and stores its new window.
func (s *Store) decideOnWindow(ctx context.Context, tx *sql.Tx, d *work.Item, box string, now int64, digest policy.Digest) (policy.MailAction, []work.DigestEntry, error) {
	_, err := tx.ExecContext(ctx, `INSERT INTO mail_windows (client_id, address, began_at, n) VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING`, d.ClientID[:], box, now)
	if err != nil {
		return policy.SendMail, nil, err
	}
	window, err := s.lockMailWindow(ctx, tx, d.ClientID, box)
	if errors.Is(err, sql.ErrNoRows) {
		return policy.SendMail, nil, nil // another node has just deleted the window; this mail is sent and not counted
	}
	if err != nil {
		return policy.SendMail, nil, err
	}
	retry, err := wasTried(ctx, tx, d)
	if err != nil {
		return policy.SendMail, nil, err
	}
	action, next := digest.Decide(window, d.ID, retry, fromMicros(now))
	switch action {
	case policy.SendDigest:
		entries, err := s.digestEntries(ctx, tx, d, box)
		return action, entries, err
	case policy.CarryDigest:
		err = parkMail(ctx, tx, d, herald.MailScheme, micros(digest.End(window)))
	case policy.JoinDigest:
		err = parkMail(ctx, tx, d, parkedLane+box, micros(digest.End(window)))
	}
	if err != nil || next == window {
		return action, nil, err
	}
	return action, nil, setMailWindow(ctx, tx, d.ClientID, box, next)
}

// lockMailWindow reads a mailbox's window and locks it until the transaction ends.
func (s *Store) lockMailWindow(ctx context.Context, tx *sql.Tx, client uuid.UUID, box string) (policy.MailWindow, error) {
	return first(ctx, tx, func(rows *sql.Rows) (w policy.MailWindow, err error) {
		var began int64
		err = rows.Scan(&began, &w.Sent, &w.Carrier)
		w.Began = fromMicros(began)
		return w, err
	}, `SELECT began_at, n, carrier FROM mail_windows WHERE client_id = $1 AND address = $2 `+s.dialect.forUpdate, client[:], box)
}

func setMailWindow(ctx context.Context, tx *sql.Tx, client uuid.UUID, box string, w policy.MailWindow) error {
	_, err := tx.ExecContext(ctx, `UPDATE mail_windows SET began_at = $1, n = $2, carrier = $3 WHERE client_id = $4 AND address = $5`,
		micros(w.Began), w.Sent, idOrNull(w.Carrier), client[:], box)
	return err
}

// parkMail ends this node's hold on a delivery and lets it wait in a lane until due.
func parkMail(ctx context.Context, tx *sql.Tx, d *work.Item, lane string, due int64) error {
	n, err := affected(tx.ExecContext(ctx, `UPDATE queue SET node = NULL, lane = $1, due_at = $2 WHERE id = $3 AND node = $4 AND attempt = $5`,
		lane, due, d.ID[:], d.Node, d.Attempt))
	if err == nil && n == 0 {
		err = work.ErrNotHeld
	}
	return err
}

// digestEntries reads the alerts of a digest, the longest waiting first.
func (s *Store) digestEntries(ctx context.Context, tx *sql.Tx, d *work.Item, box string) ([]work.DigestEntry, error) {
	return list(ctx, tx, func(rows *sql.Rows) (entry work.DigestEntry, err error) {
		err = rows.Scan(&entry.DeliveryID, &entry.Type, &entry.CompanyID, &entry.Message)
		return entry, err
	}, `SELECT q.id, e.type, a.company_id, substr(a.message, 1, 400) FROM queue q JOIN alerts a ON a.id = `+s.dialect.alertOf("q.id")+` JOIN events e ON e.id = a.event_id
WHERE q.id = $1 OR q.client_id = $2 AND q.lane = $3 AND q.node IS NULL ORDER BY q.id LIMIT $4`, d.ID[:], d.ClientID[:], parkedLane+box, maxDigest)
}

// RecordDigest stores the final result of a digest. The carrier's delivery and the deliveries
// of entries end with that result. Deliveries still parked wait for another digest, which is
// due a window later.
//
// Errors: as of Record.
func (s *Store) RecordDigest(ctx context.Context, r work.Result, entries []work.DigestEntry, window time.Duration) error {
	result := encodeResult(r)
	return s.changeOf(ctx, r.Item.ClientID, "record a digest", func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		d := &r.Item
		n, err := affected(tx.ExecContext(ctx, endQueueSQL, d.ID[:], d.Node, d.Attempt))
		if err != nil {
			return err
		}
		if n == 0 {
			return work.ErrNotHeld
		}
		c := &counting{now: now}
		if err := c.addEnded(ctx, tx, result.ended()); err != nil {
			return err
		}
		var issues issueChanges
		issues.add(&r)
		for _, entry := range entries {
			if entry.DeliveryID == d.ID {
				continue
			}
			ended := result.ended()
			ended.id = entry.DeliveryID
			var made int64
			err := tx.QueryRowContext(ctx, `DELETE FROM queue WHERE id = $1 AND node IS NULL RETURNING address, attempt, made_at`, ended.id[:]).Scan(&ended.address, &ended.n, &made)
			if errors.Is(err, sql.ErrNoRows) {
				continue // it was cancelled meanwhile
			}
			if err == nil {
				err = c.addEnded(ctx, tx, ended)
			}
			if err != nil {
				return err
			}
			issues.add(&work.Result{Item: work.Item{ID: ended.id, ClientID: d.ClientID, Address: ended.address, MadeAt: fromMicros(made),
				Notification: herald.IsNotification(entry.Type)}, Attempt: r.Attempt, State: r.State, Reason: r.Reason})
		}
		if err := s.changeIssues(ctx, tx, now, issues); err != nil {
			return err
		}
		if err := c.save(ctx, tx); err != nil {
			return err
		}
		box, err := mailbox(ctx, tx, d)
		if err != nil {
			return err
		}
		return s.assignCarrier(ctx, tx, d.ClientID, box, now, window)
	})
}

// assignCarrier makes one delivery still parked for a mailbox the carrier of the next digest,
// which is due a window later. If none is parked, it deletes the mailbox's window.
func (s *Store) assignCarrier(ctx context.Context, tx *sql.Tx, client uuid.UUID, box string, now int64, window time.Duration) error {
	// Take the lock first. A transaction that parks another delivery holds it until it
	// commits, so that this one sees the delivery.
	_, err := s.lockMailWindow(ctx, tx, client, box)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	next, err := first(ctx, tx, scanID, `SELECT id FROM queue WHERE client_id = $1 AND lane = $2 AND node IS NULL ORDER BY due_at, id LIMIT 1`, client[:], parkedLane+box)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, `DELETE FROM mail_windows WHERE client_id = $1 AND address = $2`, client[:], box)
		return err
	}
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE queue SET lane = $1, due_at = $2 WHERE id = $3 AND node IS NULL`, herald.MailScheme, now+window.Microseconds(), next[:]); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE mail_windows SET began_at = $1, carrier = $2 WHERE client_id = $3 AND address = $4`, now, next[:], client[:], box)
	return err
}

// mailWindowTTL is how long a window without a carrier is stored.
const mailWindowTTL = 24 * time.Hour

// RepairDigests assigns another carrier to digests whose carrier was cancelled, and deletes
// windows that began more than mailWindowTTL ago, in one step of at most step windows. It
// returns how many it found.
func (s *Store) RepairDigests(ctx context.Context) (n int, err error) {
	type window struct {
		client  uuid.UUID
		box     string
		carrier uuid.UUID
	}
	old := micros(s.clock.Cautious().Add(-mailWindowTTL))
	windows, err := list(ctx, s.read, func(rows *sql.Rows) (w window, err error) {
		err = rows.Scan(&w.client, &w.box, &w.carrier)
		return w, err
	}, `SELECT client_id, address, carrier FROM mail_windows w WHERE carrier IS NULL AND began_at < $1
OR carrier IS NOT NULL AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.id = w.carrier) LIMIT $2`, old, step)
	if err != nil || len(windows) == 0 {
		return 0, s.failed("read digests without a carrier", err)
	}
	err = s.inTransaction(ctx, "assign digests another carrier", func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		for _, w := range windows {
			// Another transaction may have changed the window since it was read.
			present, err := s.lockMailWindow(ctx, tx, w.client, w.box)
			if errors.Is(err, sql.ErrNoRows) || err == nil && present.Carrier != w.carrier {
				continue
			}
			if err == nil {
				err = s.assignCarrier(ctx, tx, w.client, w.box, now, 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return len(windows), err
}
