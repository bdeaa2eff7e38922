package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrate applies the migrations that the database does not have yet.
func migrate(ctx context.Context, db *sql.DB, d dialect) error {
	dir, err := fs.Sub(migrations, "migrations/"+d.name)
	if err != nil {
		return err
	}
	if !d.shared {
		return up(ctx, goose.DialectSQLite3, db, dir)
	}
	return whileLocked(ctx, db, func() error { return up(ctx, goose.DialectPostgres, db, dir) })
}

func up(ctx context.Context, d goose.Dialect, db *sql.DB, dir fs.FS) error {
	provider, err := goose.NewProvider(d, db, dir)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// migrationLock is a number of Herald's own among PostgreSQL's advisory locks.
const migrationLock = 0x68657261_6c64

// whileLocked runs fn while a transaction of its own holds a lock, so that of
// nodes that start together one migrates and the others wait. A lock of a
// transaction works behind a proxy that pools transactions; a session's does not.
func whileLocked(ctx context.Context, db *sql.DB, fn func() error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return errors.Join(fn(), tx.Rollback())
}
