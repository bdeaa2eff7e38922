// Package store keeps all that Herald must not forget: clients, rules, events with
// the alerts and deliveries that they cause, and every attempt.
//
// The file names are grouped:
//
//	commit_*       the group commit: accepting events and recording results. The heart.
//	queue_*        what is pending: claims, nodes, digests, cancelling, sending again
//	history_*      events, alerts, deliveries and attempts, their lists and counts
//	account_*      clients, keys, rules, event types, mailboxes, the audit log
//	maintenance_*  what runs in small steps in the background: retention, clean-up
//	db_*           the two databases, migrations, transactions, reading rows
//
// It is one package because one transaction often writes to several of these groups.
// A commit writes events, queue and counts; cancelling moves a row of the queue to
// history; a rule's change raises the version that the next commit checks. Packages
// would have to export what only they may use.
//
// Frequent writes go through the writer (commit_writer.go). One loop takes all
// requests that wait, commits them in one transaction, synced to disk, and answers
// each. Rare writes, such as rules, have their own transactions. Reads have their own
// connections and see a consistent snapshot.
//
// A pending delivery is one row of queue. When it ends it moves to deliveries. Rows of
// attempts, events and alerts are only added. A row of queue waits to be claimed (node
// is NULL), or one incarnation of a node holds it:
//
//	accepted with room in memory ──▶ held ──recorded: ended──▶ (gone) deliveries
//	                                 ▲  │
//	                          claimed│  │recorded: retry, handed back, node declared dead
//	                                 │  ▼
//	accepted without room ────────▶ waiting ──cancelled──▶ (gone) deliveries
//
// Whom an event concerns is decided in internal/intake, when to try again in
// internal/policy.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"herald"
	"herald/internal/secret"
)

// readDeadline bounds every read for a list. A reader that stays open keeps
// SQLite's log from being emptied: one of 12 s grew it to 1.7 GB.
const readDeadline = 2 * time.Second

// Options say how to open a Store.
type Options struct {
	// Dir is the data directory of the embedded SQLite database; it is made
	// when it does not exist. It is not used with Database.
	Dir string
	// Database is the address of a PostgreSQL database, which any number of
	// nodes can share; empty is the embedded one.
	Database string
	// MigrateDatabase is where the tables are made and changed, if not at
	// Database because a proxy stands there.
	MigrateDatabase string
	// NoMigrate refuses a database whose tables are not up to date.
	NoMigrate bool
	// Retention is how long history is kept; 0 is DefaultRetention.
	Retention time.Duration
	// Box seals what must not lie in the database in plain text.
	Box *secret.Box
	// Logger takes what nobody is there to be told; nil discards it.
	Logger *slog.Logger
	// Changed is called, if set, after a change to a client that its Version
	// counts has been committed.
	Changed func(client uuid.UUID)
}

// Store is one database. Its methods are safe for concurrent use.
type Store struct {
	options Options
	dialect dialect
	write   *sql.DB
	read    *sql.DB
	box     *secret.Box
	log     *slog.Logger
	changed func(uuid.UUID)
	release func() error // gives the data directory free

	stmts       statements    // the writer's on SQLite
	batches     *pgxpool.Pool // and its connection to PostgreSQL
	writer      *writer
	floors      floors
	searchLimit int          // see there; less in tests
	node        atomic.Int64 // this node's incarnation, 0 before Register
	// inDoubt says that this node may hold what it does not know of, see
	// landed.
	uncertain atomic.Bool
}

// Open opens the database, makes what is missing in it, and starts the writer.
// A directory in use by another process is an error that names it.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	s := &Store{options: o, box: o.Box, log: o.Logger, changed: o.Changed, searchLimit: searchLimit}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.changed == nil {
		s.changed = func(uuid.UUID) {}
	}
	if err := s.open(ctx, o); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.closeDatabase())
	}
	s.writer = newWriter(s)
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	if o.Database == "" {
		s.dialect = sqliteDialect()
		return s.openSQLite(o.Dir)
	}
	if !strings.HasPrefix(o.Database, "postgres://") && !strings.HasPrefix(o.Database, "postgresql://") {
		return errors.New("the database's address does not begin with postgres://; want postgres://user:password@host:5432/name, or none for the embedded database")
	}
	s.dialect = postgresDialect()
	return s.openPostgres(ctx, o.Database)
}

func (s *Store) prepare(ctx context.Context) error {
	if _, err := s.migrate(ctx, s.options); err != nil {
		return fmt.Errorf("bring the database's tables up to date: %w", err)
	}
	if s.dialect.shared {
		return nil // its statements are prepared as they are met
	}
	if err := s.stmts.prepare(ctx, s.write); err != nil {
		return fmt.Errorf("prepare the statements: %w", err)
	}
	return nil
}

// Close ends the writer after what waits there and closes the database.
func (s *Store) Close() error {
	s.writer.close()
	return s.closeDatabase()
}

func (s *Store) closeDatabase() error {
	err := errors.Join(s.stmts.close(), s.write.Close(), s.read.Close()) // twice is harmless
	if s.batches != nil {
		s.batches.Close()
	}
	if s.release != nil {
		err = errors.Join(err, s.release())
	}
	return err
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readDeadline)
	defer cancel()
	var one int
	if err := s.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
		return s.failed("ask the database", err)
	}
	return nil
}

// change runs fn in a transaction of its own, again when the database says
// that trying again helps.
func (s *Store) change(ctx context.Context, doing string, fn func(*sql.Tx) error) error {
	err := s.retry(ctx, func() error {
		tx, err := s.write.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return s.commit(tx)
	})
	return s.failed(doing, because(ctx, err))
}

// changeClient is change for what a client's Version counts. The client must
// exist, else fn is not called and the error is CodeNotFound.
func (s *Store) changeClient(ctx context.Context, client uuid.UUID, doing string, fn func(*sql.Tx) error) error {
	err := s.change(ctx, doing, func(tx *sql.Tx) error {
		// The version goes first: it locks the client's row, so that changes
		// of one client queue up behind each other.
		n, err := affected(tx.ExecContext(ctx,
			`UPDATE clients SET version = version + 1 WHERE id = $1 AND deleted_at IS NULL`, client[:]))
		if err != nil {
			return err
		}
		if n == 0 {
			return herald.Errorf(herald.CodeNotFound, "No client was found with ID %s", client)
		}
		return fn(tx)
	})
	if err == nil {
		s.changed(client)
	}
	return err
}

// retries of a transaction that the database refused for the moment.
const (
	retryLimit = 5
	retryPause = 10 * time.Millisecond
)

func (s *Store) retry(ctx context.Context, fn func() error) error {
	for n := 1; ; n++ {
		err := fn()
		var lost *lostAnswer // what may have taken place must not be done again
		if err == nil || n == retryLimit || errors.As(err, &lost) || s.dialect.classify(err) != faultPassing {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(n) * retryPause):
		}
	}
}

// failed turns what the database said into an error that an API can show:
// herald.Errors pass, the rest becomes CodeUnavailable or, for what should not
// happen, CodeInternal, with the database's own words as the cause.
func (s *Store) failed(doing string, err error) error {
	var known *herald.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.DeadlineExceeded):
		return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Cause: fmt.Errorf("%s: %w", doing, err),
			Message: "The request took too long. Narrow it, or try again."}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch s.dialect.classify(err) {
	case faultPassing, faultDatabase:
		return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Cause: fmt.Errorf("%s: %w", doing, err),
			Message: "The database does not take requests right now. Try again."}
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// listing returns a context that ends a read in time.
func listing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, readDeadline)
}

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// idOrNull is an id as the store keeps it: uuid.Nil is NULL.
func idOrNull(id uuid.UUID) []byte {
	if id == uuid.Nil {
		return nil
	}
	return id[:]
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
