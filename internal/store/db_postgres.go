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

const (
	// postgresConnections bounds a node's connections. The writer has one. Claims,
	// heartbeats, maintenance and reads, which are short, share the others.
	postgresConnections = 16
	// cancelTimeout is how long the server has to end a cancelled statement
	// before the connection is closed.
	cancelTimeout = 5 * time.Second
	// connectTimeout bounds connecting, unless the address has a connect_timeout.
	connectTimeout = 10 * time.Second
)

func postgresDialect() dialect {
	return dialect{
		name:      "postgres",
		shared:    true,
		gatherFor: 300 * time.Microsecond, // more requests arrive during the round trips anyway
		classify:  classifyPostgres,
		unanswered: func(err error) bool {
			// An ERROR of the server says that the commit did not take place.
			// FATAL and PANIC end the connection and say nothing: they can come
			// after a COMMIT that took place.
			var server *pgconn.PgError
			return !errors.As(err, &server) || server.SeverityUnlocalized == "FATAL" || server.SeverityUnlocalized == "PANIC"
		},
		joinOfAlert: func(table, alias string) string { // the LIMIT keeps the planner from reading the deliveries first
			return `CROSS JOIN LATERAL (SELECT * FROM ` + table + ` WHERE ` + alias + `.id BETWEEN a.id AND overlay(a.id::text placing 'ff' from 35)::uuid
ORDER BY ` + alias + `.id LIMIT ` + strconv.Itoa(herald.MaxDeliveries) + `) ` + alias
		},
		alertOf:      func(d string) string { return `overlay(` + d + `::text placing '00' from 35)::uuid` },
		lastOf:       func(d string) string { return `overlay(` + d + `::text placing 'ff' from 35)::uuid` },
		forUpdate:    "FOR UPDATE",
		forShare:     "FOR SHARE",
		now:          postgresNow,
		begin:        postgresBegin,
		pauseBatches: postgresPauseBatches,
		claim:        postgresClaim,
		readBodies:   postgresReadBodies,
	}
}

// openPostgres opens the database at address. It returns an error if fsync or
// synchronous_commit is off: a crash could lose commits that were acknowledged.
func (s *Store) openPostgres(ctx context.Context, address string) error {
	config, err := postgresConfig(address)
	if err != nil {
		return err
	}
	// Most statements are planned each time they run: the queue may have ten rows
	// now and a million in a minute, and a cached plan would suit only one of
	// them. The writer's statements and those of withCachedPlan run the same way
	// whatever the tables hold, so they keep their plans. They do not if the
	// address sets default_query_exec_mode, as a proxy that pools transactions
	// needs.
	if s.batches, err = postgresBatches(ctx, *config); err != nil {
		return err
	}
	s.dialect.planMode = config.DefaultQueryExecMode
	if s.dialect.planMode == pgx.QueryExecModeCacheStatement {
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	s.write = stdlib.OpenDB(*config, stdlib.OptionAfterConnect(withoutJIT))
	s.write.SetMaxOpenConns(postgresConnections - 1)
	s.write.SetMaxIdleConns(postgresConnections - 1)
	s.read = s.write
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

// withoutJIT switches off compiling of statements on a connection: compiling a list's
// statement takes longer than running it, whatever cost the planner expects.
func withoutJIT(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SET jit = off`)
	return err
}

// postgresBatches returns a pool of one connection, which only the writer uses.
func postgresBatches(ctx context.Context, c pgx.ConnConfig) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	config.ConnConfig, config.MaxConns = &c, 1
	return pgxpool.NewWithConfig(ctx, config)
}

func postgresConfig(address string) (*pgx.ConnConfig, error) {
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
	// When the context of a statement ends, cancel the statement on the server, so
	// that the connection can run the next one.
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelTimeout}
	}
	return config, nil
}

// onDirectAddress runs fn on the database at o.MigrateDatabase, or on the store's own
// connections when that is empty.
func (s *Store) onDirectAddress(ctx context.Context, o Options, fn func(*sql.DB) error) error {
	if o.MigrateDatabase == "" {
		return fn(s.write)
	}
	config, err := postgresConfig(o.MigrateDatabase)
	if err != nil {
		return fmt.Errorf("the address for migrations: %w", err)
	}
	db := stdlib.OpenDB(*config)
	if err := db.PingContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("reach the database for migrations at %s: %w", config.Host, err), db.Close())
	}
	return errors.Join(fn(db), db.Close())
}

func classifyPostgres(err error) fault {
	var (
		server  *pgconn.PgError
		network net.Error
	)
	switch {
	case errors.As(err, &server) && server.Code == keyInUse && server.TableName == "idempotency":
		return faultTransient
	case errors.As(err, &server):
		return classifyState(server.Code)
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

// classifyState returns the fault of an SQLSTATE, mostly by its class (PostgreSQL manual,
// appendix A).
func classifyState(code string) fault {
	switch {
	case code == "40001", code == "40P01", code == "55P03": // serialization, deadlock, lock timeout
		return faultTransient
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"),
		code == "25006", // connection, resources, operator intervention, system; read-only after a failover
		code == "23514": // no partition for an id: this node's clock is wrong by weeks
		return faultDatabase
	default:
		return faultStatement
	}
}

func postgresNow(ctx context.Context, q querier) (int64, error) {
	return first(ctx, q, scanInt, `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`)
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
	if _, err := tx.ExecContext(ctx, `SET LOCAL lock_timeout = '50ms'`); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))`, tallyLock)
	return err
}
