package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// TestBackupUnderLoadHoldsAllThatWasAcknowledged takes a backup while events are accepted without a
// pause, and looks for every event in it that was acknowledged before the backup began.
func TestBackupUnderLoadHoldsAllThatWasAcknowledged(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	var before []uuid.UUID
	for range 3000 { // several hundred pages, so that the backup takes many steps
		e := f.prepare(f.client, false)
		f.accept(e)
		before = append(before, e.Event.ID)
	}
	ctx, stop := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	accepted := make(chan uuid.UUID, 1<<20)
	for range 4 {
		publishing.Go(func() {
			for ctx.Err() == nil {
				e := f.prepare(f.client, false)
				if _, err := f.Accept([]work.PreparedEvent{e}); err != nil {
					t.Errorf("accept beside the backup: %v", err)
					return
				}
				accepted <- e.Event.ID
			}
		})
	}
	<-accepted // it is under way
	dir := t.TempDir()
	path := filepath.Join(dir, databaseFile)
	err := f.Backup(t.Context(), path)
	during := len(accepted)
	stop()
	publishing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events were accepted during the backup", during)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has the mode %v, %v; want 0600", info.Mode(), err)
	}
	summary, err := CheckFile(t.Context(), path)
	if err != nil || summary.Clients != 1 || summary.Pending < len(before) || summary.NewestEvent.Before(herald.TimeOf(before[len(before)-1])) {
		t.Errorf("the copy holds %+v, %v", summary, err)
	}
	copied := openAnother(t, Options{Dir: dir})
	for _, id := range before {
		if _, _, err := copied.Event(t.Context(), f.client.ID, id); err != nil {
			t.Fatalf("the event %s was acknowledged before the backup: %v", id, err)
		}
	}
}

func TestBackupThatFailsLeavesNothingBehind(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	dir := t.TempDir()
	path := filepath.Join(dir, "copy.db")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Backup(ended, path); err == nil {
		t.Error("a backup whose caller has left succeeds")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Backup(t.Context(), path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file that is there: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file that was there is %q, %v", text, err)
	}
	f.accept(f.prepare(f.client, false)) // the writer goes on
}

func TestPostgresRefusesABackupAndNamesItsTools(t *testing.T) {
	f := newFixture(t, Options{Database: postgres.Database(t)})
	wantCode(t, f.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db")), herald.CodeConflict)
}

func TestDamagedCopyIsRefused(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	for range 200 {
		f.accept(f.prepare(f.client, false))
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := f.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"cut off": text[:len(text)/2], "empty": nil, "another file": []byte("not a database at all, but long enough to be taken for the header of one........"),
		"zeros inside": append(append(append([]byte{}, text[:8192]...), make([]byte, len(text)-12288)...), text[len(text)-4096:]...),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if summary, err := CheckFile(t.Context(), path); err == nil {
			t.Errorf("%s: %+v is taken for a backup", name, summary)
		}
	}
}

func TestLastBackupIsKnown(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	if at, err := f.LastBackup(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("before the first backup: %v, %v; want none", at, err)
	}
	began := f.clock.Now()
	for range 2 {
		if err := f.NoteBackup(t.Context(), operator, true); err != nil {
			t.Fatal(err)
		}
		f.newClient("Other") // an entry of the audit log that is newer, and no backup
		at, err := f.LastBackup(t.Context())
		if err != nil || at.Before(began.Truncate(time.Millisecond)) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("last backup %v, %v; want between %v and now", at, err, began)
		}
		began = at
	}
}

// TestLargeFileIsCheckedToItsEnd: a whole file may take longer than any statement of the service.
func TestLargeFileIsCheckedToItsEnd(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	f.accept(f.prepare(f.client, false))
	dir := t.TempDir()
	path := filepath.Join(dir, databaseFile)
	if err := f.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	f.Close()
	usual := statementTimeout
	statementTimeout = time.Nanosecond
	defer func() { statementTimeout = usual }()
	if summary, err := CheckFile(t.Context(), path); err != nil || summary.Clients != 1 || summary.Pending != 1 || summary.NewestEvent.IsZero() {
		t.Errorf("the copy holds %+v, %v", summary, err)
	}
	if problems, err := Check(t.Context(), dir); err != nil || len(problems) > 0 {
		t.Errorf("the check found %q, %v", problems, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := CheckFile(ended, path); !errors.Is(err, context.Canceled) {
		t.Errorf("a check that its caller ended: %v", err)
	}
}
