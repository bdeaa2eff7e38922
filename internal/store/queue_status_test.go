package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

func TestStatusCountsWhatIsPending(t *testing.T) { onBoth(t, testStatusCountsWhatIsPending) }

func testStatusCountsWhatIsPending(t *testing.T, f *fixture) {
	status := func() herald.Status {
		t.Helper()
		s, err := f.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Nodes != 1 || s.Backlog == nil || s.Database == nil || s.Database.Bytes < 4096 || time.Since(s.At).Abs() > time.Minute {
			t.Errorf("status %+v", s)
		}
		return s
	}
	if s := status(); *s.Backlog != (herald.Backlog{}) || len(s.SlowReceivers) > 0 || s.LastBackup != nil {
		t.Errorf("of an empty queue: %+v, %+v", s, s.Backlog)
	}
	// Lanes with 1 to 7 deliveries that have waited for an hour, and one with 9 that have waited for 30 s.
	add := func(lane string, n int, age, dueIn time.Duration, held bool) {
		t.Helper()
		for range n {
			p := f.prepare(f.client, held)
			p.Alerts[0].Items[0].Origin = lane
			f.accept(p)
			id := p.Alerts[0].Items[0].ID
			if _, err := f.write.ExecContext(t.Context(), `UPDATE queue SET made_at = $1, due_at = $2 WHERE id = $3`,
				micros(time.Now().Add(-age)), micros(time.Now().Add(dueIn)), id[:]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := 1; n <= 7; n++ {
		add(fmt.Sprintf("https://slow%d.example", n), n, time.Hour, -time.Duration(n)*time.Minute, false)
	}
	add("https://busy.example", 9, 30*time.Second, -30*time.Second, true)
	add("https://retried.example", 2, 30*time.Second, time.Hour, false)
	s := status()
	b := s.Backlog
	if len(s.Clients) != 1 || s.Clients[0].ClientID != f.client.ID || s.Clients[0].Pending != b.Pending || s.Clients[0].OldestDue == nil || !s.Clients[0].OldestDue.Equal(*b.OldestDue) {
		t.Errorf("by client %+v, want one with all of %+v", s.Clients, b)
	}
	if b.Pending != 28+9+2 || b.Ready != 28 || b.Held != 9 || b.Waiting != 2 || b.AtLeast {
		t.Errorf("backlog %+v", b)
	}
	if b.OldestDue == nil || (time.Since(*b.OldestDue)-7*time.Minute).Abs() > 30*time.Second {
		t.Errorf("the oldest is due since %v, want 7 minutes", b.OldestDue)
	}
	var slow []string
	for _, r := range s.SlowReceivers {
		slow = append(slow, fmt.Sprint(r.Receiver, " ", r.Waiting))
		if r.ClientID != f.client.ID || (time.Since(r.Since)-time.Hour).Abs() > 30*time.Second {
			t.Errorf("slow receiver %+v", r)
		}
	}
	if want := []string{"https://slow7.example 7", "https://slow6.example 6", "https://slow5.example 5", "https://slow4.example 4", "https://slow3.example 3"}; !slices.Equal(slow, want) {
		t.Errorf("slow receivers %v, want %v", slow, want)
	}
	for range 2 {
		if err := f.NoteBackup(t.Context(), operator, false); err != nil {
			t.Fatal(err)
		}
	}
	changes, _, err := f.Changes(t.Context(), uuid.Nil, herald.ChangeFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if s := status(); s.LastBackup == nil || !s.LastBackup.Equal(changes[0].At) {
		t.Errorf("last backup %v, want %v", s.LastBackup, changes[0].At)
	}
}

// TestStatusOfALongQueueIsBounded: the screen is looked at when a queue is long.
func TestStatusOfALongQueueIsBounded(t *testing.T) {
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			s := openBacklog(t, database, 1001, 100)
			s.backlogLimit = 1000
			status, err := s.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if b := status.Backlog; b.Pending != 1000 || !b.AtLeast {
				t.Errorf("backlog %+v", b)
			}
		})
	}
}

func TestOwnerOfEachKindOfID(t *testing.T) { onBoth(t, testOwnerOfEachKindOfID) }

func testOwnerOfEachKindOfID(t *testing.T, f *fixture) {
	p := f.prepare(f.client, true)
	f.accept(p)
	for _, id := range []uuid.UUID{p.Event.ID, p.Alerts[0].ID, p.Alerts[0].Items[0].ID} {
		if owner, err := f.Owner(t.Context(), id); err != nil || owner != f.client.ID {
			t.Errorf("%s belongs to %s, %v; want %s", id, owner, err, f.client.ID)
		}
	}
	for _, id := range []uuid.UUID{uuid.Nil, herald.NewEventID(), f.client.ID} {
		_, err := f.Owner(t.Context(), id)
		wantCode(t, err, herald.CodeNotFound)
	}
}

func TestChangesOfDeliveriesAreAudited(t *testing.T) { onBoth(t, testChangesOfDeliveriesAreAudited) }

func testChangesOfDeliveriesAreAudited(t *testing.T, f *fixture) {
	lost, pending := f.raisedAt(time.Hour, hook), f.raisedAt(time.Minute, hook)
	f.end(lost, herald.Failed, herald.ReasonStatus)
	again, err := f.AddDelivery(t.Context(), operator, f.client.ID, work.Redelivery{Repeats: lost.ID, Origin: origin, Address: hook})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CancelDelivery(t.Context(), operator, f.client.ID, again); err != nil {
		t.Fatal(err)
	}
	byKey := herald.Caller{Key: herald.Key{ID: uuid.New(), ClientID: f.client.ID}}
	if err := f.CancelDelivery(t.Context(), byKey, f.client.ID, pending.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.CancelDelivery(t.Context(), operator, f.client.ID, pending.ID), herald.CodeConflict) // changes nothing, says nothing
	other := f.raisedAt(2*time.Hour, hook)
	f.end(other, herald.Failed, herald.ReasonStatus)
	if n, err := f.Recover(t.Context(), operator, f.client.ID, []work.Redelivery{{Repeats: other.ID, Origin: origin, Address: hook}}); n != 1 || err != nil {
		t.Fatalf("recovered %d, %v", n, err)
	}
	if n, err := f.Recover(t.Context(), operator, f.client.ID, []work.Redelivery{{Repeats: other.ID, Origin: origin, Address: hook}}); n != 0 || err != nil {
		t.Fatalf("recovered %d a second time, %v", n, err)
	}
	changes, _, err := f.Changes(t.Context(), f.client.ID, herald.ChangeFilter{Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, c := range changes {
		said = append(said, fmt.Sprint(c.Action, " ", c.Subject, " by ", c.Actor, " ", string(c.After)))
	}
	recovered := herald.DeliveryID(herald.AlertOf(other.ID), 1)
	want := []string{
		fmt.Sprintf(`deliveries.recovered %s by operator {"deliveries":1,"last":"%[1]s"}`, recovered),
		fmt.Sprintf(`delivery.cancelled %s by apiKey {"receiver":"%s"}`, pending.ID, hook),
		fmt.Sprintf(`delivery.cancelled %s by operator {"receiver":"%s"}`, again, hook),
		fmt.Sprintf(`delivery.redelivered %s by operator {"receiver":"%s","repeats":"%s"}`, again, hook, lost.ID),
	}
	if !slices.Equal(said, want) {
		t.Errorf("the audit log has\n%q\nwant\n%q", said, want)
	}
}
