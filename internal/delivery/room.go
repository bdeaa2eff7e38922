package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/fairqueue"
	"herald/internal/memory"
	"herald/internal/work"
)

// What finds no room in the window is written, read and claimed once more, which costs more than to send
// it. So a publish waits before its commit if its receivers are quick: then there is room soon. The
// publishes of one client get room in the order of their arrival. A publish that waits holds no room, no
// lock and no place; only its prepared events are in memory, which waitingBytes bounds. For a receiver
// that is slow or hangs no publish waits.
const (
	// patience is how long a publish waits for room at most. An array of 100 is sent within 10 ms when
	// nothing else is, so it is enough for fifty of them.
	patience = 500 * time.Millisecond
	// waitingBytes bounds the events of all publishes that wait, and half of it those of one client: a
	// quarter of what internal/intake has for prepared events. Others do not wait then.
	waitingBytes = 16 << 20
	// leastBytes is what a publish counts for at least: its goroutine. So 1,024 wait at most.
	leastBytes = 16 << 10
	// waitingLanes bounds the lanes of a publish that waits. All are compared when it may have room.
	waitingLanes = 64
)

// publish is one that waits for room.
type publish struct {
	events []work.PreparedEvent
	needs  []fairqueue.Need
	gone   chan struct{} // closed when it waits no more and room is taken
}

// publishes are those that wait for room, by client and in the order of their arrival. The engine holds
// mu when it uses them.
type publishes struct {
	budget   *memory.Budget
	byClient map[uuid.UUID][]*publish
	turns    []uuid.UUID // the clients, the one that was looked at last at the end
}

func newPublishes() publishes {
	return publishes{budget: memory.NewBudget(waitingBytes), byClient: make(map[uuid.UUID][]*publish)}
}

// ReserveSoon is Reserve. If there is no room for all of the deliveries and their receivers are quick,
// it first waits for room: for patience, or until ctx ends.
func (e *Engine) ReserveSoon(ctx context.Context, events []work.PreparedEvent) {
	e.mu.Lock()
	needs := e.mustWait(events)
	share := e.publishes.budget.Share(events[0].Event.ClientID)
	if needs == nil || !share.Grow(int64(bytesOf(events))) {
		e.take(events)
		e.mu.Unlock()
		return
	}
	p := &publish{events, needs, make(chan struct{})}
	e.publishes.join(events[0].Event.ClientID, p)
	e.mu.Unlock()
	defer share.Release()
	e.metrics.slowed.Inc()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.gone:
		return
	case <-timer.C:
		e.goWithout(p, true)
	case <-ctx.Done():
		e.goWithout(p, false)
	}
}

// goWithout ends the wait of a publish without room. If it was in vain, others do not wait for the same
// lanes until their receivers answer.
func (e *Engine) goWithout(p *publish, inVain bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	client, window := p.events[0].Event.ClientID, e.window.webhooks
	if !e.publishes.leave(client, p) { // it was let go just now
		return
	}
	for i := window.Missing(client, p.needs); inVain && i >= 0; i = window.Missing(client, p.needs) {
		window.Stuck(p.needs[i].Lane)
	}
	e.take(p.events)
	e.letGo(client)
}

// bytesOf returns what events count for while they wait.
func bytesOf(events []work.PreparedEvent) (sum int) {
	for i := range events {
		_, bytes := events[i].Size()
		sum += bytes
	}
	return max(sum, leastBytes)
}

// mustWait returns what a publish needs if it has to wait for room, and nil otherwise. The caller holds
// mu.
func (e *Engine) mustWait(events []work.PreparedEvent) []fairqueue.Need {
	client, items, bytes := events[0].Event.ClientID, 0, 0
	each(events, func(_ int, d *work.Item) { items, bytes = items+1, bytes+size(d) })
	others := len(e.publishes.byClient[client]) > 0
	if !others && e.window.webhooks.HasRoom(client, items, bytes) || e.stopping || e.ownFaults.paused {
		return nil
	}
	needs := needsOf(events)
	missing := e.window.webhooks.Missing(client, needs)
	if missing < 0 && !(others && slices.ContainsFunc(needs, func(n fairqueue.Need) bool { return e.window.webhooks.Quick(n.Lane) })) {
		return nil
	}
	return needs
}

// needsOf returns what the webhooks of events need of their lanes. It returns nil if they have too many
// lanes or several clients.
func needsOf(events []work.PreparedEvent) (needs []fairqueue.Need) {
	unfit := false
	each(events, func(_ int, d *work.Item) {
		lane := d.Lane()
		unfit = unfit || lane.Client != events[0].Event.ClientID || len(needs) > waitingLanes
		if unfit || d.Origin == herald.MailScheme {
			return
		}
		i := slices.IndexFunc(needs, func(n fairqueue.Need) bool { return n.Lane == lane })
		if i < 0 {
			i = len(needs)
			needs = append(needs, fairqueue.Need{Lane: lane})
		}
		needs[i].Items++
		needs[i].Bytes += size(d)
	})
	if unfit {
		return nil
	}
	return needs
}

// letGo takes room for the publishes that need not wait any more, after room was released: for those of
// that client, and for those of one other client, because its room depends on what all have taken. The
// caller holds mu.
func (e *Engine) letGo(client uuid.UUID) {
	p := &e.publishes
	if len(p.turns) == 0 {
		return
	}
	e.letGoOf(client)
	if len(p.turns) > 0 {
		other := p.turns[0]
		copy(p.turns, p.turns[1:])
		p.turns[len(p.turns)-1] = other
		e.letGoOf(other)
	}
}

// letGoOf is letGo for one client.
func (e *Engine) letGoOf(client uuid.UUID) {
	for len(e.publishes.byClient[client]) > 0 {
		first := e.publishes.byClient[client][0]
		if missing := e.window.webhooks.Missing(client, first.needs); missing >= 0 {
			// This lane is compared first from now on.
			first.needs[0], first.needs[missing] = first.needs[missing], first.needs[0]
			return
		}
		e.publishes.leave(client, first)
		e.take(first.events)
		close(first.gone)
	}
}

// letAllGo lets all publishes go when the service stops.
func (e *Engine) letAllGo() {
	for _, waiting := range e.publishes.byClient {
		for _, p := range waiting {
			e.take(p.events)
			close(p.gone)
		}
	}
	clear(e.publishes.byClient)
	e.publishes.turns = nil
}

// join adds a publish behind those of its client.
func (p *publishes) join(client uuid.UUID, one *publish) {
	if len(p.byClient[client]) == 0 {
		p.turns = append(p.turns, client)
	}
	p.byClient[client] = append(p.byClient[client], one)
}

// leave removes a publish. It returns false if it was removed before.
func (p *publishes) leave(client uuid.UUID, one *publish) bool {
	waiting := p.byClient[client]
	at := slices.Index(waiting, one)
	if at < 0 {
		return false
	}
	if waiting = slices.Delete(waiting, at, at+1); len(waiting) > 0 {
		p.byClient[client] = waiting
		return true
	}
	delete(p.byClient, client)
	p.turns = slices.DeleteFunc(p.turns, func(c uuid.UUID) bool { return c == client })
	return true
}
