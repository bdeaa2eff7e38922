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

// When a mailbox has had so many mails within a window of time, the others wait
// for its end and go as one, the digest. One of them carries it: its row of queue
// waits in the lane of mails until the window ends, and is claimed, held, freed and
// retried like any other. The rest are parked in a lane of their own, which nobody
// claims from, and end with the carrier:
//
//	mail ── room in the window ─────────────────────────▶ sent by itself
//	  ├──── the first without ─▶ carrier, due at the end ─▶ sent as the digest ─┐
//	  └──── others ────────────▶ parked ────────────────── end as it does ◀─────┘

// parkedLane begins the lane of the deliveries that a mailbox's digest waits for.
const parkedLane = work.DigestLanePrefix

// maxDigest is how many deliveries one digest ends; what is left waits for another.
const maxDigest = 2000

// mailbox is the key of a window.
func mailbox(d *work.Item) string {
	return strings.ToLower(strings.TrimPrefix(d.Address, herald.MailScheme))
}

// DecideMail asks the policy what happens to a mail that this node holds and is
// about to send, and keeps the mailbox's window. A mail that is to wait is not held
// any more. Of a carrier, entries is what the digest says, its own alert included.
//
// Errors: work.ErrNotHeld when the delivery was cancelled or taken over.
func (s *Store) DecideMail(ctx context.Context, d work.Item, digest policy.Digest) (action policy.MailAction, entries []work.DigestEntry, err error) {
	box := mailbox(&d)
	err = s.change(ctx, "decide on a mail", func(tx *sql.Tx) error {
		action, entries = policy.SendMail, nil
		now, err := s.dialect.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO mail_windows (client_id, address, began_at, n) VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING`, d.ClientID[:], box, now)
		if err != nil {
			return err
		}
		window, err := s.lockMailWindow(ctx, tx, d.ClientID, box)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // it has just ended; this one counts for none
		}
		if err != nil {
			return err
		}
		var next policy.MailWindow
		action, next = digest.Decide(window, d.ID, d.Attempt, fromMicros(now))
		switch action {
		case policy.SendDigest:
			entries, err = s.digestEntries(ctx, tx, &d, box)
			return err
		case policy.CarryDigest:
			err = parkMail(ctx, tx, &d, herald.MailScheme, micros(digest.End(window)))
		case policy.JoinDigest:
			err = parkMail(ctx, tx, &d, parkedLane+box, micros(digest.End(window)))
		}
		if err != nil || next == window {
			return err
		}
		return setMailWindow(ctx, tx, d.ClientID, box, next)
	})
	return action, entries, err
}

// lockMailWindow reads a mailbox's window and keeps others from it until the
// transaction ends.
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

// parkMail lets a delivery that this node holds wait in a lane.
func parkMail(ctx context.Context, tx *sql.Tx, d *work.Item, lane string, due int64) error {
	n, err := affected(tx.ExecContext(ctx, `UPDATE queue SET node = NULL, lane = $1, due_at = $2 WHERE id = $3 AND node = $4 AND attempt = $5`,
		lane, due, d.ID[:], d.Node, d.Attempt))
	if err == nil && n == 0 {
		err = work.ErrNotHeld
	}
	return err
}

// digested reads what a digest tells, the longest waiting first.
func (s *Store) digestEntries(ctx context.Context, tx *sql.Tx, d *work.Item, box string) ([]work.DigestEntry, error) {
	return list(ctx, tx, func(rows *sql.Rows) (g work.DigestEntry, err error) {
		err = rows.Scan(&g.DeliveryID, &g.Type, &g.CompanyID, &g.Message)
		return g, err
	}, `SELECT q.id, e.type, a.company_id, a.message FROM queue q JOIN alerts a ON a.id = `+s.dialect.alertOf("q.id")+` JOIN events e ON e.id = a.event_id
WHERE q.id = $1 OR q.client_id = $2 AND q.lane = $3 AND q.node IS NULL ORDER BY q.id LIMIT $4`, d.ID[:], d.ClientID[:], parkedLane+box, maxDigest)
}

// RecordDigest keeps the final result of a digest: its carrier's delivery ends,
// and those that it told of end with it. Those left over wait for another one, a
// window later.
//
// Errors: as of Record.
func (s *Store) RecordDigest(ctx context.Context, r work.Result, entries []work.DigestEntry, window time.Duration) error {
	k, err := newRecording(r)
	if err != nil {
		return err
	}
	return s.change(ctx, "record a digest", func(tx *sql.Tx) error {
		now, err := s.dialect.now(ctx, tx)
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
		if err := endDigested(ctx, tx, k, d.ID, d.Address, d.Attempt, now); err != nil {
			return err
		}
		for _, g := range entries {
			if g.DeliveryID == d.ID {
				continue
			}
			var address string
			var attempt int
			err := tx.QueryRowContext(ctx, `DELETE FROM queue WHERE id = $1 AND node IS NULL RETURNING address, attempt`, g.DeliveryID[:]).Scan(&address, &attempt)
			if errors.Is(err, sql.ErrNoRows) {
				continue // it was cancelled meanwhile
			}
			if err == nil {
				err = endDigested(ctx, tx, k, g.DeliveryID, address, attempt, now)
			}
			if err != nil {
				return err
			}
		}
		return s.nextCarrier(ctx, tx, d.ClientID, mailbox(d), now, window)
	})
}

// endDigested moves a delivery to history with a digest's result.
func endDigested(ctx context.Context, tx *sql.Tx, k *recording, id uuid.UUID, address string, attempt int, now int64) error {
	_, err := tx.ExecContext(ctx, addDeliverySQL, id[:], k.Item.ClientID[:], address, int64(k.State), string(k.Reason), now)
	a := k.Attempt
	if err != nil || a == nil {
		return err
	}
	_, err = tx.ExecContext(ctx, addAttemptSQL, id[:], attempt, micros(a.At), string(a.Outcome), a.Status, string(a.Reason), a.Error, k.timings, k.request, k.response)
	return err
}

// nextCarrier makes one of those still parked for a mailbox the carrier of the next
// digest, which is due a window later. Without any, the mailbox's window is over.
func (s *Store) nextCarrier(ctx context.Context, tx *sql.Tx, client uuid.UUID, box string, now int64, window time.Duration) error {
	// The lock first: whoever parks another one holds it until that can be seen.
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

// mailWindowKept is how long a window is remembered that nothing waits for.
const mailWindowKept = 24 * time.Hour

// KeepDigests, in one bounded step, finds another carrier for digests whose own
// was cancelled, and forgets windows that are long over; it returns how many it
// met.
func (s *Store) RepairDigests(ctx context.Context) (n int, err error) {
	type window struct {
		client  uuid.UUID
		box     string
		carrier uuid.UUID
	}
	old := micros(time.Now().Add(-mailWindowKept))
	windows, err := list(ctx, s.read, func(rows *sql.Rows) (w window, err error) {
		err = rows.Scan(&w.client, &w.box, &w.carrier)
		return w, err
	}, `SELECT client_id, address, carrier FROM mail_windows w WHERE carrier IS NULL AND began_at < $1
OR carrier IS NOT NULL AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.id = w.carrier) LIMIT $2`, old, step)
	if err != nil || len(windows) == 0 {
		return 0, s.failed("look for digests without a carrier", err)
	}
	err = s.change(ctx, "find digests another carrier", func(tx *sql.Tx) error {
		now, err := s.dialect.now(ctx, tx)
		if err != nil {
			return err
		}
		for _, w := range windows {
			// Whoever holds the row may have moved it on since.
			present, err := s.lockMailWindow(ctx, tx, w.client, w.box)
			if errors.Is(err, sql.ErrNoRows) || err == nil && present.Carrier != w.carrier {
				continue
			}
			if err == nil {
				err = s.nextCarrier(ctx, tx, w.client, w.box, now, 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return len(windows), err
}
