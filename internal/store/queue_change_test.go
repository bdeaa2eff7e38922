package store

import (
	"errors"
	"sync"
	"testing"

	"herald"
	"herald/internal/work"
)

func TestCancelledDeliveryKeepsTheAttemptThatWasUnderWay(t *testing.T) {
	onBoth(t, testCancelledDeliveryKeepsTheAttemptThatWasUnderWay)
}

func testCancelledDeliveryKeepsTheAttemptThatWasUnderWay(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	f.accept(prepared)
	item := prepared.Alerts[0].Items[0]
	if err := f.CancelDelivery(t.Context(), f.client.ID, item.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.CancelDelivery(t.Context(), f.client.ID, item.ID), herald.CodeConflict)
	wantCode(t, f.CancelDelivery(t.Context(), f.newClient("Other").ID, item.ID), herald.CodeNotFound)
	if err := f.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeDelivered, 200), State: herald.Delivered}); !errors.Is(err, work.ErrNotHeld) {
		t.Errorf("recording: %v, want ErrNotHeld", err)
	}
	d, attempts := f.delivery(item.ID)
	if d.State != herald.Cancelled || d.Reason != herald.ReasonCancelled || len(attempts) != 1 {
		t.Errorf("delivery %+v with %d attempts, want it cancelled with one", d, len(attempts))
	}
}

func TestRedeliveriesAreNumberedOn(t *testing.T) { onBoth(t, testRedeliveriesAreNumberedOn) }

func testRedeliveriesAreNumberedOn(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	f.accept(prepared)
	alert := prepared.Alerts[0].ID
	for n := 1; n < herald.MaxDeliveries; n++ {
		id, err := f.AddDelivery(t.Context(), f.client.ID, work.Redelivery{Repeats: alert, Origin: origin, Address: hook})
		if err != nil || id != herald.DeliveryID(alert, n) {
			t.Fatalf("redelivery %d: %v, %v", n, id, err)
		}
	}
	_, err := f.AddDelivery(t.Context(), f.client.ID, work.Redelivery{Repeats: alert, Origin: origin, Address: hook})
	wantCode(t, err, herald.CodeConflict)
}

func TestRedeliveriesAtOnceAllCount(t *testing.T) { onBoth(t, testRedeliveriesAtOnceAllCount) }

func testRedeliveriesAtOnceAllCount(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	f.accept(prepared)
	const many = 20
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			if _, err := f.AddDelivery(t.Context(), f.client.ID, work.Redelivery{Repeats: prepared.Alerts[0].ID, Origin: origin, Address: hook}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.claim(100); len(got) != many {
		t.Errorf("%d redeliveries, want %d", len(got), many)
	}
}
