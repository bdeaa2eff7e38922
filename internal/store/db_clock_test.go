package store

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/clock"
	"herald/internal/query"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// timed is a fixture whose clocks the test sets: the elapsed time, and the reference, which is
// the system's clock on SQLite and the database's on PostgreSQL.
type timed struct {
	*fixture
	right   time.Time // what the reference would show if it had not jumped
	wall    time.Time
	elapsed time.Duration
}

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// onBothTimed is onBoth with a timed fixture.
func onBothTimed(t *testing.T, test func(*testing.T, *timed)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newTimed(t, Options{Dir: t.TempDir()}))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newTimed(t, Options{Database: postgres.Database(t)}))
	})
}

func newTimed(t *testing.T, o Options) *timed {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	w := &timed{right: now, wall: now}
	o.Clock = clock.New(clock.Options{Shared: o.Database != "", Wall: func() time.Time { return w.wall }, Elapsed: func() time.Duration { return w.elapsed }})
	w.fixture = newFixture(t, o)
	if w.dialect.shared {
		w.wall = w.clock.Now() // as the database's real clock has been read
		w.right = w.wall
		w.dialect.clockSQL = `(SELECT us FROM test_clock)`
		w.dialect.openSQL = postgresOpenSQL(w.dialect.clockSQL)
		w.exec(`CREATE TABLE test_clock (us bigint NOT NULL)`)
		w.exec(`INSERT INTO test_clock VALUES ($1)`, micros(w.wall))
	}
	return w
}

func (w *timed) exec(text string, args ...any) {
	w.t.Helper()
	if _, err := w.write.ExecContext(w.t.Context(), text, args...); err != nil {
		w.t.Fatal(err)
	}
}

// move sets the reference and has it read.
func (w *timed) move(reference, elapsed time.Duration) {
	w.t.Helper()
	w.wall, w.elapsed = w.wall.Add(reference), w.elapsed+elapsed
	if w.dialect.shared {
		w.exec(`UPDATE test_clock SET us = $1`, micros(w.wall))
	}
	if _, err := w.now(w.t.Context(), w.read); err != nil {
		w.t.Fatal(err)
	}
}

func (w *timed) pass(d time.Duration) {
	w.t.Helper()
	w.right = w.right.Add(d)
	w.move(d, d)
}

func (w *timed) jump(d time.Duration) {
	w.t.Helper()
	w.move(d, 0)
}

// last lets a jump last until it is followed.
func (w *timed) last() {
	w.t.Helper()
	w.maintain()
	w.pass(clock.JumpHold + time.Second)
	w.maintain()
}

// maintain runs all maintenance that deletes or moves something by the time.
func (w *timed) maintain() {
	w.t.Helper()
	w.expireAll()
	ctx := w.t.Context()
	for name, step := range map[string]func(context.Context) (int, error){"keys": w.ExpireIdempotencyKeys, "audit": w.ExpireAuditLog, "digests": w.RepairDigests, "tallies": w.Tally} {
		if _, err := step(ctx); err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
	}
	w.pullBack()
}

func (w *timed) pullBack() {
	w.t.Helper()
	for last, err := w.PullBackDue(w.t.Context(), uuid.Nil, day); last != uuid.Nil || err != nil; last, err = w.PullBackDue(w.t.Context(), last, day) {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// publish accepts an event whose id comes from the program's clock, with an idempotency key.
func (w *timed) publish(key string) work.PreparedEvent {
	w.t.Helper()
	e := w.prepare(w.client, false)
	e.Event.ID = w.ids.NewEvent()
	e.IdempotencyKey = key
	a := &e.Alerts[0]
	a.ID = herald.AlertID(e.Event.ID, 1)
	a.Items[0].ID, a.Items[0].MadeAt = herald.DeliveryID(a.ID, 0), herald.TimeOf(a.ID)
	if got := w.accept(e)[0].EventID; got != e.Event.ID {
		w.t.Fatalf("a new key has the receipt of %v", got)
	}
	return e
}

// wantKey checks that a key is still known.
func (w *timed) wantKey(key string, first work.PreparedEvent, when string) {
	w.t.Helper()
	again := w.prepare(w.client, false)
	again.Event.ID = w.ids.NewEvent()
	again.IdempotencyKey = key
	if got := w.accept(again)[0].EventID; got != first.Event.ID {
		w.t.Fatalf("%s: the key's first use is forgotten", when)
	}
}

// tryAll claims what is due and records that it is retried after 20 s.
func (w *timed) tryAll(want int, when string) {
	w.t.Helper()
	items := w.claim(100)
	if len(items) != want {
		w.t.Fatalf("%s: %d deliveries are due, want %d", when, len(items), want)
	}
	for _, d := range items {
		a := attempt(d, herald.OutcomeRetry, 503)
		a.At = w.clock.Now()
		if err := w.Record(work.Result{Item: d, Attempt: a, State: herald.Pending, Delay: 20 * time.Second, Retries: 1}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// wantAll checks that all events, alerts and deliveries are there and in the lists.
func (w *timed) wantAll(want int, when string) {
	w.t.Helper()
	for _, table := range []string{"events", "alerts", "queue"} {
		if n := w.rows(table); n != int64(want) {
			w.t.Fatalf("%s: %d rows of %s, want %d", when, n, table, want)
		}
	}
	alerts, total, err := w.Alerts(w.t.Context(), w.client.ID, uuid.Nil, uuid.Nil, listOf(w.t.(*testing.T), query.Alerts(), ""))
	if err != nil || total != want || len(alerts) != want {
		w.t.Fatalf("%s: %d alerts of %d, %v; want %d", when, len(alerts), total, err, want)
	}
	if changes, _, err := w.Changes(w.t.Context(), uuid.Nil, herald.ChangeFilter{Limit: 10}); err != nil || len(changes) != 3 {
		w.t.Fatalf("%s: %d changes in the audit log, %v; want 3", when, len(changes), err)
	}
}

func (w *timed) wantRaised(e work.PreparedEvent, at time.Time, when string) {
	w.t.Helper()
	if off := herald.TimeOf(e.Event.ID).Sub(at); off.Abs() > 2*time.Second {
		w.t.Fatalf("%s: raised %v from the right time", when, off)
	}
}

// TestTableOfJumps: whatever the reference clock does, there and back, publishes are taken, ids
// and times are right, retries are made when due, keys are kept, and nothing is lost.
func TestTableOfJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Second, time.Hour, day, year} {
		for _, jump := range []time.Duration{jump, -jump} {
			for _, lasts := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v, lasts %v", jump, lasts), func(t *testing.T) {
					onBothTimed(t, func(t *testing.T, w *timed) { testJump(t, w, jump, lasts) })
				})
			}
		}
	}
}

func testJump(t *testing.T, w *timed, jump time.Duration, lasts bool) {
	first := w.publish("first")
	w.tryAll(1, "at the start")
	w.jump(jump)
	w.maintain()
	w.wantAll(1, "after the jump")
	w.wantKey("first", first, "after the jump")
	second := w.publish("second")
	w.wantRaised(second, w.right, "after the jump")
	w.tryAll(1, "after the jump")
	w.pass(22 * time.Second)
	w.tryAll(2, "20 s after the jump")
	if lasts {
		w.last()
		w.pass(22 * time.Second)
		w.tryAll(2, "when the jump is followed")
		w.wantAll(2, "when the jump is followed")
		w.wantKey("first", first, "when the jump is followed")
	}
	third := w.publish("third")
	if lasts {
		w.wantRaised(third, w.wall, "when the jump is followed")
	}
	w.pass(22 * time.Second)
	w.tryAll(3, "20 s later")
	w.jump(-jump)
	w.maintain()
	w.wantAll(3, "after the jump back")
	w.pass(22 * time.Second)
	w.tryAll(3, "20 s after the jump back")
	if lasts {
		w.last()
		w.pass(22 * time.Second)
		w.tryAll(3, "when the jump back is followed")
	}
	fourth := w.publish("fourth")
	w.wantRaised(fourth, w.right, "at the end")
	w.maintain()
	w.pass(time.Hour)
	w.maintain()
	w.tryAll(4, "at the end")
	w.wantAll(4, "at the end")
	for key, e := range map[string]work.PreparedEvent{"first": first, "second": second, "third": third, "fourth": fourth} {
		w.wantKey(key, e, "at the end")
	}
}

// TestDueTimesAreBroughtForwardOnce: waits that were begun while the clock was ahead begin again
// once it is right, and once only. Long ones stay.
func TestDueTimesAreBroughtForwardOnce(t *testing.T) { onBothTimed(t, testBroughtForwardOnce) }

func testBroughtForwardOnce(t *testing.T, w *timed) {
	w.jump(2 * time.Hour)
	w.last()
	waits := map[uuid.UUID]time.Duration{}
	wait := func(d time.Duration) {
		e := w.publish(d.String())
		id := e.Alerts[0].Items[0].ID
		waits[id] = d
		if d == 0 {
			return // it waits for its first attempt
		}
		for _, item := range w.claim(1) {
			a := attempt(item, herald.OutcomeRetry, 503)
			a.At = w.clock.Now()
			if err := w.Record(work.Result{Item: item, Attempt: a, State: herald.Pending, Delay: d, Retries: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wait(20 * time.Second)
	wait(time.Hour)
	wait(20 * time.Hour)
	wait(0)
	w.jump(-2 * time.Hour)
	w.pass(clock.JumpHold + time.Second)
	check := func(passed time.Duration) {
		t.Helper()
		w.pullBack()
		for id, d := range waits {
			due := d - passed
			if d > 2*time.Hour {
				due += 2*time.Hour - clock.JumpHold - time.Second // as it was scheduled
			}
			state, _ := w.delivery(id)
			if off := state.NextAttemptAt.Sub(w.clock.Now()) - due; off.Abs() > time.Second {
				t.Errorf("after %v, a wait of %v is due in %v, want %v", passed, d, due+off, due)
			}
		}
	}
	check(0)
	w.pass(10 * time.Second)
	check(10 * time.Second)
	w.pass(time.Minute)
	check(70 * time.Second)
}

// TestStartWithAWrongClock: a service that starts while its clock is a year ahead says so and
// deletes nothing for a day, whatever is published meanwhile. It waits no year for its retries
// when the clock is right again.
func TestStartWithAWrongClock(t *testing.T) { onBothTimed(t, testStartWithAWrongClock) }

func testStartWithAWrongClock(t *testing.T, w *timed) {
	first := w.publish("first")
	w.maintain()
	var log bytes.Buffer
	w.log = slog.New(slog.NewTextHandler(&log, nil))
	restart := func(shift time.Duration) {
		t.Helper()
		w.wall = w.wall.Add(shift)
		w.clock = clock.New(clock.Options{Shared: w.dialect.shared, Wall: func() time.Time { return w.wall }, Elapsed: func() time.Duration { return w.elapsed }})
		w.ids = herald.NewIDs(w.clock.Now)
		w.move(0, 0)
		log.Reset()
		if err := w.startClock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, when := range []string{"at the start", "after another start"} {
		restart(map[string]time.Duration{"at the start": year, "after another start": 0}[when])
		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), w.right.Format("2006-01")) || !strings.Contains(log.String(), w.wall.Format("2006-01")) {
			t.Errorf("the log does not name both times: %s", log.String())
		}
		w.expireAll() // makes partitions
		w.publish(when)
		w.maintain()
		w.wantKey("first", first, when)
		if n := w.rows("events"); n < 2 {
			t.Fatalf("%s: %d events are left", when, n)
		}
	}
	w.tryAll(3, "a year ahead")
	w.pass(time.Hour)
	w.maintain()
	restart(-year)
	if !strings.Contains(log.String(), "behind the latest time") {
		t.Errorf("the log does not say that the clock is behind: %s", log.String())
	}
	w.maintain()
	w.pass(22 * time.Second)
	w.tryAll(3, "back in time")
	w.wantAll(3, "back in time")
}

// TestOtherMachinesClocksDoNotCount: a node whose own clock is wrong uses the database's.
func TestOtherMachinesClocksDoNotCount(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Options{Database: postgres.Database(t)})
	e := f.prepare(f.client, false)
	e.IdempotencyKey = "k"
	f.accept(e)
	for _, off := range []time.Duration{25 * time.Hour, 8 * day, year, -year} {
		wrong := func() time.Time { return time.Now().Add(off) }
		other, err := Open(t.Context(), Options{Database: f.options.Database, Box: f.options.Box, Clock: clock.New(clock.Options{Shared: true, Wall: wrong})})
		if err != nil {
			t.Fatal(err)
		}
		for name, step := range map[string]func(context.Context) (int, error){"keys": other.ExpireIdempotencyKeys, "history": other.Expire, "audit": other.ExpireAuditLog} {
			if n, err := step(t.Context()); n != 0 || err != nil {
				t.Errorf("%v off: %d %s deleted, %v", off, n, name, err)
			}
		}
		if at := herald.TimeOf(other.ids.New()); time.Since(at).Abs() > time.Minute {
			t.Errorf("%v off: ids have the time %v", off, at)
		}
		again := f.prepare(f.client, false)
		again.IdempotencyKey = "k"
		if receipts, err := other.Accept([]work.PreparedEvent{again}); err != nil || receipts[0].EventID != e.Event.ID {
			t.Errorf("%v off: the key is forgotten: %v", off, err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLineThatWasMovedTooFarComesBack: history that an older version hid while its clock was
// ahead is shown again.
func TestLineThatWasMovedTooFarComesBack(t *testing.T) { onBothTimed(t, testLineComesBack) }

func testLineComesBack(t *testing.T, w *timed) {
	w.publish("first")
	w.pass(time.Minute)
	w.tallyAll()
	ahead := herald.FirstIDAt(w.right.Add(year))
	w.exec(`UPDATE history SET kept_from = $1, kept_hour = $2, trusted_at = 0`, ahead[:], micros(w.right.Add(year)))
	w.exec(`DELETE FROM tallies`) // it had expired too
	w.maintain()
	w.wantAll(1, "afterwards")
	w.pass(time.Minute)
	w.tallyAll()
	w.wantAll(1, "counted again")
}
