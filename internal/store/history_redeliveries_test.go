package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// raisedAt accepts an event that was raised some time ago, and returns its only delivery.
func (f *fixture) raisedAt(ago time.Duration, address string) work.Item {
	f.t.Helper()
	p := f.prepare(f.client, true)
	at := herald.FirstIDAt(time.Now().Add(-ago))
	move := func(id *uuid.UUID) { copy(id[:8], at[:8]) }
	move(&p.Event.ID)
	move(&p.Alerts[0].ID)
	item := &p.Alerts[0].Items[0]
	move(&item.ID)
	item.Address = address
	f.accept(p)
	return *item
}

// end ends a delivery with one attempt.
func (f *fixture) end(item work.Item, state herald.State, reason herald.Reason) {
	f.t.Helper()
	outcome, status := herald.OutcomeRejected, 500
	if state == herald.Delivered {
		outcome, status = herald.OutcomeDelivered, 204
	}
	a := attempt(item, outcome, status)
	a.Reason = reason
	if err := f.Record(work.Result{Item: item, Attempt: a, State: state, Reason: reason}); err != nil {
		f.t.Fatal(err)
	}
}

// redeliver makes another delivery of one that has ended, and claims it.
func (f *fixture) redeliver(id uuid.UUID) work.Item {
	f.t.Helper()
	d, _ := f.delivery(id)
	lane := origin
	if d.Address == box {
		lane = herald.MailScheme
	}
	again, err := f.AddDelivery(f.t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: id, Origin: lane, Address: d.Address})
	if err != nil {
		f.t.Fatal(err)
	}
	claimed, err := f.Claim(f.t.Context(), []work.Claim{{Lane: work.Lane{Client: f.client.ID, Origin: lane}, N: 100, Bytes: plenty}}, plenty)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, item := range claimed.Items {
		if item.ID == again {
			return item
		}
	}
	f.t.Fatalf("the redelivery %s was not claimed", again)
	return work.Item{}
}

const box = "mailto:ann@acme.example"

// pages returns the ids of a list, page by page.
func (f *fixture) pages(filter herald.DeliveryFilter) [][]uuid.UUID {
	f.t.Helper()
	var pages [][]uuid.UUID
	for {
		found, next, err := f.Deliveries(f.t.Context(), f.client.ID, filter)
		if err != nil {
			f.t.Fatal(err)
		}
		var ids []uuid.UUID
		for _, d := range found {
			ids = append(ids, d.ID)
		}
		pages = append(pages, ids)
		if next == uuid.Nil && len(found) == filter.Limit {
			next = ids[len(ids)-1]
		}
		if next == uuid.Nil || len(pages) > 5000 {
			return pages
		}
		filter.After = next
	}
}

func TestRedeliveryIsListedByItsOwnTime(t *testing.T) { onBoth(t, testRedeliveryIsListedByItsOwnTime) }

func testRedeliveryIsListedByItsOwnTime(t *testing.T, f *fixture) {
	oldest := f.raisedAt(3*time.Hour, hook)
	old := f.raisedAt(2*time.Hour, hook)
	recent := f.raisedAt(time.Hour, hook)
	for _, item := range []work.Item{oldest, old, recent} {
		f.end(item, herald.Failed, herald.ReasonStatus)
	}
	first := f.redeliver(old.ID)
	second := f.redeliver(oldest.ID)
	f.end(second, herald.Failed, herald.ReasonStatus)
	failed, pending := herald.Failed, herald.Pending
	in := []uuid.UUID{second.ID, first.ID, recent.ID, old.ID, oldest.ID}
	for name, test := range map[string]struct {
		filter herald.DeliveryFilter
		want   []uuid.UUID
	}{
		"all":                  {herald.DeliveryFilter{}, in},
		"failed":               {herald.DeliveryFilter{State: &failed}, []uuid.UUID{second.ID, recent.ID, old.ID, oldest.ID}},
		"pending":              {herald.DeliveryFilter{State: &pending}, []uuid.UUID{first.ID}},
		"since":                {herald.DeliveryFilter{Since: time.Now().Add(-30 * time.Minute)}, in[:2]},
		"since, failed":        {herald.DeliveryFilter{Since: time.Now().Add(-30 * time.Minute), State: &failed}, in[:1]},
		"until":                {herald.DeliveryFilter{Until: time.Now().Add(-30 * time.Minute)}, in[2:]},
		"since and until":      {herald.DeliveryFilter{Since: time.Now().Add(-150 * time.Minute), Until: time.Now().Add(-30 * time.Minute)}, in[2:4]},
		"one alert":            {herald.DeliveryFilter{Alert: herald.AlertOf(old.ID)}, []uuid.UUID{first.ID, old.ID}},
		"receiver":             {herald.DeliveryFilter{Receiver: hook}, in},
		"another receiver":     {herald.DeliveryFilter{Receiver: hook + "x"}, nil},
		"type":                 {herald.DeliveryFilter{Type: "Sync Failed"}, in},
		"another type":         {herald.DeliveryFilter{Type: "Sync Completed"}, nil},
		"another company":      {herald.DeliveryFilter{Company: uuid.New()}, nil},
		"reason":               {herald.DeliveryFilter{Reason: herald.ReasonStatus}, []uuid.UUID{second.ID, recent.ID, old.ID, oldest.ID}},
		"another reason":       {herald.DeliveryFilter{Reason: herald.ReasonTimeout}, nil},
		"another client's key": {herald.DeliveryFilter{Alert: uuid.New()}, nil},
	} {
		for limit := 1; limit <= len(in)+1; limit++ {
			test.filter.Limit = limit
			if diff := cmp.Diff(test.want, slices.Concat(f.pages(test.filter)...)); diff != "" {
				t.Errorf("%s, pages of %d (-want +got):\n%s", name, limit, diff)
			}
		}
	}
	if found, _, err := f.Deliveries(t.Context(), f.newClient("Other").ID, herald.DeliveryFilter{Limit: 9}); err != nil || len(found) != 0 {
		t.Errorf("another client is shown %v, %v", found, err)
	}
}

// TestListOfManyRedeliveriesIsWhole: a search that is split neither leaves out nor repeats a delivery.
func TestListOfManyRedeliveriesIsWhole(t *testing.T) { onBoth(t, testListOfManyRedeliveriesIsWhole) }

func testListOfManyRedeliveriesIsWhole(t *testing.T, f *fixture) {
	f.searchLimit = 4 // rows of a part
	want := make(map[uuid.UUID]bool)
	for i := range 12 {
		item := f.raisedAt(time.Duration(i+1)*time.Minute, hook)
		f.end(item, herald.Failed, herald.ReasonStatus)
		want[item.ID] = true
		if i%2 == 0 {
			again := f.redeliver(item.ID)
			f.end(again, herald.Failed, herald.ReasonStatus)
			want[again.ID] = true
		}
	}
	failed := herald.Failed
	for name, filter := range map[string]herald.DeliveryFilter{"all": {}, "failed": {State: &failed}} {
		for _, limit := range []int{1, 3, 5, 30} {
			filter.Limit = limit
			all := slices.Concat(f.pages(filter)...)
			got := make(map[uuid.UUID]bool)
			for _, id := range all {
				got[id] = true
			}
			if diff := cmp.Diff(want, got); diff != "" || len(all) != len(want) {
				t.Errorf("%s, pages of %d: %d deliveries, want %d (-want +got):\n%s", name, limit, len(all), len(want), diff)
			}
		}
	}
}

func TestDeliverySaysWhatItRepeats(t *testing.T) { onBoth(t, testDeliverySaysWhatItRepeats) }

func testDeliverySaysWhatItRepeats(t *testing.T, f *fixture) {
	item := f.raisedAt(time.Hour, hook)
	f.end(item, herald.Failed, herald.ReasonStatus)
	before := time.Now().Add(-time.Minute) // the database's clock may differ a little
	again := f.redeliver(item.ID)
	f.end(again, herald.Delivered, "")
	last := f.redeliver(item.ID)
	check := func(d herald.Delivery) {
		t.Helper()
		want := map[uuid.UUID][2]uuid.UUID{item.ID: {uuid.Nil, last.ID}, again.ID: {item.ID, uuid.Nil}, last.ID: {item.ID, uuid.Nil}}[d.ID]
		if d.Repeats != want[0] || d.RepeatedBy != want[1] {
			t.Errorf("%s repeats %s and is repeated by %s, want %v", d.ID, d.Repeats, d.RepeatedBy, want)
		}
		if made := d.ID != item.ID; made != d.MadeAt.After(before) || made == d.MadeAt.IsZero() {
			t.Errorf("%s was made at %v", d.ID, d.MadeAt)
		}
	}
	found, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{Limit: 10})
	if err != nil || len(found) != 3 {
		t.Fatalf("found %v, %v", found, err)
	}
	for _, d := range found {
		check(d)
		one, _ := f.delivery(d.ID)
		check(one)
	}
}

func TestWaitingDeliveryShowsItsLastAttempt(t *testing.T) {
	onBoth(t, testWaitingDeliveryShowsItsLastAttempt)
}

func testWaitingDeliveryShowsItsLastAttempt(t *testing.T, f *fixture) {
	item := f.raisedAt(time.Minute, hook)
	for _, status := range []int{503, 429} {
		a := attempt(item, herald.OutcomeRetry, status)
		a.Reason = herald.ReasonStatus
		if err := f.Record(work.Result{Item: item, Attempt: a, State: herald.Pending}); err != nil {
			t.Fatal(err)
		}
		items := f.claim(1)
		if len(items) != 1 {
			t.Fatalf("claimed %d deliveries after a %d", len(items), status)
		}
		item = items[0]
	}
	fresh := f.raisedAt(time.Second, hook)
	found, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{Limit: 10})
	if err != nil || len(found) != 2 {
		t.Fatalf("found %v, %v", found, err)
	}
	for _, d := range found {
		got := fmt.Sprintf("%v %d %d %s", d.State, d.AttemptCount, d.LastStatus, d.LastReason)
		if want := map[uuid.UUID]string{item.ID: "pending 2 429 status", fresh.ID: "pending 0 0 "}[d.ID]; got != want {
			t.Errorf("%s is listed as %q, want %q", d.ID, got, want)
		}
	}
}

// TestRedeliveriesExpireWithTheirHistory: nothing is left of what is not shown any more. What is pending
// is shown, whatever its age.
func TestRedeliveriesExpireWithTheirHistory(t *testing.T) {
	onBoth(t, testRedeliveriesExpireWithTheirHistory)
}

func testRedeliveriesExpireWithTheirHistory(t *testing.T, f *fixture) {
	var made []uuid.UUID
	for _, ago := range []time.Duration{2 * time.Hour, time.Minute} {
		item := f.raisedAt(ago, hook)
		f.end(item, herald.Failed, herald.ReasonStatus)
		again := f.redeliver(item.ID)
		f.end(again, herald.Delivered, "")
		made = append(made, again.ID)
	}
	lost := f.raisedAt(3*time.Hour, hook)
	f.end(lost, herald.Failed, herald.ReasonStatus)
	pending := f.redeliver(lost.ID).ID
	cut := herald.FirstIDAt(time.Now().Add(-time.Hour))
	if _, err := f.write.ExecContext(t.Context(), `UPDATE history SET kept_from = $1`, cut[:]); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ExpireRedeliveries(t.Context()); n != 1 || err != nil {
		t.Errorf("deleted %d, %v; want the one whose alert is too old", n, err)
	}
	left, err := list(t.Context(), f.read, scanID, `SELECT id FROM redeliveries ORDER BY id`)
	if want := []uuid.UUID{pending, made[1]}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left %v, %v; want %v", left, err, want)
	}
	state := herald.Pending
	found, _, err := f.Deliveries(t.Context(), f.client.ID, herald.DeliveryFilter{State: &state, Limit: 10})
	if err != nil || len(found) != 1 || found[0].ID != pending || found[0].Repeats != lost.ID {
		t.Errorf("pending are %+v, %v; want %s", found, err, pending)
	}
}

func TestBodyOfADelivery(t *testing.T) { onBoth(t, testBodyOfADelivery) }

func testBodyOfADelivery(t *testing.T, f *fixture) {
	item := f.raisedAt(time.Minute, hook)
	f.end(item, herald.Failed, herald.ReasonStatus)
	again := f.redeliver(item.ID)
	start, data := again.Body()
	sent := string(start) + string(data) + "}"
	for _, id := range []uuid.UUID{item.ID, again.ID} {
		if body, err := f.DeliveryBody(t.Context(), f.client.ID, id); err != nil || string(body) != `{"Data":{"syncId":"1"}}` || string(body) != sent {
			t.Errorf("the body of %s is %s, %v; want %s", id, body, err, sent)
		}
	}
	_, err := f.DeliveryBody(t.Context(), f.newClient("Other").ID, item.ID)
	wantCode(t, err, herald.CodeNotFound)
}

func TestUnrepeatedDeliveriesAreThoseStillLost(t *testing.T) {
	onBoth(t, testUnrepeatedDeliveriesAreThoseStillLost)
}

func testUnrepeatedDeliveriesAreThoseStillLost(t *testing.T, f *fixture) {
	fail := func(item work.Item) uuid.UUID { f.end(item, herald.Failed, herald.ReasonStatus); return item.ID }
	var want []uuid.UUID // oldest first
	want = append(want, fail(f.raisedAt(60*time.Minute, hook)))

	delivered := fail(f.raisedAt(50*time.Minute, hook))
	f.end(f.redeliver(delivered), herald.Delivered, "")

	f.redeliver(fail(f.raisedAt(40*time.Minute, hook))) // is pending

	cancelled := f.redeliver(fail(f.raisedAt(30*time.Minute, hook)))
	if err := f.CancelDelivery(t.Context(), herald.Caller{}, f.client.ID, cancelled.ID); err != nil {
		t.Fatal(err)
	}

	f.end(f.raisedAt(25*time.Minute, hook), herald.Delivered, "")

	// Its webhook has moved: a delivery to the new address is one to the same receiver.
	moved := fail(f.raisedAt(20*time.Minute, hook))
	if _, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: moved, Origin: origin, Address: hook + "/moved"}); err != nil {
		t.Fatal(err)
	}

	// A mailbox of the same alert is another receiver.
	both := fail(f.raisedAt(10*time.Minute, hook))
	if _, err := f.AddDelivery(t.Context(), herald.Caller{}, f.client.ID, work.Redelivery{Repeats: both, Origin: herald.MailScheme, Address: box}); err != nil {
		t.Fatal(err)
	}
	want = append(want, both)

	again := f.redeliver(fail(f.raisedAt(5*time.Minute, hook)))
	want = append(want, fail(again)) // of two failures the last
	slices.Reverse(want)

	failed := herald.Failed
	filter := herald.DeliveryFilter{State: &failed, Unrepeated: true, Limit: 50}
	if diff := cmp.Diff(want, slices.Concat(f.pages(filter)...)); diff != "" {
		t.Errorf("lost deliveries (-want +got):\n%s", diff)
	}

	// What is asked for twice, or by two at once, is made once.
	all := []uuid.UUID{delivered, cancelled.ID, moved, again.ID}
	all = append(all, want...)
	var redeliveries []work.Redelivery
	for _, id := range all {
		redeliveries = append(redeliveries, work.Redelivery{Repeats: id, Origin: origin, Address: hook})
	}
	made := make(chan int)
	for range 2 {
		go func() {
			n, err := f.Recover(t.Context(), herald.Caller{}, f.client.ID, redeliveries)
			if err != nil {
				t.Error(err)
			}
			made <- n
		}()
	}
	if n := <-made + <-made; n != len(want) {
		t.Errorf("two calls made %d deliveries, want %d", n, len(want))
	}
	if left := slices.Concat(f.pages(filter)...); len(left) != 0 {
		t.Errorf("afterwards %v are lost", left)
	}
}
