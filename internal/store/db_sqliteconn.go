package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	sqlitedriver "modernc.org/sqlite"
)

// sqliteConn is what the driver's connections can do. A connection around one must have all of it: what
// it lacks, database/sql does in another way.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	NewBackup(target string) (*sqlitedriver.Backup, error)
}

// writerConn is the connection to SQLite that writes. It keeps the statements of the batches prepared,
// and runs them without database/sql, which takes about as long for one as SQLite itself. All other
// changes use the same connection through database/sql.
type writerConn struct {
	sqliteConn
	batches *statements // nil before the first batch
}

// statements returns the prepared statements. They are prepared by the first batch, because a connection
// is older than the tables of its first migration.
func (c *writerConn) statements(ctx context.Context) (*statements, error) {
	if c.batches != nil {
		return c.batches, nil
	}
	s := new(statements)
	if err := s.prepare(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the statements of batches: %w", err), s.close())
	}
	c.batches = s
	return s, nil
}

// Close closes the statements too: SQLite keeps the file open while one is left.
func (c *writerConn) Close() error {
	var err error
	if c.batches != nil {
		err = c.batches.close()
	}
	return errors.Join(err, c.sqliteConn.Close())
}

// Unwrap returns the driver's connection, for functions of the driver that look for it.
func (c *writerConn) Unwrap() driver.Conn { return c.sqliteConn }

// writerConnector opens connections that write.
type writerConnector struct{ driver.Connector }

func (c writerConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	all, ok := conn.(sqliteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's connection %T lacks a method of sqliteConn", conn), conn.Close())
	}
	return &writerConn{sqliteConn: all}, nil
}

// openWriter returns a pool of one connection that writes.
func openWriter(dsn string) (*sql.DB, error) {
	connector, err := sqlitedriver.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(writerConnector{connector})
	db.SetMaxOpenConns(1)
	return db, nil
}

// statement is a prepared statement of a connection. It serves one call at a time.
type statement struct {
	stmt interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}
	args []driver.NamedValue // of the call; kept to be used again
}

func (s *statement) prepare(ctx context.Context, conn driver.ConnPrepareContext, text string) error {
	stmt, err := conn.PrepareContext(ctx, text)
	if err != nil {
		return err
	}
	var ok bool
	if s.stmt, ok = stmt.(interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}); !ok {
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
	if err := s.bind(args); err != nil {
		return nil, err
	}
	defer s.forget()
	return s.stmt.ExecContext(ctx, s.args)
}

// queryRow reads the first row into row, which has a place for each column. It reports whether there is a row.
func (s *statement) queryRow(ctx context.Context, row []driver.Value, args ...any) (found bool, err error) {
	if err := s.bind(args); err != nil {
		return false, err
	}
	defer s.forget()
	rows, err := s.stmt.QueryContext(ctx, s.args)
	if err != nil {
		return false, err
	}
	err = rows.Next(row)
	if errors.Is(err, io.EOF) {
		return false, rows.Close()
	}
	return err == nil, errors.Join(err, rows.Close())
}

// bind sets the arguments of a call. The driver takes the types of driver.Value alone.
func (s *statement) bind(args []any) error {
	s.args = s.args[:0]
	for i, arg := range args {
		switch v := arg.(type) {
		case int64, string, []byte, bool, nil:
		case int:
			arg = int64(v)
		default:
			var err error
			if arg, err = driver.DefaultParameterConverter.ConvertValue(v); err != nil {
				return fmt.Errorf("argument %d of a statement: %w", i+1, err)
			}
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: arg})
	}
	return nil
}

// forget drops the arguments: a statement must not keep the last event's data.
func (s *statement) forget() { clear(s.args) }
