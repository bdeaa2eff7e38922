package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"herald/internal/app"
	"herald/internal/cli"
)

// TestCheck: `herald check` says whether the embedded database is sound, by its output and its
// exit code.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	check := func() (int, string) {
		t.Helper()
		var stdout, stderr strings.Builder
		code := run(t.Context(), []string{"check", "--data", dir}, &streams{strings.NewReader(""), &stdout, &stderr})
		return code, stdout.String() + stderr.String()
	}
	if code, said := check(); code == 0 || !strings.Contains(said, "no database") {
		t.Errorf("without a database: exit code %d, %s", code, said)
	}
	if _, err := app.Migrate(t.Context(), dir, ""); err != nil {
		t.Fatal(err)
	}
	if code, said := check(); code != 0 || !strings.Contains(said, "sound") {
		t.Errorf("a sound database: exit code %d, %s", code, said)
	}
	if err := os.Truncate(filepath.Join(dir, "herald.db"), 4096); err != nil {
		t.Fatal(err)
	}
	if code, said := check(); code != cli.General || !strings.Contains(said, "damaged") {
		t.Errorf("a damaged database: exit code %d, %s", code, said)
	}
}
