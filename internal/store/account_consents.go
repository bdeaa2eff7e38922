package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald/internal/safetext"
	"herald/internal/work"
)

// Bounds of what is stored about receivers' consents.
const (
	// keepRefusals is how long a receiver stays known after it could have been asked again.
	keepRefusals = 24 * time.Hour
	// maxConsentText bounds the texts of a row, in bytes.
	maxConsentText = 500
)

// Consent returns what is known of a receiver's consent to be called for a client. Mine is true if
// the caller shall ask the receiver now and report with SaveConsent. No other caller on any node is
// told so before lease is over.
func (s *Store) Consent(ctx context.Context, client uuid.UUID, receiver string, lease time.Duration) (c work.Consent, err error) {
	key := sha256.Sum256([]byte(receiver))
	c, err = s.readConsent(ctx, s.read, client, key, "")
	if err == nil && (c.For > 0 || c.AskIn > 0) {
		return c, nil
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, s.failed("read a receiver's consent", err)
	}
	err = s.inTransaction(ctx, "ask a receiver for its consent", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO consents (client_id, receiver, address, until, rate, ask_after, failures, why)
VALUES ($1, $2, $3, 0, 0, 0, 0, '') ON CONFLICT DO NOTHING`, client[:], key[:], safetext.Line(receiver, maxConsentText))
		if err != nil {
			return err
		}
		c, err = s.readConsent(ctx, tx, client, key, s.dialect.forUpdate)
		if err != nil || c.For > 0 || c.AskIn > 0 {
			return err
		}
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		c.Mine, c.AskIn = true, lease
		_, err = tx.ExecContext(ctx, `UPDATE consents SET ask_after = $1 WHERE client_id = $2 AND receiver = $3`, now+lease.Microseconds(), client[:], key[:])
		return err
	})
	return c, err
}

func (s *Store) readConsent(ctx context.Context, q querier, client uuid.UUID, key [32]byte, lock string) (work.Consent, error) {
	now, err := s.now(ctx, q)
	if err != nil {
		return work.Consent{}, err
	}
	return first(ctx, q, func(rows *sql.Rows) (c work.Consent, err error) {
		var until, askAfter int64
		err = rows.Scan(&until, &c.PerMinute, &askAfter, &c.Failures, &c.Why)
		c.For = max(0, time.Duration(until-now)*time.Microsecond)
		c.AskIn = max(0, time.Duration(askAfter-now)*time.Microsecond)
		return c, err
	}, `SELECT until, rate, ask_after, failures, why FROM consents WHERE client_id = $1 AND receiver = $2 `+lock, client[:], key[:])
}

// SaveConsent stores what a receiver answered. It consented if c.For is over 0.
func (s *Store) SaveConsent(ctx context.Context, client uuid.UUID, receiver string, c work.Consent) error {
	key := sha256.Sum256([]byte(receiver))
	return s.inTransaction(ctx, "store a receiver's consent", func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		until := int64(0)
		if c.For > 0 {
			until = now + c.For.Microseconds()
		}
		_, err = tx.ExecContext(ctx, `UPDATE consents SET until = $1, rate = $2, ask_after = $3, failures = $4, why = $5 WHERE client_id = $6 AND receiver = $7`,
			until, c.PerMinute, now+c.AskIn.Microseconds(), c.Failures, safetext.Line(c.Why, maxConsentText), client[:], key[:])
		return err
	})
}

// ReleaseConsented lets the deliveries of a lane go on that wait for a consent (work.NoConsent).
func (s *Store) ReleaseConsented(ctx context.Context, lane work.Lane) error {
	return s.releaseWaiting(ctx, lane.Client, lane.Origin, work.NoConsent)
}
