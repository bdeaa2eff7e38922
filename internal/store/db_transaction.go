package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
)

// A change is the body of a transaction. It may run more than once: after a transient error,
// and after a lost answer when the transaction did not take place. So it sets all its results
// each time. It uses the context that it gets, which has the transaction's deadline.
type change func(ctx context.Context, tx *sql.Tx) error

// tookPlace finds out, in a transaction of its own, whether an earlier transaction was
// committed. It must not return before that one has ended; an error means that it may still
// run. See resolve.
type tookPlace func(ctx context.Context, tx *sql.Tx) (bool, error)

// transaction is how a change runs. The zero values of pool, timeout and tookPlace are s.write,
// transactionTimeout and a mark in the table commits.
type transaction struct {
	doing   string // for errors: what is being done
	pool    *sql.DB
	timeout time.Duration
	// repeatable says that the change may take place twice, so that nobody has to
	// find out whether it did.
	repeatable bool
	tookPlace  tookPlace
}

// inTransaction runs fn in a transaction of its own and commits it. The error says what was
// being done. When the answer to the commit is lost, inTransaction finds out whether it took
// place: the error is a lostAnswer only if the database does not say.
func (s *Store) inTransaction(ctx context.Context, doing string, fn change) error {
	return s.transact(ctx, transaction{doing: doing}, fn)
}

func (s *Store) transact(ctx context.Context, t transaction, fn change) error {
	if t.pool == nil || !s.dialect.shared {
		t.pool = s.write // on SQLite no other connection writes
	}
	if t.timeout == 0 {
		t.timeout = transactionTimeout
	}
	err := s.retry(ctx, func() error {
		run, happened := fn, t.tookPlace
		if happened == nil && !t.repeatable && s.dialect.shared {
			run, happened = marked(fn)
		}
		err := s.runOnce(ctx, t, run)
		lost := (*lostAnswer)(nil)
		switch {
		case !errors.As(err, &lost):
			return err
		case t.repeatable:
			return &lostAnswer{error: lost.error, rolledBack: true}
		default:
			return s.resolve(ctx, lost, happened)
		}
	})
	return s.failed(t.doing, withContextError(ctx, err))
}

func (s *Store) runOnce(ctx context.Context, t transaction, run change) error {
	if s.dialect.shared {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.timeout)
		defer cancel()
	}
	tx, err := t.pool.BeginTx(ctx, nil)
	if err != nil {
		return withContextError(ctx, err)
	}
	if err := run(ctx, tx); err != nil {
		return errors.Join(withContextError(ctx, err), tx.Rollback())
	}
	return s.commit(ctx, tx)
}

// changeInTurn runs a caller's change like inTransaction. Changes by callers take turns, so that
// those of one client delay neither those of others nor the service's own work.
func (s *Store) changeInTurn(ctx context.Context, client uuid.UUID, doing string, fn change) error {
	done, err := s.changeTurns.take(ctx, client)
	if err != nil {
		return s.failed(doing, err)
	}
	defer done()
	return s.tell(client, s.transact(ctx, transaction{doing: doing, timeout: changeTimeout}, fn))
}

// changeOf runs a change of the service's own to something of a client, like inTransaction.
func (s *Store) changeOf(ctx context.Context, client uuid.UUID, doing string, fn change) error {
	return s.tell(client, s.inTransaction(ctx, doing, fn))
}

// tell says that something of a client has happened, unless a transaction failed with err, which it returns.
func (s *Store) tell(client uuid.UUID, err error) error {
	if err == nil {
		s.happened(client)
	}
	return err
}

// changeClient runs fn like changeInTurn and raises the client's Version: events that were
// prepared before are stale. If there is no such client, it does not call fn and the error is
// CodeNotFound.
func (s *Store) changeClient(ctx context.Context, client uuid.UUID, doing string, fn change) error {
	return s.raise(ctx, "version", client, doing, fn)
}

// changeSettings is changeClient for data that no prepared event depends on. It raises only
// the client's Revision.
func (s *Store) changeSettings(ctx context.Context, client uuid.UUID, doing string, fn change) error {
	return s.raise(ctx, "settings_version", client, doing, fn)
}

func (s *Store) raise(ctx context.Context, column string, client uuid.UUID, doing string, fn change) error {
	leave, err := s.changes.enter(ctx, client)
	if err != nil {
		return s.failed(doing, err)
	}
	defer leave()
	err = s.changeInTurn(ctx, client, doing, func(ctx context.Context, tx *sql.Tx) error {
		// The column is raised first: that locks the client's row, so that
		// changes of one client run one after the other.
		n, err := affected(tx.ExecContext(ctx,
			`UPDATE clients SET `+column+` = `+column+` + 1 WHERE id = $1 AND deleted_at IS NULL`, client[:]))
		if err != nil {
			return err
		}
		if n == 0 {
			return herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", client)
		}
		return fn(ctx, tx)
	})
	if lost := (*lostAnswer)(nil); err == nil || errors.As(err, &lost) { // it may have taken place
		s.changed(client)
	}
	return err
}

// Limits for a transaction that fails with a transient error: it runs retryLimit times at
// most and does not begin again after retryTime. The pauses grow by retryPause.
const (
	retryLimit = 5
	retryTime  = 10 * time.Second
	retryPause = 10 * time.Millisecond
)

func (s *Store) retry(ctx context.Context, fn func() error) error {
	began := time.Now()
	for n := 1; ; n++ {
		err := fn()
		if err == nil || n == retryLimit || time.Since(began) >= retryTime || !s.mayRunAgain(err) {
			return err
		}
		if !sleep(ctx, time.Duration(n)*retryPause) {
			return err
		}
	}
}

// mayRunAgain reports whether a transaction that failed may succeed if it is run again at
// once. One whose answer was lost may have taken place: running it again could double it.
func (s *Store) mayRunAgain(err error) bool {
	if lost := (*lostAnswer)(nil); errors.As(err, &lost) {
		return lost.rolledBack
	}
	return s.dialect.classify(err) == faultTransient
}
