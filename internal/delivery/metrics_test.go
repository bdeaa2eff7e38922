package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/delivery"
	"herald/internal/fairqueue"
	"herald/internal/webhook"
	"herald/internal/work"
)

// scrape returns the value of each series by its name and labels; of a histogram, its count.
func scrape(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// pending returns the pending deliveries by place and state, without those that are 0.
func pending(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	found := make(map[string]float64)
	for name, value := range scrape(t, r) {
		if labels, ok := strings.CutPrefix(name, "herald_pending_deliveries "); ok && value != 0 {
			found[labels] = value
		}
	}
	return found
}

// counted is longer than the pause between two counts of a short queue.
const counted = 6 * time.Second

// TestBacklogIsVisible: each pending delivery is in one state of one place, while it is in flight, waits
// in memory, waits in the database and waits for a retry.
func TestBacklogIsVisible(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		release := make(chan struct{})
		f := newFixture(t, dir, delivery.Options{Metrics: r, Limits: fairqueue.Limits{Items: 64, InFlight: 16, InFlightPerLane: 4}},
			func(ctx context.Context, q webhook.Request) webhook.Result {
				if strings.Contains(q.URL, "busy") {
					<-release
					return status(200)
				}
				return status(503)
			})
		f.withClient("https://busy.example/").publish(100)
		time.Sleep(counted)
		got := pending(t, r)
		if got["place=memory state=in_flight"] != 4 || got["place=memory state=ready"] == 0 || got["place=database state=ready"] == 0 || sum(got) != 100 {
			t.Errorf("100 deliveries for a receiver that takes 4 at once: %v", got)
		}
		f.withClient("https://broken.example/").publish(3)
		time.Sleep(counted)
		if got = pending(t, r); got["place=database state=retry"] != 3 || sum(got) != 103 {
			t.Errorf("3 of 103 wait for a retry: %v", got)
		}
		close(release)
		time.Sleep(3 * time.Minute)
		if got = pending(t, r); len(got) != 0 {
			t.Errorf("all have ended: %v", got)
		}
		f.stop()
	})
}

func sum(values map[string]float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// TestOldestDueTellsSlowLanesApart: a receiver that hangs makes the age of all lanes grow, and not that
// of the lanes whose receivers answer. A backlog of those does.
func TestOldestDueTellsSlowLanesApart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		release := make(chan struct{})
		f := newFixture(t, dir, delivery.Options{Metrics: r, Limits: fairqueue.Limits{Items: 64, InFlight: 8, InFlightPerLane: 2}},
			func(ctx context.Context, q webhook.Request) webhook.Result {
				if strings.Contains(q.URL, "hangs") {
					select {
					case <-ctx.Done():
					case <-release:
					}
					return status(200)
				}
				time.Sleep(500 * time.Millisecond)
				return status(200)
			})
		ages := func(when string, wantAll, wantFast time.Duration) {
			t.Helper()
			got := scrape(t, r)
			for name, want := range map[string]time.Duration{"herald_oldest_due_seconds": wantAll, "herald_oldest_due_fast_seconds": wantFast} {
				// The claimer reads the lanes once a second.
				if value, known := got[name]; !known || math.Abs(value-want.Seconds()) > 1.1 {
					t.Errorf("%s: %s is %v, %v; want about %v", when, name, value, known, want)
				}
			}
		}
		ages("nothing is pending", 0, 0)
		f.withClient("https://hangs.example/").publish(200) // in memory and in the database
		time.Sleep(20 * time.Second)
		ages("a receiver hangs", 20*time.Second, 0)
		quick := f.withClient("https://quick.example/")
		quick.publish(1)
		time.Sleep(time.Second) // it has answered
		quick.publish(200)      // a minute of work
		time.Sleep(9 * time.Second)
		ages("another has a backlog", 30*time.Second, 9*time.Second)
		close(release)
		time.Sleep(2 * time.Minute)
		ages("all are delivered", 0, 0)
		f.stop()
	})
}

// TestOldestDueInTheDatabase: memory has room for one delivery, which hangs. Those of two others wait in
// the database: one has answered before, and of the other nothing is known.
func TestOldestDueInTheDatabase(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		release := make(chan struct{})
		f := newFixture(t, dir, delivery.Options{Metrics: r, Limits: fairqueue.Limits{Items: 1, InFlight: 1}}, func(_ context.Context, q webhook.Request) webhook.Result {
			if strings.Contains(q.URL, "hangs") {
				<-release
			}
			return status(200)
		})
		f.withClient("https://known.example/")
		known := f.client
		f.publish(1)
		time.Sleep(2 * time.Second) // it has answered
		f.withClient("https://hangs.example/").publish(1)
		time.Sleep(time.Second)
		f.withClient("https://new.example/").publish(2)
		time.Sleep(30 * time.Second)
		f.client = known
		f.publish(2)
		time.Sleep(10 * time.Second)
		got, ages := pending(t, r), scrape(t, r)
		all, fast := ages["herald_oldest_due_seconds"], ages["herald_oldest_due_fast_seconds"]
		if got["place=database state=ready"] != 4 || math.Abs(all-40) > 1 || math.Abs(fast-10) > 1 {
			t.Errorf("%v, the longest due for %v s, of those that answer for %v s; want 4 in the database, 40 and 10", got, all, fast)
		}
		close(release)
		f.stop()
	})
}

// TestOldestDueIsOfTheRetry: a retry that waited for an hour is not an hour late when it comes.
func TestOldestDueIsOfTheRetry(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		blocked := make(chan struct{})
		f := newFixture(t, dir, delivery.Options{Metrics: r, Limits: fairqueue.Limits{InFlight: 1}}, func(ctx context.Context, q webhook.Request) webhook.Result {
			if strings.Contains(q.URL, "blocks") {
				<-blocked
				return status(200)
			}
			return webhook.Result{Status: 503, Reason: herald.ReasonStatus, RetryAfter: "3600"}
		}).withClient("https://later.example/")
		f.publish(1)
		time.Sleep(time.Hour - time.Minute)
		f.withClient("https://blocks.example/").publish(1) // takes the only place
		time.Sleep(2 * time.Minute)
		if age := scrape(t, r)["herald_oldest_due_seconds"]; age < 50 || age > 75 {
			t.Errorf("the retry has been due for a minute, and the metric says %v s", age)
		}
		close(blocked)
		f.stop()
	})
}

// TestWhatIsAcceptedAndDeliveredIsCounted also checks that a repeat counts nothing.
func TestWhatIsAcceptedAndDeliveredIsCounted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		f := newFixture(t, dir, delivery.Options{Metrics: r}, func(_ context.Context, q webhook.Request) webhook.Result {
			time.Sleep(100 * time.Millisecond)
			switch {
			case strings.Contains(q.URL, "gone"):
				return status(410)
			case strings.Contains(q.URL, "silent"):
				return webhook.Result{Reason: herald.ReasonTimeout}
			}
			return status(204)
		})
		before := scrape(t, r)
		f.withClient("https://good.example/", "https://gone.example/", "https://silent.example/")
		repeated := herald.Publication{IdempotencyKey: "once", Event: herald.Event{ClientID: f.client.ID, Type: "Sync Completed", CompanyID: uuid.New(),
			Data: []byte(`{"syncId":"1","syncType":"Expense"}`)}}
		for range 2 {
			if _, err := f.intake.Publish(t.Context(), herald.Caller{Operator: true}, []herald.Publication{repeated}); err != nil {
				t.Fatal(err)
			}
		}
		f.publish(1)
		time.Sleep(time.Hour)
		after := scrape(t, r)
		changed := make(map[string]float64)
		for name, value := range after {
			if was, known := before[name]; !known {
				t.Errorf("the series %s did not exist from the start", name)
			} else if value != was && strings.Contains(name, "_total") {
				changed[name] = value - was
			}
		}
		want := map[string]float64{
			"herald_events_accepted_total": 2,
			"herald_alerts_raised_total":   6,
			"herald_attempts_total kind=webhook outcome=delivered reason= status=2xx":        2,
			"herald_attempts_total kind=webhook outcome=rejected reason=status status=4xx":   2,
			"herald_attempts_total kind=webhook outcome=retry reason=timeout status=none":    6,
			"herald_attempts_total kind=webhook outcome=rejected reason=timeout status=none": 2,
			"herald_deliveries_ended_total state=delivered":                                  2,
			"herald_deliveries_ended_total state=failed":                                     4,
		}
		if diff := cmp.Diff(want, changed); diff != "" {
			t.Errorf("counters (-want +got):\n%s", diff)
		}
		for name, want := range map[string]float64{"herald_delivery_lag_seconds kind=webhook": 2, "herald_delivery_lag_seconds kind=mail": 0, "herald_attempt_duration_seconds kind=webhook": 12} {
			if after[name] != want {
				t.Errorf("%s was observed %v times, want %v", name, after[name], want)
			}
		}
		f.stop()
	})
}

// TestLagIsOfTheAlertOrTheRedelivery: a delivery that succeeds at its second attempt is late by the wait
// for it. A redelivery counts from when it was made.
func TestLagIsOfTheAlertOrTheRedelivery(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		first := true
		f := newFixture(t, dir, delivery.Options{Metrics: r}, func(context.Context, webhook.Request) webhook.Result {
			if first {
				first = false
				return status(503)
			}
			return status(200)
		}).withClient("https://a.example/")
		id := f.publish(1)[0]
		time.Sleep(time.Hour)
		if lag := lagSum(t, r); lag < 20 || lag > 22 {
			t.Errorf("delivered after 20 s, and the lag is %v s", lag)
		}
		if _, err := f.control.Redeliver(t.Context(), herald.Caller{}, f.client.ID, id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if lag := lagSum(t, r); lag < 20 || lag > 24 || scrape(t, r)["herald_delivery_lag_seconds kind=webhook"] != 2 {
			t.Errorf("a redelivery an hour later takes the sum of the lags to %v s", lag)
		}
		f.stop()
	})
}

// lagSum returns the sum of all lags of webhooks, in seconds.
func lagSum(t *testing.T, r *prometheus.Registry) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "herald_delivery_lag_seconds" && m.GetLabel()[0].GetValue() == "webhook" {
				return m.GetHistogram().GetSampleSum()
			}
		}
	}
	t.Fatal("there is no lag")
	return 0
}

// TestLargestBucketsLieAboveTheLongest: what ends at a limit must not be among what took no end.
func TestLargestBucketsLieAboveTheLongest(t *testing.T) {
	for _, longest := range []time.Duration{0, 30 * time.Second, time.Hour, 5 * time.Hour, 8 * 24 * time.Hour} {
		r := prometheus.NewRegistry()
		delivery.New(delivery.Options{Metrics: r, LongestAttempt: longest})
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		histograms := 0
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if buckets := m.GetHistogram().GetBucket(); buckets != nil {
					histograms++
					if last := buckets[len(buckets)-1].GetUpperBound(); last <= longest.Seconds() {
						t.Errorf("%s ends at %v s, and the longest attempt takes %v", family.GetName(), last, longest)
					}
				}
			}
		}
		if histograms != 4 {
			t.Errorf("%d histograms, want 2 of each kind", histograms)
		}
	}
}

// failingQueue cannot count while fails is set.
type failingQueue struct {
	fails atomic.Bool
	n     atomic.Int64
}

func (q *failingQueue) CountWaiting(context.Context, uuid.UUID) (work.Waiting, uuid.UUID, error) {
	if q.fails.Load() {
		return work.Waiting{}, uuid.Nil, errors.New("away")
	}
	return work.Waiting{Ready: int(q.n.Add(1))}, uuid.Nil, nil
}

// TestCountThatFailsShowsItsAge: the last numbers stay, and their age says that they are old. Before the
// first count there are no numbers.
func TestCountThatFailsShowsItsAge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		q := new(failingQueue)
		q.fails.Store(true)
		f := newFixture(t, dir, delivery.Options{Metrics: r, Queue: q}, always(200))
		const series = "herald_pending_deliveries place=database state=ready"
		if value, known := scrape(t, r)[series]; !known || !math.IsNaN(value) {
			t.Errorf("before the first count: %v, %v; want a series that is not a number", value, known)
		}
		q.fails.Store(false)
		time.Sleep(counted)
		if value := scrape(t, r)[series]; value != float64(q.n.Load()) {
			t.Errorf("%v deliveries, want those of the count, %d", value, q.n.Load())
		}
		q.fails.Store(true)
		time.Sleep(time.Hour)
		got := scrape(t, r)
		if age := got["herald_pending_counted_seconds"]; got[series] != float64(q.n.Load()) || age < 3600 || age > 3610 {
			t.Errorf("%v deliveries, counted %v s ago; want the last count, an hour old", got[series], age)
		}
		f.stop()
	})
}

// TestSeriesOfAttemptsAreFew keeps the list of attempts' series from growing unseen: each series of a node
// costs memory in Prometheus.
func TestSeriesOfAttemptsAreFew(t *testing.T) {
	r := prometheus.NewRegistry()
	delivery.New(delivery.Options{Metrics: r})
	attempts := 0
	for _, name := range slices.Sorted(maps.Keys(scrape(t, r))) {
		if strings.HasPrefix(name, "herald_attempts_total ") {
			attempts++
		}
	}
	if attempts < 40 || attempts > 150 {
		t.Errorf("%d series of attempts", attempts)
	}
}
