package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

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
// and runs them without database/sql, which would cost 8 µs for an event. All other changes use the same
// connection through database/sql.
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
	// A commit syncs the log's data and size, and not the time of the file's last change, for which a
	// journaling file system may write its journal. SQLite built for Linux in C does the same. The setting
	// is the process's, and there is none where the operating system lacks the call.
	if _, err := sqlitedriver.Fdatasync(true); err != nil && !errors.Is(err, sqlitedriver.ErrFdatasyncUnavailable) {
		return nil, fmt.Errorf("let SQLite sync with fdatasync: %w", err)
	}
	connector, err := sqlitedriver.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(writerConnector{connector})
	db.SetMaxOpenConns(1)
	return db, nil
}
