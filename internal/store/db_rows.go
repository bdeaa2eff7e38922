package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/google/uuid"
)

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// prepared is a querier of one statement, which ignores the text.
type prepared struct{ *sql.Stmt }

func (p prepared) QueryContext(ctx context.Context, _ string, args ...any) (*sql.Rows, error) {
	return p.Stmt.QueryContext(ctx, args...)
}

// changer is a transaction, or a connection that is in one.
type changer interface {
	querier
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
}

// list returns all rows of a statement. scan scans one row. A statement outside of a
// transaction ends after statementTimeout.
func list[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
	ctx, cancel := withStatementTimeout(ctx, q)
	defer cancel()
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, withContextError(ctx, err)
	}
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, errors.Join(withContextError(ctx, err), rows.Close())
		}
		all = append(all, one)
	}
	return all, withContextError(ctx, errors.Join(rows.Err(), rows.Close()))
}

// withStatementTimeout returns a context that ends after statementTimeout, unless q is a
// transaction, which has a deadline of its own.
func withStatementTimeout(ctx context.Context, q querier) (context.Context, context.CancelFunc) {
	if _, alone := q.(*sql.DB); alone {
		return context.WithTimeout(ctx, statementTimeout)
	}
	return ctx, func() {}
}

// withContextError joins the error of ctx to err when ctx has ended: a driver reports a
// statement that was cancelled as an error of the database.
func withContextError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// first returns the first row of a statement. The error is sql.ErrNoRows when there is none.
func first[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), text string, args ...any) (T, error) {
	rows, err := list(ctx, q, scan, text, args...)
	if err == nil && len(rows) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		var none T
		return none, err
	}
	return rows[0], nil
}

func scanID[R row](rows R) (id uuid.UUID, err error) {
	err = rows.Scan(&id)
	return id, err
}

func scanBytes(rows *sql.Rows) (b []byte, err error) {
	err = rows.Scan(&b)
	return b, err
}

func scanInt(rows *sql.Rows) (n int64, err error) {
	err = rows.Scan(&n)
	return n, err
}

func scanText(rows *sql.Rows) (text string, err error) {
	err = rows.Scan(&text)
	return text, err
}

// withCachedPlan returns the arguments of a statement that keeps its plan. It is only for
// statements that find single rows by their keys: they use the same indexes whatever the
// tables hold. With partitions, planning such a statement costs more than running it.
func (s *Store) withCachedPlan(args ...any) []any {
	if !s.dialect.shared {
		return args
	}
	return slices.Insert(args, 0, any(s.dialect.planMode))
}
