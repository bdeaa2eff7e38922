package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"
)

// lostAnswer is the error of a commit whose outcome is unknown: the connection may have
// broken before the commit or after it.
type lostAnswer struct{ error }

func (e *lostAnswer) Unwrap() error { return e.error }

func (s *Store) commit(tx *sql.Tx) error {
	err := tx.Commit()
	if err != nil && s.dialect.unanswered(err) {
		return &lostAnswer{err}
	}
	return err
}

// Limits for finding the outcome of a commit whose answer was lost: the writer asks the
// database for lostAnswerTimeout, and pauses after each failure.
const (
	lostAnswerTimeout = 5 * time.Second
	lostAnswerPause   = 100 * time.Millisecond
)

// wasCommitted reports whether a batch was committed whose answer was lost. A batch is
// committed whole or not at all, so it is enough to look for one of its events. A batch
// without events needs no check: recording a result again is harmless, and its caller
// repeats it until it gets an answer.
//
// The database may not answer before ctx or lostAnswerTimeout ends. Then the node may
// hold deliveries that are not in its memory, so wasCommitted marks it as uncertain. Its
// next Heartbeat makes it register again, and FreeOrphans frees those deliveries.
func (s *Store) wasCommitted(ctx context.Context, batch []*request) bool {
	event, found := addedEvent(batch)
	if !found {
		return false
	}
	for deadline := time.Now().Add(lostAnswerTimeout); ; {
		committed, err := s.outcome(ctx, event)
		if err == nil {
			s.log.Warn("a commit lost its answer; the database returned the outcome", "committed", committed)
			return committed
		}
		if time.Now().After(deadline) || !sleep(ctx, lostAnswerPause) {
			s.log.Error("a commit lost its answer, and the database did not return the outcome", "error", err)
			s.uncertain.Store(true)
			return false
		}
	}
}

// outcome reports whether an event was committed. It first waits until no batch is being
// written: the server may still be carrying out a COMMIT whose connection broke.
func (s *Store) outcome(ctx context.Context, event uuid.UUID) (committed bool, err error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	err = s.dialect.pauseBatches(ctx, tx)
	if err == nil {
		var n int64
		n, err = first(ctx, tx, scanInt, `SELECT count(*) FROM events WHERE id = $1`, event[:])
		committed = n > 0
	}
	return committed, errors.Join(err, tx.Rollback())
}

// addedEvent returns the id of an event that a batch adds, or false when it adds none.
func addedEvent(batch []*request) (uuid.UUID, bool) {
	for _, req := range batch {
		for i := range req.receipts {
			if id := req.events[i].Event.ID; req.refused == nil && req.receipts[i].EventID == id {
				return id, true
			}
		}
	}
	return uuid.Nil, false
}

// leaveIfUncertain removes this node from the table of nodes if it may hold deliveries
// that it does not know of, and reports whether it did.
func (s *Store) leaveIfUncertain(ctx context.Context, tx *sql.Tx) (bool, error) {
	if !s.uncertain.Load() {
		return false, nil
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM nodes WHERE id = $1`, s.node.Load())
	return true, err
}
