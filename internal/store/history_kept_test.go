package store

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// TestMissingContentFailsAlone: a delivery whose event or alert is gone fails, and says so. The
// others of its claim are made, also one whose event has no data.
func TestMissingContentFailsAlone(t *testing.T) { onBoth(t, testMissingContentFailsAlone) }

func testMissingContentFailsAlone(t *testing.T, f *fixture) {
	good, noEvent, noAlert := f.prepare(f.client, false), f.prepare(f.client, false), f.prepare(f.client, false)
	noData := f.prepare(f.client, false)
	noData.Event.Data = nil
	f.accept(good, noData, noEvent, noAlert)
	for text, id := range map[string]uuid.UUID{`DELETE FROM events WHERE id = $1`: noEvent.Event.ID, `DELETE FROM alerts WHERE id = $1`: alertID(noAlert)} {
		if _, err := f.write.ExecContext(t.Context(), text, id[:]); err != nil {
			t.Fatal(err)
		}
	}
	items := f.claim(10)
	if len(items) != 2 {
		t.Fatalf("claimed %d deliveries, want the good ones", len(items))
	}
	for _, d := range items {
		isGood, isBare := d.ID == good.Alerts[0].Items[0].ID, d.ID == noData.Alerts[0].Items[0].ID
		if !isGood && !isBare || d.Head == nil || (d.Data == nil) != isBare {
			t.Errorf("claimed %+v, want a good one with its body", d)
		}
	}
	for _, e := range []work.PreparedEvent{noEvent, noAlert} {
		if d, _ := f.delivery(e.Alerts[0].Items[0].ID); d.State != herald.Failed || d.Reason != herald.ReasonContentMissing {
			t.Errorf("delivery %+v, want it failed with %s", d, herald.ReasonContentMissing)
		}
	}
	state := herald.Failed
	if found, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{State: &state, Limit: 10}); err != nil || len(found) != 2 {
		t.Errorf("%d failed deliveries in the list, %v; want 2", len(found), err)
	}
	if n := f.rows("queue"); n != 2 {
		t.Errorf("%d rows are in the queue, want 2", n)
	}
}

// TestPendingWithoutPartitionEnds: on PostgreSQL a delivery can end whose week's partition is
// gone, after the service has started or maintained the partitions.
func TestPendingWithoutPartitionEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Options{Database: postgres.Database(t)})
	old := time.Now().Add(-30 * day)
	f.makeOldPartitions(old)
	e := f.prepareAt(old, f.rule.ID)
	f.accept(e)
	for table := range partitioned {
		p := partition{table, old.UTC().Truncate(week)}
		if err := p.drop(t.Context(), f.write, true, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if items := f.claim(10); len(items) != 0 {
		t.Errorf("claimed %d deliveries without a body", len(items))
	}
	if d, _ := f.delivery(e.Alerts[0].Items[0].ID); d.State != herald.Failed {
		t.Errorf("delivery %+v, want it failed", d)
	}
}

// TestPendingKeepsOnlyItsOwn: an old pending delivery keeps its event, its alert and its
// attempts, and not what others have in the same week.
func TestPendingKeepsOnlyItsOwn(t *testing.T) { onBoth(t, testPendingKeepsOnlyItsOwn) }

func testPendingKeepsOnlyItsOwn(t *testing.T, f *fixture) {
	f.uncounted = true
	old := time.Now().Add(-118 * day)
	f.makeOldPartitions(old)
	var ended []work.PreparedEvent
	for n := range 5 {
		ended = append(ended, f.prepareAt(old.Add(time.Duration(n)*time.Minute), f.rule.ID))
	}
	f.accept(ended...)
	f.deliverAll()
	pending := f.prepareAt(old.Add(2*time.Minute+time.Second), f.rule.ID)
	f.accept(pending, f.prepareAt(time.Now().Add(-time.Minute), f.rule.ID))
	d := f.claim(1)
	if len(d) != 1 || d[0].ID != pending.Alerts[0].Items[0].ID {
		t.Fatalf("claimed %v, want the old delivery", d)
	}
	if err := f.Record(work.Result{Item: d[0], Attempt: attempt(d[0], herald.OutcomeRetry, 503), State: herald.Pending, Retries: 1}); err != nil {
		t.Fatal(err)
	}
	f.expireAll()
	for table, want := range map[string]int64{"events": 2, "alerts": 2, "deliveries": 0, "attempts": 1} {
		if n := f.rows(table); n != want {
			t.Errorf("%d rows of %s are left, want %d", n, table, want)
		}
	}
	f.deliverAll()
	f.expireAll()
	for table, want := range map[string]int64{"events": 1, "alerts": 1, "deliveries": 1, "attempts": 1} {
		if n := f.rows(table); n != want {
			t.Errorf("%d rows of %s are left in the end, want %d", n, table, want)
		}
	}
}

// TestPageIsOfOneSnapshot: alerts that are counted or committed between the statements of a
// list do not move its pages.
func TestPageIsOfOneSnapshot(t *testing.T) { onBoth(t, testPageIsOfOneSnapshot) }

func testPageIsOfOneSnapshot(t *testing.T, f *fixture) {
	older := time.Now().UTC().Truncate(time.Hour).Add(-5 * time.Hour)
	f.makeOldPartitions(older)
	raise := func(hour time.Time, n int) (events []work.PreparedEvent) {
		for i := range n {
			events = append(events, f.prepareAt(hour.Add(time.Duration(i)*time.Millisecond), f.rule.ID))
		}
		f.accept(events...)
		return events
	}
	const newer, before = 900, 200 // alerts of the newer hour, and of the older one before the page
	want := raise(older, 400)[400-1-before]
	raise(older.Add(time.Hour), newer)
	f.tallyAll()
	l := listOf(t, query.Alerts(), "orderBy=-id&pageSize=100&page=12")
	if l.Offset() != newer+before || l.Offset() <= maxSkip {
		t.Fatalf("the page begins at %d", l.Offset())
	}
	err := f.inSnapshot(t.Context(), func(tx *sql.Tx) error {
		q := search{client: f.client.ID, span: span{uuid.Nil, lastID}}
		count, err := countAlerts(t.Context(), tx, q)
		if err != nil {
			return err
		}
		raise(older.Add(time.Hour), 50) // late: their batch adds them to the tally
		alerts, total, err := f.pageByTallies(t.Context(), tx, q, l, count)
		if err == nil && (total != newer+400 || len(alerts) != 100 || alerts[0].ID != alertID(want)) {
			err = fmt.Errorf("a page of %d alerts of %d, and it begins in the wrong place", len(alerts), total)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestStoredTimesOutsideAreShown: a time that JSON cannot have is shown as the nearest that it can.
func TestStoredTimesOutsideAreShown(t *testing.T) { onBoth(t, testStoredTimesOutsideAreShown) }

func testStoredTimesOutsideAreShown(t *testing.T, f *fixture) {
	early, late := f.prepare(f.client, false), f.prepare(f.client, false)
	early.Event.OccurredAt, late.Event.OccurredAt = time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	f.accept(early, late)
	events, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 10})
	if err != nil || len(events) != 2 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if !events[1].OccurredAt.Equal(herald.MinTime) || !events[0].OccurredAt.Equal(herald.MaxTime) {
		t.Errorf("shown as %v and %v", events[1].OccurredAt, events[0].OccurredAt)
	}
}
