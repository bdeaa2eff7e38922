package store

import (
	"context"
	"database/sql/driver"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sqlitedriver "modernc.org/sqlite"

	"herald"
	"herald/internal/work"
)

// TestBatchesFollowTheWritersConnection: database/sql replaces a connection that went bad. The next
// batch has statements on the new one, and the old one leaves no file open.
func TestBatchesFollowTheWritersConnection(t *testing.T) {
	dir := t.TempDir()
	f := newFixture(t, Options{Dir: dir})
	f.accept(f.prepare(f.client, true))
	before, opened := f.writersConnection(), openFiles(t, dir)
	const times = 5
	for range times {
		if err := f.onWriter(t.Context(), func(any) error { return driver.ErrBadConn }); err == nil {
			t.Fatal("the connection did not go bad")
		}
		item := f.prepare(f.client, true)
		f.accept(item)
		d := item.Alerts[0].Items[0]
		d.Node = f.Incarnation()
		if err := f.Record(work.Result{Item: d, Attempt: attempt(d, herald.OutcomeDelivered, 200), State: herald.Delivered}); err != nil {
			t.Fatal(err)
		}
	}
	if f.writersConnection() == before {
		t.Error("the connection was not replaced; the test shows nothing")
	}
	if now := openFiles(t, dir); now > opened {
		t.Errorf("%d files are open after %d connections, %d before", now, times, opened)
	}
	events, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 100})
	if err != nil || len(events) != times+1 {
		t.Errorf("%d events, %v; want %d", len(events), err, times+1)
	}
}

// writersConnection returns the driver's connection that writes.
func (f *fixture) writersConnection() (found any) {
	f.t.Helper()
	if err := f.onWriter(f.t.Context(), func(conn any) error { found = conn; return nil }); err != nil {
		f.t.Fatal(err)
	}
	return found
}

// openFiles returns how many files in dir this process has open.
func openFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lists a process's open files in /proc/self/fd; run this test there")
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if file, err := os.Readlink(link); err == nil && strings.HasPrefix(file, dir) {
			n++
		}
	}
	if n == 0 {
		t.Fatal("an open store has no file open")
	}
	return n
}

// TestCancelledChangeLeavesTheWriterUsable: a caller goes away while its change is under way, which
// interrupts the connection that batches use too.
func TestCancelledChangeLeavesTheWriterUsable(t *testing.T) {
	f := newFixture(t, Options{Dir: t.TempDir()})
	f.accept(f.prepare(f.client, true))
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := f.write.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := tx.ExecContext(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`)
		done <- err
	}()
	cancel()
	if err := <-done; err == nil {
		t.Fatal("an endless statement ended by itself")
	}
	_ = tx.Rollback() // database/sql may have done it
	for range 3 {
		f.accept(f.prepare(f.client, true))
	}
}

// TestArgumentsAreBoundAsByTheStandardLibrary: the driver takes few types. The others become one of them.
func TestArgumentsAreBoundAsByTheStandardLibrary(t *testing.T) {
	seven := int64(7)
	var none *int64
	args := []any{7, int64(7), &seven, none, nil, "text", herald.ReasonNoConsent, []byte{1}, []byte(nil), true, 1.5}
	var s statement
	if err := s.bind(args...); err != nil {
		t.Fatal(err)
	}
	want := []driver.Value{seven, seven, seven, nil, nil, "text", string(herald.ReasonNoConsent), []byte{1}, []byte(nil), true, 1.5}
	for i, arg := range s.args {
		if diff := cmp.Diff(want[i], arg.Value); diff != "" || arg.Ordinal != i+1 {
			t.Errorf("argument %d is %v: %s", i, arg, diff)
		}
	}
	s.forget()
	if err := s.bind(struct{}{}); err == nil {
		t.Error("an argument of no type that a database has was bound")
	}
	s.forget()
	if err := s.bind(1); err != nil || len(s.args) != 1 {
		t.Errorf("a second call has arguments %v, %v", s.args, err)
	}
}

// TestOddValueInTheFileIsAnError: a value of another type, as in a file that another program has changed,
// fails the batch. It does not end the process.
func TestOddValueInTheFileIsAnError(t *testing.T) {
	for _, odd := range []string{`x'01'`, `'text'`, `7`, `NULL`, `zeroblob(17)`} {
		t.Run(odd, func(t *testing.T) {
			f := newFixture(t, Options{Dir: t.TempDir()})
			err := f.onWriter(t.Context(), func(conn any) error {
				s := new(statement)
				if err := s.prepare(t.Context(), conn.(*writerConn), `SELECT `+odd); err != nil {
					return err
				}
				defer s.close() //nolint:errcheck // the test is over
				var id [16]byte
				_, err := s.queryRow(t.Context(), []any{id[:]})
				return err
			})
			if err == nil {
				t.Errorf("%s was read as an id", odd)
			}
		})
	}
}

// TestSQLiteSyncsWithFdatasync: what fsync syncs more, the time of the last change, is no part of a commit.
func TestSQLiteSyncsWithFdatasync(t *testing.T) {
	newFixture(t, Options{Dir: t.TempDir()})
	if runtime.GOOS == "linux" && !sqlitedriver.FdatasyncEnabled() {
		t.Error("commits use fsync")
	}
}
