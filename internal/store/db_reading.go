package store

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// row is a row of a result, of database/sql or of pgx.
type row interface{ Scan(to ...any) error }

// reading is a SELECT. scan is called for each row.
type reading struct {
	text string
	args []any
	scan func(row) error
}

// into returns a scan of a reading, which appends what scan returns.
func into[T any](all *[]T, scan func(row) (T, error)) func(row) error {
	return func(r row) error {
		one, err := scan(r)
		if err == nil {
			*all = append(*all, one)
		}
		return err
	}
}

func sqliteReadTogether(ctx context.Context, s *Store, readings []reading) error {
	return s.snapshot(ctx, s.read, func(tx *sql.Tx) error {
		for _, r := range readings {
			_, err := list(ctx, tx, func(rows *sql.Rows) (none struct{}, err error) { return none, r.scan(rows) }, r.text, r.args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// postgresReadTogether sends all to the server in one round trip. After an error the connection is in a
// transaction, and the pool closes it.
func postgresReadTogether(ctx context.Context, s *Store, readings []reading) error {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return withContextError(ctx, err)
	}
	defer conn.Close() //nolint:errcheck // it gives the connection back
	var p pgx.Batch
	p.Queue(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
	for _, r := range readings {
		queueList(&p, func(rows pgx.Rows) error { return r.scan(rows) }, r.text, r.args...)
	}
	p.Queue(`COMMIT`)
	return withContextError(ctx, conn.Raw(func(c any) error {
		return c.(*stdlib.Conn).Conn().SendBatch(ctx, &p).Close()
	}))
}
