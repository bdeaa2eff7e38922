package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/secret"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// fixture is a store with one client that has one rule.
type fixture struct {
	*Store
	t      testing.TB
	client herald.Client
	rule   herald.Rule
}

const (
	hook   = "https://receiver.example/hook"
	origin = "https://receiver.example:443"
)

// onBoth runs a test on a fresh database of each kind.
func onBoth(t *testing.T, test func(*testing.T, *fixture)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newFixture(t, Options{Dir: t.TempDir()}))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newFixture(t, Options{Database: postgres.Database(t)}))
	})
}

func TestMain(m *testing.M) { postgres.Main(m) }

func newFixture(t *testing.T, o Options) *fixture {
	t.Helper()
	f := &fixture{t: t}
	o.Box = testBox(t)
	var err error
	if f.Store, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() }) //nolint:errcheck // a test may have closed it
	if err := f.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.client = f.newClient("Acme")
	f.rule = f.newRule(f.client)
	return f
}

func testBox(t testing.TB) *secret.Box {
	t.Helper()
	keys, err := secret.LoadOrMakeKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	return secret.NewBox(keys...)
}

// operator makes changes that it does not matter who makes.
var operator = herald.Caller{Operator: true}

func (f *fixture) newClient(name string) herald.Client {
	f.t.Helper()
	c, _, err := f.CreateClient(f.t.Context(), operator, name, "")
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fixture) newRule(c herald.Client) herald.Rule {
	f.t.Helper()
	r := herald.Rule{ID: herald.NewID(), ClientID: c.ID, Type: "Sync Failed", PostedType: "sync-failed", Webhook: hook}
	if err := f.CreateRule(f.t.Context(), operator, r); err != nil {
		f.t.Fatal(err)
	}
	return r
}

// entry makes an entry that raises one alert with one delivery.
func (f *fixture) entry(c herald.Client, held bool) work.PreparedEvent {
	f.t.Helper()
	version, err := f.Version(f.t.Context(), c.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.entryAt(c, version, held)
}

func (f *fixture) entryAt(c herald.Client, version int64, held bool) work.PreparedEvent {
	event := herald.Event{ID: herald.NewEventID(), ClientID: c.ID, Type: "Sync Failed", OccurredAt: time.Now(), Data: []byte(`{"syncId":"1"}`)}
	alert := herald.AlertID(event.ID, 1)
	return work.PreparedEvent{Event: event, ClientVersion: version, Alerts: []work.PreparedAlert{{
		ID: alert, RuleID: f.rule.ID, Message: "Sync failed", Head: []byte(`{"Data":`),
		Items: []work.Item{{
			ID: herald.DeliveryID(alert, 0), ClientID: c.ID, RuleID: f.rule.ID, Origin: origin, Address: hook,
			Attempt: 1, MadeAt: herald.TimeOf(alert), Held: held,
		}},
	}}}
}

func (f *fixture) accept(entries ...work.PreparedEvent) []herald.Receipt {
	f.t.Helper()
	receipts, err := f.Accept(entries)
	if err != nil {
		f.t.Fatal(err)
	}
	return receipts
}

func (f *fixture) claim(n int) []work.Item {
	f.t.Helper()
	due, err := f.Claim(f.t.Context(), []work.Claim{{Lane: work.Lane{Client: f.client.ID, Origin: origin}, N: n}})
	if err != nil {
		f.t.Fatal(err)
	}
	return due
}

func (f *fixture) delivery(id uuid.UUID) (herald.Delivery, []herald.Attempt) {
	f.t.Helper()
	d, attempts, err := f.Delivery(f.t.Context(), f.client.ID, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return d, attempts
}

func wantCode(t *testing.T, err error, code herald.Code) {
	t.Helper()
	if got := herald.CodeOf(err); got != code {
		t.Fatalf("error %v has code %q, want %q", err, got, code)
	}
}

func attempt(d work.Item, outcome herald.Outcome, status int) *herald.Attempt {
	return &herald.Attempt{DeliveryID: d.ID, N: d.Attempt, At: time.Now().UTC().Truncate(time.Microsecond), Outcome: outcome, Status: status,
		Timings:  herald.Timings{Total: 1.5},
		Request:  &herald.RequestRecord{Method: "POST", URL: d.Address, Headers: map[string]string{"Authorization": "Basic …"}},
		Response: &herald.ResponseRecord{Headers: map[string][]string{"Server": {"test"}}, Body: "ok"}}
}

func TestAcceptedEventIsListedWithWhatItOwes(t *testing.T) {
	onBoth(t, testAcceptedEventIsListedWithWhatItOwes)
}

func testAcceptedEventIsListedWithWhatItOwes(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	receipts := f.accept(entry)
	want := []herald.Receipt{{EventID: entry.Event.ID, AlertCount: 1, AlertIDs: []uuid.UUID{entry.Alerts[0].ID}}}
	if diff := cmp.Diff(want, receipts); diff != "" {
		t.Errorf("receipts (-want +got):\n%s", diff)
	}
	event, alerts, err := f.Event(t.Context(), f.client.ID, entry.Event.ID)
	if err != nil {
		t.Fatal(err)
	}
	if string(event.Data) != `{"syncId":"1"}` || len(alerts) != 1 || alerts[0].RuleID != f.rule.ID || alerts[0].ClientName != "Acme" {
		t.Errorf("event %+v with alerts %+v", event, alerts)
	}
	d, attempts := f.delivery(entry.Alerts[0].Items[0].ID)
	if d.State != herald.Pending || !d.InFlight || d.AttemptCount != 0 || len(attempts) != 0 || d.Address != hook {
		t.Errorf("delivery %+v with attempts %v", d, attempts)
	}
}

func TestRecordedAttemptEndsTheDelivery(t *testing.T) { onBoth(t, testRecordedAttemptEndsTheDelivery) }

func testRecordedAttemptEndsTheDelivery(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	f.accept(entry)
	due := entry.Alerts[0].Items[0]
	a := attempt(due, herald.OutcomeDelivered, 200)
	if err := f.Record(work.Result{Item: due, Attempt: a, State: herald.Delivered}); err != nil {
		t.Fatal(err)
	}
	d, attempts := f.delivery(due.ID)
	if d.State != herald.Delivered || d.AttemptCount != 1 || d.DoneAt.IsZero() || !d.NextAttemptAt.IsZero() {
		t.Errorf("delivery %+v", d)
	}
	if diff := cmp.Diff([]herald.Attempt{*a}, attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if again := f.Record(work.Result{Item: due, Attempt: a, State: herald.Failed}); !errors.Is(again, work.ErrNotHeld) {
		t.Errorf("recording what has ended: %v, want ErrNotHeld", again)
	}
	if d, _ := f.delivery(due.ID); d.State != herald.Delivered {
		t.Errorf("a late result changed the delivery to %v", d.State)
	}
}

func TestRetryWaitsUntilItIsDue(t *testing.T) { onBoth(t, testRetryWaitsUntilItIsDue) }

func testRetryWaitsUntilItIsDue(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	f.accept(entry)
	due := entry.Alerts[0].Items[0]
	failed := attempt(due, herald.OutcomeRetry, 503)
	if err := f.Record(work.Result{Item: due, Attempt: failed, State: herald.Pending, Delay: time.Hour, Retries: 1}); err != nil {
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
		entry := f.entry(f.client, false)
		f.accept(entry)
		want = append(want, entry.Alerts[0].Items[0].ID)
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
	f.accept(f.entry(f.client, false))
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
	const clients, lanesEach = 3, 150 // more lanes than one look returns, also across a client's end
	want := make(map[work.Lane]bool)
	for range clients {
		c := f.newClient("many lanes")
		for n := range lanesEach {
			entry := f.entry(c, false)
			due := &entry.Alerts[0].Items[0]
			due.Origin = fmt.Sprintf("https://r%d.example:443", n)
			want[work.Lane{Client: c.ID, Origin: due.Origin}] = true
			f.accept(entry)
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

func TestStaleEntryIsRefusedAndItsNeighboursAreKept(t *testing.T) {
	onBoth(t, testStaleEntryIsRefusedAndItsNeighboursAreKept)
}

func testStaleEntryIsRefusedAndItsNeighboursAreKept(t *testing.T, f *fixture) {
	stale := f.entry(f.client, true)
	other := f.newClient("Other")
	fresh := f.entry(other, true)
	if err := f.RenameClient(t.Context(), operator, f.client.ID, "Acme Ltd"); err != nil {
		t.Fatal(err)
	}
	requests := []*request{{client: f.client.ID, entries: []work.PreparedEvent{stale}}, {client: other.ID, entries: []work.PreparedEvent{fresh}}}
	errs := f.commitTogether(requests)
	if !errors.Is(errs[0], work.ErrStale) || errs[1] != nil {
		t.Errorf("errors %v, want ErrStale for the first alone", errs)
	}
	if _, _, err := f.Event(t.Context(), f.client.ID, stale.Event.ID); herald.CodeOf(err) != herald.CodeNotFound {
		t.Errorf("the stale event is there: %v", err)
	}
	if _, _, err := f.Event(t.Context(), other.ID, fresh.Event.ID); err != nil {
		t.Errorf("the fresh event is not there: %v", err)
	}
}

// commitTogether commits works as one batch, whatever the loop would do.
func (f *fixture) commitTogether(requests []*request) []error {
	for _, k := range requests {
		k.answer = make(chan error, 1)
	}
	f.writer.commit(requests)
	var errs []error
	for _, k := range requests {
		errs = append(errs, <-k.answer)
	}
	return errs
}

func TestOneBadRequestFailsAlone(t *testing.T) { onBoth(t, testOneBadRequestFailsAlone) }

func testOneBadRequestFailsAlone(t *testing.T, f *fixture) {
	var requests []*request
	for range 50 {
		requests = append(requests, &request{client: f.client.ID, entries: []work.PreparedEvent{f.entry(f.client, true)}})
	}
	const bad = 17
	requests[bad].entries[0].Event.ID = requests[3].entries[0].Event.ID // a key that is taken
	for i, err := range f.commitTogether(requests) {
		if (err != nil) != (i == bad) {
			t.Errorf("work %d: error %v", i, err)
		}
	}
	events, err := f.Events(t.Context(), f.client.ID, uuid.Nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 49 {
		t.Errorf("%d events are kept, want 49", len(events))
	}
}

func TestRepeatedKeyIsAnsweredAsTheFirstTime(t *testing.T) {
	onBoth(t, testRepeatedKeyIsAnsweredAsTheFirstTime)
}

func testRepeatedKeyIsAnsweredAsTheFirstTime(t *testing.T, f *fixture) {
	keyed := func(key string, content byte) work.PreparedEvent {
		e := f.entry(f.client, true)
		e.IdempotencyKey, e.Fingerprint = key, [32]byte{content}
		return e
	}
	first := f.accept(keyed("k", 1))
	if diff := cmp.Diff(first, f.accept(keyed("k", 1))); diff != "" {
		t.Errorf("the repeat's receipt (-first +repeat):\n%s", diff)
	}
	_, err := f.Accept([]work.PreparedEvent{keyed("new", 1), keyed("k", 2)})
	wantCode(t, err, herald.CodeMismatch)
	var item *herald.ItemError
	if !errors.As(err, &item) || item.Index != 1 {
		t.Errorf("error %v does not name event 1", err)
	}
	array := f.accept(keyed("a", 1), keyed("a", 1), keyed("k", 1))
	if array[0].EventID != array[1].EventID || array[2].EventID != first[0].EventID {
		t.Errorf("an array's repeats: %v", array)
	}
	events, err := f.Events(t.Context(), f.client.ID, uuid.Nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 2 { // "k" and "a"; "new" fell with its array
		t.Errorf("%d events are kept, want 2", len(events))
	}
}

func TestExpiredKeyIsForgotten(t *testing.T) { onBoth(t, testExpiredKeyIsForgotten) }

func testExpiredKeyIsForgotten(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	entry.IdempotencyKey = "k"
	f.accept(entry)
	if _, err := f.write.ExecContext(t.Context(), `UPDATE idempotency SET expires_at = 1`); err != nil {
		t.Fatal(err)
	}
	again := f.entry(f.client, true)
	again.IdempotencyKey = "k"
	again.Fingerprint = [32]byte{9}
	if got := f.accept(again)[0].EventID; got != again.Event.ID {
		t.Errorf("a key that has run out still stands for %v", got)
	}
	if _, err := f.write.ExecContext(t.Context(), `UPDATE idempotency SET expires_at = 1`); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ExpireIdempotencyKeys(t.Context()); n != 1 || err != nil {
		t.Errorf("Forget = %d, %v, want 1", n, err)
	}
}

func TestOrphanIsMadeAgainWithoutUsingUpARetry(t *testing.T) {
	onBoth(t, testOrphanIsMadeAgainWithoutUsingUpARetry)
}

func testOrphanIsMadeAgainWithoutUsingUpARetry(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	f.accept(entry)
	// A second incarnation of the node buries the first: whatever that held is
	// an orphan. On an embedded database registering does it.
	dead := f.node.Load()
	if err := f.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.dialect.shared {
		others, err := f.Heartbeat(t.Context())
		if err != nil || len(others) != 1 {
			t.Fatalf("other nodes: %v, %v; want the dead one", others, err)
		}
		if buried, err := f.DeclareDead(t.Context(), dead, others[dead]+1); buried || err != nil {
			t.Fatalf("a node whose beat went on was buried: %v, %v", buried, err)
		}
		if buried, err := f.DeclareDead(t.Context(), dead, others[dead]); !buried || err != nil {
			t.Fatalf("burying the dead node: %v, %v", buried, err)
		}
	}
	last, n, err := f.FreeOrphans(t.Context(), uuid.Nil)
	if err != nil || n != 1 {
		t.Fatalf("FreeOrphans = %d, %v, want 1", n, err)
	}
	if _, n, err := f.FreeOrphans(t.Context(), last); err != nil || n != 0 {
		t.Fatalf("FreeOrphans again = %d, %v, want 0", n, err)
	}
	got := f.claim(1)
	if len(got) != 1 || got[0].Attempt != 2 || got[0].Retries != 0 {
		t.Fatalf("claimed %+v, want the second attempt without a retry used up", got)
	}
	_, attempts := f.delivery(got[0].ID)
	if len(attempts) != 1 || attempts[0].Outcome != herald.OutcomeUnknown || attempts[0].Reason != herald.ReasonInterrupted {
		t.Errorf("attempts %+v, want one that may have been sent", attempts)
	}
	// The result of the first incarnation comes late and must not count.
	late := entry.Alerts[0].Items[0]
	if err := f.Record(work.Result{Item: late, Attempt: attempt(late, herald.OutcomeRejected, 400), State: herald.Failed}); !errors.Is(err, work.ErrNotHeld) {
		t.Errorf("the late result: %v, want ErrNotHeld", err)
	}
}

func TestCancelledDeliveryKeepsTheAttemptThatWasUnderWay(t *testing.T) {
	onBoth(t, testCancelledDeliveryKeepsTheAttemptThatWasUnderWay)
}

func testCancelledDeliveryKeepsTheAttemptThatWasUnderWay(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	f.accept(entry)
	due := entry.Alerts[0].Items[0]
	if err := f.CancelDelivery(t.Context(), f.client.ID, due.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.CancelDelivery(t.Context(), f.client.ID, due.ID), herald.CodeConflict)
	wantCode(t, f.CancelDelivery(t.Context(), f.newClient("Other").ID, due.ID), herald.CodeNotFound)
	if err := f.Record(work.Result{Item: due, Attempt: attempt(due, herald.OutcomeDelivered, 200), State: herald.Delivered}); !errors.Is(err, work.ErrNotHeld) {
		t.Errorf("recording: %v, want ErrNotHeld", err)
	}
	d, attempts := f.delivery(due.ID)
	if d.State != herald.Cancelled || d.Reason != herald.ReasonCancelled || len(attempts) != 1 {
		t.Errorf("delivery %+v with %d attempts, want it cancelled with one", d, len(attempts))
	}
}

func TestDeletedClientsDeliveriesAreCancelled(t *testing.T) {
	onBoth(t, testDeletedClientsDeliveriesAreCancelled)
}

func testDeletedClientsDeliveriesAreCancelled(t *testing.T, f *fixture) {
	entry := f.entry(f.client, false)
	f.accept(entry)
	if err := f.DeleteClient(t.Context(), operator, f.client.ID); err != nil {
		t.Fatal(err)
	}
	_, err := f.Client(t.Context(), f.client.ID)
	wantCode(t, err, herald.CodeNotFound)
	if n, err := f.CancelDeletedClients(t.Context()); n != 1 || err != nil {
		t.Fatalf("CancelDeletedClients = %d, %v, want 1", n, err)
	}
	if d, _ := f.delivery(entry.Alerts[0].Items[0].ID); d.State != herald.Cancelled || d.Reason != herald.ReasonClientDeleted {
		t.Errorf("delivery %+v, want it cancelled with its client", d)
	}
	_, err = f.Accept([]work.PreparedEvent{f.entry(f.client, true)})
	if !errors.Is(err, work.ErrStale) { // version 0: there is none
		t.Logf("accepting for a deleted client: %v", err)
	}
}

func TestRedeliveriesAreNumberedOn(t *testing.T) { onBoth(t, testRedeliveriesAreNumberedOn) }

func testRedeliveriesAreNumberedOn(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	f.accept(entry)
	alert := entry.Alerts[0].ID
	for n := 1; n < herald.MaxDeliveries; n++ {
		id, err := f.AddDelivery(t.Context(), f.client.ID, alert, origin, hook)
		if err != nil || id != herald.DeliveryID(alert, n) {
			t.Fatalf("redelivery %d: %v, %v", n, id, err)
		}
	}
	_, err := f.AddDelivery(t.Context(), f.client.ID, alert, origin, hook)
	wantCode(t, err, herald.CodeConflict)
}

func TestRedeliveriesAtOnceAllCount(t *testing.T) { onBoth(t, testRedeliveriesAtOnceAllCount) }

func testRedeliveriesAtOnceAllCount(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	f.accept(entry)
	const many = 20
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			if _, err := f.AddDelivery(t.Context(), f.client.ID, entry.Alerts[0].ID, origin, hook); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.claim(100); len(got) != many {
		t.Errorf("%d redeliveries, want %d", len(got), many)
	}
}

func TestRestartFindsEverything(t *testing.T) {
	dir := t.TempDir()
	box := testBox(t)
	first, err := Open(t.Context(), Options{Dir: dir, Box: box})
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := first.CreateClient(t.Context(), operator, "Acme", "")
	if err != nil {
		t.Fatal(err)
	}
	p := herald.Profile{Name: "Acme", RedirectURL: "https://acme.example", AlertAuthHeader: "Basic c2VjcmV0", WhiteListURLs: []string{"https://a.example"}}
	if err := first.SaveProfile(t.Context(), operator, c.ID, p); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Box: box}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened a second time: %v, want an error that names %s", err, dir)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), Options{Dir: dir, Box: box})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close() //nolint:errcheck // the test is over
	got, err := second.Client(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, got.Profile); diff != "" {
		t.Errorf("profile (-want +got):\n%s", diff)
	}
}

func TestSecretsAreNotInTheFile(t *testing.T) { onBoth(t, testSecretsAreNotInTheFile) }

func testSecretsAreNotInTheFile(t *testing.T, f *fixture) {
	if err := f.SaveProfile(t.Context(), operator, f.client.ID, herald.Profile{Name: "Acme", AlertAuthHeader: "Basic plain-to-see"}); err != nil {
		t.Fatal(err)
	}
	auth, err := first(t.Context(), f.read, func(rows *sql.Rows) (auth []byte, err error) {
		err = rows.Scan(&auth)
		return auth, err
	}, `SELECT auth FROM clients WHERE id = $1`, f.client.ID[:])
	if err != nil || len(auth) == 0 || bytes.Contains(auth, []byte("plain-to-see")) {
		t.Errorf("the database holds %q (%v)", auth, err)
	}
}

func TestManyPublishersShareCommits(t *testing.T) { onBoth(t, testManyPublishersShareCommits) }

func testManyPublishersShareCommits(t *testing.T, f *fixture) {
	const publishers, each = 16, 20
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for range each {
				if _, err := f.Accept([]work.PreparedEvent{f.entry(f.client, false)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := f.claim(1000); len(got) != publishers*each {
		t.Errorf("claimed %d, want %d", len(got), publishers*each)
	}
}

func TestBatchIsFilledInTurns(t *testing.T) {
	w := &writer{waiting: make(map[uuid.UUID]*clientQueue), wake: make(chan struct{}, 1)}
	hog, small := uuid.New(), uuid.New()
	for range 2 * batchRows {
		if err := w.enqueue(&request{client: hog, rows: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.enqueue(&request{client: small, rows: 1}); err != nil {
		t.Fatal(err)
	}
	batch := w.fill()
	if len(batch) != batchRows {
		t.Errorf("the batch has %d requests, want %d", len(batch), batchRows)
	}
	if batch[1].client != small {
		t.Error("the second client is not next, behind one work of the first")
	}
}

func TestClosedStoreRefuses(t *testing.T) { onBoth(t, testClosedStoreRefuses) }

func testClosedStoreRefuses(t *testing.T, f *fixture) {
	entry := f.entry(f.client, true)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := f.Accept([]work.PreparedEvent{entry})
	wantCode(t, err, herald.CodeUnavailable)
}

func TestReadEndsWithItsContext(t *testing.T) { onBoth(t, testReadEndsWithItsContext) }

func testReadEndsWithItsContext(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Client(ctx, f.client.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
