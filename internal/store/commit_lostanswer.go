package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
)

// A commit whose connection breaks or freezes may have taken place or not. The store asks the
// database, in a new transaction. The answer is final only if
//
//   - the commit in question cannot still be under way: the server may be carrying out a COMMIT
//     whose connection broke. So the new transaction waits for a lock of the other.
//   - the commit in question is as durable as an acknowledged one: while a synchronous standby
//     is away, a COMMIT that is cancelled becomes visible without being replicated. So the new
//     transaction writes and commits too, and its commit must be answered in time.

// lostAnswer is the error of a commit whose outcome is unknown, or was when it failed.
type lostAnswer struct {
	error
	rolledBack bool // the database has said that the commit did not take place
}

func (e *lostAnswer) Unwrap() error { return e.error }

// commit commits tx. An answer that comes after the end of ctx does not count, see above.
func (s *Store) commit(ctx context.Context, tx *sql.Tx) error {
	err := tx.Commit()
	switch {
	case err == nil && s.dialect.shared && ctx.Err() != nil:
		return &lostAnswer{error: ctx.Err()}
	case err != nil && s.dialect.unanswered(err):
		return &lostAnswer{error: withContextError(ctx, err)}
	}
	return err
}

// Limits for finding the outcome of a commit whose answer was lost: the store asks the database
// for lostAnswerTimeout, and pauses after each failure. One question may take askTimeout.
const (
	lostAnswerTimeout = 5 * time.Second
	lostAnswerPause   = 100 * time.Millisecond
	askTimeout        = 2 * time.Second
)

// resolve asks the database for the outcome of a commit whose answer was lost. It returns nil
// if the commit took place, lost with rolledBack if it did not, and lost as it is if the
// database does not say within lostAnswerTimeout. The end of ctx does not end the questions:
// the caller has gone, but the change may be there.
func (s *Store) resolve(ctx context.Context, lost *lostAnswer, happened tookPlace) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostAnswerTimeout)
	defer cancel()
	for {
		committed, err := s.ask(ctx, happened)
		if err == nil {
			s.log.Warn("a commit lost its answer; the database returned the outcome", "committed", committed, "error", lost.error)
			if committed {
				return nil
			}
			return &lostAnswer{error: lost.error, rolledBack: true}
		}
		if !sleep(ctx, lostAnswerPause) {
			s.log.Error("a commit lost its answer, and the database did not return the outcome", "error", errors.Join(err, lost.error))
			return lost
		}
	}
}

// ask asks once.
func (s *Store) ask(ctx context.Context, happened tookPlace) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	err = s.dialect.limitLockWait(ctx, tx)
	if err == nil {
		committed, err = happened(ctx, tx)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, markSQL, newMark(), true) // so that this commit waits for the standby, and for the other commit with it
	}
	if err != nil {
		return false, errors.Join(err, tx.Rollback())
	}
	return committed, s.commit(ctx, tx)
}

// markSQL marks a transaction as committed. The mark is part of the transaction.
const markSQL = `INSERT INTO commits (id, took_place, at) VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)`

// findMarkSQL returns whether a mark was committed. If there is none, it adds one that says no,
// so that the transaction, should it still arrive, fails. It waits while the transaction runs.
const findMarkSQL = markSQL + ` ON CONFLICT (id) DO UPDATE SET at = excluded.at RETURNING took_place`

func newMark() []byte {
	id := herald.NewID()
	return id[:]
}

// marked adds a mark to a change, and returns how to find it.
func marked(fn change) (change, tookPlace) {
	mark := newMark()
	withMark := func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, markSQL, mark, true); err != nil {
			return err
		}
		return fn(ctx, tx)
	}
	return withMark, func(ctx context.Context, tx *sql.Tx) (took bool, err error) {
		err = tx.QueryRowContext(ctx, findMarkSQL, mark, false).Scan(&took)
		return took, err
	}
}

// marksKept is how long marks are stored: far longer than anybody asks for them.
const marksKept = 10 * time.Minute

// ExpireMarks deletes the marks of commits that nobody asks for any more. It returns 0: one
// call deletes all.
func (s *Store) ExpireMarks(ctx context.Context) (int, error) {
	if !s.dialect.shared {
		return 0, nil
	}
	return 0, s.transact(ctx, transaction{doing: "delete old marks of commits", repeatable: true}, func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM commits WHERE at < $1`, now-marksKept.Microseconds())
		return err
	})
}

// resolveBatch is resolve for a batch. A batch is committed whole or not at all, so it is
// enough to look for one of its events. A batch without events needs no question: recording a
// result again is harmless, and its caller repeats it until it gets an answer.
//
// If the outcome stays unknown, the node may hold deliveries that are not in its memory, so
// resolveBatch marks it as uncertain. Its next Heartbeat makes it register again, and
// FreeOrphans frees those deliveries.
func (s *Store) resolveBatch(ctx context.Context, lost *lostAnswer, batch []*request) error {
	event, found := addedEvent(batch)
	if !found {
		return lost
	}
	err := s.resolve(ctx, lost, func(ctx context.Context, tx *sql.Tx) (bool, error) {
		if err := s.dialect.pauseBatches(ctx, tx); err != nil {
			return false, err
		}
		n, err := first(ctx, tx, scanInt, `SELECT count(*) FROM events WHERE id = $1`, event[:])
		return n > 0, err
	})
	if errors.As(err, &lost) && !lost.rolledBack {
		s.uncertain.Store(true)
	}
	return err
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
