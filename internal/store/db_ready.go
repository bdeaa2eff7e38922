package store

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"herald"
)

// How often Ready tries a publish: seldom while all is well, often while it is not.
const (
	probeEvery       = 5 * time.Second
	probeFailedEvery = time.Second
)

// probe is the last trial of a publish.
type probe struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// Ready returns why requests should go to another node: the database does not answer, or
// publishes fail. It has a connection of its own, so it does not fail because clients search.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	if err := s.Ping(ctx); isDamage(err) {
		return s.unready(err)
	} else if err != nil {
		return err
	}
	s.probe.mu.Lock()
	defer s.probe.mu.Unlock()
	every := probeEvery
	if s.probe.err != nil {
		every = probeFailedEvery
	}
	if time.Since(s.probe.at) < every {
		return s.unready(s.probe.err)
	}
	err := s.tryPublish(ctx)
	if errors.Is(err, context.DeadlineExceeded) && !s.dialect.shared {
		return s.unready(s.probe.err) // the connection is busy with others' work, which says nothing
	}
	if (err == nil) != (s.probe.err == nil) {
		s.log.Warn("readiness has changed", "ready", err == nil, "error", err)
	}
	s.probe.at, s.probe.err = time.Now(), err
	return s.unready(err)
}

// tryPublish does what a publish does, takes it back, and commits a small change, for which the
// disk must have room.
func (s *Store) tryPublish(ctx context.Context) error {
	if !s.dialect.shared {
		if err := s.checkFile(ctx); err != nil {
			return err
		}
	}
	pool := s.vital
	if !s.dialect.shared {
		pool = s.write
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return withContextError(ctx, err)
	}
	event, client := herald.NewEventID(), uuid.Nil
	alert := herald.AlertID(event, 1)
	delivery := herald.DeliveryID(alert, 0)
	now := micros(time.Now())
	for _, statement := range []struct {
		text string
		args []any
	}{
		{`SAVEPOINT publish`, nil},
		{addEventSQL, []any{event[:], client[:], "", nil, nil, now, "", nil}},
		{addAlertSQL, []any{alert[:], client[:], event[:], client[:], "", nil, "", []byte{}}},
		{addQueueSQL, []any{delivery[:], client[:], "", "", now, now, nil, 1, 0}},
		{addDeliverySQL, (&endedDelivery{id: delivery, client: client}).args(now)},
		{`ROLLBACK TO SAVEPOINT publish`, nil},
		{s.dialect.smallChange, nil},
	} {
		if _, err := tx.ExecContext(ctx, statement.text, statement.args...); err != nil {
			return errors.Join(withContextError(ctx, err), tx.Rollback())
		}
	}
	return withContextError(ctx, s.commit(ctx, tx))
}

// checkFile looks at the file with a connection of its own, whose cache is empty.
func (s *Store) checkFile(ctx context.Context) error {
	file := filepath.Join(s.options.Dir, databaseFile)
	if err := checkHeader(file); err != nil {
		return err
	}
	db, err := openReaders(file, 1)
	if err != nil {
		return err
	}
	return errors.Join(checkEnds(ctx, db, file), db.Close())
}

// unready returns the error of Ready for an error of tryPublish.
func (s *Store) unready(err error) error {
	if err == nil {
		return nil
	}
	return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Message: "Publishing does not work: " + reasonOf(err) + ".", Cause: err}
}

// reasonOf says in words why the database takes no writes. The words hold nothing that only
// the operator may know.
func reasonOf(err error) string {
	var (
		server *pgconn.PgError
		file   *sqlitedriver.Error
	)
	switch {
	case isDamage(err):
		return "the database is damaged"
	case errors.Is(err, context.DeadlineExceeded):
		return "the database does not answer in time"
	case errors.As(err, &server) && server.Code == "25006":
		return "the database is read-only"
	case errors.As(err, &server) && server.Code == "53100":
		return "the database's disk is full"
	case errors.As(err, &server) && server.Code == "23514":
		return "the database has no partition for the present time"
	case errors.As(err, &server) && server.Code == "42501":
		return "the database's user lacks a privilege"
	case errors.As(err, &file) && file.Code()&0xff == sqlite3.SQLITE_READONLY:
		return "the database is read-only"
	case errors.As(err, &file) && file.Code()&0xff == sqlite3.SQLITE_FULL:
		return "the disk is full"
	case errors.As(err, &file) && file.Code()&0xff == sqlite3.SQLITE_IOERR:
		return "the disk fails"
	default:
		return "the database refuses writes"
	}
}
