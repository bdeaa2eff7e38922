// Package clientcache remembers what deciding and sending need to know of each
// client: its rules, name, keys, authorization and the event types, as they
// were at one version of the client.
//
// It may be behind: whoever commits on what it says has the version checked in
// the same transaction (internal/store), and asks again with Current when it was
// stale. What is not committed, the Authorization header of an attempt, is at
// most freshFor old on whatever node; on the node of the change it is never,
// because the store calls Forget.
package clientcache

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/work"
)

// freshFor is how long a version is taken for the present one without asking.
// The Authorization header must follow a change within one second.
const recentFor = 500 * time.Millisecond

// maxClients bounds how many clients are remembered; over it, any is dropped.
const maxClients = 10000

// Store is where clients are kept.
type Store interface {
	// Snapshot returns a client as it is, CodeNotFound when there is none.
	Snapshot(ctx context.Context, client uuid.UUID) (work.ClientState, error)
	// Version returns a client's present version, 0 when there is none.
	Version(ctx context.Context, client uuid.UUID) (int64, error)
	EventTypes(ctx context.Context) ([]herald.EventType, error)
	// KeyByHash returns an API key, CodeNotFound when there is none.
	KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error)
}

// Client is a client at one version. It is not changed.
type Snapshot struct {
	herald.Client
	Catalogue *catalogue.Catalogue
	byType    map[string][]herald.Rule
	byID      map[uuid.UUID]herald.Rule
	keys      map[uuid.UUID]bool
	noMail    map[string]bool
}

// Rules returns the rules of an event type, in the order of their making.
func (s *Snapshot) Rules(eventType string) []herald.Rule { return s.byType[eventType] }

// HasKey reports whether an API key is in force.
func (s *Snapshot) HasKey(id uuid.UUID) bool { return s.keys[id] }

// WantsMail reports whether the client's mail to a mailbox has not been stopped.
func (s *Snapshot) WantsMail(box string) bool { return !s.noMail[strings.ToLower(box)] }

// Authorization returns the header for a delivery that was raised on a rule for
// an address: none when the rule does without, and none when the rule has
// another address by now or is gone, so that the secret is not sent to where it
// is no longer meant to go.
func (s *Snapshot) Authorization(rule uuid.UUID, address string) string {
	r, ok := s.byID[rule]
	if !ok || r.WithoutAuthorization || r.Webhook != address {
		return ""
	}
	return s.Profile.AlertAuthHeader
}

// Directory is safe for concurrent use.
type Cache struct {
	store   Store
	options catalogue.Options

	mu            sync.Mutex
	clients       map[uuid.UUID]*entry
	keys          map[[32]byte]herald.Key
	invalidations uint64             // calls of Invalidate so far
	types         []herald.EventType // what common was made of
	common        *catalogue.Catalogue
}

type entry struct {
	*Snapshot
	checked time.Time // when its version was last known to be the present one
}

// New returns a Directory that remembers nothing yet.
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

// Client returns a client, perhaps at an old version. CodeNotFound when there
// is none.
func (c *Cache) Get(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	c.mu.Lock()
	known := c.clients[id]
	c.mu.Unlock()
	if known != nil {
		return known.Snapshot, nil
	}
	return c.load(ctx, id)
}

// Fresh returns a client at a version that was the present one at most
// half a second ago. CodeNotFound when there is none.
func (c *Cache) Recent(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	return c.notOlder(ctx, id, recentFor)
}

// Current returns a client at its present version. CodeNotFound when there is
// none.
func (c *Cache) Current(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	return c.notOlder(ctx, id, 0)
}

func (c *Cache) notOlder(ctx context.Context, id uuid.UUID, age time.Duration) (*Snapshot, error) {
	now := time.Now()
	c.mu.Lock()
	known := c.clients[id]
	fresh := known != nil && now.Sub(known.checked) < age
	c.mu.Unlock()
	switch {
	case known == nil:
		return c.load(ctx, id)
	case fresh:
		return known.Snapshot, nil
	}
	version, err := c.store.Version(ctx, id)
	if err != nil {
		return nil, err
	}
	if version != known.Version {
		return c.load(ctx, id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[id] == known {
		known.checked = now
	}
	return known.Snapshot, nil
}

// load reads a client anew. CodeNotFound when there is none.
func (c *Cache) load(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	now := time.Now()
	c.mu.Lock()
	invalidations := c.invalidations
	c.mu.Unlock()
	snap, err := c.store.Snapshot(ctx, id)
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
		s.noMail[box.Address] = true
	}
	for _, key := range snap.KeyIDs {
		s.keys[key] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Catalogue, err = c.catalogueOf(snap.EventTypes); err != nil {
		return nil, err
	}
	if old := c.clients[id]; old != nil && old.Version > s.Version {
		return old.Snapshot, nil // somebody else has read a newer one meanwhile
	}
	if c.invalidations != invalidations {
		now = time.Time{} // changed while it was being read: to be checked before it is used
	}
	for other := range c.clients {
		if len(c.clients) < maxClients {
			break
		}
		delete(c.clients, other)
	}
	c.clients[id] = &entry{Snapshot: s, checked: now}
	return s, nil
}

// Forget drops what is remembered of a client.
func (c *Cache) Invalidate(id uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invalidations++
	delete(c.clients, id)
	for hash, key := range c.keys {
		if key.ClientID == id {
			delete(c.keys, hash)
		}
	}
}

// KeyByHash returns an API key that is in force, CodeNotFound when there is
// none.
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

// Catalogue returns the event types as they are now.
func (c *Cache) Catalogue(ctx context.Context) (*catalogue.Catalogue, error) {
	types, err := c.store.EventTypes(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.catalogueOf(types)
}

// catalogueOf compiles a catalogue, or returns the one that all clients share
// when it is made of the same types.
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
