package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"herald/internal/work"
)

// lanesLimit is how many lanes one call of Lanes returns at most. lanesSQL repeats it.
const lanesLimit = 256

// step is how many rows one transaction of the background work changes at most.
const step = 500

// lanesSQL steps through the index from lane to lane and skips the other rows of each: with a
// million rows, 256 lanes take a millisecond. It reads the next lane of the same client, or
// else the first lane of the next client, because a comparison of row values would read the
// whole queue on SQLite.
const lanesSQL = `WITH RECURSIVE lane(id, client_id, lane, due_at) AS (
  SELECT q.id, q.client_id, q.lane, q.due_at FROM queue q WHERE q.id = coalesce(
    (SELECT n.id FROM queue n WHERE n.node IS NULL AND n.client_id = $1 AND n.lane > $2 ORDER BY n.lane, n.due_at LIMIT 1),
    (SELECT n.id FROM queue n WHERE n.node IS NULL AND n.client_id > $1 ORDER BY n.client_id, n.lane, n.due_at LIMIT 1))
  UNION ALL
  SELECT q.id, q.client_id, q.lane, q.due_at FROM lane l JOIN queue q ON q.id = coalesce(
    (SELECT n.id FROM queue n WHERE n.node IS NULL AND n.client_id = l.client_id AND n.lane > l.lane ORDER BY n.lane, n.due_at LIMIT 1),
    (SELECT n.id FROM queue n WHERE n.node IS NULL AND n.client_id > l.client_id ORDER BY n.client_id, n.lane, n.due_at LIMIT 1)))
SELECT client_id, lane, due_at FROM lane LIMIT 256`

// Lanes returns lanes with deliveries that no node holds, ordered by client and origin,
// beginning after the lane after. It returns LanesLimit lanes, or fewer when they are the
// last.
func (s *Store) Lanes(ctx context.Context, after work.Lane) ([]work.WaitingLane, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	now, err := s.now(ctx, s.read)
	if err != nil {
		return nil, s.failed("read the database's clock", err)
	}
	lanes, err := list(ctx, s.read, func(rows *sql.Rows) (w work.WaitingLane, err error) {
		var due int64
		err = rows.Scan(&w.Client, &w.Origin, &due)
		w.DueIn = time.Duration(due-now) * time.Microsecond
		return w, err
	}, lanesSQL, after.Client[:], after.Origin)
	return lanes, s.failed("list the waiting lanes", err)
}

// LanesLimit is how many lanes Lanes returns at most.
func (s *Store) LanesLimit() int { return lanesLimit }

// Claim lets this node hold due deliveries: of each lane up to N of up to Bytes bytes, the
// longest due first, and of all lanes up to room bytes. The very first delivery may be larger,
// or it would never be sent. Claim learns the sizes before it reads a body. If it cannot read
// the bodies before ctx ends, it hands the deliveries back and returns an error. Unreadable says
// why a body cannot be read at all, or why a delivery without content could not be ended. The error
// is work.ErrDeclaredDead if this node is not registered any more: it has claimed nothing, and there
// may be deliveries to claim. If the answer of its commit is lost and the database does not
// say what became of it, the next Heartbeat returns work.ErrDeclaredDead, because the node may
// hold them.
func (s *Store) Claim(ctx context.Context, claims []work.Claim, room int) (work.Claimed, error) {
	var (
		claimed []claimedRow
		left    map[work.Lane]bool
	)
	node, end := s.holding.begin()
	if node == 0 { // this node is not registered any more
		end()
		return work.Claimed{}, work.ErrDeclaredDead
	}
	err := s.transact(ctx, transaction{doing: "claim deliveries", timeout: claimTimeout, tookPlace: s.claimed(&claimed)}, func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		all, err := s.dialect.claim(ctx, tx, node, claims, s.floors.of(claims), now)
		if err == nil && len(all) == 0 {
			err = s.checkRegistered(ctx, tx, node)
		}
		if err != nil {
			return err
		}
		claimed, left, err = releaseTooLarge(ctx, tx, claims, all, room)
		return err
	})
	end()
	if lost := (*lostAnswer)(nil); errors.As(err, &lost) {
		s.uncertain.Store(true) // this node may hold deliveries that it does not know of
	}
	if err != nil {
		return work.Claimed{}, err
	}
	s.floors.raise(claims, claimed, left)
	items := make([]work.Item, len(claimed))
	for i := range claimed {
		items[i] = claimed[i].Item
		s.happened(items[i].ClientID)
	}
	missing, err := s.readClaimed(ctx, items)
	if err != nil {
		return work.Claimed{}, errors.Join(err, s.HandBack(context.WithoutCancel(ctx), items))
	}
	items, ended := s.endMissing(ctx, items, missing)
	return work.Claimed{Items: items, Left: left, Ended: ended}, nil
}

// releaseTooLarge sorts the claimed rows, longest due first, and ends the hold on those that do not
// fit. It returns the others, and the lanes of those that it released.
func releaseTooLarge(ctx context.Context, tx *sql.Tx, claims []work.Claim, rows []claimedRow, room int) (fitting []claimedRow, left map[work.Lane]bool, err error) {
	// The rows of RETURNING have no order.
	slices.SortFunc(rows, func(a, b claimedRow) int {
		return cmp.Or(cmp.Compare(a.dueAt, b.dueAt), slices.Compare(a.ID[:], b.ID[:]))
	})
	fitting, tooLarge := fit(claims, rows, room)
	left = make(map[work.Lane]bool)
	for i := range tooLarge {
		d := &tooLarge[i]
		left[d.Lane()] = true
		if _, err := tx.ExecContext(ctx, handBackSQL, d.ID[:], d.Node, d.Attempt); err != nil {
			return nil, nil, err
		}
	}
	return fitting, left, nil
}

// claimed finds out whether a claim took place: the node holds the first of its rows then.
func (s *Store) claimed(rows *[]claimedRow) tookPlace {
	return func(ctx context.Context, tx *sql.Tx) (bool, error) {
		if len(*rows) == 0 {
			return false, nil
		}
		d := &(*rows)[0]
		_, err := first(ctx, tx, scanID, `SELECT id FROM queue WHERE id = $1 AND node = $2 AND attempt = $3 `+s.dialect.forShare, d.ID[:], d.Node, d.Attempt)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	}
}

// fit splits rows, which are in their order, into those that fit the bytes of their lane's claim
// and room together, and the others. The first of a lane may be larger than its claim expected.
// After one that does not fit, no later one of its lane does: a lane stays first in, first out.
func fit(claims []work.Claim, rows []claimedRow, room int) (fitting, others []claimedRow) {
	type part struct {
		free, n int
		full    bool
	}
	parts := make(map[work.Lane]*part, len(claims))
	for _, claim := range claims {
		parts[claim.Lane] = &part{free: claim.Bytes}
	}
	for i, row := range rows {
		p := parts[row.Lane()]
		fits := row.size <= room && (row.size <= p.free || p.n == 0)
		if p.full = p.full || i > 0 && !fits; p.full {
			others = append(others, row)
			continue
		}
		p.free -= row.size
		p.n++
		room -= row.size
		fitting = append(fitting, row)
	}
	return fitting, others
}

// sleep waits for d. It returns false at once when ctx ends first.
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

// floorTTL is how long claims of a lane use a floor. A delivery that is handed back is due
// before the floor, so it may wait this long to be claimed again.
const floorTTL = 5 * time.Second

// floors holds the floor of each lane: the due time up to which its deliveries have been
// claimed. While a transaction holds an old snapshot, such as pg_dump's, PostgreSQL cannot
// remove the index entries of rows claimed since. Each claim would read all of them again if
// it did not begin at the floor.
type floors struct {
	mu    sync.Mutex
	lanes map[work.Lane]floor
}

type floor struct {
	dueAt int64
	until time.Time
}

// of returns the floor of each claim's lane, in microseconds; 0 means none.
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

// raise sets the floors after a claim. It removes the floor of a lane that had fewer due
// deliveries than the claim asked for, so the next claim begins at the lane's start. The lanes
// in left had more.
func (f *floors) raise(claims []work.Claim, claimed []claimedRow, left map[work.Lane]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	type taken struct {
		n    int
		last int64
	}
	byLane := make(map[work.Lane]taken, len(claims))
	for i := range claimed {
		lane := work.Lane{Client: claimed[i].ClientID, Origin: claimed[i].Origin}
		byLane[lane] = taken{byLane[lane].n + 1, max(byLane[lane].last, claimed[i].dueAt)}
	}
	if f.lanes == nil {
		f.lanes = make(map[work.Lane]floor)
	}
	now := time.Now()
	for _, claim := range claims {
		t, before := byLane[claim.Lane], f.lanes[claim.Lane]
		switch {
		case t.n == 0, t.n < claim.N && !left[claim.Lane]:
			delete(f.lanes, claim.Lane)
		case now.Before(before.until):
			f.lanes[claim.Lane] = floor{t.last, before.until}
		default:
			f.lanes[claim.Lane] = floor{t.last, now.Add(floorTTL)}
		}
	}
}

// claimedRow is a claimed delivery with the due time that orders it and the Size of the Item
// with its body, which is not read yet.
type claimedRow struct {
	work.Item
	dueAt int64
	size  int
}

// claimedColumns returns the columns of a claimed row. Neither database reads a value for its
// length. The last column is NULL if the alert is missing.
func claimedColumns(alertOf func(string) string) string {
	return `id, client_id, lane, address, made_at, due_at, attempt, retries,
(SELECT length(a.head) + coalesce(length(e.data), 0) FROM alerts a JOIN events e ON e.id = a.event_id WHERE a.id = ` + alertOf("queue.id") + `)`
}

// scanClaimed returns a function that scans claimedColumns of a delivery claimed by node.
func scanClaimed(node int64) func(*sql.Rows) (claimedRow, error) {
	return func(rows *sql.Rows) (r claimedRow, err error) {
		var (
			made int64
			body sql.NullInt64
		)
		err = rows.Scan(&r.ID, &r.ClientID, &r.Origin, &r.Address, &made, &r.dueAt, &r.Attempt, &r.Retries, &body)
		r.MadeAt, r.DueAt, r.Held, r.Node = fromMicros(made), fromMicros(r.dueAt), true, node
		r.size = r.Size() + int(body.Int64)
		return r, err
	}
}

const handBackSQL = `UPDATE queue SET node = NULL WHERE id = $1 AND node = $2 AND attempt = $3`

// HandBack ends this node's hold on deliveries without an attempt, so that they can be
// claimed again. It skips deliveries that this node does not hold any more.
func (s *Store) HandBack(ctx context.Context, held []work.Item) error {
	for part := range slices.Chunk(held, step) {
		err := s.transact(ctx, transaction{doing: "hand deliveries back", repeatable: true}, func(ctx context.Context, tx *sql.Tx) error {
			for _, d := range part {
				_, err := tx.ExecContext(ctx, handBackSQL, d.ID[:], d.Node, d.Attempt)
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
