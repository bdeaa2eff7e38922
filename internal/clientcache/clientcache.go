// Package clientcache holds in memory what intake and delivery need to know of each client: rules,
// name, keys, authorization, unsubscribed mailboxes and event types, at one version of the client.
//
// A cached version may be old. A caller that commits a result of it lets internal/store check the
// version in the same transaction. If it was old, the caller tries again with Current. What only
// attempts use is not committed: the Authorization header, and which mailboxes want mail. On the
// node that changed it it is new at once, because the store calls Invalidate. On other nodes it is
// at most recentFor old, because its changes raise the client's Revision.
package clientcache

import (
	"context"
	"fmt"
	"iter"
	"maps"
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

// Bounds of the cache. Over them, any clients are dropped.
const (
	maxClients = 10000
	// maxBytes bounds the rules and mailboxes of all cached clients: eight clients with the most
	// that the store takes, or 10,000 with 13 KB each.
	maxBytes = 128 << 20
)

// Store has the clients.
type Store interface {
	// ClientState returns a client at its present version. The error has CodeNotFound if there is
	// none.
	ClientState(ctx context.Context, client uuid.UUID) (work.ClientState, error)
	// Revision returns the present revision of a client, 0 if there is none.
	Revision(ctx context.Context, client uuid.UUID) (int64, error)
	EventTypes(ctx context.Context) ([]herald.EventType, error)
	// KeyByHash returns an API key. The error has CodeNotFound if there is none.
	KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error)
}

// Snapshot is a client at one version. It never changes.
type Snapshot struct {
	herald.Client
	Catalogue *catalogue.Catalogue
	byType    map[string][]herald.Rule
	byID      map[uuid.UUID]herald.Rule
	keys      map[uuid.UUID]bool
	noMail    map[string]bool
}

// Rules returns the rules of an event type, in the order of their creation.
func (s *Snapshot) Rules(eventType string) []herald.Rule { return s.byType[eventType] }

// Rule returns a rule of the client.
func (s *Snapshot) Rule(id uuid.UUID) (herald.Rule, bool) {
	r, ok := s.byID[id]
	return r, ok
}

// AllRules returns the rules of all event types, in no order.
func (s *Snapshot) AllRules() iter.Seq[herald.Rule] { return maps.Values(s.byID) }

// HasKey reports whether an API key of the client is valid.
func (s *Snapshot) HasKey(id uuid.UUID) bool { return s.keys[id] }

// WantsMail is false if the reader of a mailbox has unsubscribed from the client's mail.
func (s *Snapshot) WantsMail(box string) bool {
	return len(s.noMail) == 0 || !s.noMail[herald.MailboxKey(box)]
}

// Authorization returns the Authorization header for a delivery of a rule to an address. It is
// empty if the rule sends no header. It is also empty if the rule has another address now or is
// deleted, so that a secret does not go to a former receiver.
func (s *Snapshot) Authorization(rule uuid.UUID, address string) string {
	r, ok := s.byID[rule]
	if !ok || r.WithoutAuthorization || r.Webhook != address {
		return ""
	}
	return s.Profile.AlertAuthHeader
}

// Cache is safe for concurrent use.
type Cache struct {
	store   Store
	options catalogue.Options

	mu            sync.Mutex
	clients       map[uuid.UUID]*entry
	bytes         int // of all clients, see sizeOf
	keys          map[[32]byte]herald.Key
	invalidations uint64               // how often Invalidate was called
	types         []herald.EventType   // the types that common is compiled from
	common        *catalogue.Catalogue // the catalogue that clients share
}

type entry struct {
	*Snapshot
	checked time.Time // when its revision was last known to be the present one
	bytes   int
}

// overhead is about what a rule, a mailbox or a client takes beside its texts, in bytes: maps hold
// a rule twice.
const overhead = 600

// sizeOf returns about how much memory a client takes.
func sizeOf(c *work.ClientState) int {
	bytes := overhead * (1 + len(c.Rules) + len(c.Unsubscribed))
	for i := range c.Rules {
		r := &c.Rules[i]
		bytes += len(r.PostedType) + len(r.Webhook)
		for _, element := range r.Emails {
			bytes += len(element)
		}
	}
	for i := range c.Unsubscribed {
		bytes += len(c.Unsubscribed[i].Address)
	}
	return bytes
}

// New returns an empty Cache.
func New(store Store, o catalogue.Options) (*Cache, error) {
	common, err := catalogue.New(nil, o)
	if err != nil {
		return nil, fmt.Errorf("built-in event types: %w", err)
	}
	return &Cache{
		store: store, options: o, common: common,
		clients: make(map[uuid.UUID]*entry),
		keys:    make(map[[32]byte]herald.Key),
	}, nil
}

// Get returns a client, possibly at an old version. The error has CodeNotFound if there is none.
func (c *Cache) Get(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	c.mu.Lock()
	known := c.clients[id]
	c.mu.Unlock()
	if known != nil {
		return known.Snapshot, nil
	}
	return c.load(ctx, id)
}

// Recent returns a client at a version that was the present one at most half a second ago. The
// error has CodeNotFound if there is none.
func (c *Cache) Recent(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	return c.notOlder(ctx, id, recentFor)
}

// Current returns a client at its present version. The error has CodeNotFound if there is none.
func (c *Cache) Current(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	return c.notOlder(ctx, id, 0)
}

func (c *Cache) notOlder(ctx context.Context, id uuid.UUID, age time.Duration) (*Snapshot, error) {
	now := time.Now()
	c.mu.Lock()
	known := c.clients[id]
	recent := known != nil && now.Sub(known.checked) < age
	c.mu.Unlock()
	switch {
	case known == nil:
		return c.load(ctx, id)
	case recent:
		return known.Snapshot, nil
	}
	revision, err := c.store.Revision(ctx, id)
	if err != nil {
		return nil, err
	}
	if revision != known.Revision {
		return c.load(ctx, id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[id] == known {
		known.checked = now
	}
	return known.Snapshot, nil
}

// load reads a client from the store. The error has CodeNotFound if there is none.
func (c *Cache) load(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	now := time.Now()
	c.mu.Lock()
	invalidations := c.invalidations
	c.mu.Unlock()
	snap, err := c.store.ClientState(ctx, id)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{
		Client: snap.Client,
		byType: make(map[string][]herald.Rule),
		byID:   make(map[uuid.UUID]herald.Rule, len(snap.Rules)),
		keys:   make(map[uuid.UUID]bool, len(snap.KeyIDs)),
		noMail: make(map[string]bool, len(snap.Unsubscribed)),
	}
	for _, r := range snap.Rules {
		s.byType[r.Type] = append(s.byType[r.Type], r)
		s.byID[r.ID] = r
	}
	for _, box := range snap.Unsubscribed {
		s.noMail[herald.MailboxKey(box.Address)] = true
	}
	for _, key := range snap.KeyIDs {
		s.keys[key] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Catalogue, err = c.catalogueOf(snap.EventTypes); err != nil {
		return nil, err
	}
	if old := c.clients[id]; old != nil && old.Revision > s.Revision {
		return old.Snapshot, nil // another call has read a newer version meanwhile
	}
	if c.invalidations != invalidations {
		now = time.Time{} // a client changed during the read: Recent must check the revision
	}
	c.drop(id)
	size := sizeOf(&snap)
	for other := range c.clients {
		if len(c.clients) < maxClients && c.bytes+size <= maxBytes {
			break
		}
		c.drop(other)
	}
	c.clients[id] = &entry{Snapshot: s, checked: now, bytes: size}
	c.bytes += size
	return s, nil
}

// drop drops a client if it is cached. The caller holds mu.
func (c *Cache) drop(id uuid.UUID) {
	if known := c.clients[id]; known != nil {
		c.bytes -= known.bytes
		delete(c.clients, id)
	}
}

// Invalidate drops what is cached of a client.
func (c *Cache) Invalidate(id uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invalidations++
	c.drop(id)
	for hash, key := range c.keys {
		if key.ClientID == id {
			delete(c.keys, hash)
		}
	}
}

// KeyByHash returns a valid API key. The error has CodeNotFound if there is none.
func (c *Cache) KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error) {
	c.mu.Lock()
	key, known := c.keys[hash]
	c.mu.Unlock()
	if known {
		s, err := c.Recent(ctx, key.ClientID)
		if err == nil && s.HasKey(key.ID) {
			return key, nil
		}
	}
	key, err := c.store.KeyByHash(ctx, hash)
	if err != nil {
		return key, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) >= maxClients {
		clear(c.keys)
	}
	c.keys[hash] = key
	return key, nil
}

// Catalogue returns the catalogue of the present event types.
func (c *Cache) Catalogue(ctx context.Context) (*catalogue.Catalogue, error) {
	types, err := c.store.EventTypes(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.catalogueOf(types)
}

// catalogueOf returns the catalogue of the types. It compiles one only if the types differ from
// those of the last one.
func (c *Cache) catalogueOf(types []herald.EventType) (*catalogue.Catalogue, error) {
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
