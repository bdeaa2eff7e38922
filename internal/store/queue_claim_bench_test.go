package store

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"herald/internal/test/postgres"
	"herald/internal/work"
)

// BenchmarkClaim measures one round of the claimer with a full queue: listing up to 256 waiting
// lanes, and claiming 8 deliveries from each of 64. The time must not depend on the size of the
// queue. In "beside a snapshot", a fifth of the queue has been claimed while a transaction held
// an older snapshot.
func BenchmarkClaim(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		for _, size := range []struct{ rows, lanes int }{{1000, 1000}, {100_000, 1000}, {1_000_000, 1000}, {1_000_000, 20_000}, {1_000_000, 1}} {
			for _, beside := range []string{"", " beside a snapshot"} {
				b.Run(fmt.Sprintf("%s/%d in %d lanes%s", database, size.rows, size.lanes, beside), func(b *testing.B) {
					benchmarkClaim(b, openBacklog(b, database, size.rows+64, size.lanes), size.rows, beside != "")
				})
			}
		}
	}
}

func benchmarkClaim(b *testing.B, s *Store, rows int, snapshot bool) {
	if snapshot {
		reader, err := s.read.BeginTx(b.Context(), &sql.TxOptions{Isolation: s.snapshotLevel(), ReadOnly: true})
		if err != nil {
			b.Fatal(err)
		}
		defer reader.Rollback() //nolint:errcheck // it only reads
		if _, err := first(b.Context(), reader, scanInt, `SELECT count(*) FROM nodes`); err != nil {
			b.Fatal(err)
		}
		var after work.Lane
		for claimed := 0; claimed < rows/5; {
			lanes, err := s.Lanes(b.Context(), after)
			if err != nil {
				b.Fatal(err)
			}
			if after = (work.Lane{}); len(lanes) == lanesLimit {
				after = lanes[len(lanes)-1].Lane
			}
			claimed += s.claimFrom(b, lanes, 100, true)
		}
	}
	first64, err := s.Lanes(b.Context(), work.Lane{})
	if err != nil {
		b.Fatal(err)
	}
	s.claimFrom(b, first64[:min(64, len(first64))], 1, true) // sets the floors
	var listing, claiming time.Duration
	for b.Loop() {
		began := time.Now()
		lanes, err := s.Lanes(b.Context(), work.Lane{})
		if err != nil {
			b.Fatal(err)
		}
		listing += time.Since(began)
		began = time.Now()
		if n := s.claimFrom(b, lanes[:min(64, len(lanes))], 8, false); n == 0 {
			b.Fatal("nothing was claimed")
		}
		claiming += time.Since(began)
	}
	b.ReportMetric(float64(listing.Microseconds())/1000/float64(b.N), "ms/walk")
	b.ReportMetric(float64(claiming.Microseconds())/1000/float64(b.N), "ms/claim")
}

func (s *Store) snapshotLevel() sql.IsolationLevel {
	if s.dialect.shared {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault
}

// claimFrom claims n deliveries from each lane, and rolls the claim back unless commit is set.
func (s *Store) claimFrom(b *testing.B, lanes []work.WaitingLane, n int, commit bool) int {
	tx, err := s.write.BeginTx(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	claims := make([]work.Claim, len(lanes))
	for i := range lanes {
		claims[i] = work.Claim{Lane: lanes[i].Lane, N: n}
	}
	claimed, err := s.dialect.claim(b.Context(), tx, s.node.Load(), claims, s.floors.of(claims), micros(time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	if !commit {
		err = tx.Rollback()
	} else if err = tx.Commit(); err == nil {
		s.floors.raise(claims, claimed, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
	return len(claimed)
}

// openBacklog opens a database with so many due deliveries, spread evenly over the lanes.
func openBacklog(b testing.TB, database string, rows, lanes int) *Store {
	b.Helper()
	o := Options{Dir: b.TempDir()}
	fill := `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
INSERT INTO queue (id, client_id, lane, address, made_at, due_at, node, attempt, retries)
SELECT unhex(printf('%032x', i)), unhex(printf('%032x', i % $2 % 100)), 'https://receiver-' || (i % $2), 'https://receiver.example/hook', 0, $3 + i, NULL, 1, 0 FROM n`
	if database == "postgres" {
		o = Options{Database: postgres.Database(b)}
		fill = `INSERT INTO queue (id, client_id, lane, address, made_at, due_at, node, attempt, retries)
SELECT lpad(to_hex(i), 32, '0')::uuid, lpad(to_hex(i % $2 % 100), 32, '0')::uuid, 'https://receiver-' || (i % $2), 'https://receiver.example/hook', 0, $3::bigint + i, NULL, 1, 0
FROM generate_series(1, $1::bigint) i`
	}
	o.Box = testBox(b)
	s, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() }) //nolint:errcheck // the benchmark is over
	if err := s.Register(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := s.write.ExecContext(context.Background(), fill, rows, lanes, micros(time.Now().Add(-time.Hour))); err != nil {
		b.Fatal(err)
	}
	if _, err := s.write.ExecContext(context.Background(), `ANALYZE queue`); err != nil {
		b.Fatal(err)
	}
	return s
}
