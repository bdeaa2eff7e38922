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

// Each migration ends by saying, in the table compatibility, which is the oldest
// binary that it still serves: by the newest migration which that one knows. So
// nodes of two versions can run beside each other while they are replaced one by
// one, and a binary that is too old for the tables refuses to start.
//
//go:embed migrations
var migrations embed.FS

// Migrate brings the database's tables up to date without serving, and returns
// the names of the migrations that it applied. Of Options it takes Dir, Database
// and MigrateDatabase.
func Migrate(ctx context.Context, o Options) (applied []string, err error) {
	s := &Store{}
	if err := s.open(ctx, o); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.closeDatabase()) }()
	return s.migrate(ctx, o)
}

// migrate applies the migrations that the database does not have yet, or with
// o.NoMigrate refuses a database that lacks some.
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
			return makePartitions(ctx, db)
		})
	})
	return applied, err
}

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

// served says whether tables that a newer binary has changed still serve this
// one, which knows less.
func served(ctx context.Context, db *sql.DB, has, knows int64) error {
	from, err := first(ctx, db, scanInt, `SELECT serves_from FROM compatibility`)
	if err != nil {
		return fmt.Errorf("ask which binaries the tables serve: %w", err)
	}
	if knows < from {
		return fmt.Errorf("a newer Herald has brought the database's tables to version %d, which serves binaries from version %d on; this binary knows %d and is too old: install a newer one",
			has, from, knows)
	}
	return nil
}

// whileLocked runs fn while a transaction of its own holds a lock, so that of
// nodes that start together one migrates and the others wait. A lock of a
// transaction works behind a proxy that pools transactions; a session's does not.
func whileLocked(ctx context.Context, db *sql.DB, fn func() error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	// Not as a SELECT: its portal would hold a snapshot, for which detaching a
	// partition waits.
	lock := fmt.Sprintf(`DO $$ BEGIN PERFORM pg_advisory_xact_lock(%d, hashtext(current_schema())); END $$`, migrationLock)
	if _, err := tx.ExecContext(ctx, lock); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return errors.Join(fn(), tx.Rollback())
}
