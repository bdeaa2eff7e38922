package postgres

import (
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestKilledServerGoesOnAndLeavesNothing: what was committed before a kill is
// there after it, and the end of a killed server gives its shared memory back,
// of which a machine has only so much.
func TestKilledServerGoesOnAndLeavesNothing(t *testing.T) {
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() }) //nolint:errcheck // once more, if the test has failed before
	db, err := sql.Open("pgx", s.address("public"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(`CREATE TABLE kept AS SELECT 1 AS n`); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if !s.Ended() || db.Ping() == nil {
		t.Error("a killed server answers")
	}
	if err := s.Resume(); err != nil {
		t.Fatalf("%v: %s", err, s.Said())
	}
	var n int
	if err := db.QueryRow(`SELECT n FROM kept`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d, %v: want what was committed before the kill", n, err)
	}
	segment := memory(t, s)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" && !listed(segment) {
		t.Errorf("the shared memory %s of a killed server is not to be seen: this proves nothing", segment)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if listed(segment) {
		t.Errorf("the shared memory %s is left behind", segment)
	}
}

// memory is the number of the shared memory that a server has. Line 7 of
// postmaster.pid has its key and its number.
func memory(t *testing.T, s *Server) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 || len(strings.Fields(lines[6])) != 2 {
		t.Fatalf("postmaster.pid reads %q", text)
	}
	return strings.Fields(lines[6])[1]
}

// listed reports whether Linux lists shared memory of that number.
func listed(segment string) bool {
	text, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == segment {
			return true
		}
	}
	return false
}
