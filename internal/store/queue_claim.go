package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"herald"
	"herald/internal/work"
)

// lanesLimit is how many lanes one look at what waits returns.
const lanesLimit = 256

// step bounds one transaction of housekeeping in rows.
const step = 500

// lanesSQL walks the index from lane to lane, whatever stands in each: 256
// lanes take a millisecond beside a million rows. The lane after one is looked
// up as the first of the same client, or else of the next client, because a
// comparison of row values would read the whole backlog on SQLite.
const lanesSQL = `WITH RECURSIVE lane(id, client_id, lane, due_at) AS (
  SELECT q.id, q.client_id, q.lane, q.due_at FROM queue q WHERE q.id = coalesce(
    (SELECT n.id FROM queue n WHERE n.node IS NULL AND n.client_id = $1 AND n.lane > $2 ORDER BY n.lane, n.due_at LIMIT 1),
    (SELECT n.id FROM queue n WHERE n.node IS NULL AND n.client_id > $1 ORDER BY n.client_id, n.lane, n.due_at LIMIT 1))
  UNION ALL
  SELECT q.id, q.client_id, q.lane, q.due_at FROM lane l JOIN queue q ON q.id = coalesce(
    (SELECT n.id FROM queue n WHERE n.node IS NULL AND n.client_id = l.client_id AND n.lane > l.lane ORDER BY n.lane, n.due_at LIMIT 1),
    (SELECT n.id FROM queue n WHERE n.node IS NULL AND n.client_id > l.client_id ORDER BY n.client_id, n.lane, n.due_at LIMIT 1)))
SELECT client_id, lane, due_at FROM lane LIMIT 256`

// Lanes returns lanes with deliveries that no node holds, in the order of
// clients and origins, beginning behind after. Fewer than 256 are the last.
func (s *Store) Lanes(ctx context.Context, after work.Lane) ([]work.WaitingLane, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	now, err := s.dialect.now(ctx, s.read)
	if err != nil {
		return nil, s.failed("ask the database's clock", err)
	}
	lanes, err := list(ctx, s.read, func(rows *sql.Rows) (w work.WaitingLane, err error) {
		var due int64
		err = rows.Scan(&w.Client, &w.Origin, &due)
		w.DueIn = time.Duration(due-now) * time.Microsecond
		return w, err
	}, lanesSQL, after.Client[:], after.Origin)
	return lanes, s.failed("look for lanes that wait", err)
}

// LanesLimit is how many lanes Lanes returns at the most.
func (s *Store) LanesLimit() int { return lanesLimit }

// Claim takes due deliveries for this node, of each lane up to what is wanted
// and the longest due first.
func (s *Store) Claim(ctx context.Context, claims []work.Claim) ([]work.Item, error) {
	var claimed []claimedRow
	err := s.change(ctx, "claim deliveries", func(tx *sql.Tx) error {
		now, err := s.dialect.now(ctx, tx)
		if err != nil {
			return err
		}
		claimed, err = s.dialect.claim(ctx, tx, s.node.Load(), claims, s.floors.of(claims), now)
		return err
	})
	if lost := (*lostAnswer)(nil); errors.As(err, &lost) {
		s.uncertain.Store(true) // it may hold what it has not been told of
	}
	if err != nil {
		return nil, err
	}
	s.floors.raise(claims, claimed)
	// RETURNING promises no order.
	slices.SortFunc(claimed, func(a, b claimedRow) int {
		return cmp.Or(cmp.Compare(a.dueAt, b.dueAt), slices.Compare(a.ID[:], b.ID[:]))
	})
	due := make([]work.Item, len(claimed))
	for i := range claimed {
		due[i] = claimed[i].Item
	}
	// What is claimed is held: it must not be forgotten because the database goes
	// away just now.
	for wait := bodiesPause; ; wait = min(2*wait, longBodiesPause) {
		err := s.failed("read what is to be sent", s.dialect.readBodies(ctx, s, due))
		if err == nil {
			return due, nil
		}
		if herald.CodeOf(err) != herald.CodeUnavailable || !sleep(ctx, wait) {
			return nil, errors.Join(err, s.HandBack(context.WithoutCancel(ctx), due))
		}
	}
}

// Waits of a claim for the database to come back.
const (
	bodiesPause     = 50 * time.Millisecond
	longBodiesPause = time.Second
)

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// floorLasts is how long a claim goes by a floor: what is handed back is older
// than what was claimed after it, and waits no longer than this.
const floorLasts = 5 * time.Second

// floors remember how far lanes have been claimed. While a transaction holds an
// old snapshot, such as a dump's, PostgreSQL cannot forget rows that were claimed
// since; a claim would pass over all of them again, if it did not begin behind.
type floors struct {
	mu    sync.Mutex
	lanes map[work.Lane]floor
}

type floor struct {
	dueAt int64
	until time.Time
}

// of returns what the due times of each claim begin with, 0 for no floor.
func (f *floors) of(claims []work.Claim) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := make([]int64, len(claims))
	for i := range claims {
		if floor, known := f.lanes[claims[i].Lane]; known && time.Now().Before(floor.until) {
			from[i] = floor.dueAt
		}
	}
	return from
}

// raise notes what has been claimed. A lane that had less than was wanted is
// looked at from its beginning the next time.
func (f *floors) raise(claims []work.Claim, claimed []claimedRow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	type tally struct {
		n    int
		last int64
	}
	taken := make(map[work.Lane]tally, len(claims))
	for i := range claimed {
		lane := work.Lane{Client: claimed[i].ClientID, Origin: claimed[i].Origin}
		taken[lane] = tally{taken[lane].n + 1, max(taken[lane].last, claimed[i].dueAt)}
	}
	if f.lanes == nil {
		f.lanes = make(map[work.Lane]floor)
	}
	now := time.Now()
	for _, claim := range claims {
		t, before := taken[claim.Lane], f.lanes[claim.Lane]
		switch {
		case t.n < claim.N:
			delete(f.lanes, claim.Lane)
		case now.Before(before.until):
			f.lanes[claim.Lane] = floor{t.last, before.until}
		default:
			f.lanes[claim.Lane] = floor{t.last, now.Add(floorLasts)}
		}
	}
}

// claimedRow is a delivery that has been claimed, with what it was claimed by.
type claimedRow struct {
	work.Item
	dueAt int64
}

const claimedColumns = `id, client_id, lane, address, made_at, due_at, attempt, retries`

// scanClaimed scans claimedColumns of a delivery that node has claimed.
func scanClaimed(node int64) func(*sql.Rows) (claimedRow, error) {
	return func(rows *sql.Rows) (r claimedRow, err error) {
		var made int64
		err = rows.Scan(&r.ID, &r.ClientID, &r.Origin, &r.Address, &made, &r.dueAt, &r.Attempt, &r.Retries)
		r.MadeAt, r.Held, r.Node = fromMicros(made), true, node
		return r, err
	}
}

// HandBack gives deliveries that this node holds back without an attempt.
func (s *Store) HandBack(ctx context.Context, held []work.Item) error {
	for part := range slices.Chunk(held, step) {
		err := s.change(ctx, "hand deliveries back", func(tx *sql.Tx) error {
			for _, d := range part {
				_, err := tx.ExecContext(ctx, `UPDATE queue SET node = NULL WHERE id = $1 AND node = $2 AND attempt = $3`,
					d.ID[:], d.Node, d.Attempt)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
