package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// migrations are the migrations of both databases. Each migration ends by writing to the
// table compatibility which binaries the tables still serve: those that know at least the
// migration with that number. So nodes of two versions can run at the same time while
// they are replaced one by one, and a binary that is too old refuses to start.
//
//go:embed migrations
var migrations embed.FS

// Migrate applies the missing migrations without starting the writer, and returns the
// names of those that it applied. Of Options it uses Dir, Database and MigrateDatabase.
func Migrate(ctx context.Context, o Options) (applied []string, err error) {
	s := &Store{}
	if err := s.open(ctx, o); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.closeDatabase()) }()
	return s.migrate(ctx, o)
}

// migrate applies the missing migrations. With o.NoMigrate it returns an error instead when
// one is missing.
func (s *Store) migrate(ctx context.Context, o Options) (applied []string, err error) {
	dir, err := fs.Sub(migrations, "migrations/"+s.dialect.name)
	if err != nil {
		return nil, err
	}
	if !s.dialect.shared {
		return up(ctx, goose.DialectSQLite3, s.write, dir, o.NoMigrate)
	}
	err = s.onDirectAddress(ctx, o, func(db *sql.DB) error {
		return whileLocked(ctx, db, func() error {
			if applied, err = up(ctx, goose.DialectPostgres, db, dir, o.NoMigrate); err != nil || o.NoMigrate {
				return err
			}
			return s.makePartitions(ctx, db)
		})
	})
	return applied, err
}

// up applies the missing migrations and returns their names. With refuse it returns an
// error instead when one is missing.
func up(ctx context.Context, d goose.Dialect, db *sql.DB, dir fs.FS, refuse bool) ([]string, error) {
	provider, err := goose.NewProvider(d, db, dir)
	if err != nil {
		return nil, err
	}
	has, knows, err := provider.GetVersions(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case has > knows:
		return nil, served(ctx, db, has, knows)
	case has < knows && refuse:
		return nil, fmt.Errorf("the database's tables are at version %d and this binary needs %d: run `herald migrate` first, or start without --no-migrate", has, knows)
	}
	results, err := provider.Up(ctx)
	var applied []string
	for _, r := range results {
		applied = append(applied, r.Source.Path)
	}
	return applied, err
}

// served returns an error if a newer binary has changed the tables so that they do not
// serve this one any more.
func served(ctx context.Context, db *sql.DB, has, knows int64) error {
	from, err := first(ctx, db, scanInt, `SELECT serves_from FROM compatibility`)
	if err != nil {
		return fmt.Errorf("read which binaries the tables serve: %w", err)
	}
	if knows < from {
		return fmt.Errorf("a newer Herald has brought the database's tables to version %d, which serves binaries from version %d on; this binary knows %d and is too old: install a newer one",
			has, from, knows)
	}
	return nil
}

// whileLocked runs fn while a transaction of its own holds a lock. So when nodes start
// together, one migrates and the others wait. The lock belongs to a transaction, because a
// session's lock does not work behind a proxy that pools transactions.
func whileLocked(ctx context.Context, db *sql.DB, fn func() error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	// The transaction is idle while fn works.
	if _, err := tx.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	// DO instead of SELECT: the portal of a SELECT would hold a snapshot, and
	// detaching a partition would wait for it.
	lock := fmt.Sprintf(`DO $$ BEGIN PERFORM pg_advisory_xact_lock(%d, hashtext(current_schema())); END $$`, migrationLock)
	if _, err := tx.ExecContext(ctx, lock); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return errors.Join(fn(), tx.Rollback())
}
