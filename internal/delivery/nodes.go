package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald/internal/work"
)

// DefaultDeadAfter is how long a node's heartbeat may stand still before the others
// declare the node dead: long enough for a pause of the machine, short enough that
// what it held is taken over within 20 s.
const DefaultDeadAfter = 15 * time.Second

// heartbeatsPerTimeout is how many heartbeats a node makes within DeadAfter.
const heartbeatsPerTimeout = 15

// freeOrphansEvery is how often a node looks for deliveries of dead nodes without
// having seen one die: the node that declared it dead may have died before it freed
// them.
const freeOrphansEvery = time.Minute

// membership makes this node's heartbeats and watches those of the others. It
// measures time by this node's own monotonic clock. It compares no clocks.
//
//	       heartbeat stands still for DeadAfter: DeclareDead, free what it held
//	alive ─────────────────────────────────────────────────────────────────────▶ dead
//	  ▲                                                                           │
//	  └── it learns that at its next heartbeat: drops all, registers as a new one ┘
type membership struct {
	*Engine
	seen    map[int64]heartbeat
	heardAt time.Time // when the others' heartbeats were last read
	freedAt time.Time // when orphans were last looked for
}

// heartbeat is another node's count, and since when it has been that one.
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
		if err := m.beat(ctx); err != nil && ctx.Err() == nil {
			m.Log.Error("make this node's heartbeat", "error", err)
		}
	}
}

// beat makes one heartbeat, and declares nodes dead whose heartbeats stand still.
func (m *membership) beat(ctx context.Context) error {
	others, err := m.Nodes.Heartbeat(ctx)
	if errors.Is(err, work.ErrDeclaredDead) {
		return m.rejoin(ctx)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	if now.Sub(m.heardAt) > m.DeadAfter/2 {
		clear(m.seen) // this node could not read them; that says nothing of the others
	}
	m.heardAt = now
	silent := m.watch(others, now)
	for node, count := range silent {
		declared, err := m.Nodes.DeclareDead(ctx, node, count)
		if err != nil {
			return err
		}
		delete(m.seen, node)
		if declared {
			m.Log.Warn("a node is declared dead; what it held is made again", "node", node, "silentFor", m.DeadAfter)
		}
	}
	if len(silent) > 0 || now.Sub(m.freedAt) > freeOrphansEvery {
		return m.freeAll(ctx)
	}
	return nil
}

// freeAll frees orphans. Until that has succeeded, every heartbeat tries again:
// what is not freed now would wait for the next death.
func (m *membership) freeAll(ctx context.Context) error {
	m.freedAt = time.Time{}
	err := m.freeOrphans(ctx)
	if err == nil {
		m.freedAt = time.Now()
	}
	return err
}

// watch notes the others' counts and returns those that have stood still for too
// long.
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

// rejoin drops what this node held, which others hold now, and registers as a new
// incarnation. The store refuses results of attempts under way.
func (m *membership) rejoin(ctx context.Context) error {
	unsent := m.drop()
	clear(m.seen)
	m.Log.Warn("another node declared this one dead; it registers as a new one", "dropped", len(unsent))
	if err := m.Nodes.Register(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	m.incarnation = m.Nodes.Incarnation()
	m.mu.Unlock()
	// What was not sent, and what nobody has freed yet, is handed back. The rest of
	// what was held under the old number may have been sent.
	m.handBack(append(unsent, m.drop()...))
	m.wakeClaimer()
	return m.freeAll(ctx)
}

// drop takes what has not been sent out of memory.
func (m *membership) drop() []work.Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	var unsent []work.Item
	for _, i := range m.window.Drain(func(i *item) int { return size(&i.Item) }) {
		delete(m.held, i.ID)
		unsent = append(unsent, i.Item)
	}
	return unsent
}

// freeOrphans gives back what dead nodes held.
func (e *Engine) freeOrphans(ctx context.Context) error {
	freed := 0
	for last, n, err := e.Nodes.FreeOrphans(ctx, uuid.Nil); n > 0 || err != nil; last, n, err = e.Nodes.FreeOrphans(ctx, last) {
		if err != nil {
			return err
		}
		freed += n
	}
	if freed > 0 {
		e.Log.Warn("deliveries were held by a node that is gone; they are made again", "deliveries", freed)
		e.wakeClaimer()
	}
	return nil
}
