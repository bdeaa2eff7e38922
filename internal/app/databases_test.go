package app_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"herald/internal/app"
	"herald/internal/test/postgres"
)

// onBothDatabases runs a test on SQLite, and on PostgreSQL with a key file of its own. setUp
// configures the service.
func onBothDatabases(t *testing.T, test func(t *testing.T, setUp func(*app.Config))) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, func(*app.Config) {}) })
	t.Run("postgres", func(t *testing.T) {
		keyFile := filepath.Join(t.TempDir(), "secret.key")
		if err := os.WriteFile(keyFile, []byte("AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		address := postgres.Database(t)
		test(t, func(c *app.Config) { c.Database, c.SecretKeyFile = address, keyFile })
	})
}

// sql changes the database of a service that is stopped.
func (f *fixture) sql(text string) {
	f.t.Helper()
	driver, address := "sqlite", filepath.Join(f.config.DataDir, "herald.db")
	if f.config.Database != "" {
		driver, address = "pgx", f.config.Database
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(f.t.Context(), text); err != nil {
		f.t.Fatal(err)
	}
}
