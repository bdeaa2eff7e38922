package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

func TestRetryWaitsUntilItIsDue(t *testing.T) { onBoth(t, testRetryWaitsUntilItIsDue) }

func testRetryWaitsUntilItIsDue(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	f.accept(prepared)
	item := prepared.Alerts[0].Items[0]
	failed := attempt(item, herald.OutcomeRetry, 503)
	if err := f.Record(work.Result{Item: item, Attempt: failed, State: herald.Pending, Delay: time.Hour, Retries: 1}); err != nil {
		t.Fatal(err)
	}
	if got := f.claim(10); len(got) != 0 {
		t.Fatalf("claimed %v an hour early", got)
	}
	lanes, err := f.Lanes(t.Context(), work.Lane{})
	if err != nil {
		t.Fatal(err)
	}
	if len(lanes) != 1 || lanes[0].Origin != origin || lanes[0].DueIn < 59*time.Minute || lanes[0].DueIn > time.Hour {
		t.Errorf("lanes %v, want one that is due in an hour", lanes)
	}
	if _, err := f.write.ExecContext(t.Context(), `UPDATE queue SET due_at = 0`); err != nil {
		t.Fatal(err)
	}
	got := f.claim(10)
	if len(got) != 1 || got[0].Attempt != 2 || got[0].Retries != 1 || string(got[0].Body) != `{"Data":{"syncId":"1"}}` || got[0].RuleID != f.rule.ID {
		t.Errorf("claimed %+v", got)
	}
	if again := f.claim(10); len(again) != 0 {
		t.Errorf("claimed twice: %v", again)
	}
}

func TestClaimTakesTheLongestDueFirst(t *testing.T) { onBoth(t, testClaimTakesTheLongestDueFirst) }

func testClaimTakesTheLongestDueFirst(t *testing.T, f *fixture) {
	var want []uuid.UUID
	for range 5 {
		prepared := f.prepare(f.client, false)
		f.accept(prepared)
		want = append(want, prepared.Alerts[0].Items[0].ID)
	}
	var got []uuid.UUID
	for _, d := range append(f.claim(3), f.claim(3)...) {
		got = append(got, d.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claimed (-want +got):\n%s", diff)
	}
}

func TestHandedBackDeliveryIsClaimedForTheSameAttempt(t *testing.T) {
	onBoth(t, testHandedBackDeliveryIsClaimedForTheSameAttempt)
}

func testHandedBackDeliveryIsClaimedForTheSameAttempt(t *testing.T, f *fixture) {
	f.accept(f.prepare(f.client, false))
	first := f.claim(1)
	if err := f.HandBack(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, f.claim(1)); diff != "" {
		t.Errorf("claimed again (-first +second):\n%s", diff)
	}
}

func TestLanesAreFoundBehindAnyNumberOfOthers(t *testing.T) {
	onBoth(t, testLanesAreFoundBehindAnyNumberOfOthers)
}

func testLanesAreFoundBehindAnyNumberOfOthers(t *testing.T, f *fixture) {
	const clients, lanesEach = 3, 150 // more lanes than one call of Lanes returns; a call also ends within a client
	want := make(map[work.Lane]bool)
	for range clients {
		c := f.newClient("many lanes")
		for n := range lanesEach {
			prepared := f.prepare(c, false)
			item := &prepared.Alerts[0].Items[0]
			item.Origin = fmt.Sprintf("https://r%d.example:443", n)
			want[work.Lane{Client: c.ID, Origin: item.Origin}] = true
			f.accept(prepared)
		}
	}
	got := make(map[work.Lane]bool)
	for after := (work.Lane{}); ; {
		lanes, err := f.Lanes(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lanes {
			if got[l.Lane] {
				t.Fatalf("lane %v was returned twice", l)
			}
			got[l.Lane] = true
		}
		if len(lanes) < f.LanesLimit() {
			break
		}
		after = lanes[len(lanes)-1].Lane
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lanes (-want +got):\n%s", diff)
	}
}

// TestDeliveryThatCannotBeReadFailsAlone: a claim returns it as unreadable and the others with their
// bodies.
func TestDeliveryThatCannotBeReadFailsAlone(t *testing.T) {
	onBoth(t, testDeliveryThatCannotBeReadFailsAlone)
}

func testDeliveryThatCannotBeReadFailsAlone(t *testing.T, f *fixture) {
	f.accept(f.prepare(f.client, false), f.prepare(f.client, false), f.prepare(f.client, false))
	broken := f.prepare(f.client, false)
	f.accept(broken)
	f.accept(f.prepare(f.client, false))
	unread := f.dialect.readBodies
	f.dialect.readBodies = func(ctx context.Context, s *Store, items []work.Item) error {
		for i := range items {
			if items[i].ID == broken.Alerts[0].Items[0].ID {
				return errors.New("the row is damaged")
			}
		}
		return unread(ctx, s, items)
	}
	claimed := f.claim(10)
	if len(claimed) != 5 {
		t.Fatalf("%d deliveries were claimed, want 5", len(claimed))
	}
	for _, d := range claimed {
		isBroken := d.ID == broken.Alerts[0].Items[0].ID
		if (d.Unreadable != "") != isBroken || !isBroken && string(d.Body) != `{"Data":{"syncId":"1"}}` {
			t.Errorf("claimed %+v; the broken one is %v", d, isBroken)
		}
	}
}
