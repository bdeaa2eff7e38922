package store

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"herald"
	"herald/internal/test/postgres"
)

// TestSecondProcessOnTheDirectoryIsRefused is fault 6.
func TestSecondProcessOnTheDirectoryIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	f := newFixture(t, Options{Dir: dir})
	_, err := Open(t.Context(), Options{Dir: dir, Box: testBox(t)})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("opened twice: %v", err)
	}
	f.accept(f.prepare(f.client, true)) // the first process still works
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err != nil {
		t.Error(err)
	}
}

// TestRefusedForTheMomentIsRunAgain is fault 11: when two transactions deadlock on PostgreSQL,
// the store runs one again, and its caller gets no error.
func TestRefusedForTheMomentIsRunAgain(t *testing.T) {
	f := newFixture(t, Options{Database: postgres.Database(t)})
	one, other := f.newClient("one"), f.newClient("other")
	rename := func(tx *sql.Tx, c herald.Client, name string) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE clients SET name = $1 WHERE id = $2`, name, c.ID[:])
		return err
	}
	// Each transaction locks one row and then the other's: PostgreSQL ends one of them.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	oneLocked, otherLocked, done := make(chan struct{}), make(chan struct{}), make(chan error, 2)
	lockBoth := func(name string, mine, yours herald.Client, locked, yoursLocked chan struct{}) {
		tries := 0
		done <- f.inTransaction(ctx, "deadlock", func(ctx context.Context, tx *sql.Tx) error {
			if tries++; tries > 1 {
				t.Log(name, "is run again")
			}
			if err := rename(tx, mine, name); err != nil {
				return err
			}
			if tries == 1 {
				close(locked)
				select {
				case <-yoursLocked:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return rename(tx, yours, name)
		})
	}
	go lockBoth("first", one, other, oneLocked, otherLocked)
	go lockBoth("second", other, one, otherLocked, oneLocked)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	a, err := f.Client(t.Context(), one.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Client(t.Context(), other.ID)
	if err != nil || a.Profile.Name != b.Profile.Name {
		t.Errorf("the clients are called %q and %q, %v: a transaction was committed in part", a.Profile.Name, b.Profile.Name, err)
	}
}
