package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald/internal/work"
)

// DefaultDeadAfter is how long a node's count may stay the same before the others declare the node
// dead. It is longer than a pause of the machine, and so short that others take over its deliveries
// within 20 s.
const DefaultDeadAfter = 15 * time.Second

// heartbeatsPerTimeout is how many heartbeats a node makes within DeadAfter.
const heartbeatsPerTimeout = 15

// freeOrphansEvery is how often a node frees orphans although it has declared no node dead. The
// node that declared one dead may itself have died before it freed the orphans.
const freeOrphansEvery = time.Minute

// membership makes this node's heartbeats and watches those of the others. It measures time by this
// node's monotonic clock and never compares clocks of two nodes.
//
//	       count unchanged for DeadAfter: DeclareDead, free its orphans
//	alive ───────────────────────────────────────────────────────────────────────▶ dead
//	  ▲                                                                             │
//	  └── at its next heartbeat: ErrDeclaredDead, drops all, registers as a new one ┘
type membership struct {
	*Engine
	unsent  []work.Item // deliveries of a dead incarnation that rejoin hands back
	seen    map[int64]heartbeat
	readAt  time.Time // when the others' counts were last read
	freedAt time.Time // when orphans were last freed
}

// heartbeat is the count of another node, and when this node first read that count.
type heartbeat struct {
	count int64
	since time.Time
}

func (m *membership) run(ctx context.Context) {
	ticker := time.NewTicker(m.DeadAfter / heartbeatsPerTimeout)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := m.heartbeatOnce(ctx); err != nil && ctx.Err() == nil {
			m.Log.Error("the heartbeat of this node failed", "error", err)
		}
	}
}

// heartbeatOnce makes one heartbeat, and declares nodes dead whose counts have not changed for
// DeadAfter.
func (m *membership) heartbeatOnce(ctx context.Context) error {
	others, err := m.Nodes.Heartbeat(ctx)
	if errors.Is(err, work.ErrDeclaredDead) {
		return m.rejoin(ctx)
	}
	if err != nil {
		return err
	}
	m.metrics.nodes.Set(float64(len(others) + 1))
	now := time.Now()
	if now.Sub(m.readAt) > m.DeadAfter/2 {
		clear(m.seen) // this node could not read the counts, so the others may have made heartbeats
	}
	m.readAt = now
	silent := m.watch(others, now)
	for node, count := range silent {
		declared, err := m.Nodes.DeclareDead(ctx, node, count)
		if err != nil {
			return err
		}
		delete(m.seen, node)
		if declared {
			m.metrics.dead.Inc()
			m.Log.Warn("this node declared another node dead; the deliveries that it held are made again", "node", node, "silentFor", m.DeadAfter)
		}
	}
	if len(silent) > 0 || now.Sub(m.freedAt) > freeOrphansEvery {
		return m.freeAll(ctx)
	}
	return nil
}

// freeAll frees orphans. If it fails, the next heartbeat tries again. Otherwise the orphans would
// wait until the next node is declared dead.
func (m *membership) freeAll(ctx context.Context) error {
	m.freedAt = time.Time{}
	err := m.freeOrphans(ctx)
	if err == nil {
		m.freedAt = time.Now()
	}
	return err
}

// watch stores the counts of the others and returns those that have not changed for DeadAfter.
func (m *membership) watch(others map[int64]int64, now time.Time) map[int64]int64 {
	silent := make(map[int64]int64)
	for node, count := range others {
		h, known := m.seen[node]
		switch {
		case !known || h.count != count:
			m.seen[node] = heartbeat{count, now}
		case now.Sub(h.since) >= m.DeadAfter:
			silent[node] = count
		}
	}
	for node := range m.seen {
		if _, there := others[node]; !there {
			delete(m.seen, node)
		}
	}
	return silent
}

// rejoin drops the deliveries that this node held, which can be claimed by any node now, and
// registers as a new incarnation. The store refuses the results of attempts under way.
func (m *membership) rejoin(ctx context.Context) error {
	m.drop()
	clear(m.seen)
	m.Log.Warn("this node was declared dead or is uncertain what it holds; it registers as a new one", "dropped", len(m.unsent))
	if err := m.Nodes.Register(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	m.incarnation = m.Nodes.Incarnation()
	m.mu.Unlock()
	// What was not sent, and what nobody has freed yet, is handed back. The rest of
	// what was held under the old number may have been sent.
	m.drop() // deliveries that were being committed
	m.returnUnsent(m.unsent)
	m.unsent = nil
	m.wakeClaimer()
	return m.freeAll(ctx)
}

// drop moves the deliveries that were not sent from memory to unsent.
func (m *membership) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range append(m.window.Drain(func(i *item) int { return size(&i.Item) }), m.takeLimited()...) {
		m.forget(i)
		m.unsent = append(m.unsent, i.Item)
	}
}

// freeOrphans frees the deliveries that dead nodes held.
func (e *Engine) freeOrphans(ctx context.Context) error {
	freed := 0
	for last, n, err := e.Nodes.FreeOrphans(ctx, uuid.Nil); n > 0 || err != nil; last, n, err = e.Nodes.FreeOrphans(ctx, last) {
		if err != nil {
			return err
		}
		freed += n
	}
	if freed > 0 {
		e.Log.Warn("a dead node held deliveries; they are made again", "deliveries", freed)
		e.wakeClaimer()
	}
	return nil
}
