package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"herald"
	"herald/internal/test/postgres"
	"herald/internal/work"
)

// BenchmarkAcceptAndRecord measures the writer with many concurrent events. Each is accepted
// with one delivery, which is then recorded as delivered.
func BenchmarkAcceptAndRecord(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { acceptAndRecord(b, Options{Dir: b.TempDir()}) })
	b.Run("postgres", func(b *testing.B) { acceptAndRecord(b, Options{Database: postgres.Database(b)}) })
}

// BenchmarkBatch measures the writer's transaction by its size. Each accepts so many events with one
// delivery, and records the deliveries of the one before as delivered.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("sqlite/%d", size), func(b *testing.B) { commitBatches(b, Options{Dir: b.TempDir()}, size) })
		b.Run(fmt.Sprintf("postgres/%d", size), func(b *testing.B) { commitBatches(b, Options{Database: postgres.Database(b)}, size) })
	}
}

func commitBatches(b *testing.B, o Options, size int) {
	f, version := benchFixture(b, o)
	node := f.Incarnation()
	var results []*request
	began, took := time.Duration(0), time.Duration(0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		requests := results
		results = nil
		for range size {
			prepared := f.prepareOn(f.client, version, true)
			item := prepared.Alerts[0].Items[0]
			item.Node = node
			encoded := encodeResult(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeDelivered, 200), State: herald.Delivered})
			requests = append(requests, &request{client: f.client.ID, events: []work.PreparedEvent{prepared}})
			results = append(results, &request{client: f.client.ID, result: encoded})
		}
		began = processorTime(b)
		b.StartTimer()
		if err := f.writer.transaction(context.Background(), requests, node); err != nil {
			b.Fatal(err)
		}
		took += processorTime(b) - began
		for _, req := range requests {
			if req.refused != nil {
				b.Fatal(req.refused)
			}
		}
	}
	b.ReportMetric(float64(took.Nanoseconds())/1000/float64(b.N*size), "µs-of-processor/event")
}

// benchFixture opens a store with a client and its rule. It returns the client's version too.
func benchFixture(b *testing.B, o Options) (*fixture, int64) {
	o.Box = testBox(b)
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() }) //nolint:errcheck // the benchmark is over
	if err := s.Register(b.Context()); err != nil {
		b.Fatal(err)
	}
	f := &fixture{Store: s, t: b}
	f.client = f.newClient("Acme")
	f.rule = f.newRule(f.client)
	version, err := s.Version(b.Context(), f.client.ID)
	if err != nil {
		b.Fatal(err)
	}
	return f, version
}

func acceptAndRecord(b *testing.B, o Options) {
	f, version := benchFixture(b, o)
	var failed atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			prepared := f.prepareOn(f.client, version, true)
			if _, err := f.Accept([]work.PreparedEvent{prepared}); err != nil {
				failed.Add(1)
			}
			item := prepared.Alerts[0].Items[0]
			if err := f.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeDelivered, 200), State: herald.Delivered}); err != nil {
				failed.Add(1)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if failed.Load() > 0 {
		b.Fatalf("%d calls failed", failed.Load())
	}
}
