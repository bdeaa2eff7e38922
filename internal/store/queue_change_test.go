package store

import (
	"errors"
	"sync"
	"testing"
	"time"

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
	if err := f.CancelDelivery(t.Context(), herald.Caller{}, f.client.ID, item.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.CancelDelivery(t.Context(), herald.Caller{}, f.client.ID, item.ID), herald.CodeConflict)
	wantCode(t, f.CancelDelivery(t.Context(), herald.Caller{}, f.newClient("Other").ID, item.ID), herald.CodeNotFound)
	if err := f.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeDelivered, 200), State: herald.Delivered}); !errors.Is(err, work.ErrNotHeld) {
		t.Errorf("recording: %v, want ErrNotHeld", err)
	}
	d, attempts := f.delivery(item.ID)
	if d.State != herald.Cancelled || d.Reason != herald.ReasonCancelled || len(attempts) != 1 {
		t.Errorf("delivery %+v with %d attempts, want it cancelled with one", d, len(attempts))
	}
}

func TestRetryIsMadeNow(t *testing.T) { onBoth(t, testRetryIsMadeNow) }

func testRetryIsMadeNow(t *testing.T, f *fixture) {
	prepared, mail := f.prepare(f.client, true), f.prepare(f.client, false)
	mail.Alerts[0].Items[0].Origin, mail.Alerts[0].Items[0].Address = herald.MailScheme, herald.MailScheme+"ann@acme.test"
	f.accept(prepared, mail)
	item := prepared.Alerts[0].Items[0]
	if earlier, err := f.RetryDelivery(t.Context(), herald.Caller{}, f.client.ID, item.ID); earlier || err != nil {
		t.Errorf("of an attempt that is being made: %v, %v", earlier, err)
	}
	retry := work.Result{Item: item, Attempt: attempt(item, herald.OutcomeRetry, 503), State: herald.Pending, Delay: time.Hour, Retries: 1}
	if err := f.Record(retry); err != nil {
		t.Fatal(err)
	}
	if got := f.claim(1); len(got) != 0 {
		t.Fatalf("claimed %v before it was due", got)
	}
	_, err := f.RetryDelivery(t.Context(), herald.Caller{}, f.newClient("Other").ID, item.ID)
	wantCode(t, err, herald.CodeNotFound)
	if earlier, err := f.RetryDelivery(t.Context(), herald.Caller{}, f.client.ID, item.ID); !earlier || err != nil {
		t.Errorf("RetryDelivery = %v, %v, want it made due", earlier, err)
	}
	if got := f.claim(1); len(got) != 1 || got[0].ID != item.ID || got[0].Attempt != 2 {
		t.Errorf("claimed %+v, want the second attempt", got)
	}
	_, err = f.RetryDelivery(t.Context(), herald.Caller{}, f.client.ID, mail.Alerts[0].Items[0].ID)
	wantCode(t, err, herald.CodeConflict)
	if err := f.CancelDelivery(t.Context(), herald.Caller{}, f.client.ID, item.ID); err != nil {
		t.Fatal(err)
	}
	_, err = f.RetryDelivery(t.Context(), herald.Caller{}, f.client.ID, item.ID)
	wantCode(t, err, herald.CodeConflict)
}

func TestRedeliveriesAreNumberedOn(t *testing.T) { onBoth(t, testRedeliveriesAreNumberedOn) }

func testRedeliveriesAreNumberedOn(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	f.accept(prepared)
	alert := prepared.Alerts[0].ID
	for n := 1; n < herald.MaxDeliveries; n++ {
		id, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: alert, Origin: origin, Address: hook})
		if err != nil || id != herald.DeliveryID(alert, n) {
			t.Fatalf("redelivery %d: %v, %v", n, id, err)
		}
	}
	_, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: alert, Origin: origin, Address: hook})
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
			if _, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: prepared.Alerts[0].ID, Origin: origin, Address: hook}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.claim(100); len(got) != many {
		t.Errorf("%d redeliveries, want %d", len(got), many)
	}
}

// TestPostponedDeliveryWaitsAndSaysWhy: a postponed delivery is held by nobody, is not due before its delay
// is over, and shows its reason until it is claimed.
func TestPostponedDeliveryWaitsAndSaysWhy(t *testing.T) {
	onBoth(t, testPostponedDeliveryWaitsAndSaysWhy)
}

func testPostponedDeliveryWaitsAndSaysWhy(t *testing.T, f *fixture) {
	e := f.prepare(f.client, true)
	f.accept(e)
	d := e.Alerts[0].Items[0]
	const why = "this service could not read the client: ü"
	if err := f.Postpone(t.Context(), d, time.Hour, why); err != nil {
		t.Fatal(err)
	}
	got, attempts := f.delivery(d.ID)
	if wait := time.Until(got.NextAttemptAt); got.Waiting != why || got.InFlight || got.State != herald.Pending || len(attempts) != 0 || wait < 50*time.Minute {
		t.Errorf("%+v with %d attempts, due in %v", got, len(attempts), wait)
	}
	pending := herald.Pending
	for _, state := range []*herald.State{nil, &pending} {
		listed, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{State: state, Limit: 10})
		if err != nil || len(listed) != 1 || listed[0].Waiting != why {
			t.Errorf("listed %+v, %v", listed, err)
		}
	}
	if claimed := f.claim(10); len(claimed) != 0 {
		t.Errorf("%d deliveries were claimed before they were due", len(claimed))
	}
	if err := f.Postpone(t.Context(), d, 0, why); !errors.Is(err, work.ErrNotHeld) {
		t.Errorf("postponed again: %v, want work.ErrNotHeld", err)
	}
	if _, err := f.write.ExecContext(t.Context(), `UPDATE queue SET due_at = 0`); err != nil {
		t.Fatal(err)
	}
	claimed := f.claim(10)
	if len(claimed) != 1 || claimed[0].Attempt != d.Attempt || claimed[0].Retries != d.Retries {
		t.Fatalf("claimed %+v", claimed)
	}
	if got, _ := f.delivery(d.ID); got.Waiting != "" || !got.InFlight {
		t.Errorf("after the claim: %+v", got)
	}
}
