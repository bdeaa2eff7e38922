package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// countAll counts the whole queue and returns how many steps it took. A step that a busy machine does not
// end in time is made again.
func (f *fixture) countAll() (sum work.Waiting, steps int) {
	f.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for after := uuid.Nil; ; {
		n, last, err := f.CountWaiting(f.t.Context(), after)
		if herald.CodeOf(err) == herald.CodeUnavailable && time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		sum.Add(n)
		steps++
		if last == uuid.Nil {
			return sum, steps
		}
		after = last
	}
}

func (f *fixture) wantWaiting(when string, want work.Waiting) {
	f.t.Helper()
	if got, _ := f.countAll(); got != want {
		f.t.Errorf("%s: %s", when, cmp.Diff(want, got))
	}
}

func TestWaitingIsCountedByState(t *testing.T) { onBoth(t, testWaitingIsCountedByState) }

func testWaitingIsCountedByState(t *testing.T, f *fixture) {
	f.wantWaiting("empty", work.Waiting{})
	f.accept(f.prepare(f.client, false), f.prepare(f.client, false), f.prepare(f.client, false))
	f.accept(f.prepare(f.client, true))
	f.wantWaiting("one of four is held", work.Waiting{Ready: 3})

	claimed := f.claim(3)
	f.wantWaiting("all are held", work.Waiting{})
	err := f.Record(work.Result{Item: claimed[0], Attempt: attempt(claimed[0], herald.OutcomeRetry, 503), State: herald.Pending, Delay: time.Hour, Retries: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Postpone(t.Context(), claimed[1], time.Hour, "no descriptors"); err != nil {
		t.Fatal(err)
	}
	f.wantWaiting("one retry and one postponed", work.Waiting{Retry: 1, Postponed: 1})
	if err := f.HandBack(t.Context(), claimed[2:]); err != nil {
		t.Fatal(err)
	}
	f.wantWaiting("one is handed back", work.Waiting{Ready: 1, Retry: 1, Postponed: 1})
	if _, err := f.write.ExecContext(t.Context(), `UPDATE queue SET due_at = 0 WHERE node IS NULL`); err != nil {
		t.Fatal(err)
	}
	f.wantWaiting("all are due", work.Waiting{Ready: 3})
	if _, err := f.write.ExecContext(t.Context(), `UPDATE queue SET lane = 'digest:ops@acme.example' WHERE id = $1`, claimed[1].ID[:]); err != nil {
		t.Fatal(err)
	}
	f.wantWaiting("one is parked for a digest, whose time has come", work.Waiting{Ready: 2, Digest: 1})
}

// A killed node leaves rows that it held. They wait, although they are not freed yet.
func TestWhatADeadNodeHeldIsCounted(t *testing.T) { onBoth(t, testWhatADeadNodeHeldIsCounted) }

func testWhatADeadNodeHeldIsCounted(t *testing.T, f *fixture) {
	f.accept(f.prepare(f.client, true), f.prepare(f.client, true))
	f.wantWaiting("held", work.Waiting{})
	if _, err := f.write.ExecContext(t.Context(), `DELETE FROM nodes`); err != nil {
		t.Fatal(err)
	}
	f.wantWaiting("their node is dead", work.Waiting{Ready: 2})
}

func TestLargeBacklogIsCountedInSteps(t *testing.T) { onBoth(t, testLargeBacklogIsCountedInSteps) }

func testLargeBacklogIsCountedInSteps(t *testing.T, f *fixture) {
	const all, later = 100_000, 30_000
	rows := `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
INSERT INTO queue (id, client_id, lane, address, made_at, due_at, attempt, retries)
SELECT CAST(printf('%016d', i) AS BLOB), $2, $3, 'https://receiver.example/hook', 0, CASE WHEN i <= $4 THEN $5 ELSE 0 END, 1, 0 FROM n`
	if f.dialect.shared {
		rows = `INSERT INTO queue (id, client_id, lane, address, made_at, due_at, attempt, retries)
SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, $2, $3, 'https://receiver.example/hook', 0, CASE WHEN i <= $4 THEN $5::bigint ELSE 0 END, 1, 0
FROM generate_series(1, $1::int) i`
	}
	if _, err := f.write.ExecContext(t.Context(), rows, all, f.client.ID[:], origin, later, time.Now().Add(24*time.Hour).UnixMicro()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	got, steps := f.countAll()
	t.Logf("%d steps in %v", steps, time.Since(began))
	if want := (work.Waiting{Ready: all - later, Retry: later}); got != want {
		t.Error(cmp.Diff(want, got))
	}
	if steps != all/countStep+1 {
		t.Errorf("%d steps for %d rows, want %d rows each", steps, all, countStep)
	}
}
