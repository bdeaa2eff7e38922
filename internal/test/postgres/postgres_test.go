package postgres

import (
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestKilledServerGoesOnAndLeavesNothing: after a kill, the data committed before is there. When
// the server ends, it releases its shared memory, which a machine has little of.
func TestKilledServerGoesOnAndLeavesNothing(t *testing.T) {
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() }) //nolint:errcheck // only needed if the test failed before its own Stop
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
		t.Fatalf("%v: %s", err, s.Log())
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
		t.Errorf("the shared memory %s of a killed server is not listed, so this test proves nothing", segment)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if listed(segment) {
		t.Errorf("the shared memory %s is left behind", segment)
	}
}

// memory returns the id of a server's shared memory. Line 7 of postmaster.pid has its key and its
// id.
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

// listed reports whether Linux lists shared memory with that id.
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
