package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"
)

// lostAnswer is a commit that ended with an error. Whether it took place is
// unknown: the connection may have broken before it or after.
type lostAnswer struct{ error }

func (e *lostAnswer) Unwrap() error { return e.error }

func (s *Store) commit(tx *sql.Tx) error {
	err := tx.Commit()
	if err != nil && s.dialect.unanswered(err) {
		return &lostAnswer{err}
	}
	return err
}

// How long the writer asks whether a commit took place whose answer was lost.
const (
	lostAnswerPatience = 5 * time.Second
	lostAnswerPause    = 100 * time.Millisecond
)

// landed reports whether a batch was committed whose answer was lost. A batch is
// whole or not at all, so one of its events tells. Without an event it does not
// matter: results are recorded again until that is answered, which is harmless.
//
// When the database does not answer in time, the node is in doubt: what was
// committed is held by it and not in its memory. Its next Beat then lets it
// begin anew, so that all of that is given back.
func (s *Store) wasCommitted(ctx context.Context, batch []*request) bool {
	event, found := addedEvent(batch)
	if !found {
		return false
	}
	for deadline := time.Now().Add(lostAnswerPatience); ; time.Sleep(lostAnswerPause) {
		wasCommitted, err := s.outcome(ctx, event)
		switch {
		case err == nil:
			s.log.Warn("the answer to a commit was lost; the database was asked what became of it", "committed", wasCommitted)
			return wasCommitted
		case time.Now().After(deadline):
			s.log.Error("the answer to a commit was lost, and the database does not say what became of it", "error", err)
			s.uncertain.Store(true)
			return false
		}
	}
}

// outcome reports whether an event was committed, once no batch is under way: the
// server goes on with one after its connection broke.
func (s *Store) outcome(ctx context.Context, event uuid.UUID) (wasCommitted bool, err error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	err = s.dialect.pauseBatches(ctx, tx)
	if err == nil {
		var n int64
		n, err = first(ctx, tx, scanInt, `SELECT count(*) FROM events WHERE id = $1`, event[:])
		wasCommitted = n > 0
	}
	return wasCommitted, errors.Join(err, tx.Rollback())
}

// addedEvent returns the id of an event that a batch adds.
func addedEvent(batch []*request) (uuid.UUID, bool) {
	for _, k := range batch {
		for i := range k.receipts {
			if id := k.entries[i].Event.ID; k.refused == nil && k.receipts[i].EventID == id {
				return id, true
			}
		}
	}
	return uuid.Nil, false
}

// leaveInDoubt takes this node off the list when it is in doubt of what it
// holds, and reports whether it was.
func (s *Store) leaveIfUncertain(ctx context.Context, tx *sql.Tx) (bool, error) {
	if !s.uncertain.Load() {
		return false, nil
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM nodes WHERE id = $1`, s.node.Load())
	return true, err
}
