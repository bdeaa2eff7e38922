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
			c.keep(id, old, &entry{Snapshot: snapshot, checked: began, changed: under.changed})
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
	if mayBeCurrent {
		revision, err := c.store.Revision(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case revision == old.Revision:
			return old, nil
		}
	}
	since := int64(0)
	if old != nil && old.unread == 0 {
		since = old.Revision
	}
	state, err := c.store.ClientState(ctx, id, since)
	if err != nil {
		return nil, err
	}
	var has rules
	if state.Since > 0 {
		has = old.rules.after(&state)
	} else {
		has = newRules(state.Rules)
	}
	made, err := c.newSnapshot(&state, has)
	if err == nil && has.bytes > maxRuleBytes { // they have grown
		made.rules, made.unread = rules{}, has.bytes
	}
	return made, err
}

// keep stores what a read has returned. old is what was known before the read. If all rules of the client were learned
// meanwhile, they are not forgotten. The caller holds mu.
func (c *Cache) keep(id uuid.UUID, old *Snapshot, made *entry) {
	if latest := c.clients.peek(id); latest != nil {
		if latest.Snapshot != old && latest.unread == 0 && made.unread > 0 {
			latest.changed = true
			return
		}
		made.spent = latest.spent
	}
	c.clients.put(id, made, made.size())
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
