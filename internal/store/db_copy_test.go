package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// slowDisk is a file whose syncs take time. It knows how many bytes were not synced at most.
type slowDisk struct {
	bytes.Buffer
	unsynced, most, syncs int
}

const syncTakes = 10 * time.Millisecond

func (d *slowDisk) Write(p []byte) (int, error) {
	d.unsynced += len(p)
	d.most = max(d.most, d.unsynced)
	return d.Buffer.Write(p)
}

func (d *slowDisk) Sync() error {
	time.Sleep(syncTakes) // in a bubble
	d.unsynced, d.syncs = 0, d.syncs+1
	return nil
}

// TestCopyIsSyncedAsItIsWritten: however large it is, few bytes wait for a sync, and the syncs take a
// third of the time at most.
func TestCopyIsSyncedAsItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 9*syncEvery + 1
		disk := new(slowDisk)
		from := io.LimitReader(zeros{}, size)
		began := time.Now()
		n, err := CopySynced(t.Context(), disk, from)
		if err != nil || n != size || disk.Len() != size || disk.unsynced != 0 {
			t.Fatalf("copied %d of %d bytes, %d are not synced, %v", n, size, disk.unsynced, err)
		}
		if disk.most > syncEvery {
			t.Errorf("%d bytes waited for a sync; want %d at most", disk.most, syncEvery)
		}
		if took, want := time.Since(began), 9*3*syncTakes; took < want {
			t.Errorf("%d syncs of %v took %v in all; want %v at least", disk.syncs, syncTakes, took, want)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if n, err := CopySynced(ended, new(slowDisk), zeros{}); !errors.Is(err, context.Canceled) || n > syncEvery {
			t.Errorf("a copy that its caller ended: %d bytes, %v", n, err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestBackupUsesAThirdOfTheTimeAtMost, however long its steps and syncs take.
func TestBackupUsesAThirdOfTheTimeAtMost(t *testing.T) {
	for _, stepTakes := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			const steps = 10*stepsPerSync + 1
			var done, since, most, syncs int
			began := time.Now()
			err := copyInSteps(t.Context(), func() (bool, time.Duration, error) {
				time.Sleep(stepTakes)
				done++
				since++
				most = max(most, since)
				return done < steps, stepTakes, nil
			}, func() error {
				time.Sleep(syncTakes)
				since = 0
				syncs++
				return nil
			})
			if err != nil || done != steps || most > stepsPerSync {
				t.Errorf("%d steps of %d, %d without a sync, %v; want %d without one at most", done, steps, most, err, stepsPerSync)
			}
			work := steps*stepTakes + time.Duration(syncs)*syncTakes
			if took := time.Since(began); took < 3*work-2*stepTakes || took < (steps-1)*backupPause { // no rest at the end
				t.Errorf("work of %v took %v", work, took)
			}
		})
	}
}

// TestBackupIsSyncedWhileItIsCopied: the copy's own file, and not only at its end.
func TestBackupIsSyncedWhileItIsCopied(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	if _, err := f.write.ExecContext(t.Context(), `CREATE TABLE filler AS SELECT zeroblob(10000000) AS bytes`); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), databaseFile)
	var sizes []int64
	err := f.copyTo(t.Context(), path, func() error {
		info, err := os.Stat(path)
		if err == nil {
			sizes = append(sizes, info.Size())
		}
		return err
	})
	if err != nil || len(sizes) < 3 {
		t.Fatalf("it was synced at the sizes %d, %v; want 3 syncs at least", sizes, err)
	}
	for i := 1; i < len(sizes); i++ {
		if grew := sizes[i] - sizes[i-1]; grew > 2*syncEvery { // SQLite keeps some of the pages back
			t.Errorf("%d bytes were written at once; the sizes were %d", grew, sizes)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() != sizes[len(sizes)-1] {
		t.Errorf("the last sync was at %d of %d bytes, %v", sizes[len(sizes)-1], info.Size(), err)
	}
}

// TestCopyInsideAnotherFileIsChecked: a copy is read where it lies.
func TestCopyInsideAnotherFileIsChecked(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	for range 200 {
		f.accept(f.prepare(f.client, false))
	}
	path := filepath.Join(t.TempDir(), databaseFile)
	if err := f.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const before = 1537 // no multiple of a page
	check := func(text []byte) (FileSummary, error) {
		around := append(append(make([]byte, before), text...), "after it"...)
		return CheckReader(t.Context(), "copy.tar", io.NewSectionReader(bytes.NewReader(around), before, int64(len(text))), int64(len(text)))
	}
	want, err := CheckFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := check(text); err != nil || got != want || got.Pending != 200 {
		t.Errorf("it holds %+v, %v; want %+v", got, err, want)
	}
	clear(text[8192 : len(text)-4096])
	for name, damaged := range map[string][]byte{"zeros inside": text, "cut off": text[:len(text)/2], "empty": nil} {
		if got, err := check(damaged); err == nil {
			t.Errorf("%s: %+v is taken for a copy", name, got)
		}
	}
}
