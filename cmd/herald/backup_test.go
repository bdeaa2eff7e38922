package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBackupInADirectoryIsNamedByItsTime(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 11, 28, 23, 5, 9, 0, time.FixedZone("", -3*3600))
	var names []string
	for _, to := range []string{dir, dir + "/"} {
		name, err := backupName(to, at)
		if want := filepath.Join(dir, "herald-20261129T020509Z.tar"); err != nil || name != want {
			t.Errorf("%s: %q, %v; want %q", to, name, err, want)
		}
	}
	for _, after := range []time.Duration{0, time.Second, time.Hour, 24 * time.Hour, 40 * 24 * time.Hour} {
		name, err := backupName(dir, at.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if !slices.IsSorted(names) {
		t.Errorf("the names do not sort by age: %q", names)
	}
	file := filepath.Join(dir, "herald")
	if name, err := backupName(file, at); err != nil || name != file {
		t.Errorf("a new file: %q, %v", name, err)
	}
	for _, taken := range []string{file, names[0]} {
		if err := os.WriteFile(taken, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []string{file, dir} {
		if name, err := backupName(to, at); err == nil || !strings.Contains(err.Error(), "is there already") {
			t.Errorf("%s is taken: %q, %v", to, name, err)
		}
	}
	if _, err := backupName(filepath.Join(file, "below"), at); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("a name below a file: %v", err)
	}
}
