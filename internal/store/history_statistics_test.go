package store

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

func (f *fixture) foldAll() {
	f.t.Helper()
	for {
		n, err := f.FoldStatistics(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// statistics returns all rows of the statistics.
func (f *fixture) statistics() map[statisticsKey]herald.Counts {
	f.t.Helper()
	all := make(map[statisticsKey]herald.Counts)
	_, err := list(f.t.Context(), f.read, func(rows *sql.Rows) (none struct{}, err error) {
		var key statisticsKey
		var counted sum
		err = rows.Scan(append([]any{&key.client, &key.hour, &key.receiver, &key.reason}, counted.columns()...)...)
		all[key] = counted.counts()
		return none, err
	}, `SELECT * FROM statistics`)
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// history counts what is in history, as statistics should have it.
func (f *fixture) history() map[statisticsKey]herald.Counts {
	f.t.Helper()
	all := make(map[statisticsKey]herald.Counts)
	add := func(client uuid.UUID, address string, reason herald.Reason, at time.Time, c herald.Counts) {
		key := statisticsKey{client, micros(at.Truncate(time.Hour)), herald.ReceiverOf(address), reason}
		sum := all[key]
		sum.Add(c)
		all[key] = sum
	}
	_, err := list(f.t.Context(), f.read, func(rows *sql.Rows) (none struct{}, err error) {
		var (
			client  uuid.UUID
			address string
			record  []byte
			c       herald.Counts
		)
		if err := rows.Scan(&client, &address, &record); err != nil {
			return none, err
		}
		a, err := decodeAttempt(record)
		if err != nil {
			return none, err
		}
		began := a.At.UTC()
		bucket := &c.Latency[herald.LatencyBucket(time.Duration(a.Timings.Total*float64(time.Millisecond)))]
		switch a.Outcome {
		case herald.OutcomeDelivered:
			c.Attempts.Delivered, *bucket, c.LastSuccess = 1, 1, began
		case herald.OutcomeRetry:
			c.Attempts.Retry, *bucket, c.LastFailure = 1, 1, began
		case herald.OutcomeRejected:
			c.Attempts.Rejected, *bucket, c.LastFailure = 1, 1, began
		default:
			c.Attempts.Unknown = 1
		}
		add(client, address, a.Reason, began, c)
		return none, nil
	}, `SELECT d.client_id, d.address, a.record FROM attempts a JOIN deliveries d ON d.id = a.delivery_id UNION ALL
SELECT q.client_id, q.address, a.record FROM attempts a JOIN queue q ON q.id = a.delivery_id UNION ALL
SELECT client_id, address, record FROM deliveries WHERE attempt IS NOT NULL`)
	if err != nil {
		f.t.Fatal(err)
	}
	_, err = list(f.t.Context(), f.read, func(rows *sql.Rows) (none struct{}, err error) {
		var (
			client  uuid.UUID
			address string
			reason  herald.Reason
			state   int64
			at      int64
			c       herald.Counts
		)
		err = rows.Scan(&client, &address, &reason, &state, &at)
		switch herald.State(state) {
		case herald.Delivered:
			c.Deliveries.Delivered = 1
		case herald.Failed:
			c.Deliveries.Failed = 1
		default:
			c.Deliveries.Cancelled = 1
		}
		add(client, address, reason, fromMicros(at), c)
		return none, err
	}, `SELECT client_id, address, reason, state, done_at FROM deliveries`)
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// checkStatistics compares the statistics with history.
func (f *fixture) checkStatistics() {
	f.t.Helper()
	f.foldAll()
	if diff := cmp.Diff(f.history(), f.statistics(), cmpopts.EquateEmpty()); diff != "" {
		f.t.Errorf("the statistics are not those of history (-history +statistics):\n%s", diff)
	}
}

// checkIfCounted compares the statistics with history after a test that has not deleted any. So no test
// can go through a place that records something and does not count it.
func (f *fixture) checkIfCounted() {
	f.t.Helper()
	if f.t.Failed() || f.uncounted || f.Ping(f.t.Context()) != nil { // the test has closed the database
		return
	}
	f.checkStatistics()
}

// result returns the result of an attempt that took so long, as internal/delivery reports it.
func result(d work.Item, outcome herald.Outcome, reason herald.Reason, took time.Duration) work.Result {
	a := attempt(d, outcome, 0)
	a.Reason, a.Timings.Total = reason, float64(took)/float64(time.Millisecond)
	r := work.Result{Item: d, Attempt: a}
	switch outcome {
	case herald.OutcomeDelivered:
		r.State = herald.Delivered
	case herald.OutcomeRejected:
		r.State, r.Reason = herald.Failed, reason
	default:
		r.State, r.Retries = herald.Pending, 1
	}
	return r
}

// TestStatisticsAreThoseOfHistory: whatever becomes of deliveries, the statistics count each attempt and
// each end once. What is recorded again, or too late, is counted as often as history has it.
func TestStatisticsAreThoseOfHistory(t *testing.T) { onBoth(t, testStatisticsAreThoseOfHistory) }

func testStatisticsAreThoseOfHistory(t *testing.T, f *fixture) {
	other := f.newClient("Other")
	var items []work.Item
	for i := range 24 {
		c := f.client
		if i%4 == 3 {
			c = other
		}
		e := f.prepare(c, true)
		e.Alerts[0].Items[0].Address = fmt.Sprintf("%s%d?token=secret", hook, i%3)
		f.accept(e)
		items = append(items, e.Alerts[0].Items[0])
	}
	record := func(r work.Result, want error) {
		t.Helper()
		if err := f.Record(r); !errors.Is(err, want) {
			t.Fatalf("recording: %v, want %v", err, want)
		}
	}
	for i, took := range []time.Duration{0, 10 * time.Millisecond, 11 * time.Millisecond, 2 * time.Second, 31 * time.Second, time.Hour} {
		record(result(items[i], herald.OutcomeDelivered, "", took), nil)
		record(result(items[i], herald.OutcomeDelivered, "", took), work.ErrNotHeld) // its answer was lost
		record(result(items[6+i], herald.OutcomeRejected, herald.ReasonStatus, took), nil)
		record(result(items[12+i], herald.OutcomeRetry, herald.ReasonTimeout, took), nil)
		record(result(items[12+i], herald.OutcomeRetry, herald.ReasonTimeout, took), work.ErrNotHeld)
	}
	cancelled := items[18]
	if err := f.CancelDelivery(t.Context(), operator, cancelled.ClientID, cancelled.ID); err != nil {
		t.Fatal(err)
	}
	record(result(cancelled, herald.OutcomeDelivered, "", time.Second), work.ErrNotHeld) // the attempt has been made
	record(work.Result{Item: items[19], State: herald.Failed, Reason: herald.ReasonExpired}, nil)
	if err := f.endUnsent(t.Context(), items[20], herald.ReasonContentMissing); err != nil {
		t.Fatal(err)
	}
	mails := f.acceptMails(5, "Ann@acme.example")
	for _, d := range mails[:2] {
		f.decideMail(d, time.Minute)
		record(result(d, herald.OutcomeDelivered, "", time.Second), nil)
	}
	digest := result(mails[2], herald.OutcomeDelivered, "", time.Second)
	if err := f.RecordDigest(t.Context(), digest, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := f.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, n, err := f.FreeOrphans(t.Context(), uuid.Nil); err != nil || n == 0 {
		t.Fatalf("freed %d, %v", n, err)
	}
	record(result(items[21], herald.OutcomeDelivered, "", time.Second), work.ErrNotHeld) // history says already that it may have been sent
	if err := f.DeleteClient(t.Context(), operator, other.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.CancelDeletedClients(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.checkStatistics()
	var all herald.Counts
	for _, c := range f.statistics() {
		all.Add(c)
	}
	for what, n := range map[string]int64{
		"delivered": all.Attempts.Delivered, "retried": all.Attempts.Retry, "rejected": all.Attempts.Rejected, "unknown": all.Attempts.Unknown,
		"ended": all.Deliveries.Delivered, "failed": all.Deliveries.Failed, "cancelled": all.Deliveries.Cancelled,
	} {
		if n == 0 {
			t.Errorf("nothing was %s; the test shows less than it should", what)
		}
	}
	if n := f.rows("statistics_log"); n != 0 {
		t.Errorf("%d rows of the log are left", n)
	}
}

// TestBatchCountsWhatItAdds: a batch records results again beside new ones, and one result twice. It counts
// what it adds to history, and nothing else.
func TestBatchCountsWhatItAdds(t *testing.T) { onBoth(t, testBatchCountsWhatItAdds) }

func testBatchCountsWhatItAdds(t *testing.T, f *fixture) {
	var requests []*request
	record := func(r work.Result) {
		t.Helper()
		requests = append(requests, &request{client: r.Item.ClientID, result: encodeResult(r)})
	}
	for i := range 12 {
		e := f.prepare(f.client, true)
		e.Alerts[0].Items[0].Address = fmt.Sprintf("%s%d", hook, i%3)
		f.accept(e)
		r := result(e.Alerts[0].Items[0], herald.OutcomeDelivered, "", time.Second)
		if i%2 == 0 {
			r = result(e.Alerts[0].Items[0], herald.OutcomeRetry, herald.ReasonTimeout, time.Second)
		}
		if i%4 < 2 {
			f.record(r)
		}
		if record(r); i%4 == 2 {
			record(r)
		}
	}
	f.commitTogether(requests)
	f.checkStatistics()
	var all herald.Counts
	for _, c := range f.statistics() {
		all.Add(c)
	}
	if all.Attempts.Total() != 12 || all.Deliveries.Total() != 6 {
		t.Errorf("counted %+v and %+v, want 12 attempts and 6 deliveries", all.Attempts, all.Deliveries)
	}
}

// TestStatisticsAreOneLineForEachHourReceiverOrReason reads them as callers do.
func TestStatisticsAreOneLineForEachHourReceiverOrReason(t *testing.T) {
	onBoth(t, testStatisticsLines)
}

func testStatisticsLines(t *testing.T, f *fixture) {
	now := time.Now().UTC()
	hour := now.Truncate(time.Hour)
	record := func(client herald.Client, address string, outcome herald.Outcome, reason herald.Reason, at time.Time) {
		t.Helper()
		e := f.prepare(client, true)
		e.Alerts[0].Items[0].Address = address
		f.accept(e)
		r := result(e.Alerts[0].Items[0], outcome, reason, time.Second)
		r.Attempt.At = at
		if err := f.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	record(f.client, hook+"?a=1", herald.OutcomeDelivered, "", hour.Add(-90*time.Minute))
	record(f.client, hook+"?a=2", herald.OutcomeRetry, herald.ReasonTimeout, hour)
	record(f.client, hook, herald.OutcomeRejected, herald.ReasonStatus, hour)
	record(f.client, "mailto:Ann@acme.example", herald.OutcomeDelivered, "", hour)
	record(f.newClient("Other"), hook, herald.OutcomeDelivered, "", hour)
	f.foldAll()
	read := func(filter herald.StatisticsFilter) []herald.Statistics {
		t.Helper()
		filter.Client, filter.Since, filter.Until = f.client.ID, hour.Add(-2*time.Hour), now
		if filter.Limit == 0 {
			filter.Limit = 10
		}
		found, _, err := f.Statistics(t.Context(), filter)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	hours := read(herald.StatisticsFilter{By: herald.ByHour})
	if len(hours) < 3 || hours[0].Hour != hour.Add(-2*time.Hour) || hours[0].Attempts.Delivered != 1 || hours[1].Attempts.Total() != 0 ||
		hours[2].Attempts != (herald.AttemptCounts{Delivered: 1, Retry: 1, Rejected: 1}) {
		t.Errorf("by hour: %+v", hours)
	}
	receivers := read(herald.StatisticsFilter{By: herald.ByReceiver})
	if len(receivers) != 2 || receivers[0].Receiver != hook || receivers[0].Attempts.Total() != 3 || receivers[1].Receiver != "mailto:ann@acme.example" {
		t.Errorf("by receiver: %+v", receivers)
	}
	if !receivers[0].LastSuccess.Equal(hour.Add(-90*time.Minute)) || !receivers[0].LastFailure.Equal(hour) {
		t.Errorf("last success %v, last failure %v", receivers[0].LastSuccess, receivers[0].LastFailure)
	}
	if rate, known := receivers[0].Deliveries.SuccessRate(); rate != 0.5 || !known {
		t.Errorf("success rate %v, %v; want one of two", rate, known)
	}
	reasons := read(herald.StatisticsFilter{By: herald.ByOutcome, Receiver: hook + "?a=3"})
	if len(reasons) != 3 || reasons[0].Reason != "" || reasons[0].Deliveries.Delivered != 1 {
		t.Errorf("by outcome: %+v", reasons)
	}
	if _, more, err := f.Statistics(t.Context(), herald.StatisticsFilter{By: herald.ByReceiver, Client: f.client.ID, Since: hour, Until: now, Limit: 1}); err != nil || !more {
		t.Errorf("more %v, %v; want true", more, err)
	}
	all, _, err := f.Statistics(t.Context(), herald.StatisticsFilter{By: herald.ByReceiver, Since: hour, Until: now, Limit: 10})
	if err != nil || len(all) != 2 || all[0].Attempts.Total() != 3 {
		t.Errorf("of all clients: %+v, %v", all, err)
	}
}

// TestTooManyStatisticsAreRefused: a question that would read too many rows says since when, or about whom,
// there are few enough, and that question is answered.
func TestTooManyStatisticsAreRefused(t *testing.T) { onBoth(t, testTooManyStatisticsAreRefused) }

func testTooManyStatisticsAreRefused(t *testing.T, f *fixture) {
	f.uncounted = true
	other := f.newClient("Other")
	hour := time.Now().UTC().Truncate(time.Hour)
	for age := range 4 { // four receivers of each client in each hour
		c := counting{now: micros(hour.Add(-time.Duration(age) * time.Hour))}
		for n := range 4 {
			c.delivery(f.client.ID, fmt.Sprintf("%s%d", hook, n), herald.Delivered, "", c.now)
			c.delivery(other.ID, fmt.Sprintf("%s%d", hook, n), herald.Delivered, "", c.now)
		}
		f.exec(logStatisticsSQL, c.row())
	}
	f.foldAll()
	ask := func(client uuid.UUID, since time.Time) error {
		_, _, err := f.Statistics(t.Context(), herald.StatisticsFilter{By: herald.ByReceiver, Client: client, Since: since, Until: hour.Add(time.Minute), Limit: 10})
		return err
	}
	first, text := hour.Add(-3*time.Hour), func(t time.Time) string { return t.Format(time.RFC3339) }
	for limit, want := range map[int]struct {
		all, one string // parts of the messages
		since    time.Time
	}{
		32: {"", "", first},
		31: {"more than 31 lines", "", hour.Add(-2 * time.Hour)},
		8:  {"since " + text(hour) + " or later, or for one client", "", hour},
		7:  {"Ask for one client", "since " + text(hour.Add(-2*time.Hour)), time.Time{}},
	} {
		f.statisticsLimit = limit
		for what, got := range map[string]struct {
			err  error
			want string
		}{"all": {ask(uuid.Nil, first), want.all}, "one": {ask(f.client.ID, first), want.one}} {
			if got.want == "" && got.err != nil || got.want != "" && (herald.CodeOf(got.err) != herald.CodeInvalid || !strings.Contains(got.err.Error(), got.want)) {
				t.Errorf("limit %d, %s: %v, want %q", limit, what, got.err, got.want)
			}
		}
		if !want.since.IsZero() {
			if err := ask(uuid.Nil, want.since); err != nil {
				t.Errorf("limit %d, since %v: %v", limit, want.since, err)
			}
		}
	}
}

// TestStatisticsKeepTheBusiestReceivers: a client with many receivers has statistics of the busiest, and
// all others together, however the busiest come.
func TestStatisticsKeepTheBusiestReceivers(t *testing.T) {
	onBoth(t, testStatisticsKeepTheBusiest)
}

func testStatisticsKeepTheBusiest(t *testing.T, f *fixture) {
	f.uncounted = true
	const extra = 300
	now := micros(time.Now().Truncate(time.Hour))
	count := func(receivers, each int, name string) {
		t.Helper()
		c := counting{now: now}
		for i := range receivers {
			address := fmt.Sprintf("https://%s%d.example/hook", name, i)
			for range each {
				c.delivery(f.client.ID, address, herald.Delivered, "", now)
			}
		}
		if _, err := f.write.ExecContext(t.Context(), logStatisticsSQL, c.row()); err != nil {
			t.Fatal(err)
		}
	}
	total := int64(0)
	for i, n := range []int{herald.StatisticsReceivers, extra} { // the second fold finds the table full
		count(n, 1, fmt.Sprintf("idle-%d-", i))
		total += int64(n)
		f.foldAll()
	}
	count(herald.StatisticsReceivers+extra, 1, "once-") // more than fit in one fold
	count(extra, 5, "busy-")
	total += herald.StatisticsReceivers + extra + 5*extra
	f.foldAll()
	found := f.statistics()
	busy, sum := 0, int64(0)
	for key, c := range found {
		sum += c.Deliveries.Delivered
		if c.Deliveries.Delivered == 5 {
			busy++
		}
		if key.client != f.client.ID {
			t.Errorf("counted for %v", key.client)
		}
	}
	if len(found) != herald.StatisticsReceivers+1 || busy != extra || sum != total {
		t.Errorf("%d lines, %d busy ones, %d deliveries; want %d, %d, %d", len(found), busy, sum, herald.StatisticsReceivers+1, extra, total)
	}
	if others := found[statisticsKey{f.client.ID, now, herald.OtherReceivers, ""}]; others.Deliveries.Delivered == 0 {
		t.Error("nothing is counted together")
	}
	lines, _, err := f.Statistics(t.Context(), herald.StatisticsFilter{By: herald.ByHour, Client: f.client.ID, Since: fromMicros(now), Until: fromMicros(now).Add(time.Minute)})
	if err != nil || len(lines) != 1 || lines[0].Deliveries.Delivered != total {
		t.Errorf("the hour: %+v, %v; want %d deliveries", lines, err, total)
	}
}

// TestLogThatCannotBeReadHoldsUpNobody: a damaged row of the log counts nothing, and others count.
func TestLogThatCannotBeReadHoldsUpNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		for _, damaged := range [][]byte{{}, {9}, {logVersion}, {logVersion, 0, 200, 1}, {logVersion, 0, 0, 0, 7}} {
			if _, err := f.write.ExecContext(t.Context(), logStatisticsSQL, damaged); err != nil {
				t.Fatal(err)
			}
		}
		e := f.prepare(f.client, true)
		f.accept(e)
		if err := f.Record(result(e.Alerts[0].Items[0], herald.OutcomeDelivered, "", 0)); err != nil {
			t.Fatal(err)
		}
		f.checkStatistics()
		if n := f.rows("statistics_log"); n != 0 {
			t.Errorf("%d rows of the log are left", n)
		}
	})
}

func FuzzStatisticsLog(f *testing.F) {
	c := counting{now: 1_000_000}
	c.delivery(herald.NewID(), hook, herald.Failed, herald.ReasonExhausted, 5)
	c.attempt(herald.NewID(), "mailto:a@b.example", &herald.Attempt{At: time.Unix(1, 0), Outcome: herald.OutcomeRetry, Reason: herald.ReasonDNS})
	f.Add(c.row())
	f.Fuzz(func(t *testing.T, row []byte) {
		_ = readLog(row, func(statisticsKey) *sum { return new(sum) }) // it must end, and not panic
	})
}

// TestOldStatisticsAreDeleted: those of hours before the kept history, and those older than herald.StatisticsKept.
func TestOldStatisticsAreDeleted(t *testing.T) {
	for name, retention := range map[string]time.Duration{"history": 10 * 24 * time.Hour, "limit": 0} {
		t.Run(name, func(t *testing.T) { onBoth(t, func(t *testing.T, f *fixture) { testOldStatistics(t, f, retention) }) })
	}
}

func testOldStatistics(t *testing.T, f *fixture, retention time.Duration) {
	f.uncounted = true
	keep := herald.StatisticsKept
	if retention != 0 {
		f.options.Retention, keep = retention, retention
	}
	now := time.Now()
	f.accept(f.prepare(f.client, false)) // history is kept from the newest event on at the latest
	for _, age := range []time.Duration{keep + 2*time.Hour, keep - 2*time.Hour} {
		c := counting{now: micros(now.Add(-age))}
		c.delivery(f.client.ID, hook, herald.Delivered, "", c.now)
		if _, err := f.write.ExecContext(t.Context(), logStatisticsSQL, c.row()); err != nil {
			t.Fatal(err)
		}
	}
	f.foldAll()
	if _, err := f.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := f.ExpireStatistics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	left := f.statistics()
	if _, found := left[statisticsKey{f.client.ID, micros(now.Add(-keep + 2*time.Hour).Truncate(time.Hour)), hook, ""}]; !found || len(left) != 1 {
		t.Errorf("left is %v; want the younger hour", left)
	}
}

// TestLostAnswersCountOnce: the answers to the commits of results, and of adding up the log, are lost.
func TestLostAnswersCountOnce(t *testing.T) {
	for name, test := range map[string]struct {
		arm  func(*cuttingProxy)
		cuts int32
	}{
		"after the commit":  {func(p *cuttingProxy) { p.armed.Store(true) }, 6},
		"before the commit": {func(p *cuttingProxy) { p.armedBefore.Store(true) }, 3}, // it does not see the COMMIT of a batch
	} {
		arm := test.arm
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, proxy := newCutFixture(t, nil)
			f.t = t
			for range 3 {
				e := f.prepare(f.client, true)
				f.accept(e)
				r := result(e.Alerts[0].Items[0], herald.OutcomeDelivered, "", time.Second)
				arm(proxy)
				for {
					err := f.Record(r)
					if err == nil || errors.Is(err, work.ErrNotHeld) {
						break
					}
					if herald.CodeOf(err) != herald.CodeUnavailable {
						t.Fatal(err)
					}
				}
				arm(proxy)
				f.checkStatistics()
			}
			if n := proxy.cuts.Load(); n != test.cuts {
				t.Errorf("%d connections were cut, want %d", n, test.cuts)
			}
			if n := f.rows("deliveries WHERE attempt = 1") + f.rows("attempts"); n != 3 {
				t.Errorf("%d attempts, want 3", n)
			}
		})
	}
}
