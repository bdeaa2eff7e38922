package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	if len(got) != 1 || got[0].Attempt != 2 || got[0].Retries != 1 || string(got[0].Head)+string(got[0].Data) != `{"Data":{"syncId":"1"}` || got[0].RuleID != f.rule.ID {
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

// TestClaimedBodiesAreTheirOwn: all bodies of a claim are read at once, and each delivery gets its own.
func TestClaimedBodiesAreTheirOwn(t *testing.T) { onBoth(t, testClaimedBodiesAreTheirOwn) }

func testClaimedBodiesAreTheirOwn(t *testing.T, f *fixture) {
	want := make(map[uuid.UUID]string)
	for n := range 40 {
		prepared := f.prepareLarge(100+n, 3)
		for i := range prepared.Alerts {
			a := &prepared.Alerts[i]
			a.Head = fmt.Appendf(nil, `{"Head":"%d of %d","Data":`, i, n)
			want[a.Items[0].ID] = string(a.Head) + string(prepared.Event.Data)
		}
		f.accept(prepared)
	}
	got := make(map[uuid.UUID]string)
	for _, d := range f.claim(1000) {
		got[d.ID] = string(d.Head) + string(d.Data)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
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
	id := broken.Alerts[0].Items[0].ID
	readBodies := f.dialect.readBodies
	f.dialect.readBodies = func(ctx context.Context, s *Store, items []work.Item) (map[uuid.UUID]bool, error) {
		if slices.ContainsFunc(items, func(d work.Item) bool { return d.ID == id }) {
			return nil, errors.New("the page of the row is damaged")
		}
		return readBodies(ctx, s, items)
	}
	claimed := f.claim(10)
	if len(claimed) != 5 {
		t.Fatalf("%d deliveries were claimed, want 5", len(claimed))
	}
	for _, d := range claimed {
		isBroken := d.ID == id
		if (d.Unreadable != "") != isBroken || !isBroken && string(d.Head)+string(d.Data) != `{"Data":{"syncId":"1"}` {
			t.Errorf("claimed %+v; the broken one is %v", d, isBroken)
		}
	}
}

// prepareLarge returns an event with data of some bytes, on several rules of one receiver.
func (f *fixture) prepareLarge(size, rules int) work.PreparedEvent {
	prepared := f.prepare(f.client, false)
	prepared.Event.Data = []byte(`{"syncId":"` + strings.Repeat("x", size-len(`{"syncId":""}`)) + `"}`)
	first := prepared.Alerts[0]
	prepared.Alerts = nil
	for n := range rules {
		a := first
		a.ID = herald.AlertID(prepared.Event.ID, n+1)
		item := a.Items[0]
		item.ID = herald.DeliveryID(a.ID, 0)
		a.Items = []work.Item{item}
		prepared.Alerts = append(prepared.Alerts, a)
	}
	return prepared
}

// TestClaimIsBoundedByBytes: what does not fit waits on, and is claimed later in its order.
func TestClaimIsBoundedByBytes(t *testing.T) { onBoth(t, testClaimIsBoundedByBytes) }

func testClaimIsBoundedByBytes(t *testing.T, f *fixture) {
	const size = 100 << 10
	var want []uuid.UUID
	for range 6 {
		prepared := f.prepareLarge(size, 1)
		f.accept(prepared)
		want = append(want, prepared.Alerts[0].Items[0].ID)
	}
	lane := work.Lane{Client: f.client.ID, Origin: origin}
	for _, test := range []struct{ lane, room, want int }{
		{5 * size / 2, plenty, 2}, // the lane's bytes
		{plenty, 5 * size / 2, 2}, // all lanes' bytes
		{1, plenty, 1},            // one is always sent
		{1, 1, 1},                 // even beyond all bytes
	} {
		claimed, err := f.Claim(t.Context(), []work.Claim{{Lane: lane, N: 100, Bytes: test.lane}}, test.room)
		if err != nil {
			t.Fatal(err)
		}
		var got []uuid.UUID
		for _, d := range claimed.Items {
			got = append(got, d.ID)
		}
		if diff := cmp.Diff(want[:test.want], got); diff != "" {
			t.Fatalf("a lane of %d bytes of %d claimed (-want +got):\n%s", test.lane, test.room, diff)
		}
		want = want[test.want:]
		if claimed.Left[lane] != (len(want) > 0) {
			t.Errorf("%d are left, and the lane is said to have some left: %v", len(want), claimed.Left[lane])
		}
	}
}

// TestClaimReadsAnEventsDataOnce: the deliveries of one event share its data in memory.
func TestClaimReadsAnEventsDataOnce(t *testing.T) { onBoth(t, testClaimReadsAnEventsDataOnce) }

func testClaimReadsAnEventsDataOnce(t *testing.T, f *fixture) {
	f.accept(f.prepareLarge(1<<20, 20))
	items := f.claim(100)
	if len(items) != 20 {
		t.Fatalf("claimed %d deliveries, want 20", len(items))
	}
	for _, d := range items {
		if len(d.Data) != 1<<20 || &d.Data[0] != &items[0].Data[0] {
			t.Fatalf("delivery %s has its own data of %d bytes; want 1 MiB that all share", d.ID, len(d.Data))
		}
	}
}

// TestContentThatCannotBeEndedIsNotLost: Claim returns a delivery whose content is missing and whose end
// the database refuses. So the engine postpones it. It is not freed, to be claimed again at once.
func TestContentThatCannotBeEndedIsNotLost(t *testing.T) {
	onBoth(t, testContentThatCannotBeEndedIsNotLost)
}

func testContentThatCannotBeEndedIsNotLost(t *testing.T, f *fixture) {
	good, gone := f.prepare(f.client, false), f.prepare(f.client, false)
	f.accept(good, gone)
	id := gone.Alerts[0].Items[0].ID
	f.exec(`DELETE FROM events WHERE id = $1`, gone.Event.ID[:])
	f.refuseEnds()
	items := f.claim(10)
	if len(items) != 2 {
		t.Fatalf("claimed %d deliveries, want both", len(items))
	}
	for _, d := range items {
		if (d.Unreadable != "") != (d.ID == id) {
			t.Errorf("claimed %+v; the one without content is %s", d, id)
		}
	}
	if again := f.claim(10); len(again) != 0 {
		t.Errorf("%d deliveries can be claimed again at once", len(again))
	}
	if d, _ := f.delivery(id); d.State != herald.Pending || !d.InFlight {
		t.Errorf("the delivery is %+v, want it held", d)
	}
	f.takeEnds()
	if err := f.Postpone(t.Context(), items[slices.IndexFunc(items, func(d work.Item) bool { return d.ID == id })], 0, "later"); err != nil {
		t.Fatal(err)
	}
	if again := f.claim(10); len(again) != 0 {
		t.Errorf("claimed %+v, want it ended", again)
	}
	if d, _ := f.delivery(id); d.State != herald.Failed || d.Reason != herald.ReasonContentMissing {
		t.Errorf("the delivery is %s (%s), want it failed when the database takes its end", d.State, d.Reason)
	}
}

// refuseEnds makes the database refuse every delivery that ends, until takeEnds.
func (f *fixture) refuseEnds() {
	if f.dialect.shared {
		f.exec(`CREATE FUNCTION refuse_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = '22000'; END $$`)
		f.exec(`CREATE TRIGGER refuse_end BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION refuse_end()`)
		return
	}
	f.exec(`CREATE TRIGGER refuse_end BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'poison'); END`)
}

func (f *fixture) takeEnds() {
	if f.dialect.shared {
		f.exec(`DROP TRIGGER refuse_end ON deliveries`)
		return
	}
	f.exec(`DROP TRIGGER refuse_end`)
}
