package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"herald"
)

// A node has up to 16 connections, in pools of their own, so that one kind of work does not
// wait for another: one for the writer and these.
const (
	postgresTransactions = 6 // claims, maintenance, and changes by callers, which are fewer (changesAtOnce)
	postgresLookUps      = 3 // what publishing, authentication, sending and maintenance read
	postgresLists        = 4 // what callers read
	postgresVital        = 2 // heartbeats and readiness
)

// connectTimeout bounds connecting, unless the address has a connect_timeout.
const connectTimeout = 10 * time.Second

func postgresDialect() dialect {
	return dialect{
		name:      "postgres",
		shared:    true,
		gatherFor: 300 * time.Microsecond, // more requests arrive during the round trips anyway
		classify:  classifyPostgres,
		unanswered: func(err error) bool {
			// An ERROR of the server says that the commit did not take place.
			var server *pgconn.PgError
			return !errors.As(err, &server) || endsSession(server)
		},
		joinOfAlert: func(table, alias string) string { // the LIMIT keeps the planner from reading the deliveries first
			return `CROSS JOIN LATERAL (SELECT * FROM ` + table + ` WHERE ` + alias + `.id BETWEEN a.id AND overlay(a.id::text placing 'ff' from 35)::uuid
ORDER BY ` + alias + `.id LIMIT ` + strconv.Itoa(herald.MaxDeliveries) + `) ` + alias
		},
		alertOf:      postgresAlertOf,
		contains:     func(text, part string) string { return "strpos(lower(" + text + ` COLLATE "C"), ` + part + ") > 0" },
		rulesByEvent: `rules`,
		idList:       `SELECT value::uuid AS id FROM json_array_elements_text(%s::json)`,
		withPrefix: func(id, zeros string, n int) string {
			end := strings.Repeat("ff", 16-n)
			return fmt.Sprintf(`%s BETWEEN %s AND overlay(%[2]s::text placing '%[3]s' from %[4]d)::uuid`, id, zeros, end, 37-len(end))
		},
		forUpdate:     "FOR UPDATE",
		forShare:      "FOR SHARE",
		smallChange:   `INSERT INTO commits (id, took_place, at) VALUES (gen_random_uuid(), true, ` + postgresClockSQL + `)`,
		limitLockWait: postgresLimitLockWait,
		clockSQL:      postgresClockSQL,
		openSQL:       postgresOpenSQL(postgresClockSQL),
		begin:         postgresBegin,
		pauseBatches:  postgresPauseBatches,
		claim:         postgresClaim,
		readBodies:    postgresReadBodies,
		readTogether:  postgresReadTogether,
	}
}

// openPostgres opens the database at address. It returns an error if fsync or
// synchronous_commit is off: a crash could lose commits that were acknowledged.
func (s *Store) openPostgres(ctx context.Context, address string) error {
	config, err := s.postgresConfig(address)
	if err != nil {
		return err
	}
	// Most statements are planned each time they run: the queue may have ten rows
	// now and a million in a minute, and a cached plan would suit only one of
	// them. The writer's statements and those of withCachedPlan run the same way
	// whatever the tables hold, so they keep their plans. They do not if the
	// address sets default_query_exec_mode, as a proxy that pools transactions
	// needs.
	if s.batches, err = s.postgresBatches(ctx, *config); err != nil {
		return err
	}
	s.dialect.planMode = config.DefaultQueryExecMode
	if s.dialect.planMode == pgx.QueryExecModeCacheStatement {
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	s.write, s.read = s.postgresPool(config, postgresTransactions), s.postgresPool(config, postgresLookUps)
	s.lists, s.vital = s.postgresPool(config, postgresLists), s.postgresPool(config, postgresVital)
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout+readDeadline)
	defer cancel()
	for _, setting := range []string{"fsync", "synchronous_commit"} {
		var value string
		if err := s.write.QueryRowContext(ctx, `SELECT current_setting($1)`, setting).Scan(&value); err != nil {
			return errors.Join(fmt.Errorf("reach the database at %s: %w", config.Host, err), s.closeDatabase())
		}
		if value == "off" {
			return errors.Join(fmt.Errorf("the database at %s has %s = off: it would acknowledge what a crash can lose; turn it on", config.Host, setting), s.closeDatabase())
		}
	}
	return nil
}

// postgresPool returns a pool of at most size connections.
func (s *Store) postgresPool(config *pgx.ConnConfig, size int) *sql.DB {
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(s.setUp), stdlib.OptionShouldPing(s.trust.shouldPing))
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

// setUp prepares a new connection. It switches off compiling of statements: compiling a list's
// statement takes longer than running it, whatever cost the planner expects. And it lets the
// server end a transaction whose node is gone, which would hold its locks for hours.
func (s *Store) setUp(ctx context.Context, c *pgx.Conn) error {
	s.trust.note(c)
	_, err := c.Exec(ctx, `SELECT set_config('jit', 'off', false), set_config('idle_in_transaction_session_timeout', $1, false)`, idleTransactionTimeout)
	return err
}

// postgresBatches returns the writer's pool. The writer uses one connection at a time. The
// second one lets it go on while a dead one is being closed.
//
// When a batch's deadline ends, its connection is closed at once. The answer that the server
// gives to a cancelled COMMIT must not count: while a synchronous standby is away, it says that
// the commit took place although it is not replicated.
func (s *Store) postgresBatches(ctx context.Context, c pgx.ConnConfig) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	c.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn()}
	}
	config.ConnConfig, config.MaxConns, config.PingTimeout = &c, 2, pingTimeout
	config.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		s.trust.note(c)
		return nil
	}
	config.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) { return s.trust.has(c), nil }
	return pgxpool.NewWithConfig(ctx, config)
}

func (s *Store) postgresConfig(address string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "herald"
	}
	config.BuildContextWatcherHandler = s.trust.handler
	config.DialFunc = dialDatabase
	return config, nil
}

// onDirectAddress runs fn on the database at o.MigrateDatabase, or on the store's own
// connections when that is empty.
func (s *Store) onDirectAddress(ctx context.Context, o Options, fn func(*sql.DB) error) error {
	if o.MigrateDatabase == "" {
		return fn(s.write)
	}
	config, err := s.postgresConfig(o.MigrateDatabase)
	if err != nil {
		return fmt.Errorf("the address for migrations: %w", err)
	}
	db := stdlib.OpenDB(*config)
	if err := db.PingContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("reach the database for migrations at %s: %w", config.Host, err), db.Close())
	}
	return errors.Join(fn(db), db.Close())
}

func postgresAlertOf(d string) string { return `overlay(` + d + `::text placing '00' from 35)::uuid` }

func classifyPostgres(err error) fault {
	var (
		server  *pgconn.PgError
		network net.Error
	)
	switch {
	case errors.As(err, &server) && server.Code == keyInUse && server.TableName == "idempotency":
		return faultTransient
	case errors.As(err, &server):
		return classifyServer(server)
	case pgconn.SafeToRetry(err):
		return faultTransient
	case errors.As(err, &network), pgconn.Timeout(err), errors.Is(err, sql.ErrConnDone), errors.Is(err, driver.ErrBadConn),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return faultDatabase // the connection broke
	default:
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) {
			return faultDatabase
		}
		return faultStatement
	}
}

// keyInUse is the SQLSTATE of a batch with an idempotency key that another node has just
// used. See addKeys.
const keyInUse = "23502" // not_null_violation

// classifyServer returns the fault of an error of the server, mostly by the class of its
// SQLSTATE (PostgreSQL manual, appendix A). A check violation (23514), such as an id that no
// partition takes, is the statement's fault: it concerns one event, and the writer finds out
// which.
func classifyServer(err *pgconn.PgError) fault {
	code := err.Code
	switch {
	case code == "40001", code == "40P01", code == "55P03", // serialization, deadlock, lock timeout
		code == "25P03", code == "25P04", code == "57P05": // the session was ended because it stalled
		return faultTransient
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"),
		code == "25006": // connection, resources, operator intervention, system; read-only after a failover
		return faultDatabase
	case endsSession(err):
		return faultDatabase
	default:
		return faultStatement
	}
}

const postgresClockSQL = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// endsSession reports whether the server ended the session with this error. Such an error says
// nothing about the statement: it can even come after a COMMIT that took place.
func endsSession(err *pgconn.PgError) bool {
	return err.SeverityUnlocalized == "FATAL" || err.SeverityUnlocalized == "PANIC"
}

// Keys of Herald's advisory locks in PostgreSQL. The second key of each lock is the hash of
// the schema's name.
const (
	migrationLock = 0x68657261
	// tallyLock is shared by the batches being written. Tally takes it
	// exclusively to move tallied_to.
	tallyLock = 0x68657262
)

// idleTransactionTimeout is how long the writer's transaction may be idle before the
// database ends it. Without it, a node that stalls inside one would block others.
const idleTransactionTimeout = "10s"

// postgresPauseBatches waits for the batches being written and makes new ones wait. It
// waits 50 ms at most, because a stalled node may be writing one.
func postgresPauseBatches(ctx context.Context, tx *sql.Tx) error {
	if err := postgresLimitLockWait(ctx, tx); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))`, tallyLock)
	return err
}

func postgresLimitLockWait(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `SET LOCAL lock_timeout = '50ms'`)
	return err
}
