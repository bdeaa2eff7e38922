package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"herald"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// TestStallInTheMiddleOfABatch: the server ends the writer's session because it stalled between
// the two parts of a batch (25P03), or an administrator ends it. The batch is run again.
func TestStallInTheMiddleOfABatch(t *testing.T) {
	for name, text := range map[string]string{
		"idle for too long": `SET LOCAL idle_in_transaction_session_timeout = '1ms'`,
		"any FATAL":         `DO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, Options{Database: postgres.Database(t)})
			prepared := f.prepare(f.client, true)
			begin := f.dialect.begin
			var once sync.Once
			f.dialect.begin = func(ctx context.Context, s *Store, node int64, ask questions) (batchTx, preconditions, error) {
				tx, found, err := begin(ctx, s, node, ask)
				once.Do(func() {
					conn := tx.(*postgresBatch).conn.Conn().PgConn()
					_, _ = conn.Exec(ctx, text).ReadAll() // the second ends the session at once
					f.waitForEndOf(conn.PID())
				})
				return tx, found, err
			}
			receipts := f.accept(prepared)
			events, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 10})
			if err != nil || len(events) != 1 || events[0].ID != receipts[0].EventID {
				t.Errorf("events %v, %v; want the accepted one", events, err)
			}
		})
	}
}

// waitForEndOf waits until the server has ended a session.
func (f *fixture) waitForEndOf(pid uint32) {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		n, err := first(f.t.Context(), f.vital, scanInt, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, int64(pid))
		if err != nil || time.Now().After(deadline) {
			f.t.Fatalf("the session %d goes on, %v", pid, err)
		}
		if n == 0 {
			return
		}
	}
}

// TestEventWithoutPartitionFailsAlone: an event whose id no partition takes (23514) is answered
// with an error, and the others of its batch are stored.
func TestEventWithoutPartitionFailsAlone(t *testing.T) {
	f := newFixture(t, Options{Database: postgres.Database(t)})
	var requests []*request
	for range 9 {
		requests = append(requests, &request{client: f.client.ID, events: []work.PreparedEvent{f.prepare(f.client, false)}})
	}
	const bad = 4
	requests[bad].events[0] = f.prepareAt(time.Now().Add(365*24*time.Hour), f.rule.ID)
	for i, err := range f.commitTogether(requests) {
		if (err != nil) != (i == bad) {
			t.Errorf("request %d: error %v", i, err)
		}
	}
}

// TestServerErrorsHaveTheirFaults: an error that ends the session is never the statement's fault.
func TestServerErrorsHaveTheirFaults(t *testing.T) {
	for _, test := range []struct {
		code, severity string
		want           fault
	}{
		{"25P03", "FATAL", faultTransient},
		{"57P05", "FATAL", faultTransient},
		{"57P01", "FATAL", faultDatabase},
		{"28P01", "FATAL", faultDatabase},
		{"3D000", "FATAL", faultDatabase},
		{"XX000", "PANIC", faultDatabase},
		{"XX000", "ERROR", faultStatement},
		{"25006", "ERROR", faultDatabase},
		{"23514", "ERROR", faultStatement},
		{"40P01", "ERROR", faultTransient},
		{"53100", "ERROR", faultDatabase},
	} {
		err := &pgconn.PgError{Code: test.code, Severity: test.severity, SeverityUnlocalized: test.severity}
		if got := classifyPostgres(err); got != test.want {
			t.Errorf("%s %s is fault %d, want %d", test.severity, test.code, got, test.want)
		}
	}
}
