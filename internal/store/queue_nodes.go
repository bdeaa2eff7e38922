package store

import (
	"context"
	"database/sql"
	"sync"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// Register makes this process a node with a new number, its incarnation. On an embedded
// database it removes all earlier nodes: the lock on the data directory shows that they have
// ended. FreeOrphans frees the deliveries that they held.
//
// When Register returns, no delivery is being accepted or claimed for an earlier incarnation.
func (s *Store) Register(ctx context.Context) error {
	var node int64
	err := s.changeNodes(ctx, "register this node", func(ctx context.Context, tx *sql.Tx) (err error) {
		node, err = first(ctx, tx, scanInt, `INSERT INTO nodes (beat) VALUES (0) RETURNING id`)
		if err != nil || s.dialect.shared {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM nodes WHERE id <> $1`, node)
		return err
	})
	if err != nil {
		return err
	}
	// Only now: what is held by a number that is not registered counts as an orphan.
	s.holding.set(node)
	s.node.Store(node)
	s.uncertain.Store(false)
	return nil
}

// Incarnation returns the number under which this node registered last, or 0 before Register.
func (s *Store) Incarnation() int64 { return s.node.Load() }

// holding is the number under which this node takes deliveries: its incarnation while that is
// registered, else 0, and then accepted deliveries wait to be claimed. Whoever takes deliveries
// holds the lock until the commit.
type holding struct {
	lock sync.RWMutex
	node int64
}

// set changes the number, after those that take deliveries under the old one have committed.
func (h *holding) set(node int64) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.node = node
}

// begin returns the number, which stays the same until end.
func (h *holding) begin() (node int64, end func()) {
	h.lock.RLock()
	return h.node, h.lock.RUnlock
}

// changeNodes changes the table of nodes on a connection that nothing else uses, so that a
// heartbeat does not wait for other work. Each of these changes may take place twice: a second
// Register leaves behind a node that holds nothing and is declared dead.
func (s *Store) changeNodes(ctx context.Context, doing string, fn change) error {
	return s.transact(ctx, transaction{doing: doing, pool: s.vital, timeout: heartbeatTimeout, repeatable: true}, fn)
}

// Shared reports whether several nodes may use the database.
func (s *Store) Shared() bool { return s.dialect.shared }

// heartbeatSQL is one statement without BEGIN. A node that stalls between two statements would
// hold the lock on its row, and DeclareDead of the others would wait for it.
const heartbeatSQL = `WITH own AS (UPDATE nodes SET beat = beat + 1 WHERE id = $1 RETURNING id, beat)
SELECT id, beat FROM own UNION ALL SELECT id, beat FROM nodes WHERE id <> $1`

// Heartbeat adds one to this node's count and returns the counts of the other nodes, by
// number. The error is work.ErrDeclaredDead when another node has declared this one dead, or
// when this node may hold deliveries that it does not know of. In both cases the caller must
// call Register.
func (s *Store) Heartbeat(ctx context.Context) (map[int64]int64, error) {
	if s.uncertain.Load() {
		s.holding.set(0) // before this node removes itself
		if err := s.changeNodes(ctx, "remove this node", s.removeItself); err != nil {
			return nil, err
		}
		return nil, work.ErrDeclaredDead
	}
	others := make(map[int64]int64)
	read := func(ctx context.Context, q querier, text string) error {
		clear(others)
		_, err := list(ctx, q, func(rows *sql.Rows) (none struct{}, err error) {
			var id, count int64
			err = rows.Scan(&id, &count)
			others[id] = count
			return none, err
		}, text, s.node.Load())
		return err
	}
	var err error
	if s.dialect.shared {
		ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
		defer cancel()
		err = s.failed("record a heartbeat", s.retry(ctx, func() error { return read(ctx, s.vital, heartbeatSQL) }))
	} else {
		err = s.changeNodes(ctx, "record a heartbeat", func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `UPDATE nodes SET beat = beat + 1 WHERE id = $1`, s.node.Load()); err != nil {
				return err
			}
			return read(ctx, tx, `SELECT id, beat FROM nodes WHERE $1 = $1`)
		})
	}
	if err != nil {
		return nil, err
	}
	if _, alive := others[s.node.Load()]; !alive {
		s.holding.set(0)
		return nil, work.ErrDeclaredDead
	}
	delete(others, s.node.Load())
	return others, nil
}

// DeclareDead removes another node if its count is still count, and reports whether this call
// removed it. FreeOrphans frees the deliveries that it held.
func (s *Store) DeclareDead(ctx context.Context, node, count int64) (bool, error) {
	var n int64
	err := s.changeNodes(ctx, "declare a node dead", func(ctx context.Context, tx *sql.Tx) (err error) {
		n, err = affected(tx.ExecContext(ctx, `DELETE FROM nodes WHERE id = $1 AND beat = $2`, node, count))
		return err
	})
	return n > 0, err
}

// Leave removes this node. It must hold no deliveries any more: another node would treat them
// as orphans. What is accepted from now on waits to be claimed.
func (s *Store) Leave(ctx context.Context) error {
	s.holding.set(0)
	return s.changeNodes(ctx, "remove this node", s.removeItself)
}

func (s *Store) removeItself(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM nodes WHERE id = $1`, s.node.Load())
	return err
}

// orphansSQL reads deliveries that are held by nodes that are not registered any more.
const orphansSQL = `SELECT id, client_id, address, node, attempt FROM queue
WHERE id > $1 AND node IS NOT NULL AND node NOT IN (SELECT id FROM nodes) ORDER BY id LIMIT $2`

// FreeOrphans ends the hold of dead nodes on deliveries, so that they can be claimed again. One
// call frees at most step deliveries with ids greater than after, in the order of their ids.
// It returns the id of the last one and how many it found; 0 means that none are left.
//
// Whether the requests of the dead node were sent is unknown. So each delivery gets an attempt
// with herald.OutcomeUnknown, which uses up no retry.
func (s *Store) FreeOrphans(ctx context.Context, after uuid.UUID) (last uuid.UUID, n int, err error) {
	type orphan struct {
		work.Item
		node int64
	}
	orphans, err := list(ctx, s.read, func(rows *sql.Rows) (o orphan, err error) {
		err = rows.Scan(&o.ID, &o.ClientID, &o.Address, &o.node, &o.Attempt)
		return o, err
	}, orphansSQL, after[:], step)
	if err != nil || len(orphans) == 0 {
		return after, 0, s.failed("read a dead node's deliveries", err)
	}
	err = s.inTransaction(ctx, "free a dead node's deliveries", func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		c := counting{now: now}
		for _, o := range orphans {
			freed, err := affected(tx.ExecContext(ctx, `UPDATE queue SET node = NULL, due_at = $1, attempt = attempt + 1
WHERE id = $2 AND node = $3 AND attempt = $4 AND node NOT IN (SELECT id FROM nodes)`, now, o.ID[:], o.node, o.Attempt))
			if err != nil {
				return err
			}
			if freed == 0 {
				continue
			}
			interrupted := &herald.Attempt{DeliveryID: o.ID, N: o.Attempt, At: fromMicros(now), Outcome: herald.OutcomeUnknown, Reason: herald.ReasonInterrupted,
				Error: "The node that held this delivery stopped before it recorded a result; the request may have been sent."}
			if err := c.addAttempt(ctx, tx, o.ClientID, o.Address, interrupted); err != nil {
				return err
			}
		}
		return c.save(ctx, tx)
	})
	for _, o := range orphans {
		s.happened(o.ClientID)
	}
	return orphans[len(orphans)-1].ID, len(orphans), err
}
