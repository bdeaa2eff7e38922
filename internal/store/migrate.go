package store

import (
	"context"
	"database/sql"
	"embed"
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
	dialects := map[string]goose.Dialect{"sqlite": goose.DialectSQLite3}
	provider, err := goose.NewProvider(dialects[d.name], db, dir)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
