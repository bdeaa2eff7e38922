package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"herald"
	"herald/internal/test/postgres"
)

// notReady checks that Ready says why, in words that have want.
func (f *fixture) notReady(want string) {
	f.t.Helper()
	f.probe.at = f.probe.at.Add(-probeEvery)
	err := f.Ready(f.t.Context())
	var known *herald.Error
	if !errors.As(err, &known) || known.Code != herald.CodeUnavailable || !strings.Contains(known.Message, want) {
		f.t.Errorf("readiness says %v, want CodeUnavailable with %q", err, want)
	}
}

// ready checks that a publish would be accepted.
func (f *fixture) ready() {
	f.t.Helper()
	f.probe.at = f.probe.at.Add(-probeEvery)
	if err := f.Ready(f.t.Context()); err != nil {
		f.t.Fatalf("not ready: %v", err)
	}
}

// TestReadyLeavesNothing: trying a publish stores no event, alert or delivery.
func TestReadyLeavesNothing(t *testing.T) { onBoth(t, testReadyLeavesNothing) }

func testReadyLeavesNothing(t *testing.T, f *fixture) {
	f.ready()
	for _, table := range []string{"events", "alerts", "queue", "deliveries"} {
		if n := f.rows(table); n != 0 {
			t.Errorf("%d rows of %s are stored, want none", n, table)
		}
	}
}

func TestReadOnlyPostgresIsNotReady(t *testing.T) {
	f := newFixture(t, Options{Database: postgres.Database(t)})
	f.ready()
	f.setAll("default_transaction_read_only", "on")
	f.notReady("read-only")
	f.setAll("default_transaction_read_only", "off")
	f.ready()
}

// setAll sets a setting of the readiness's connections.
func (f *fixture) setAll(setting, value string) {
	f.t.Helper()
	f.vital.SetMaxOpenConns(1)
	if _, err := f.vital.ExecContext(f.t.Context(), `SET `+setting+` = `+value); err != nil {
		f.t.Fatal(err)
	}
}

// TestNotReadyWherePublishesFail: a publish cannot be stored although the database takes other
// writes.
func TestNotReadyWherePublishesFail(t *testing.T) {
	for _, table := range []string{"events", "alerts", "queue", "deliveries"} {
		t.Run(table, func(t *testing.T) {
			onBoth(t, func(t *testing.T, f *fixture) {
				f.t = t
				f.ready()
				f.uncounted = true
				if _, err := f.write.ExecContext(t.Context(), `ALTER TABLE `+table+` RENAME TO gone`); err != nil {
					t.Fatal(err)
				}
				f.notReady("refuses writes")
			})
		})
	}
}

func TestFullDiskIsNotReady(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	f.ready()
	limit := func(pages int64) {
		t.Helper()
		if _, err := first(t.Context(), f.write, scanInt, `PRAGMA max_page_count = `+strconv.FormatInt(pages, 10)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	if _, err := f.write.ExecContext(t.Context(), `CREATE TABLE filler (x)`); err == nil {
		t.Fatal("there is room for a table")
	}
	for {
		if _, err := f.write.ExecContext(t.Context(), `INSERT INTO events (id, client_id, type, occurred_at, message) VALUES (randomblob(16), randomblob(16), '', 0, '')`); err != nil {
			break // the pages of the table are full
		}
	}
	f.notReady("disk is full")
	limit(1 << 30)
	f.ready()
}

// damage overwrites a part of the database's file, or cuts it.
var damages = map[string]func(*testing.T, string){
	"header": func(t *testing.T, file string) { overwrite(t, file, 0, 4096) },
	"page of a table": func(t *testing.T, file string) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, file, 4096, int(info.Size())-4096)
	},
	"cut": func(t *testing.T, file string) {
		if err := os.Truncate(file, 8192); err != nil {
			t.Fatal(err)
		}
	},
}

func overwrite(t *testing.T, file string, at, n int) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("x", n)), int64(at)); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFile: a damaged database is not ready while the service runs, refuses the start
// afterwards, and Check says what is wrong.
func TestDamagedFile(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := newFixture(t, Options{Dir: dir})
			f.accept(f.prepare(f.client, true))
			if problems, err := Check(t.Context(), dir); err != nil || len(problems) != 0 {
				t.Fatalf("before the damage Check finds %v, %v", problems, err)
			}
			if _, err := f.write.ExecContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, databaseFile)
			damage(t, file)
			f.notReady("damaged")
			_ = f.Close() // it may not be able to
			if problems, err := Check(t.Context(), dir); err != nil || len(problems) == 0 {
				t.Errorf("Check finds %v, %v", problems, err)
			}
			s, err := Open(t.Context(), Options{Dir: dir, Box: testBox(t)})
			if err == nil {
				_ = s.Close()
				t.Fatal("the start on a damaged database succeeds")
			}
			if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("the start says %v; want the file and the way out", err)
			}
		})
	}
}

// TestCheckFindsDeliveriesWithoutAlert: what SQLite's own check cannot know.
func TestCheckFindsDeliveriesWithoutAlert(t *testing.T) {
	dir := t.TempDir()
	f := newFixture(t, Options{Dir: dir})
	f.accept(f.prepare(f.client, true), f.prepare(f.client, true))
	if _, err := f.write.ExecContext(t.Context(), `DELETE FROM alerts WHERE id = (SELECT min(id) FROM alerts)`); err != nil {
		t.Fatal(err)
	}
	problems, err := Check(t.Context(), dir)
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], "alert") {
		t.Errorf("Check finds %q, %v; want the delivery without an alert", problems, err)
	}
}

// TestFilesArePrivate: the database's files are readable by their owner only, also in a
// directory for all, and when an older version made them otherwise.
func TestFilesArePrivate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		f := newFixture(t, Options{Dir: dir})
		for _, name := range []string{"herald.db", "herald.db-wal", "herald.db-shm"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if mode := info.Mode().Perm(); mode != 0o600 {
				t.Errorf("%s has mode %v, want %v", name, mode, fs.FileMode(0o600))
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if err := os.Chmod(filepath.Join(dir, "herald.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	check()
}

// TestDeletedLockFileAdmitsNobody: the directory itself is locked.
func TestDeletedLockFileAdmitsNobody(t *testing.T) {
	dir := t.TempDir()
	newFixture(t, Options{Dir: dir})
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Dir: dir, Box: testBox(t)})
	if err == nil {
		_ = s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("opened twice: %v", err)
	}
}
