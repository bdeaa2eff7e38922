package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
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
func (s *Store) Lanes(ctx context.Context, after herald.Lane) ([]herald.WaitingLane, error) {
	ctx, cancel := listing(ctx)
	defer cancel()
	now, err := s.dialect.now(ctx, s.read)
	if err != nil {
		return nil, s.failed("ask the database's clock", err)
	}
	lanes, err := list(ctx, s.read, func(rows *sql.Rows) (w herald.WaitingLane, err error) {
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
func (s *Store) Claim(ctx context.Context, wants []herald.Want) ([]herald.Due, error) {
	var claimed []claimedRow
	err := s.change(ctx, "claim deliveries", func(tx *sql.Tx) error {
		now, err := s.dialect.now(ctx, tx)
		if err != nil {
			return err
		}
		claimed, err = s.dialect.claim(ctx, tx, s.node.Load(), wants, s.floors.of(wants), now)
		return err
	})
	if lost := (*lostAnswer)(nil); errors.As(err, &lost) {
		s.inDoubt.Store(true) // it may hold what it has not been told of
	}
	if err != nil {
		return nil, err
	}
	s.floors.raise(wants, claimed)
	// RETURNING promises no order.
	slices.SortFunc(claimed, func(a, b claimedRow) int {
		return cmp.Or(cmp.Compare(a.dueAt, b.dueAt), slices.Compare(a.ID[:], b.ID[:]))
	})
	due := make([]herald.Due, len(claimed))
	for i := range claimed {
		due[i] = claimed[i].Due
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
	lanes map[herald.Lane]floor
}

type floor struct {
	dueAt int64
	until time.Time
}

// of returns what each want's due times begin with, 0 for no floor.
func (f *floors) of(wants []herald.Want) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := make([]int64, len(wants))
	for i := range wants {
		if floor, known := f.lanes[wants[i].Lane]; known && time.Now().Before(floor.until) {
			from[i] = floor.dueAt
		}
	}
	return from
}

// raise notes what has been claimed. A lane that had less than was wanted is
// looked at from its beginning the next time.
func (f *floors) raise(wants []herald.Want, claimed []claimedRow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	type tally struct {
		n    int
		last int64
	}
	taken := make(map[herald.Lane]tally, len(wants))
	for i := range claimed {
		lane := herald.Lane{Client: claimed[i].ClientID, Origin: claimed[i].Origin}
		taken[lane] = tally{taken[lane].n + 1, max(taken[lane].last, claimed[i].dueAt)}
	}
	if f.lanes == nil {
		f.lanes = make(map[herald.Lane]floor)
	}
	now := time.Now()
	for _, want := range wants {
		t, before := taken[want.Lane], f.lanes[want.Lane]
		switch {
		case t.n < want.N:
			delete(f.lanes, want.Lane)
		case now.Before(before.until):
			f.lanes[want.Lane] = floor{t.last, before.until}
		default:
			f.lanes[want.Lane] = floor{t.last, now.Add(floorLasts)}
		}
	}
}

// claimedRow is a delivery that has been claimed, with what it was claimed by.
type claimedRow struct {
	herald.Due
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
func (s *Store) HandBack(ctx context.Context, held []herald.Due) error {
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

// Register makes this process a node under a new number. On an embedded
// database it buries whatever node used it before: the data directory's lock
// says that it is gone. FreeOrphans gives back what those held.
func (s *Store) Register(ctx context.Context) error {
	return s.change(ctx, "register this node", func(tx *sql.Tx) error {
		node, err := first(ctx, tx, scanInt, `INSERT INTO nodes (beat) VALUES (0) RETURNING id`)
		if err != nil {
			return err
		}
		if !s.dialect.shared {
			if _, err := tx.ExecContext(ctx, `DELETE FROM nodes WHERE id <> $1`, node); err != nil {
				return err
			}
		}
		s.node.Store(node)
		s.inDoubt.Store(false)
		return nil
	})
}

// Shared says whether other nodes may use the database beside this one.
func (s *Store) Shared() bool { return s.dialect.shared }

// Beat counts this node's beat up and returns the beats of all other nodes.
// herald.ErrBuried when another node has buried this one, or when it has to begin
// anew because it is in doubt of what it holds.
func (s *Store) Beat(ctx context.Context) (map[int64]int64, error) {
	others := make(map[int64]int64)
	err := s.change(ctx, "beat", func(tx *sql.Tx) error {
		clear(others)
		if doubtful, err := s.leaveInDoubt(ctx, tx); doubtful || err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, `UPDATE nodes SET beat = beat + 1 WHERE id = $1`, s.node.Load()))
		if err != nil || n == 0 {
			return err
		}
		_, err = list(ctx, tx, func(rows *sql.Rows) (none struct{}, err error) {
			var id, beat int64
			err = rows.Scan(&id, &beat)
			others[id] = beat
			return none, err
		}, `SELECT id, beat FROM nodes`)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, alive := others[s.node.Load()]; !alive {
		return nil, herald.ErrBuried
	}
	delete(others, s.node.Load())
	return others, nil
}

// Bury takes another node off the list if its beat still stands where it was
// seen, and reports whether this call did.
func (s *Store) Bury(ctx context.Context, node, beat int64) (bool, error) {
	var n int64
	err := s.change(ctx, "bury a node", func(tx *sql.Tx) (err error) {
		n, err = affected(tx.ExecContext(ctx, `DELETE FROM nodes WHERE id = $1 AND beat = $2`, node, beat))
		return err
	})
	return n > 0, err
}

// Leave takes this node off the list.
func (s *Store) Leave(ctx context.Context) error {
	return s.change(ctx, "take this node off the list", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM nodes WHERE id = $1`, s.node.Load())
		return err
	})
}

const orphansSQL = `SELECT id, client_id, address, node, attempt FROM queue
WHERE id > $1 AND node IS NOT NULL AND node NOT IN (SELECT id FROM nodes) ORDER BY id LIMIT $2`

// FreeOrphans lets deliveries that a dead node held be claimed again, in the
// order of their ids and behind after; it returns the last one's id, and how
// many there were, none when it is through. Whether their requests were sent is
// unknown, so each gets an attempt on record that says so; it uses up no retry.
func (s *Store) FreeOrphans(ctx context.Context, after uuid.UUID) (last uuid.UUID, n int, err error) {
	type orphan struct {
		herald.Due
		node int64
	}
	orphans, err := list(ctx, s.read, func(rows *sql.Rows) (o orphan, err error) {
		err = rows.Scan(&o.ID, &o.ClientID, &o.Address, &o.node, &o.Attempt)
		return o, err
	}, orphansSQL, after[:], step)
	if err != nil || len(orphans) == 0 {
		return after, 0, s.failed("look for a dead node's deliveries", err)
	}
	err = s.change(ctx, "free a dead node's deliveries", func(tx *sql.Tx) error {
		now, err := s.dialect.now(ctx, tx)
		if err != nil {
			return err
		}
		for _, o := range orphans {
			freed, err := affected(tx.ExecContext(ctx, `UPDATE queue SET node = NULL, due_at = $1, attempt = attempt + 1
WHERE id = $2 AND node = $3 AND attempt = $4`, now, o.ID[:], o.node, o.Attempt))
			if err != nil {
				return err
			}
			if freed == 0 {
				continue
			}
			_, err = tx.ExecContext(ctx, addAttemptSQL, o.ID[:], o.Attempt, now, string(herald.OutcomeUnknown), 0, string(herald.ReasonInterrupted),
				"The node that held this delivery stopped without saying how far it was; the request may have been sent.", nil, nil, nil)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return orphans[len(orphans)-1].ID, len(orphans), err
}

// CancelDeletedClients ends, in one bounded step, pending deliveries of clients
// that have been deleted and that no node holds; it returns how many.
func (s *Store) CancelDeletedClients(ctx context.Context) (n int, err error) {
	waiting, err := list(ctx, s.read, scanID, `SELECT q.id FROM clients c JOIN queue q ON q.client_id = c.id AND q.node IS NULL
WHERE c.deleted_at IS NOT NULL LIMIT $1`, step)
	if err != nil || len(waiting) == 0 {
		return 0, s.failed("look for a deleted client's deliveries", err)
	}
	err = s.change(ctx, "cancel a deleted client's deliveries", func(tx *sql.Tx) error {
		for _, id := range waiting {
			if _, err := cancelDelivery(ctx, tx, id, herald.ReasonClientDeleted, false); err != nil {
				return err
			}
		}
		return nil
	})
	return len(waiting), err
}

// Forget deletes, in one bounded step, idempotency keys that have run out; it
// returns how many.
func (s *Store) Forget(ctx context.Context) (n int, err error) {
	type key struct {
		client uuid.UUID
		text   string
	}
	now := micros(time.Now())
	keys, err := list(ctx, s.read, func(rows *sql.Rows) (k key, err error) {
		err = rows.Scan(&k.client, &k.text)
		return k, err
	}, `SELECT client_id, key FROM idempotency WHERE expires_at <= $1 LIMIT $2`, now, step)
	if err != nil || len(keys) == 0 {
		return 0, s.failed("look for old idempotency keys", err)
	}
	err = s.change(ctx, "forget old idempotency keys", func(tx *sql.Tx) error {
		for _, k := range keys {
			_, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE client_id = $1 AND key = $2 AND expires_at <= $3`, k.client[:], k.text, now)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return len(keys), err
}

// cancelDelivery moves a pending delivery to history, one that a node holds
// only if heldToo, and reports whether there was one.
func cancelDelivery(ctx context.Context, tx *sql.Tx, id uuid.UUID, reason herald.Reason, heldToo bool) (bool, error) {
	var (
		client  uuid.UUID
		address string
	)
	err := tx.QueryRowContext(ctx, `DELETE FROM queue WHERE id = $1 AND (node IS NULL OR $2) RETURNING client_id, address`,
		id[:], heldToo).Scan(&client, &address)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, addDeliverySQL, id[:], client[:], address, int64(herald.Cancelled), string(reason), micros(time.Now()))
	return true, err
}
