package store

import (
	"fmt"
	"strings"
	"testing"

	"herald/internal/test/postgres"
)

// TestBinariesAndTablesOfDifferentAge: a binary starts on newer tables that still serve it. On
// tables that do not, it returns an error that says that it is too old.
func TestBinariesAndTablesOfDifferentAge(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		o := f.options
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		open := func(change string, o Options) error {
			t.Helper()
			s := &Store{options: o}
			if err := s.open(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if _, err := s.write.ExecContext(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			if err := s.closeDatabase(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), o)
			if err != nil {
				return err
			}
			return s.Close()
		}
		if err := open(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (1000, true)`, o); err != nil {
			t.Errorf("tables that still serve this binary: %v", err)
		}
		err := open(`UPDATE compatibility SET serves_from = 1000`, o)
		if err == nil || !strings.Contains(err.Error(), "too old") {
			t.Errorf("tables that do not serve this binary: %v", err)
		}
	})
}

// TestMigrateByHand: with NoMigrate, Open returns an error when a migration is missing, and
// Migrate returns the migrations that it applies.
func TestMigrateByHand(t *testing.T) {
	for name, o := range map[string]Options{"sqlite": {Dir: t.TempDir()}, "postgres": {Database: postgres.Database(t)}} {
		t.Run(name, func(t *testing.T) {
			byHand := o
			byHand.NoMigrate, byHand.Box = true, testBox(t)
			_, err := Open(t.Context(), byHand)
			if err == nil || !strings.Contains(err.Error(), "herald migrate") {
				t.Errorf("an empty database: %v", err)
			}
			for _, want := range []string{"[00001_rules_service.sql 00011_redeliveries.sql]", "[]"} {
				applied, err := Migrate(t.Context(), o)
				if got := fmt.Sprint(applied); err != nil || got != want {
					t.Errorf("applied %s, %v; want %s", got, err, want)
				}
			}
			s, err := Open(t.Context(), byHand)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
