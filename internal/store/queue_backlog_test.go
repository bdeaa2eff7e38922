package store

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// countAll counts the whole queue and returns how many steps it took.
func (f *fixture) countAll() (sum work.Waiting, steps int) {
	f.t.Helper()
	for after := uuid.Nil; ; {
		n, last, err := f.CountWaiting(f.t.Context(), after)
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
	version, err := f.Version(t.Context(), f.client.ID)
	if err != nil {
		t.Fatal(err)
	}
	events := make([]work.PreparedEvent, all/10)
	for i := range events {
		events[i] = f.prepareOn(f.client, version, false)
		a := &events[i].Alerts[0]
		for n := 1; n < 10; n++ { // ten deliveries of each alert
			d := a.Items[0]
			d.ID = herald.DeliveryID(a.ID, n)
			a.Items = append(a.Items, d)
		}
	}
	for part := range slices.Chunk(events, 400) {
		f.accept(part...)
	}
	_, err = f.write.ExecContext(t.Context(), `UPDATE queue SET due_at = due_at + 3600000000 WHERE id IN (SELECT id FROM queue ORDER BY id LIMIT $1)`, later)
	if err != nil {
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
