// Package store stores all durable data: clients, rules, events with the alerts and
// deliveries that they cause, and every attempt.
//
// The file names are grouped:
//
//	commit_*       the group commit: accepting events and recording results
//	queue_*        pending deliveries: claims, nodes, digests, cancelling, redelivery
//	history_*      events, alerts, deliveries and attempts, their lists and counts
//	account_*      clients, keys, sessions, rules, event types, mailboxes, the audit log
//	maintenance_*  background work in small steps: retention, clean-up
//	db_*           the two databases, migrations, transactions, reading rows
//
// It is one package because one transaction often writes to several of these groups.
// A commit writes events, queue and counts. Cancelling moves a row of the queue to
// history. A change to a rule raises the version that the next commit checks. Separate
// packages would have to export details that only these groups may use.
//
// Frequent writes go through the writer (commit_writer.go). One loop takes all waiting
// requests, commits them in one transaction, synced to disk, and answers each. Rare
// writes, such as rules, have their own transactions. On SQLite, reads have their own
// connections, so that they do not wait for the writer.
//
// A pending delivery is one row of queue. When it ends, it moves to deliveries. Rows of
// attempts, events and alerts are added and never changed; retention deletes them. A row
// of queue waits to be claimed (node is NULL), or one incarnation of a node holds it:
//
//	accepted with room in memory ──▶ held ──recorded: ended──▶ (gone) deliveries
//	                                 ▲  │
//	                          claimed│  │recorded: retry, handed back, node declared dead
//	                                 │  ▼
//	accepted without room ────────▶ waiting ──cancelled──▶ (gone) deliveries
//
// Cancelling also ends a delivery that a node holds, if its client asks for it.
//
// internal/intake decides whom an event concerns. internal/policy decides when to retry.
// internal/delivery claims deliveries and sends them.
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
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/clock"
	"herald/internal/secret"
)

// readDeadline bounds every read for a list, and Ping. While a reader stays open, SQLite cannot
// truncate its write-ahead log: one read of 12 s let the log grow to 1.7 GB.
const readDeadline = 2 * time.Second

// Options are the options of Open. Only Box and either Dir or Database are required.
type Options struct {
	// Dir is the data directory of the embedded SQLite database. Open makes it
	// when it does not exist. It is unused when Database is set.
	Dir string
	// Database is the address of a PostgreSQL database, which any number of
	// nodes can share. Empty means the embedded database.
	Database string
	// MigrateDatabase is the address for migrations and partitions, for a
	// Database behind a proxy that pools connections. Empty means Database.
	MigrateDatabase string
	// NoMigrate makes Open fail when a migration is missing, instead of
	// applying it.
	NoMigrate bool
	// Retention is how long history is kept. 0 means DefaultRetention.
	Retention time.Duration
	// MaxRules is how many rules a client may have. 0 means DefaultMaxRules.
	MaxRules int
	// Box seals the secrets in the database.
	Box *secret.Box
	// OperatorKeys are the fingerprints of the operator's keys, see secret.Fingerprint. Sessions
	// of others have ended.
	OperatorKeys [][32]byte
	// Clock is the program's clock. Open connects it to the database's where nodes share
	// the database. nil means one of the store's own.
	Clock *clock.Clock
	// IDs makes the ids whose times matter. nil means one that follows Clock.
	IDs *herald.IDs
	// Logger logs lost answers of commits, which no caller learns of. nil
	// discards them.
	Logger *slog.Logger
	// Metrics gets the metrics of commits; nil measures nothing.
	Metrics prometheus.Registerer
	// Changed is called, if set, after a transaction that raised a client's
	// Revision. It is not called for changes by other nodes.
	Changed func(client uuid.UUID)
	// Happened is called, if set, after a transaction of this node that changed something of a client: its events,
	// deliveries, rules or settings. The writer calls it between two batches, so it must return at once. It may be
	// called when nothing has changed. It is not called for changes by other nodes.
	Happened func(client uuid.UUID)
}

// Store is an open database. Its methods are safe for concurrent use.
type Store struct {
	options Options
	dialect dialect
	write   *sql.DB // transactions; on SQLite there is one connection
	read    *sql.DB // what publishing, authentication, sending and maintenance read
	lists   *sql.DB // what callers read, after readTurn
	vital   *sql.DB // heartbeats and readiness
	trust   trust   // in the connections to PostgreSQL
	box     *secret.Box
	clock   *clock.Clock
	ids     *herald.IDs
	log     *slog.Logger
	changed func(uuid.UUID)
	// happened is Options.Happened.
	happened func(uuid.UUID)
	release  func() error // unlocks the data directory; nil on PostgreSQL

	batches     *pgxpool.Pool // the writer's one connection to PostgreSQL
	writer      *writer
	floors      floors
	changes     changeGate
	locks       chan struct{} // has one value for each LockClients under way on PostgreSQL
	segments    segmentCheck
	readTurns   *turns
	changeTurns *turns
	// The constants of the same names, or less in tests.
	searchLimit, setLimit, openLimit, segmentAlerts, statisticsLimit, backlogLimit, clientSearchLimit int
	node                                                                                              atomic.Int64 // this node's incarnation, 0 before Register
	holding                                                                                           holding
	probe                                                                                             probe
	folding                                                                                           folding
	keyUses                                                                                           keyUses
	usedReceivers                                                                                     usedReceivers
	// uncertain says that this node may hold deliveries that it does not know
	// of, see wasCommitted.
	uncertain atomic.Bool
}

// Open opens the database, applies missing migrations, and starts the writer. When
// another process uses the data directory, the error names the directory.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.MaxRules == 0 {
		o.MaxRules = DefaultMaxRules
	}
	s := &Store{options: o, box: o.Box, log: o.Logger, changed: o.Changed, happened: o.Happened, searchLimit: searchLimit, setLimit: setLimit, openLimit: openLimit, segmentAlerts: segmentAlerts, statisticsLimit: statisticsLimit, backlogLimit: backlogLimit, clientSearchLimit: clientSearchLimit, locks: make(chan struct{}, clientLocks),
		readTurns: newTurns(listsAtOnce, listsAtOnce/2), changeTurns: newTurns(changesAtOnce, changesAtOnce/2)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.clock = o.Clock; s.clock == nil {
		s.clock = clock.New(clock.Options{Shared: o.Database != "", Log: s.log})
	}
	if s.ids = o.IDs; s.ids == nil {
		s.ids = herald.NewIDs(s.clock.Now)
	}
	if s.changed == nil {
		s.changed = func(uuid.UUID) {}
	}
	if s.happened == nil {
		s.happened = func(uuid.UUID) {}
	}
	if err := s.open(ctx, o); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.closeDatabase())
	}
	if err := s.startClock(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the clock: %w", err), s.closeDatabase())
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
	if !s.dialect.shared {
		if err := s.checkFile(ctx); err != nil {
			return err
		}
	}
	if _, err := s.migrate(ctx, s.options); err != nil {
		return fmt.Errorf("bring the database's tables up to date: %w", err)
	}
	if s.dialect.shared {
		return nil // pgx caches them by itself
	}
	return s.onWriter(ctx, func(conn any) error {
		_, err := conn.(*writerConn).statements(ctx)
		return err
	})
}

// Close commits the requests that wait at the writer, refuses new ones and closes the
// database.
func (s *Store) Close() error {
	s.writer.close()
	return s.closeDatabase()
}

func (s *Store) closeDatabase() error {
	err := s.closePools()
	if s.release != nil {
		err = errors.Join(err, s.release())
	}
	return err
}

// closePools closes all connections. A dead one does not say goodbye, so closePools waits for
// closeTimeout at most on PostgreSQL; the end of the process closes the others.
func (s *Store) closePools() error {
	closed := make(chan error, 5)
	begin := func(fn func() error) { go func() { closed <- fn() }() }
	n := 0
	for _, pool := range []*sql.DB{s.write, s.read, s.lists, s.vital} {
		if pool != nil { // opening may have failed
			begin(pool.Close) // a second close is harmless
			n++
		}
	}
	var timeout <-chan time.Time
	if s.batches != nil {
		begin(func() error { s.batches.Close(); return nil })
		n++
	}
	if s.dialect.shared {
		timeout = time.After(closeTimeout)
	}
	var errs []error
	for range n {
		select {
		case err := <-closed:
			errs = append(errs, err)
		case <-timeout:
			return errors.Join(errs...)
		}
	}
	return errors.Join(errs...)
}

// Ping returns an error if the database does not answer within two seconds.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readDeadline)
	defer cancel()
	var one int
	if err := s.vital.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
		return s.failed("ping the database", err)
	}
	return nil
}

// failed turns an error of the database into one that the API can show. It returns a
// herald.Error as it is. An expired deadline, or a fault of the database as a whole,
// becomes CodeUnavailable with the database's error as its cause. Any other error is
// wrapped and counts as CodeInternal.
func (s *Store) failed(doing string, err error) error {
	var (
		known *herald.Error
		lost  *lostAnswer
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.As(err, &lost) && !lost.rolledBack:
		return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Cause: fmt.Errorf("%s: %w", doing, err),
			Message: "The database did not confirm the change. It may have taken place: look before you try again."}
	case errors.Is(err, context.DeadlineExceeded):
		return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Cause: fmt.Errorf("%s: %w", doing, err),
			Message: "The request took too long. Narrow it, or try again."}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch s.dialect.classify(err) {
	case faultTransient, faultDatabase:
		return &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Cause: fmt.Errorf("%s: %w", doing, err),
			Message: "The database does not take requests right now. Try again."}
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// withReadDeadline returns a context that ends after readDeadline.
func withReadDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, readDeadline)
}

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// idOrNull returns an id as a database value: NULL for uuid.Nil.
func idOrNull(id uuid.UUID) []byte {
	if id == uuid.Nil {
		return nil
	}
	return id[:]
}

func micros(t time.Time) int64 { return t.UnixMicro() }

// fromMicros returns a stored time. One that JSON cannot have is shown as the nearest that it
// can have, so that it does not make a whole list an error.
func fromMicros(us int64) time.Time { return herald.Clamp(time.UnixMicro(us)) }
