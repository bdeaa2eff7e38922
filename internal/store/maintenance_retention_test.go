package store

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

func (f *fixture) rows(table string) int64 {
	f.t.Helper()
	n, err := first(f.t.Context(), f.read, scanInt, `SELECT count(*) FROM `+table)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fixture) expireAll() {
	f.t.Helper()
	f.uncounted = true
	for {
		n, err := f.Expire(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	if _, err := f.ExpireTallies(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// deliverAll claims every waiting delivery and records it as delivered, at the second attempt.
func (f *fixture) deliverAll() {
	f.t.Helper()
	for items := f.claim(100); len(items) > 0; items = f.claim(100) {
		for _, d := range items {
			if d.Attempt == 1 {
				f.record(failedOnce(d, herald.ReasonStatus, 503))
			} else {
				f.record(reached(d))
			}
		}
	}
}

// TestHistoryExpires: history older than the retention is deleted and in no list. A delivery
// that is still pending is in the list of these, and what belongs to it is not deleted.
func TestHistoryExpires(t *testing.T) {
	onBoth(t, testHistoryExpires)
}

func testHistoryExpires(t *testing.T, f *fixture) {
	now := time.Now()
	f.makeOldPartitions(now.Add(-120 * 24 * time.Hour))
	pending := f.prepareAt(now.Add(-100*24*time.Hour), f.rule.ID)
	gone := []work.PreparedEvent{
		f.prepareAt(now.Add(-119*24*time.Hour), f.rule.ID), f.prepareAt(now.Add(-110*24*time.Hour), f.rule.ID),
	}
	kept := f.prepareAt(now.Add(-80*24*time.Hour), f.rule.ID)
	f.accept(append(gone, kept)...)
	f.deliverAll()
	f.accept(pending)
	f.tallyAll()
	f.expireAll()
	list := func(want int) {
		t.Helper()
		alerts, total, err := f.Alerts(t.Context(), f.client.ID, uuid.Nil, uuid.Nil, listOf(t, query.Alerts(), ""))
		if err != nil || total != want || len(alerts) != want {
			t.Errorf("%d alerts of %d, %v; want %d", len(alerts), total, err, want)
		}
		deliveries, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{Limit: 10})
		if err != nil || len(deliveries) != want {
			t.Errorf("%d deliveries, %v; want %d", len(deliveries), err, want)
		}
		events, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 10})
		if err != nil || len(events) != want {
			t.Errorf("%d events, %v; want %d", len(events), err, want)
		}
	}
	list(1) // what is pending keeps nobody else's history
	state := herald.Pending
	if found, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{State: &state, Limit: 10}); err != nil || len(found) != 1 {
		t.Errorf("%d pending deliveries, %v; want the old one", len(found), err)
	}
	if e, alerts, err := f.Event(t.Context(), f.client.ID, pending.Event.ID); err != nil || len(alerts) != 1 {
		t.Errorf("the event of a pending delivery: %v with %d alerts, %v", e.ID, len(alerts), err)
	}
	for table, want := range map[string]int64{"events": 2, "alerts": 2, "deliveries": 1, "attempts": 1} {
		if n := f.rows(table); n != want {
			t.Errorf("%d rows of %s are left, want %d", n, table, want)
		}
	}
	_, _, err := f.Event(t.Context(), f.client.ID, gone[0].Event.ID)
	wantCode(t, err, herald.CodeNotFound)
	_, err = f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: alertID(gone[0]), Origin: origin, Address: hook})
	wantCode(t, err, herald.CodeNotFound)
	f.deliverAll() // the pending delivery still finds its body
	f.expireAll()
	list(1)
	for _, table := range []string{"events", "alerts", "deliveries", "attempts"} {
		if n := f.rows(table); n != 1 {
			t.Errorf("%d rows of %s are left, want 1", n, table)
		}
	}
	if n := f.rows("tallies"); n != 2 {
		t.Errorf("%d tallies are left, want the rule's and the client's", n)
	}
	if d, attempts := f.delivery(kept.Alerts[0].Items[0].ID); d.State != herald.Delivered || len(attempts) != 2 {
		t.Errorf("the kept delivery is %+v with %d attempts", d, len(attempts))
	}
}

// TestOpenReaderDelaysOnlyDroppingPartitions: while a reader stays open, old partitions are not
// dropped, but events are accepted and read.
func TestOpenReaderDelaysOnlyDroppingPartitions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Options{Database: postgres.Database(t)})
	f.makeOldPartitions(time.Now().Add(-120 * 24 * time.Hour))
	old := f.prepareAt(time.Now().Add(-119*24*time.Hour), f.rule.ID)
	f.accept(old)
	f.deliverAll()
	weeks := f.rows("pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'p'")
	reader, err := f.read.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := first(t.Context(), reader, scanInt, `SELECT count(*) FROM events`); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	f.accept(f.prepare(f.client, true)) // the kept history never begins after the newest event
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	expired := make(chan error)
	go func() {
		_, err := f.Expire(short)
		expired <- err
	}()
	for waiting := true; waiting; {
		select {
		case err := <-expired:
			if err == nil {
				t.Error("the week was dropped under a reader")
			}
			waiting = false
		default:
			f.accept(f.prepare(f.client, true))
			if _, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 10}); err != nil {
				t.Error(err)
			}
		}
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	f.expireAll()
	left := f.rows("pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'p'")
	if left >= weeks {
		t.Errorf("%d partitions are left of %d", left, weeks)
	}
	f.accept(f.prepare(f.client, true))
}
