package delivery_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/delivery"
	"herald/internal/fairqueue"
	"herald/internal/webhook"
)

// roomForFew are limits with room for about a hundred deliveries of one lane.
var roomForFew = fairqueue.Limits{Items: 300, InFlightPerLane: 16}

// atOnce is more than the writer waits for other requests, and much less than a publish waits for room.
const atOnce = 50 * time.Millisecond

// publishArray publishes n events in one request and returns how long that took.
func (f *fixture) publishArray(client uuid.UUID, n int) time.Duration {
	began, pubs := time.Now(), make([]herald.Publication, n)
	for i := range pubs {
		pubs[i].Event = herald.Event{ClientID: client, Type: "Sync Completed", CompanyID: uuid.New(), Data: json.RawMessage(`{"syncId":"1","syncType":"Expense"}`)}
	}
	if _, err := f.intake.Publish(f.t.Context(), herald.Caller{Operator: true}, pubs); err != nil {
		f.t.Error(err)
	}
	return time.Since(began)
}

// burst publishes so many arrays of 20 at the same time and returns how long each took.
func (f *fixture) burst(arrays int) []time.Duration {
	took := make([]time.Duration, arrays)
	var all sync.WaitGroup
	for n := range arrays {
		all.Go(func() { took[n] = f.publishArray(f.client.ID, 20) })
	}
	all.Wait()
	return took
}

// answersAfter is a receiver that takes a while.
func answersAfter(d time.Duration) func(context.Context, webhook.Request) webhook.Result {
	return func(context.Context, webhook.Request) webhook.Result {
		time.Sleep(d)
		return status(200)
	}
}

// TestBurstToAQuickReceiverDoesNotSpill: three times as much as memory has room for is published at once,
// in arrays and to several receivers. Each publish waits a little, and nothing takes the detour through the
// database.
func TestBurstToAQuickReceiverDoesNotSpill(t *testing.T) {
	for name, addresses := range map[string][]string{
		"arrays":  {"https://a.example/"},
		"fan-out": {"https://a.example/", "https://b.example/", "https://c.example/"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				f := newFixture(t, dir, delivery.Options{Limits: roomForFew, Metrics: registry}, answersAfter(5*time.Millisecond)).withClient(addresses...)
				f.publish(1) // the receiver is known now
				time.Sleep(time.Second)
				took := f.burst(16 / len(addresses))
				if spilled := scrape(t, registry)["herald_deliveries_spilled_total"]; spilled > 0 {
					t.Errorf("%v deliveries waited in the database", spilled)
				}
				if slowed := scrape(t, registry)["herald_publishes_slowed_total"]; slowed == 0 || slices.Max(took) > 500*time.Millisecond+atOnce {
					t.Errorf("%v publishes waited; they took %v", slowed, took)
				}
				time.Sleep(time.Minute)
				if got, want := len(f.got()), len(addresses)*(1+20*(16/len(addresses))); got != want {
					t.Errorf("%d requests, want %d", got, want)
				}
				f.stop()
			})
		})
	}
}

// TestSlowReceiverSlowsNoPublisher: what a receiver cannot take soon waits in the database at once.
func TestSlowReceiverSlowsNoPublisher(t *testing.T) {
	for name, test := range map[string]struct {
		takes time.Duration
		known bool
	}{
		"slow":         {2 * time.Second, true},
		"rather slow":  {300 * time.Millisecond, true},
		"hangs":        {time.Hour, true},
		"hangs, new":   {time.Hour, false},
		"quick, new":   {time.Millisecond, false},
		"slow and new": {2 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				f := newFixture(t, dir, delivery.Options{Limits: roomForFew, Metrics: registry}, func(ctx context.Context, _ webhook.Request) webhook.Result {
					select {
					case <-time.After(min(test.takes, 30*time.Second)):
					case <-ctx.Done():
						return webhook.Result{Reason: herald.ReasonInterrupted}
					}
					if test.takes > time.Minute {
						return webhook.Result{Reason: herald.ReasonTimeout}
					}
					return status(200)
				}).withClient("https://a.example/")
				if test.known {
					f.publish(3)
					time.Sleep(40 * time.Second)
				}
				if took := f.burst(30); slices.Max(took) > atOnce {
					t.Errorf("publishes took %v", took)
				}
				if scrape(t, registry)["herald_deliveries_spilled_total"] == 0 {
					t.Error("nothing waited in the database")
				}
				f.stop()
			})
		})
	}
}

// TestReceiverThatBeginsToHangSlowsItsPublisherOnce: nobody knows at first that it hangs. The publishes of
// that moment wait in vain, all at the same time, and no later one waits. Another client notices nothing.
func TestReceiverThatBeginsToHangSlowsItsPublisherOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		f := newFixture(t, dir, delivery.Options{Limits: roomForFew}, func(ctx context.Context, q webhook.Request) webhook.Result {
			if hangs.Load() && strings.Contains(q.URL, "a.example") {
				select {
				case <-time.After(30 * time.Second):
				case <-ctx.Done():
				}
				return webhook.Result{Reason: herald.ReasonTimeout}
			}
			time.Sleep(time.Millisecond)
			return status(200)
		}).withClient("https://b.example/")
		other := f.client.ID
		f.publish(1)
		f.withClient("https://a.example/").publish(1)
		time.Sleep(time.Second)
		hangs.Store(true)
		began := time.Now()
		burst := make(chan []time.Duration)
		go func() { burst <- f.burst(7) }()
		synctest.Wait()
		for range 5 {
			if took := f.publishArray(other, 10); took > atOnce {
				t.Errorf("a publish of another client took %v", took)
			}
			time.Sleep(50 * time.Millisecond)
		}
		took := <-burst
		if most := slices.Max(took); most <= atOnce || most > 500*time.Millisecond+atOnce {
			t.Errorf("publishes took %v; want some that waited, for half a second at most", took)
		}
		for range 50 {
			if took := f.publishArray(f.client.ID, 1); took > atOnce {
				t.Fatalf("%v after the receiver has begun to hang, a publish took %v", time.Since(began), took)
			}
			time.Sleep(time.Second)
		}
		if got := slices.IndexFunc(f.got(), func(s sent) bool { return strings.Contains(s.url, "b.example") && s.after > 10*time.Second }); got >= 0 {
			t.Errorf("another client's delivery came %v after the start", f.got()[got].after)
		}
		f.stop()
	})
}

// TestStopLetsPublishesGo: a publish that waits for room when the service stops does not wait on, and its
// deliveries wait in the database.
func TestStopLetsPublishesGo(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		var hold atomic.Bool
		f := newFixture(t, dir, delivery.Options{Limits: roomForFew}, func(context.Context, webhook.Request) webhook.Result {
			if hold.Load() {
				<-answer
			}
			time.Sleep(time.Millisecond)
			return status(200)
		}).withClient("https://a.example/")
		f.publish(1)
		time.Sleep(time.Second)
		hold.Store(true)
		burst := make(chan []time.Duration)
		go func() { burst <- f.burst(10) }()
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		stopped := make(chan error)
		go func() { stopped <- f.engine.Stop(t.Context()) }()
		if took := <-burst; slices.Max(took) > atOnce {
			t.Errorf("publishes took %v; want that the stop ended their wait after 10 ms", took)
		}
		close(answer)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if err := f.store.Close(); err != nil {
			t.Error(err)
		}
		f = newFixture(t, dir, delivery.Options{}, always(200))
		time.Sleep(time.Minute)
		if n := len(f.got()); n < 180 || n > 200 {
			t.Errorf("%d requests after the restart; want those that were not made before", n)
		}
		f.stop()
	})
}
