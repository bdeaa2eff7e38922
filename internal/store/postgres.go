package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// postgresConnections bounds a node's connections: the writer, the
	// claimer, the keepers, and reads, which are short.
	postgresConnections = 16
	// postgresConnect bounds the making of one, unless the DSN says.
	postgresConnect = 10 * time.Second
)

func postgresDialect() dialect {
	return dialect{
		name:     "postgres",
		shared:   true,
		classify: classifyPostgres,
		unanswered: func(err error) bool {
			var server *pgconn.PgError // an answer, and it is no
			return !errors.As(err, &server)
		},
		lastDelivery: `overlay(a.id::text placing 'ff' from 35)::uuid`,
		forUpdate:    "FOR UPDATE",
		skipLocked:   "FOR UPDATE SKIP LOCKED",
		now:          postgresNow,
		versions:     postgresVersions,
		findKeys:     postgresFindKeys,
		write:        postgresWrite,
	}
}

// openPostgres opens the database at address and refuses one that would
// acknowledge what it may lose.
func (s *Store) openPostgres(ctx context.Context, address string) error {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return fmt.Errorf("database address: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = postgresConnect
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "herald"
	}
	s.write = stdlib.OpenDB(*config)
	s.write.SetMaxOpenConns(postgresConnections)
	s.write.SetMaxIdleConns(postgresConnections)
	s.read = s.write
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout+readDeadline)
	defer cancel()
	for _, setting := range []string{"fsync", "synchronous_commit"} {
		var value string
		if err := s.write.QueryRowContext(ctx, `SELECT current_setting($1)`, setting).Scan(&value); err != nil {
			return errors.Join(fmt.Errorf("reach the database at %s: %w", config.Host, err), s.write.Close())
		}
		if value == "off" {
			return errors.Join(fmt.Errorf("the database at %s has %s = off: it would acknowledge what a crash can lose; turn it on", config.Host, setting), s.write.Close())
		}
	}
	return nil
}

// errKeyRace says that another node has just used an idempotency key of this
// batch; the batch finds it when it is run again.
var errKeyRace = errors.New("another node has just used one of the idempotency keys")

func classifyPostgres(err error) fault {
	var (
		server  *pgconn.PgError
		network net.Error
	)
	switch {
	case errors.Is(err, errKeyRace):
		return faultPassing
	case errors.As(err, &server):
		return classifyState(server.Code)
	case pgconn.SafeToRetry(err):
		return faultPassing
	case errors.As(err, &network), errors.Is(err, sql.ErrConnDone), pgconn.Timeout(err):
		return faultDatabase
	default:
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) {
			return faultDatabase
		}
		return faultStatement
	}
}

// classifyState goes by the class of an SQLSTATE (PostgreSQL, appendix A).
func classifyState(code string) fault {
	switch {
	case code == "40001", code == "40P01", code == "55P03": // serialization, deadlock, lock timeout
		return faultPassing
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"),
		code == "25006": // connection, resources, operator's intervention, system; read-only after a failover
		return faultDatabase
	default:
		return faultStatement
	}
}

func postgresNow(ctx context.Context, q querier) (int64, error) {
	return first(ctx, q, scanInt, `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`)
}
