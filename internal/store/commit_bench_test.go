package store

import (
	"sync/atomic"
	"testing"

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

func acceptAndRecord(b *testing.B, o Options) {
	o.Box = testBox(b)
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the benchmark is over
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
	var failed atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			prepared := f.prepareOn(f.client, version, true)
			if _, err := s.Accept([]work.PreparedEvent{prepared}); err != nil {
				failed.Add(1)
			}
			item := prepared.Alerts[0].Items[0]
			if err := s.Record(work.Result{Item: item, Attempt: attempt(item, herald.OutcomeDelivered, 200), State: herald.Delivered}); err != nil {
				failed.Add(1)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if failed.Load() > 0 {
		b.Fatalf("%d calls failed", failed.Load())
	}
}
