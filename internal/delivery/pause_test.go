package delivery_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/delivery"
	"herald/internal/webhook"
)

// TestOwnFaultPausesSending: while this service cannot send, deliveries use up no retry and say why,
// and sending probes once a second. When the fault is over, all are sent.
func TestOwnFaultPausesSending(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fault := true
		registry := prometheus.NewRegistry()
		f := newFixture(t, dir, delivery.Options{Metrics: registry}, func(context.Context, webhook.Request) webhook.Result {
			if fault {
				return webhook.Result{Reason: herald.ReasonLocal, Error: "this service has no free file descriptors; nothing was sent"}
			}
			return status(200)
		}).withClient("https://a.example/", "https://b.example/", "https://c.example/", "https://d.example/")
		ids := f.publish(100)
		time.Sleep(time.Minute)
		if n := len(f.got()); n < 50 || n > 200 {
			t.Errorf("%d attempts in a minute, want the first ones at once and then one a second", n)
		}
		if why := f.engine.Paused(); !strings.Contains(why, "no free file descriptors") || gauge(t, registry, "herald_sending_paused") != 1 {
			t.Errorf("the engine says %q, the metric %v", why, gauge(t, registry, "herald_sending_paused"))
		}
		waiting := 0
		for _, id := range ids {
			d, attempts := f.delivery(id)
			if d.State != herald.Pending || len(attempts) != 0 {
				t.Errorf("the delivery is %s with %d attempts", d.State, len(attempts))
			}
			if strings.Contains(d.Waiting, "no free file descriptors") {
				waiting++
			}
		}
		if waiting == 0 {
			t.Error("no delivery says why it waits")
		}
		fault = false
		time.Sleep(5 * time.Minute)
		if why := f.engine.Paused(); why != "" || gauge(t, registry, "herald_sending_paused") != 0 {
			t.Errorf("the engine still says %q", why)
		}
		for _, id := range ids {
			if d, attempts := f.delivery(id); d.State != herald.Delivered || len(attempts) != 1 || d.Waiting != "" {
				t.Errorf("the delivery is %s with %d attempts, want delivered at the first", d.State, len(attempts))
			}
		}
		f.stop()
	})
}

// TestOwnFaultOfSomeDoesNotPause: as long as others are sent, nothing pauses.
func TestOwnFaultOfSomeDoesNotPause(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, dir, delivery.Options{}, func(_ context.Context, q webhook.Request) webhook.Result {
			if strings.Contains(q.URL, "bad") {
				return webhook.Result{Reason: herald.ReasonLocal, Error: "no route"}
			}
			return status(200)
		}).withClient("https://bad.example/", "https://good.example/")
		f.publish(200)
		time.Sleep(5 * time.Second)
		good := 0
		for _, s := range f.got() {
			if strings.Contains(s.url, "good") {
				good++
			}
		}
		if good != 200 || f.engine.Paused() != "" {
			t.Errorf("%d of 200 were sent within five seconds; the engine says %q", good, f.engine.Paused())
		}
		f.stop()
	})
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
