package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
)

// DefaultDeadAfter is how long a node's beat may stand still before the others
// take it for dead: long enough for a pause of the machine, short enough that
// what it held is taken over within 20 s.
const DefaultDeadAfter = 15 * time.Second

// beatsPerDeath is how many beats a node makes in the time that it would take to
// be taken for dead.
const beatsPerDeath = 15

// orphansEvery is how often a node looks for deliveries of dead nodes without
// having seen one die: whoever buried it may have died over freeing them.
const orphansEvery = time.Minute

// keeper beats for this node and watches the beats of the others. Time is this
// node's own, and only how long: no clocks are compared.
//
//	       beat stands still for DeadAfter: Bury, free what it held
//	alive ──────────────────────────────────────────────────────────▶ buried
//	  ▲                                                                 │
//	  └──── it finds out at its next beat: forgets all, registers anew ─┘
type keeper struct {
	*Engine
	seen   map[int64]sighting
	looked time.Time // when the others were last seen
	swept  time.Time // when orphans were last looked for
}

// sighting is another node's beat and since when it has stood there.
type sighting struct {
	beat  int64
	since time.Time
}

func (k *keeper) run(ctx context.Context) {
	ticker := time.NewTicker(k.DeadAfter / beatsPerDeath)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := k.beat(ctx); err != nil && ctx.Err() == nil {
			k.Log.Error("keep up with the other nodes", "error", err)
		}
	}
}

func (k *keeper) beat(ctx context.Context) error {
	others, err := k.Nodes.Beat(ctx)
	if errors.Is(err, herald.ErrBuried) {
		return k.rejoin(ctx)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	if now.Sub(k.looked) > k.DeadAfter/2 {
		clear(k.seen) // this node could not look; that says nothing of the others
	}
	k.looked = now
	dead := k.watch(others, now)
	for node, beat := range dead {
		buried, err := k.Nodes.Bury(ctx, node, beat)
		if err != nil {
			return err
		}
		delete(k.seen, node)
		if buried {
			k.Log.Warn("a node is taken for dead; what it held is made again", "node", node, "silentFor", k.DeadAfter)
		}
	}
	if len(dead) > 0 || now.Sub(k.swept) > orphansEvery {
		return k.sweep(ctx)
	}
	return nil
}

// sweep frees orphans. Until that has succeeded, every beat tries again: what is
// not freed now would wait for the next death.
func (k *keeper) sweep(ctx context.Context) error {
	k.swept = time.Time{}
	err := k.freeOrphans(ctx)
	if err == nil {
		k.swept = time.Now()
	}
	return err
}

// watch notes the others' beats and returns those that have stood still for
// too long.
func (k *keeper) watch(others map[int64]int64, now time.Time) map[int64]int64 {
	dead := make(map[int64]int64)
	for node, beat := range others {
		s, known := k.seen[node]
		switch {
		case !known || s.beat != beat:
			k.seen[node] = sighting{beat, now}
		case now.Sub(s.since) >= k.DeadAfter:
			dead[node] = beat
		}
	}
	for node := range k.seen {
		if _, there := others[node]; !there {
			delete(k.seen, node)
		}
	}
	return dead
}

// rejoin forgets what this node held, which others hold now, and begins again as
// a new incarnation. Results of attempts under way are refused by the store.
func (k *keeper) rejoin(ctx context.Context) error {
	k.mu.Lock()
	forgotten := k.window.Drain(func(i *item) int { return size(&i.Due) })
	for _, i := range forgotten {
		delete(k.held, i.ID)
	}
	k.mu.Unlock()
	clear(k.seen)
	k.Log.Warn("this node was taken for dead by another; it begins anew", "forgotten", len(forgotten))
	if err := k.Nodes.Register(ctx); err != nil {
		return err
	}
	return k.sweep(ctx) // what was held meanwhile under the old number
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
		e.lookSoon()
	}
	return nil
}
