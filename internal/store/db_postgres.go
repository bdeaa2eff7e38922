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
	// postgresConnections bounds a node's connections: the writer, the
	// claimer, the keepers, and reads, which are short.
	postgresConnections = 16
	// cancelPatience is how long the server has to end a statement that is
	// cancelled before the connection is given up.
	cancelPatience = 5 * time.Second
	// postgresConnect bounds the making of one, unless the DSN says.
	postgresConnect = 10 * time.Second
)

func postgresDialect() dialect {
	return dialect{
		name:      "postgres",
		shared:    true,
		gatherFor: 300 * time.Microsecond, // as much gathers during the round trips
		classify:  classifyPostgres,
		unanswered: func(err error) bool {
			// An error is an answer, and it is no. What ends the connection is
			// none: it can come behind a COMMIT that took place.
			var server *pgconn.PgError
			return !errors.As(err, &server) || server.SeverityUnlocalized == "FATAL" || server.SeverityUnlocalized == "PANIC"
		},
		joinOfAlert: func(table, alias string) string { // the limit keeps the planner from turning it round
			return `CROSS JOIN LATERAL (SELECT * FROM ` + table + ` WHERE ` + alias + `.id BETWEEN a.id AND overlay(a.id::text placing 'ff' from 35)::uuid
ORDER BY ` + alias + `.id LIMIT ` + strconv.Itoa(herald.MaxDeliveries) + `) ` + alias
		},
		alertOf:      func(d string) string { return `overlay(` + d + `::text placing '00' from 35)::uuid` },
		forUpdate:    "FOR UPDATE",
		forShare:     "FOR SHARE",
		now:          postgresNow,
		begin:        postgresBegin,
		pauseBatches: postgresPauseBatches,
		claim:        postgresClaim,
		readBodies:   postgresReadBodies,
	}
}

// openPostgres opens the database at address and refuses one that would
// acknowledge what it may lose.
func (s *Store) openPostgres(ctx context.Context, address string) error {
	config, err := postgresConfig(address)
	if err != nil {
		return err
	}
	// Statements are planned when they are run: the queue has ten rows now and a
	// million in a minute, and a plan that was kept would be for the other. Only
	// what every batch does, in one way whatever the tables hold, keeps its plan;
	// not even that if the address asks for another way of running statements, as
	// a proxy that pools transactions needs.
	if s.batches, err = postgresBatches(ctx, *config); err != nil {
		return err
	}
	s.dialect.hot = config.DefaultQueryExecMode
	if s.dialect.hot == pgx.QueryExecModeCacheStatement {
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

// withoutJIT keeps a connection from compiling statements: a list that is dear on
// paper is read in less time than that takes.
func withoutJIT(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SET jit = off`)
	return err
}

// postgresBatches makes the writer's connection, when it is needed.
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
		config.ConnectTimeout = postgresConnect
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "herald"
	}
	// A statement whose time is up ends on the server too, and its connection is
	// good for the next.
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelPatience}
	}
	return config, nil
}

// onDirectAddress runs fn on the database that tables are made and changed on.
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
		return faultPassing
	case errors.As(err, &server):
		return classifyState(server.Code)
	case pgconn.SafeToRetry(err):
		return faultPassing
	case errors.As(err, &network), pgconn.Timeout(err), errors.Is(err, sql.ErrConnDone), errors.Is(err, driver.ErrBadConn),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return faultDatabase // the connection broke, in whatever it was about
	default:
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) {
			return faultDatabase
		}
		return faultStatement
	}
}

// keyInUse is how a batch fails whose idempotency key another node has just used.
const keyInUse = "23502" // not_null_violation

// classifyState goes by the class of an SQLSTATE (PostgreSQL, appendix A).
func classifyState(code string) fault {
	switch {
	case code == "40001", code == "40P01", code == "55P03": // serialization, deadlock, lock timeout
		return faultPassing
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"),
		code == "25006", // connection, resources, operator's intervention, system; read-only after a failover
		code == "23514": // no partition for an id: this node's clock is weeks off
		return faultDatabase
	default:
		return faultStatement
	}
}

func postgresNow(ctx context.Context, q querier) (int64, error) {
	return first(ctx, q, scanInt, `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`)
}

// Classes of Herald's own among PostgreSQL's advisory locks; the other half of a
// lock's number stands for the schema.
const (
	migrationLock = 0x68657261
	// tallyLock is held by batches together, and alone by who moves the line of
	// what is tallied.
	tallyLock = 0x68657262
)

// stalledAfter is how long a transaction may do nothing before the database ends
// it: a node that is stopped in one would keep others waiting.
const stalledAfter = "10s"

// postgresKeepTallying waits for the batches under way, and makes others wait;
// not for long, because one of them may be a stalled node's.
func postgresPauseBatches(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `SET LOCAL lock_timeout = '50ms'`); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))`, tallyLock)
	return err
}
