// Package clientcache holds in memory what intake and delivery need to know of each client: rules,
// name, keys, authorization, unsubscribed mailboxes and event types, at one version of the client.
//
// A cached version may be old. A caller that commits a result of it lets internal/store check the
// version in the same transaction. If it was old, the caller tries again with Current. What only
// attempts use is not committed: the Authorization header, and which mailboxes want mail. On the
// node that changed it it is new at once, because the store calls Invalidate. On other nodes it is
// at most recentFor old, because its changes raise the client's Revision.
//
// A client that has changed is read again, but of its rules only those that have changed. rules.go has the rules,
// which find those that an event meets without a look at the others. read.go has the reads.
//
// A client with many rules is read without them at first. Then the database finds the rules that an event meets, and
// matching.go decides. Once that has cost as much as a read of all rules, they are read and remembered (learn.go).
package clientcache

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/work"
)

// recentFor is how long Recent trusts a version without asking the store. The Authorization header
// must follow a change within one second.
const recentFor = 500 * time.Millisecond

// Bounds of the cache. Over them, the clients and keys are dropped that were not used for the longest time.
const (
	// maxBytes bounds the cached clients: 100,000 with one rule, or 400,000 rules with short texts.
	maxBytes = 128 << 20
	// maxRuleBytes bounds the cached rules of one client: 200,000 with short texts. If a client has more, the
	// database finds them.
	maxRuleBytes = maxBytes / 2
	// maxKeyBytes bounds the cached API keys: 100,000 of them.
	maxKeyBytes = 32 << 20
	// keySize is about what a key takes beside its name, in bytes.
	keySize = 300
)

// Store has the clients.
type Store interface {
	// ClientState returns a client at its present revision. If since is not 0, it may have only the rules
	// that have changed since that revision. Otherwise it has all rules, or none if they are many. The error
	// has CodeNotFound if there is no such client.
	ClientState(ctx context.Context, client uuid.UUID, since int64) (work.ClientState, error)
	// RulesAfter returns a client's next rules after one, and whether there are more.
	RulesAfter(ctx context.Context, client, after uuid.UUID) (rules []herald.Rule, more bool, err error)
	// MatchingRules returns up to limit rules: at least those of an event type that an event about a company meets.
	MatchingRules(ctx context.Context, client uuid.UUID, eventType string, company uuid.UUID, limit int) ([]herald.Rule, error)
	// RuleByID returns a client's rule. The error has CodeNotFound if there is none.
	RuleByID(ctx context.Context, client, id uuid.UUID) (herald.Rule, error)
	// Revision returns the present revision of a client, 0 if there is none.
	Revision(ctx context.Context, client uuid.UUID) (int64, error)
	EventTypes(ctx context.Context) ([]herald.EventType, error)
	// KeyByHash returns an API key. The error has CodeNotFound if there is none.
	KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error)
}

// Cache is safe for concurrent use.
type Cache struct {
	store   Store
	options catalogue.Options

	mu       sync.Mutex
	clients  *recent[uuid.UUID, *entry]
	keys     *recent[[32]byte, herald.Key]
	reads    map[uuid.UUID]*reads // of the clients that are being read
	learning bool                 // the rules of a client are being read

	typesMu sync.Mutex
	types   []herald.EventType   // the types that common is compiled from
	common  *catalogue.Catalogue // the catalogue that clients share
}

type entry struct {
	*Snapshot
	checked time.Time // when its revision was last known to be the present one
	changed bool      // Invalidate was called since
	spent   int       // what reads of single rules have cost, in bytes of rules that a read of all would have read
}

// New returns an empty Cache.
func New(store Store, o catalogue.Options) (*Cache, error) {
	common, err := catalogue.New(nil, o)
	if err != nil {
		return nil, fmt.Errorf("built-in event types: %w", err)
	}
	return &Cache{
		store: store, options: o, common: common,
		clients: newRecent[uuid.UUID, *entry](maxBytes),
		keys:    newRecent[[32]byte, herald.Key](maxKeyBytes),
		reads:   make(map[uuid.UUID]*reads),
	}, nil
}

// Get returns a client, possibly at an old version. The error has CodeNotFound if there is none.
func (c *Cache) Get(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	return c.get(ctx, id, func(*entry) bool { return true })
}

// Recent returns a client at a version that was the present one at most half a second ago. The
// error has CodeNotFound if there is none.
func (c *Cache) Recent(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	now := time.Now()
	return c.get(ctx, id, func(known *entry) bool { return now.Sub(known.checked) < recentFor })
}

// Current returns a client at its present version. The error has CodeNotFound if there is none.
func (c *Cache) Current(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	return c.get(ctx, id, func(*entry) bool { return false })
}

// get returns a cached client if it is good, and reads it otherwise.
func (c *Cache) get(ctx context.Context, id uuid.UUID, good func(*entry) bool) (*Snapshot, error) {
	c.mu.Lock()
	if known, ok := c.clients.get(id); ok && !known.changed && good(known) {
		c.mu.Unlock()
		return known.Snapshot, nil
	}
	r := c.read(ctx, id)
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.snapshot, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Invalidate says that a client has changed. It is read again when it is next used.
func (c *Cache) Invalidate(id uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.clients.peek(id); known != nil {
		known.changed = true
	}
	if r := c.reads[id]; r != nil {
		r.changed = true
	}
}

// KeyByHash returns a valid API key. The error has CodeNotFound if there is none.
func (c *Cache) KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error) {
	c.mu.Lock()
	key, known := c.keys.get(hash)
	c.mu.Unlock()
	if known {
		s, err := c.Recent(ctx, key.ClientID)
		if err == nil && s.HasKey(key.ID) {
			return key, nil
		}
	}
	key, err := c.store.KeyByHash(ctx, hash)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.keys.remove(hash)
		return key, err
	}
	c.keys.put(hash, key, keySize+len(key.Name))
	return key, nil
}

// Catalogue returns the catalogue of the present event types.
func (c *Cache) Catalogue(ctx context.Context) (*catalogue.Catalogue, error) {
	types, err := c.store.EventTypes(ctx)
	if err != nil {
		return nil, err
	}
	return c.catalogueOf(types)
}

// catalogueOf returns the catalogue of the types. It compiles one only if the types differ from
// those of the last one.
func (c *Cache) catalogueOf(types []herald.EventType) (*catalogue.Catalogue, error) {
	c.typesMu.Lock()
	defer c.typesMu.Unlock()
	if len(types) == len(c.types) && (len(types) == 0 || reflect.DeepEqual(types, c.types)) {
		return c.common, nil
	}
	made, err := catalogue.New(types, c.options)
	if err != nil {
		return nil, fmt.Errorf("event types: %w", err)
	}
	c.types, c.common = types, made
	return made, nil
}
