package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"herald"
	"herald/internal/store"
)

// newBackups returns the backups of a new database, whose copies are larger than an archive's reader
// reads at once.
func newBackups(t *testing.T) *backups {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	keyFile := filepath.Join(t.TempDir(), "another.name")
	if err := os.WriteFile(keyFile, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &backups{store: s, dir: dir, keyFile: keyFile}
}

// TestOnlyAnArchiveThatWasSentWholeIsTheLastBackup: one that its reader left is not.
func TestOnlyAnArchiveThatWasSentWholeIsTheLastBackup(t *testing.T) {
	b := newBackups(t)
	last := func() time.Time {
		t.Helper()
		at, err := b.store.LastBackup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	archive, err := b.Backup(t.Context(), herald.Caller{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, archive, 1024); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	eventuallyGone(t, filepath.Join(b.dir, backupPattern))
	if at := last(); !at.IsZero() {
		t.Errorf("an archive that broke off counts as the backup of %v", at)
	}
	if archive, err = b.Backup(t.Context(), herald.Caller{}, false); err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if _, err := io.Copy(io.Discard, archive); err != nil {
		t.Fatal(err)
	}
	if last().IsZero() { // it counts when its reader has its end
		t.Error("an archive that was sent whole does not count as the last backup")
	}
}

// eventuallyGone waits until no file has a name of the pattern.
func eventuallyGone(t *testing.T, pattern string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		left, err := filepath.Glob(pattern)
		if err == nil && len(left) == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%v, %v are left", left, err)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestSavedBackupIsVerifiedBeforeItHasItsName: what is damaged, or breaks off, leaves no file.
func TestSavedBackupIsVerifiedBeforeItHasItsName(t *testing.T) {
	b := newBackups(t)
	archive, err := b.Backup(t.Context(), herald.Caller{}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	whole, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	clear(damaged[16<<10 : 48<<10])
	broken := errors.New("the connection broke")
	for name, from := range map[string]io.Reader{
		"damaged":      bytes.NewReader(damaged),
		"cut off":      bytes.NewReader(whole[:len(whole)/2]),
		"empty":        bytes.NewReader(nil),
		"no archive":   bytes.NewReader(bytes.Repeat([]byte("x"), 2048)),
		"breaking off": io.MultiReader(bytes.NewReader(whole), failing{broken}),
	} {
		dir := t.TempDir()
		if saved, err := SaveBackup(t.Context(), filepath.Join(dir, "b.tar"), from, true); err == nil {
			t.Errorf("%s: %+v is taken for a backup", name, saved)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: it left %v, %v", name, left, err)
		}
	}
	path := filepath.Join(t.TempDir(), "b.tar")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := SaveBackup(ended, path, bytes.NewReader(whole), true); !errors.Is(err, context.Canceled) {
		t.Errorf("a backup that its caller ended: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a backup that its caller ended has its name: %v", err)
	}
	saved, err := SaveBackup(t.Context(), path, bytes.NewReader(whole), true)
	if err != nil || saved.Size != int64(len(whole)) {
		t.Fatalf("saved %+v of %d bytes, %v", saved, len(whole), err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(text, whole) {
		t.Errorf("the file has %d bytes of %d, %v", len(text), len(whole), err)
	}
	if _, err := SaveBackup(t.Context(), filepath.Join(t.TempDir(), "b.tar"), bytes.NewReader(damaged), false); err != nil {
		t.Errorf("a backup that is checked elsewhere: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
