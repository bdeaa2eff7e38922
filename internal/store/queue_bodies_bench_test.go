package store

import (
	"context"
	"testing"

	"herald/internal/test/postgres"
	"herald/internal/work"
)

// BenchmarkClaimedBodies claims 500 deliveries with small bodies, from one lane and from fifty. "bodies" is only
// the part that reads the bodies of those that are claimed.
func BenchmarkClaimedBodies(b *testing.B) {
	for _, lanes := range []struct {
		name string
		n    int
	}{{"one lane", 1}, {"fifty lanes", 50}} {
		b.Run("sqlite/"+lanes.name, func(b *testing.B) { claimedBodies(b, Options{Dir: b.TempDir()}, lanes.n) })
		b.Run("postgres/"+lanes.name, func(b *testing.B) { claimedBodies(b, Options{Database: postgres.Database(b)}, lanes.n) })
	}
}

func claimedBodies(b *testing.B, o Options, lanes int) {
	const deliveries = 500
	f := newFixture(b, o)
	claims := make([]work.Claim, lanes)
	for n := range claims {
		client := f.newClient("Acme")
		claims[n] = work.Claim{Lane: work.Lane{Client: client.ID, Origin: origin}, N: deliveries/lanes + 1, Bytes: 1 << 20}
		for range deliveries / lanes {
			f.accept(f.prepare(client, false))
		}
	}
	claim := func() []work.Item {
		claimed, err := f.Claim(b.Context(), claims, 64<<20)
		if err != nil || len(claimed.Items) != deliveries {
			b.Fatalf("%d deliveries were claimed, %v", len(claimed.Items), err)
		}
		return claimed.Items
	}
	b.Run("claim", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			items := claim()
			b.StopTimer()
			if err := f.HandBack(context.Background(), items); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	items := claim()
	b.Run("bodies", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if missing, err := f.dialect.readBodies(b.Context(), f.Store, items); err != nil || len(missing) > 0 {
				b.Fatal(missing, err)
			}
		}
	})
}
