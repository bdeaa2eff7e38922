package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

func TestAcceptedEventIsListedWithWhatItOwes(t *testing.T) {
	onBoth(t, testAcceptedEventIsListedWithWhatItOwes)
}

func testAcceptedEventIsListedWithWhatItOwes(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	receipts := f.accept(prepared)
	want := []herald.Receipt{{EventID: prepared.Event.ID, AlertCount: 1, AlertIDs: []uuid.UUID{prepared.Alerts[0].ID}}}
	if diff := cmp.Diff(want, receipts); diff != "" {
		t.Errorf("receipts (-want +got):\n%s", diff)
	}
	event, alerts, err := f.Event(t.Context(), f.client.ID, prepared.Event.ID)
	if err != nil {
		t.Fatal(err)
	}
	if string(event.Data) != `{"syncId":"1"}` || len(alerts) != 1 || alerts[0].RuleID != f.rule.ID || alerts[0].ID != prepared.Alerts[0].ID {
		t.Errorf("event %+v with alerts %+v", event, alerts)
	}
	d, attempts := f.delivery(prepared.Alerts[0].Items[0].ID)
	if d.State != herald.Pending || !d.InFlight || d.AttemptCount != 0 || len(attempts) != 0 || d.Address != hook {
		t.Errorf("delivery %+v with attempts %v", d, attempts)
	}
}

func TestRecordedAttemptEndsTheDelivery(t *testing.T) { onBoth(t, testRecordedAttemptEndsTheDelivery) }

func testRecordedAttemptEndsTheDelivery(t *testing.T, f *fixture) {
	prepared := f.prepare(f.client, true)
	f.accept(prepared)
	item := prepared.Alerts[0].Items[0]
	a := attempt(item, herald.OutcomeDelivered, 200)
	if err := f.Record(work.Result{Item: item, Attempt: a, State: herald.Delivered}); err != nil {
		t.Fatal(err)
	}
	d, attempts := f.delivery(item.ID)
	if d.State != herald.Delivered || d.AttemptCount != 1 || d.DoneAt.IsZero() || !d.NextAttemptAt.IsZero() {
		t.Errorf("delivery %+v", d)
	}
	if diff := cmp.Diff([]herald.Attempt{*a}, attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if again := f.Record(work.Result{Item: item, Attempt: a, State: herald.Failed}); !errors.Is(again, work.ErrNotHeld) {
		t.Errorf("recording what has ended: %v, want ErrNotHeld", again)
	}
	if d, _ := f.delivery(item.ID); d.State != herald.Delivered {
		t.Errorf("a late result changed the delivery to %v", d.State)
	}
}

func TestStaleEntryIsRefusedAndItsNeighboursAreKept(t *testing.T) {
	onBoth(t, testStaleEntryIsRefusedAndItsNeighboursAreKept)
}

func testStaleEntryIsRefusedAndItsNeighboursAreKept(t *testing.T, f *fixture) {
	stale := f.prepare(f.client, true)
	other := f.newClient("Other")
	current := f.prepare(other, true)
	if err := f.RenameClient(t.Context(), operator, f.client.ID, "Acme Ltd"); err != nil {
		t.Fatal(err)
	}
	requests := []*request{{client: f.client.ID, events: []work.PreparedEvent{stale}}, {client: other.ID, events: []work.PreparedEvent{current}}}
	errs := f.commitTogether(requests)
	if !errors.Is(errs[0], work.ErrStale) || errs[1] != nil {
		t.Errorf("errors %v, want ErrStale for the first alone", errs)
	}
	if _, _, err := f.Event(t.Context(), f.client.ID, stale.Event.ID); herald.CodeOf(err) != herald.CodeNotFound {
		t.Errorf("the stale event is there: %v", err)
	}
	if _, _, err := f.Event(t.Context(), other.ID, current.Event.ID); err != nil {
		t.Errorf("the current event is not there: %v", err)
	}
}

// commitTogether commits requests as one batch, without the loop of the writer.
func (f *fixture) commitTogether(requests []*request) []error {
	for _, req := range requests {
		req.answer = make(chan error, 1)
	}
	f.writer.commit(requests)
	var errs []error
	for _, req := range requests {
		errs = append(errs, <-req.answer)
	}
	return errs
}

func TestOneBadRequestFailsAlone(t *testing.T) { onBoth(t, testOneBadRequestFailsAlone) }

func testOneBadRequestFailsAlone(t *testing.T, f *fixture) {
	var requests []*request
	for range 50 {
		requests = append(requests, &request{client: f.client.ID, events: []work.PreparedEvent{f.prepare(f.client, true)}})
	}
	const bad = 17
	requests[bad].events[0].Event.ID = requests[3].events[0].Event.ID // violates the primary key
	for i, err := range f.commitTogether(requests) {
		if (err != nil) != (i == bad) {
			t.Errorf("request %d: error %v", i, err)
		}
	}
	events, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 49 {
		t.Errorf("%d events are stored, want 49", len(events))
	}
}

func TestRepeatedKeyIsAnsweredAsTheFirstTime(t *testing.T) {
	onBoth(t, testRepeatedKeyIsAnsweredAsTheFirstTime)
}

func testRepeatedKeyIsAnsweredAsTheFirstTime(t *testing.T, f *fixture) {
	keyed := func(key string, content byte) work.PreparedEvent {
		e := f.prepare(f.client, true)
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
	events, _, err := f.Events(t.Context(), f.client.ID, herald.EventFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 2 { // "k" and "a"; "new" was refused with its array
		t.Errorf("%d events are stored, want 2", len(events))
	}
}

func TestManyPublishersShareCommits(t *testing.T) { onBoth(t, testManyPublishersShareCommits) }

func testManyPublishersShareCommits(t *testing.T, f *fixture) {
	const publishers, each = 16, 20
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for range each {
				if _, err := f.Accept([]work.PreparedEvent{f.prepare(f.client, false)}); err != nil {
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
	w := &writer{wake: make(chan struct{}, 1)}
	busy, quiet := uuid.New(), uuid.New()
	for range 2 * batchRows {
		if err := w.enqueue(&request{client: busy, rows: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.enqueue(&request{client: quiet, rows: 1}); err != nil {
		t.Fatal(err)
	}
	batch := w.fill()
	if len(batch) != batchRows {
		t.Errorf("the batch has %d requests, want %d", len(batch), batchRows)
	}
	if batch[1].client != quiet {
		t.Error("the second client is not next, after one request of the first")
	}
}

// TestResultsDoNotWaitBehindEvents: of a client that publishes without pause, and of another. But results take
// half of a batch at most while events wait.
func TestResultsDoNotWaitBehindEvents(t *testing.T) {
	w := &writer{wake: make(chan struct{}, 1)}
	busy := uuid.New()
	add := func(r request) {
		t.Helper()
		if err := w.enqueue(&r); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * batchRows {
		add(request{client: busy, rows: 1})
	}
	add(request{client: busy, rows: 1, result: &encodedResult{}})
	add(request{client: uuid.New(), rows: 1, result: &encodedResult{}})
	batch := w.fill()
	if len(batch) != batchRows || batch[0].result == nil || batch[1].result == nil || batch[2].result != nil {
		t.Errorf("a batch of %d does not begin with the two results", len(batch))
	}
	for range 2 * batchRows {
		add(request{client: busy, rows: 1, result: &encodedResult{}})
	}
	results := 0
	for _, req := range w.fill() {
		if req.result != nil {
			results++
		}
	}
	if results != batchRows/2 {
		t.Errorf("%d results in a batch while events wait, want %d", results, batchRows/2)
	}
}

// TestBatchesOfAnySizeKeepTheirRowsApart: SQLite adds several rows with one statement and the rest one
// by one. Each event, delivery and attempt has its own values, and a bad row takes none with it.
func TestBatchesOfAnySizeKeepTheirRowsApart(t *testing.T) {
	onBoth(t, testBatchesOfAnySizeKeepTheirRowsApart)
}

func testBatchesOfAnySizeKeepTheirRowsApart(t *testing.T, f *fixture) {
	for _, size := range []int{1, rowsAtOnce - 1, rowsAtOnce, rowsAtOnce + 1, 2*rowsAtOnce + 1} {
		bad := size / 2
		var requests []*request
		for i := range size {
			e := f.prepare(f.client, true)
			e.Event.Data = fmt.Appendf(nil, `{"syncId":"%d of %d"}`, i, size)
			requests = append(requests, &request{client: f.client.ID, events: []work.PreparedEvent{e}})
		}
		requests[bad].events[0].Alerts[0].ID = requests[0].events[0].Alerts[0].ID // there twice, unless it is the first
		var results []*request
		for i, err := range f.commitTogether(requests) {
			e := requests[i].events[0]
			if i == bad && bad > 0 {
				if err == nil {
					t.Errorf("request %d of %d, whose alert is there twice: no error", i, size)
				}
				continue
			}
			if err != nil {
				t.Fatalf("request %d of %d: %v", i, size, err)
			}
			item := e.Alerts[0].Items[0]
			encoded := encodeResult(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeDelivered, 200+i), State: herald.Delivered})
			results = append(results, &request{client: f.client.ID, result: encoded})
		}
		for i, err := range f.commitTogether(results) {
			if err != nil {
				t.Errorf("result %d of %d: %v", i, size, err)
			}
		}
		for i, req := range requests {
			e := req.events[0]
			got, _, err := f.Event(t.Context(), f.client.ID, e.Event.ID)
			if i == bad && bad > 0 {
				if herald.CodeOf(err) != herald.CodeNotFound {
					t.Errorf("the bad event is there: %v, %v", got, err)
				}
				continue
			}
			if err != nil || string(got.Data) != string(e.Event.Data) {
				t.Errorf("event %d of %d has the data %s, %v; want %s", i, size, got.Data, err, e.Event.Data)
			}
			item := e.Alerts[0].Items[0]
			delivery, attempts, err := f.Delivery(t.Context(), f.client.ID, item.ID)
			if err != nil || delivery.State != herald.Delivered || delivery.Address != item.Address || len(attempts) != 1 || attempts[0].Status != 200+i {
				t.Errorf("delivery %d of %d is %+v with attempts %+v, %v", i, size, delivery, attempts, err)
			}
		}
	}
}

// TestResultsWaitForTheNextEvents: a result is committed with the events that follow it, or soon alone.
func TestResultsWaitForTheNextEvents(t *testing.T) {
	w := &writer{wake: make(chan struct{}, 1)}
	enqueue := func(r *request) {
		t.Helper()
		r.client, r.rows = uuid.New(), 1
		if err := w.enqueue(r); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if at := w.beginAt(began); at.Before(began.Add(time.Minute)) {
		t.Errorf("without a request a batch begins after %v", at.Sub(began))
	}
	for range 2 {
		enqueue(&request{result: &encodedResult{}})
		if at := w.beginAt(began); at != w.since.Add(resultsFor) || w.since.Before(began) {
			t.Errorf("a result alone waits until %v after %v, want %v", at, w.since, resultsFor)
		}
		enqueue(&request{result: &encodedResult{}})
		enqueue(&request{})
		select {
		case <-w.wake:
		default:
			t.Error("an event does not wake the writer")
		}
		if at := w.beginAt(began); at != began {
			t.Errorf("an event waits for %v", at.Sub(began))
		}
		if batch := w.fill(); len(batch) != 3 || w.results.n != 0 {
			t.Errorf("the batch has %d requests, and %d results are left", len(batch), w.results.n)
		}
	}
	for range gatherRequests {
		enqueue(&request{result: &encodedResult{}})
	}
	if at := w.beginAt(began); !at.IsZero() {
		t.Error("many results wait for events")
	}
	w.fill()
	enqueue(&request{result: &encodedResult{}})
	w.closed = true
	if at := w.beginAt(began); !at.IsZero() {
		t.Error("a stop waits for events")
	}
}
