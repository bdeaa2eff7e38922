package clientcache

import (
	"context"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// readTimeout bounds the read of a client: that of 1,000,000 rules takes some seconds on a busy machine.
const readTimeout = 30 * time.Second

// reads are the reads of one client: one that is under way, and one that follows it for all callers that came
// meanwhile. They cannot share the one under way, because it may not see a change that they know of. So a
// thousand publishers of a changed client read it twice at most.
type reads struct {
	now, next *read
	changed   bool // Invalidate was called during the read under way
}

// read is one read of a client, for which its callers wait.
type read struct {
	done     chan struct{}
	snapshot *Snapshot
	err      error
}

// read returns a read of a client that begins after the call. It goes on after the end of ctx, because others
// may wait for it too. The caller holds mu.
func (c *Cache) read(ctx context.Context, id uuid.UUID) *read {
	r := &read{done: make(chan struct{})}
	switch under := c.reads[id]; {
	case under == nil:
		c.reads[id] = &reads{now: r}
		go c.readAll(context.WithoutCancel(ctx), id)
	case under.next == nil:
		under.next = r
	default:
		return under.next
	}
	return r
}

// readAll reads a client as long as there are callers who wait for it.
func (c *Cache) readAll(ctx context.Context, id uuid.UUID) {
	for again := true; again; {
		c.mu.Lock()
		under := c.reads[id]
		under.changed = false
		known := c.clients.peek(id)
		var old *Snapshot
		if known != nil {
			old = known.Snapshot
		}
		mayBeCurrent := known != nil && !known.changed
		c.mu.Unlock()

		began := time.Now()
		snapshot, err := c.fetch(ctx, id, old, mayBeCurrent)

		c.mu.Lock()
		under.now.snapshot, under.now.err = snapshot, err
		switch {
		case err == nil:
			c.clients.put(id, &entry{Snapshot: snapshot, checked: began, changed: under.changed}, snapshot.size())
		case herald.CodeOf(err) == herald.CodeNotFound:
			c.clients.remove(id)
		}
		close(under.now.done)
		if again = under.next != nil; again {
			under.now, under.next = under.next, nil
		} else {
			delete(c.reads, id)
		}
		c.mu.Unlock()
	}
}

// fetch returns a client at its present revision. old is what is known of it, nil if nothing is. If it may be
// current, its revision is read before anything else.
func (c *Cache) fetch(ctx context.Context, id uuid.UUID, old *Snapshot, mayBeCurrent bool) (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	since := int64(0)
	if old != nil {
		since = old.Revision
	}
	if mayBeCurrent {
		revision, err := c.store.Revision(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case revision == since:
			return old, nil
		}
	}
	state, err := c.store.ClientState(ctx, id, since)
	if err != nil {
		return nil, err
	}
	has, err := c.rulesOf(ctx, &state, old)
	if err != nil {
		return nil, err
	}
	types, err := c.catalogueOf(state.EventTypes)
	if err != nil {
		return nil, err
	}
	return newSnapshot(&state, has, types), nil
}

// rulesOf returns the rules of a state. If it has only the first ones, it reads the others, and sets state to the
// client after that: what has changed during the read is added to it.
func (c *Cache) rulesOf(ctx context.Context, state *work.ClientState, old *Snapshot) (rules, error) {
	if state.Since > 0 {
		return old.rules.after(state), nil
	}
	for {
		all, err := c.rest(ctx, state)
		if err != nil || !state.More {
			return newRules(all), err
		}
		began := state.Client.Revision
		if *state, err = c.store.ClientState(ctx, state.Client.ID, began); err != nil {
			return rules{}, err
		}
		if state.Since == began {
			return newRules(all).after(state), nil
		}
	} // more has changed meanwhile than is on record: once more, until ctx ends
}

// rest returns a client's rules, of which state has the first.
func (c *Cache) rest(ctx context.Context, state *work.ClientState) ([]herald.Rule, error) {
	all := state.Rules
	for more := state.More; more; {
		var next []herald.Rule
		var err error
		if next, more, err = c.store.RulesAfter(ctx, state.Client.ID, all[len(all)-1].ID); err != nil {
			return nil, err
		}
		all = append(all, next...)
	}
	return all, nil
}

// after returns the rules with the changes of a state.
func (r rules) after(state *work.ClientState) rules {
	for _, id := range state.Deleted {
		r = r.without(id)
	}
	for _, changed := range state.Rules {
		r = r.with(changed)
	}
	return r
}
