package clientcache

import (
	"context"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// A read of single rules costs about as much as lookupRules more rules in a read of all. So all rules of a client are
// read when single reads have cost as much: whatever order clients publish in, both together cost twice the cheaper
// one at most.
const lookupRules = 50

// looked says that a read of single rules of a client has found n rules. It may begin to read all of them: of one
// client at a time, and nobody waits for it.
func (c *Cache) looked(id uuid.UUID, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.clients.peek(id)
	if known == nil || known.unread == 0 {
		return
	}
	known.spent += (lookupRules + n) * ruleSize
	if known.spent >= known.unread && known.unread <= maxRuleBytes && !c.learning {
		c.learning = true
		go c.learn(id)
	}
}

// learn reads all rules of a client and remembers them, unless the client was dropped meanwhile.
func (c *Cache) learn(id uuid.UUID) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	learned, err := c.whole(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learning = false
	known := c.clients.peek(id)
	switch {
	case known == nil || known.unread == 0:
	case err != nil || learned.rules.bytes > maxRuleBytes:
		known.spent = 0 // after as many reads again
	default:
		changed := known.changed || known.Revision > learned.Revision
		c.clients.put(id, &entry{Snapshot: learned, checked: began, changed: changed}, learned.size())
	}
}

// Whole returns a client at its present version, or a later one, with all rules, however many they are. It remembers
// no more than Current. The error has CodeNotFound if there is no such client.
func (c *Cache) Whole(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	s, err := c.Current(ctx, id)
	if err != nil || s.unread == 0 {
		return s, err
	}
	return c.whole(ctx, id)
}

// whole reads a client with all rules.
func (c *Cache) whole(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	state, err := c.store.ClientState(ctx, id, 0)
	for err == nil && state.Many > 0 {
		var all []herald.Rule
		if all, err = c.allRules(ctx, id); err != nil {
			break
		}
		began := state.Client.Revision
		if state, err = c.store.ClientState(ctx, id, began); err == nil && state.Since == began {
			return c.newSnapshot(&state, newRules(all).after(&state)) // with what has changed during the read
		}
	} // more has changed meanwhile than is on record: once more, until ctx ends
	if err != nil {
		return nil, err
	}
	return c.newSnapshot(&state, newRules(state.Rules))
}

// allRules reads the rules of a client, which may change meanwhile.
func (c *Cache) allRules(ctx context.Context, id uuid.UUID) (all []herald.Rule, err error) {
	after := uuid.Nil
	for more := true; more; after = all[len(all)-1].ID {
		var next []herald.Rule
		if next, more, err = c.store.RulesAfter(ctx, id, after); err != nil {
			return nil, err
		}
		if all = append(all, next...); len(all) == 0 {
			return nil, nil
		}
	}
	return all, nil
}

// unreadBytes returns about how much memory the rules take that a state does not have, in bytes.
func unreadBytes(state *work.ClientState) int { return state.Many*ruleSize + state.RuleBytes }
