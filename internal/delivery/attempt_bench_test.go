package delivery_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/clientcache"
	"herald/internal/delivery"
	"herald/internal/policy"
	"herald/internal/webhook"
	"herald/internal/work"
)

// instantStore records results in batches, as the store does, and takes no time for it. The other methods
// are not called.
type instantStore struct {
	delivery.Store
	delivery.Nodes

	mu      sync.Mutex
	waiting []chan error
	wake    chan struct{}
	free    chan struct{} // gets a value for each result
}

func (s *instantStore) Record(work.Result) error {
	answer := make(chan error, 1)
	s.mu.Lock()
	s.waiting = append(s.waiting, answer)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return <-answer
}

func (s *instantStore) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
		s.mu.Lock()
		batch := s.waiting
		s.waiting = nil
		s.mu.Unlock()
		for _, answer := range batch {
			answer <- nil
			s.free <- struct{}{}
		}
	}
}

func (s *instantStore) HandBack(context.Context, []work.Item) error { return nil }

func (s *instantStore) Leave(context.Context) error { return nil }

func (s *instantStore) Recent(context.Context, uuid.UUID) (*clientcache.Snapshot, error) {
	return &clientcache.Snapshot{}, nil
}

func (s *instantStore) Send(_ context.Context, r webhook.Request) webhook.Result {
	return webhook.Result{
		Status: 200, Timings: herald.Timings{FirstByte: 0.5, Total: 0.7},
		Request:  &herald.RequestRecord{Method: "POST", URL: r.URL, Headers: map[string]string{"Accept": "*/*", "Content-Type": "application/json; charset=utf-8", "User-Agent": "Herald/1", "X-Codat-ClientId": "x"}},
		Response: &herald.ResponseRecord{Body: "ok", Headers: map[string][]string{"Content-Length": {"2"}, "Date": {"Sat, 28 Nov 2026 08:00:00 GMT"}}},
	}
}

// BenchmarkAttempt is what the engine itself costs for each delivery of events with ten receivers. The receiver
// and the database take no time.
func BenchmarkAttempt(b *testing.B) {
	const receivers, pending = 10, 2000
	s := &instantStore{wake: make(chan struct{}, 1), free: make(chan struct{}, pending+receivers)}
	for range pending {
		s.free <- struct{}{}
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go s.run(ctx)
	e := delivery.New(delivery.Options{
		Store: s, Nodes: s, Clients: s, Sender: s, Policy: policy.Rules(policy.RulesSchedule()), AnswerQuota: delivery.DefaultAnswerQuota,
		Metrics: prometheus.NewRegistry(), Random: func() float64 { return 0 },
	})
	client := herald.NewID()
	items := func() []work.PreparedEvent {
		events := []work.PreparedEvent{{Event: herald.Event{ClientID: client}, Alerts: make([]work.PreparedAlert, receivers)}}
		for n := range receivers {
			origin := fmt.Sprintf("http://%d.example:80", n)
			events[0].Alerts[n].Items = []work.Item{{
				ID: herald.NewID(), ClientID: client, Origin: origin, Address: origin, Head: []byte("{"), Attempt: 1, MadeAt: time.Now(), Node: 1,
			}}
		}
		return events
	}
	b.ReportAllocs()
	before := processorTime(b)
	for n := 0; n < b.N; n += receivers {
		for range receivers {
			<-s.free
		}
		events := items()
		e.Reserve(events)
		e.AfterCommit(events, func(int) bool { return true })
	}
	for range pending {
		<-s.free
	}
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
	if err := e.Stop(ctx); err != nil {
		b.Fatal(err)
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
