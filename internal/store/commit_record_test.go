package store

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// TestDeliveryAndItsOnlyAttemptAreOneRow: an attempt that ends its delivery costs no row of its own, and
// everything about it is read as before.
func TestDeliveryAndItsOnlyAttemptAreOneRow(t *testing.T) {
	onBoth(t, testDeliveryAndItsOnlyAttemptAreOneRow)
}

func testDeliveryAndItsOnlyAttemptAreOneRow(t *testing.T, f *fixture) {
	for _, end := range []work.Result{
		{State: herald.Delivered},
		{State: herald.Failed, Reason: herald.ReasonStatus},
		{State: herald.Failed, Reason: herald.ReasonExhausted},
	} {
		end.Item = f.due(hook)
		end.Attempt = attempt(end.Item, herald.OutcomeDelivered, 204)
		if end.State == herald.Failed {
			end.Attempt.Outcome, end.Attempt.Status, end.Attempt.Reason, end.Attempt.Error = herald.OutcomeRejected, 400, herald.ReasonStatus, "The receiver answered 400."
		}
		f.record(end)
		d, attempts := f.delivery(end.Item.ID)
		if diff := cmp.Diff([]herald.Attempt{*end.Attempt}, attempts, cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Errorf("attempts (-recorded +read):\n%s", diff)
		}
		if d.State != end.State || d.Reason != end.Reason || d.AttemptCount != 1 || d.LastStatus != end.Attempt.Status || d.LastReason != end.Attempt.Reason {
			t.Errorf("the delivery is %+v", d)
		}
	}
	if n := f.rows("attempts"); n != 0 {
		t.Errorf("%d rows of attempts, want none", n)
	}
	for reason, want := range map[herald.Reason]int{herald.ReasonStatus: 2, herald.ReasonExhausted: 1, herald.ReasonTimeout: 0} {
		if found := f.listed(herald.DeliveryFilter{Reason: reason}); len(found) != want {
			t.Errorf("%d deliveries with the reason %s, want %d", len(found), reason, want)
		}
	}
}

// listed returns the deliveries that a list shows.
func (f *fixture) listed(filter herald.DeliveryFilter) []herald.Delivery {
	f.t.Helper()
	filter.Limit = 100
	found, _, err := f.Deliveries(f.t.Context(), f.client.ID, filter)
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

// TestAttemptsBeforeTheLastAreInOrder: retries, and the attempt of a dead node, stand before the attempt
// that ended the delivery.
func TestAttemptsBeforeTheLastAreInOrder(t *testing.T) {
	onBoth(t, testAttemptsBeforeTheLastAreInOrder)
}

func testAttemptsBeforeTheLastAreInOrder(t *testing.T, f *fixture) {
	d := f.due(hook)
	f.record(work.Result{Item: d, Attempt: attempt(d, herald.OutcomeRetry, 503), State: herald.Pending, Retries: 1})
	f.claim(1)
	f.becomeOrphans()
	d = f.claim(1)[0]
	if d.Attempt != 3 {
		t.Fatalf("attempt %d is due, want 3", d.Attempt)
	}
	// The retries before can have been recorded without their attempts: the number is not the count.
	f.record(work.Result{Item: d, State: herald.Pending, Retries: 2})
	d = f.claim(1)[0]
	last := attempt(d, herald.OutcomeRejected, 410)
	last.Reason = herald.ReasonStatus
	f.record(work.Result{Item: d, Attempt: last, State: herald.Failed, Reason: herald.ReasonExhausted})
	got, attempts := f.delivery(d.ID)
	var numbers, statuses []int
	for _, a := range attempts {
		numbers, statuses = append(numbers, a.N), append(statuses, a.Status)
	}
	if diff := cmp.Diff([][]int{{1, 2, 4}, {503, 0, 410}}, [][]int{numbers, statuses}); diff != "" {
		t.Errorf("numbers and statuses (-want +got):\n%s", diff)
	}
	if got.AttemptCount != 3 || got.LastStatus != 410 || got.LastReason != herald.ReasonStatus {
		t.Errorf("the delivery is %+v", got)
	}
	if found := f.listed(herald.DeliveryFilter{}); len(found) != 1 || found[0].AttemptCount != 3 || found[0].LastStatus != 410 {
		t.Errorf("the list has %+v", found)
	}
}

// TestAttemptIsOnRecordOnce: a result that is recorded again, or too late, adds its attempt only if it is
// not on record. The statistics, which onBoth compares, count it as often.
func TestAttemptIsOnRecordOnce(t *testing.T) { onBoth(t, testAttemptIsOnRecordOnce) }

func testAttemptIsOnRecordOnce(t *testing.T, f *fixture) {
	delivered := func(d work.Item) work.Result {
		return work.Result{Item: d, Attempt: attempt(d, herald.OutcomeDelivered, 200), State: herald.Delivered}
	}
	retried := func(d work.Item) work.Result {
		return work.Result{Item: d, Attempt: attempt(d, herald.OutcomeRetry, 503), State: herald.Pending, Retries: 1}
	}
	for name, test := range map[string]struct {
		before func(work.Item)
		result func(work.Item) work.Result
		count  int
		status int
	}{
		"a success again":         {func(d work.Item) { f.record(delivered(d)) }, delivered, 1, 200},
		"a retry again":           {func(d work.Item) { f.record(retried(d)) }, retried, 1, 503},
		"a retry after a success": {func(d work.Item) { f.record(delivered(d)) }, retried, 1, 200},
		"a success after a retry": {func(d work.Item) { f.record(retried(d)) }, delivered, 1, 503},
		"a success after a cancellation": {func(d work.Item) {
			if err := f.CancelDelivery(t.Context(), operator, f.client.ID, d.ID); err != nil {
				t.Fatal(err)
			}
		}, delivered, 1, 200},
		"a retry after a cancellation": {func(d work.Item) {
			if err := f.CancelDelivery(t.Context(), operator, f.client.ID, d.ID); err != nil {
				t.Fatal(err)
			}
		}, retried, 1, 503},
		"a success of a node that was declared dead": {func(work.Item) { f.becomeOrphans() }, delivered, 1, 0},
	} {
		d := f.due(hook)
		test.before(d)
		for range 2 {
			if err := f.Record(test.result(d)); !errors.Is(err, work.ErrNotHeld) {
				t.Errorf("%s: %v, want ErrNotHeld", name, err)
			}
		}
		got, attempts := f.delivery(d.ID)
		if len(attempts) != test.count || got.AttemptCount != test.count || attempts[0].Status != test.status || got.LastStatus != test.status {
			t.Errorf("%s: %d attempts on record, %d counted, the last status is %d; want %d and %d", name, len(attempts), got.AttemptCount, got.LastStatus, test.count, test.status)
		}
	}
}

// TestRowsOfOlderVersionsAreRead: all attempts of a delivery are in the table attempts, with their parts as
// JSON. The new version may add the last one.
func TestRowsOfOlderVersionsAreRead(t *testing.T) { onBoth(t, testRowsOfOlderVersionsAreRead) }

func testRowsOfOlderVersionsAreRead(t *testing.T, f *fixture) {
	f.uncounted = true // the statistics do not have what SQL adds
	older := func(a *herald.Attempt) herald.Attempt {
		var parts [3][]byte
		for i, part := range []any{a.Timings, a.Request, a.Response} {
			var err error
			if parts[i], err = json.Marshal(part); err != nil {
				t.Fatal(err)
			}
		}
		f.exec(`INSERT INTO attempts (delivery_id, n, at, outcome, status, reason, error, timings, request, response) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			a.DeliveryID[:], a.N, micros(a.At), string(a.Outcome), a.Status, string(a.Reason), a.Error, parts[0], parts[1], parts[2])
		return *a
	}
	ended, waiting := f.due(hook), f.due(hook)
	refused := attempt(ended, herald.OutcomeRejected, 400)
	refused.N, refused.Reason, refused.Error = 2, herald.ReasonStatus, "The receiver refused it."
	want := map[uuid.UUID][]herald.Attempt{
		ended.ID:   {older(attempt(ended, herald.OutcomeRetry, 503)), older(refused)},
		waiting.ID: {older(attempt(waiting, herald.OutcomeRetry, 503))},
	}
	f.exec(`DELETE FROM queue WHERE id = $1`, ended.ID[:])
	f.exec(`INSERT INTO deliveries (id, client_id, address, state, reason, done_at) VALUES ($1, $2, $3, 2, 'exhausted', 1)`, ended.ID[:], ended.ClientID[:], hook)
	f.exec(`UPDATE queue SET attempt = 2 WHERE id = $1`, waiting.ID[:])
	waiting.Attempt = 2
	last := failedForGood(waiting, herald.ReasonStatus, 400)
	f.record(last)
	want[waiting.ID] = append(want[waiting.ID], *last.Attempt)
	for id, want := range want {
		got, attempts := f.delivery(id)
		if diff := cmp.Diff(want, attempts, cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Errorf("attempts (-written +read):\n%s", diff)
		}
		if got.AttemptCount != 2 || got.LastStatus != 400 || got.LastReason != herald.ReasonStatus {
			t.Errorf("the delivery is %+v", got)
		}
	}
	if found := f.listed(herald.DeliveryFilter{Reason: herald.ReasonStatus}); len(found) != 2 {
		t.Errorf("%d deliveries found by the reason of the last attempt, want 2", len(found))
	}
}

// TestEveryFieldOfAnAttemptIsOnRecord: what is recorded is read as it was, each field, also one that was
// added later.
func TestEveryFieldOfAnAttemptIsOnRecord(t *testing.T) {
	var full herald.Attempt
	fill(reflect.ValueOf(&full).Elem(), new(int))
	full.At = time.Date(2026, 11, 28, 9, 0, 0, 1000, time.UTC)
	empty := herald.Attempt{At: full.At, Request: &herald.RequestRecord{}, Response: &herald.ResponseRecord{}}
	hollow := herald.Attempt{At: full.At, Request: &herald.RequestRecord{Headers: map[string]string{}, Hops: []herald.Hop{}},
		Response: &herald.ResponseRecord{Headers: map[string][]string{"None": nil, "Zero": {}, "Two": {"", "delivered"}}, Body: "\x00\xff"}}
	odd := herald.Attempt{At: full.At, Status: -1, Timings: herald.Timings{DNS: 0.0001, Connect: -1, TLS: math.MaxFloat64, FirstByte: math.Inf(1), Total: 123456.789}}
	for name, a := range map[string]herald.Attempt{"full": full, "empty": empty, "hollow": hollow, "odd": odd, "zero": {At: full.At}} {
		record := encodeAttempt(&a)
		got, err := decodeAttempt(record)
		a.DeliveryID, a.N = got.DeliveryID, got.N // the row has them
		if diff := cmp.Diff(a, got, cmp.Comparer(time.Time.Equal)); err != nil || diff != "" {
			t.Errorf("%s: %v (-recorded +read):\n%s", name, err, diff)
		}
		for n := range record {
			if _, err := decodeAttempt(record[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes were read without an error", name, n, len(record))
			}
		}
	}
}

// fill gives every field below a value a value of its own.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("text " + string(rune('a'+*n)))
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.125)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, n)
			fill(value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				fill(f, n)
			}
		}
	}
}

// FuzzRecordOfAnAttempt: a damaged record is an error, and reading it takes no more memory than its bytes
// are worth.
func FuzzRecordOfAnAttempt(f *testing.F) {
	f.Add(encodeAttempt(&herald.Attempt{Request: &herald.RequestRecord{Headers: map[string]string{"A": "b"}}, Response: &herald.ResponseRecord{}}))
	f.Fuzz(func(t *testing.T, record []byte) {
		a, err := decodeAttempt(record)
		if err != nil {
			return
		}
		again, err := decodeAttempt(encodeAttempt(&a))
		if diff := cmp.Diff(a, again, cmp.Comparer(time.Time.Equal), cmpopts.EquateNaNs()); err != nil || diff != "" {
			t.Errorf("%v (-recorded +read):\n%s", err, diff)
		}
	})
}
