package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
)

// statement is a prepared statement of a connection. It serves one call at a time.
type statement struct {
	stmt contextStmt
	args []driver.NamedValue // of the next call
}

// contextStmt is what the driver's statements can do.
type contextStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func (s *statement) prepare(ctx context.Context, conn driver.ConnPrepareContext, text string) error {
	stmt, err := conn.PrepareContext(ctx, text)
	if err != nil {
		return err
	}
	var ok bool
	if s.stmt, ok = stmt.(contextStmt); !ok {
		return errors.Join(fmt.Errorf("the driver's statement %T takes no context", stmt), stmt.Close())
	}
	return nil
}

func (s *statement) close() error {
	if s.stmt == nil {
		return nil
	}
	return s.stmt.Close()
}

// ExecContext is that of sql.Stmt.
func (s *statement) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	defer s.forget()
	if err := s.bind(args...); err != nil {
		return nil, err
	}
	return s.stmt.ExecContext(ctx, s.args)
}

func (s *statement) exec(ctx context.Context, args ...any) error {
	_, err := s.ExecContext(ctx, args...)
	return err
}

// queryRow reads the first row into the places, one for each column: a *int64, a *int, or a []byte that is as
// long as the value. It reports whether there is a row.
func (s *statement) queryRow(ctx context.Context, into []any, args ...any) (found bool, err error) {
	defer s.forget()
	if err := s.bind(args...); err != nil {
		return false, err
	}
	rows, err := s.stmt.QueryContext(ctx, s.args)
	if err != nil {
		return false, err
	}
	row := make([]driver.Value, len(into))
	err = rows.Next(row)
	if errors.Is(err, io.EOF) {
		return false, rows.Close()
	}
	for i := 0; i < len(into) && err == nil; i++ {
		if !scan(into[i], row[i]) {
			err = fmt.Errorf("column %d is %T, which does not fit %T", i+1, row[i], into[i])
		}
	}
	return err == nil, errors.Join(err, rows.Close())
}

// scan sets what into points to, and reports whether the value fits.
func scan(into any, value driver.Value) bool {
	switch to := into.(type) {
	case *int64:
		n, ok := value.(int64)
		*to = n
		return ok
	case *int:
		n, ok := value.(int64)
		*to = int(n)
		return ok
	case []byte:
		b, ok := value.([]byte)
		return ok && copy(to, b) == len(b) && len(b) == len(to)
	default:
		return false
	}
}

// bind adds arguments of the next call. The driver takes the types of driver.Value alone.
func (s *statement) bind(args ...any) error {
	for _, arg := range args {
		switch v := arg.(type) {
		case int64, string, []byte, bool, nil:
		case int:
			arg = int64(v)
		default:
			var err error
			if arg, err = driver.DefaultParameterConverter.ConvertValue(v); err != nil {
				return fmt.Errorf("argument %d of a statement: %w", len(s.args)+1, err)
			}
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: len(s.args) + 1, Value: arg})
	}
	return nil
}

// forget drops the arguments: a statement must neither keep an event's data nor give it to the next call.
func (s *statement) forget() {
	clear(s.args)
	s.args = s.args[:0]
}

// rowsAtOnce is how many rows one statement of an insertion adds. More would bring little.
const rowsAtOnce = 8

// insertion is the statements that add rows to a table: one row, or rowsAtOnce.
type insertion struct{ one, many statement }

// prepare takes the text between INSERT and the values, with the columns in parentheses.
func (i *insertion) prepare(ctx context.Context, conn driver.ConnPrepareContext, into string) error {
	row := `(?` + strings.Repeat(`, ?`, strings.Count(into, `,`)) + `)`
	// OR FAIL: the rows before the failing one stay. The batch is rolled back in any case, and SQLite
	// need not keep a journal for the statement.
	text := `INSERT OR FAIL ` + into + row
	if err := i.one.prepare(ctx, conn, text); err != nil {
		return err
	}
	return i.many.prepare(ctx, conn, text+strings.Repeat(`, `+row, rowsAtOnce-1))
}

func (i *insertion) close() error { return errors.Join(i.one.close(), i.many.close()) }

// insert adds rows to a table. bind binds the values of one.
func insert[R any](ctx context.Context, i *insertion, rows []R, bind func(*statement, R) error) error {
	for len(rows) > 0 {
		stmt, n := &i.one, 1
		if len(rows) >= rowsAtOnce {
			stmt, n = &i.many, rowsAtOnce
		}
		if err := insertOnce(ctx, stmt, rows[:n], bind); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func insertOnce[R any](ctx context.Context, stmt *statement, rows []R, bind func(*statement, R) error) error {
	defer stmt.forget()
	for _, row := range rows {
		if err := bind(stmt, row); err != nil {
			return err
		}
	}
	_, err := stmt.stmt.ExecContext(ctx, stmt.args)
	return err
}
