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
)

// freshFor is how long a version is taken for the present one without asking.
// The Authorization header must follow a change within one second.
const freshFor = 500 * time.Millisecond

// maxClients bounds how many clients are remembered; over it, any is dropped.
const maxClients = 10000

// Store is where clients are kept.
type Store interface {
	// Snapshot returns a client as it is, CodeNotFound when there is none.
	Snapshot(ctx context.Context, client uuid.UUID) (herald.Snapshot, error)
	// Version returns a client's present version, 0 when there is none.
	Version(ctx context.Context, client uuid.UUID) (int64, error)
	EventTypes(ctx context.Context) ([]herald.EventType, error)
	// KeyByHash returns an API key, CodeNotFound when there is none.
	KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error)
}

// Client is a client at one version. It is not changed.
type Client struct {
	herald.Client
	Catalogue *catalogue.Catalogue
	byType    map[string][]herald.Rule
	byID      map[uuid.UUID]herald.Rule
	keys      map[uuid.UUID]bool
	noMail    map[string]bool
}

// Rules returns the rules of an event type, in the order of their making.
func (c *Client) Rules(eventType string) []herald.Rule { return c.byType[eventType] }

// HasKey reports whether an API key is in force.
func (c *Client) HasKey(id uuid.UUID) bool { return c.keys[id] }

// WantsMail reports whether the client's mail to a mailbox has not been stopped.
func (c *Client) WantsMail(box string) bool { return !c.noMail[strings.ToLower(box)] }

// Authorization returns the header for a delivery that was raised on a rule for
// an address: none when the rule does without, and none when the rule has
// another address by now or is gone, so that the secret is not sent to where it
// is no longer meant to go.
func (c *Client) Authorization(rule uuid.UUID, address string) string {
	r, ok := c.byID[rule]
	if !ok || r.WithoutAuthorization || r.Webhook != address {
		return ""
	}
	return c.Profile.AlertAuthHeader
}

// Directory is safe for concurrent use.
type Directory struct {
	store   Store
	options catalogue.Options

	mu      sync.Mutex
	clients map[uuid.UUID]*remembered
	keys    map[[32]byte]herald.Key
	forgets uint64             // calls of Forget so far
	types   []herald.EventType // what common was made of
	common  *catalogue.Catalogue
}

type remembered struct {
	*Client
	checked time.Time // when its version was last known to be the present one
}

// New returns a Directory that remembers nothing yet.
func New(store Store, o catalogue.Options) (*Directory, error) {
	common, err := catalogue.New(nil, o)
	if err != nil {
		return nil, fmt.Errorf("built-in event types: %w", err)
	}
	return &Directory{
		store: store, options: o, common: common,
		clients: make(map[uuid.UUID]*remembered),
		keys:    make(map[[32]byte]herald.Key),
	}, nil
}

// Client returns a client, perhaps at an old version. CodeNotFound when there
// is none.
func (d *Directory) Client(ctx context.Context, id uuid.UUID) (*Client, error) {
	d.mu.Lock()
	known := d.clients[id]
	d.mu.Unlock()
	if known != nil {
		return known.Client, nil
	}
	return d.load(ctx, id)
}

// Fresh returns a client at a version that was the present one at most
// half a second ago. CodeNotFound when there is none.
func (d *Directory) Fresh(ctx context.Context, id uuid.UUID) (*Client, error) {
	return d.notOlder(ctx, id, freshFor)
}

// Current returns a client at its present version. CodeNotFound when there is
// none.
func (d *Directory) Current(ctx context.Context, id uuid.UUID) (*Client, error) {
	return d.notOlder(ctx, id, 0)
}

func (d *Directory) notOlder(ctx context.Context, id uuid.UUID, age time.Duration) (*Client, error) {
	now := time.Now()
	d.mu.Lock()
	known := d.clients[id]
	fresh := known != nil && now.Sub(known.checked) < age
	d.mu.Unlock()
	switch {
	case known == nil:
		return d.load(ctx, id)
	case fresh:
		return known.Client, nil
	}
	version, err := d.store.Version(ctx, id)
	if err != nil {
		return nil, err
	}
	if version != known.Version {
		return d.load(ctx, id)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.clients[id] == known {
		known.checked = now
	}
	return known.Client, nil
}

// load reads a client anew. CodeNotFound when there is none.
func (d *Directory) load(ctx context.Context, id uuid.UUID) (*Client, error) {
	now := time.Now()
	d.mu.Lock()
	forgets := d.forgets
	d.mu.Unlock()
	snap, err := d.store.Snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	c := &Client{
		Client: snap.Client,
		byType: make(map[string][]herald.Rule),
		byID:   make(map[uuid.UUID]herald.Rule, len(snap.Rules)),
		keys:   make(map[uuid.UUID]bool, len(snap.KeyIDs)),
		noMail: make(map[string]bool, len(snap.Unsubscribed)),
	}
	for _, r := range snap.Rules {
		c.byType[r.Type] = append(c.byType[r.Type], r)
		c.byID[r.ID] = r
	}
	for _, box := range snap.Unsubscribed {
		c.noMail[box.Address] = true
	}
	for _, key := range snap.KeyIDs {
		c.keys[key] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Catalogue, err = d.catalogueOf(snap.EventTypes); err != nil {
		return nil, err
	}
	if old := d.clients[id]; old != nil && old.Version > c.Version {
		return old.Client, nil // somebody else has read a newer one meanwhile
	}
	if d.forgets != forgets {
		now = time.Time{} // changed while it was being read: to be checked before it is used
	}
	for other := range d.clients {
		if len(d.clients) < maxClients {
			break
		}
		delete(d.clients, other)
	}
	d.clients[id] = &remembered{Client: c, checked: now}
	return c, nil
}

// Forget drops what is remembered of a client.
func (d *Directory) Forget(id uuid.UUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgets++
	delete(d.clients, id)
	for hash, key := range d.keys {
		if key.ClientID == id {
			delete(d.keys, hash)
		}
	}
}

// KeyByHash returns an API key that is in force, CodeNotFound when there is
// none.
func (d *Directory) KeyByHash(ctx context.Context, hash [32]byte) (herald.Key, error) {
	d.mu.Lock()
	key, known := d.keys[hash]
	d.mu.Unlock()
	if known {
		c, err := d.Fresh(ctx, key.ClientID)
		if err == nil && c.HasKey(key.ID) {
			return key, nil
		}
	}
	key, err := d.store.KeyByHash(ctx, hash)
	if err != nil {
		return key, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.keys) >= maxClients {
		clear(d.keys)
	}
	d.keys[hash] = key
	return key, nil
}

// Catalogue returns the event types as they are now.
func (d *Directory) Catalogue(ctx context.Context) (*catalogue.Catalogue, error) {
	types, err := d.store.EventTypes(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.catalogueOf(types)
}

// catalogueOf compiles a catalogue, or returns the one that all clients share
// when it is made of the same types.
func (d *Directory) catalogueOf(types []herald.EventType) (*catalogue.Catalogue, error) {
	if len(types) == len(d.types) && (len(types) == 0 || reflect.DeepEqual(types, d.types)) {
		return d.common, nil
	}
	made, err := catalogue.New(types, d.options)
	if err != nil {
		return nil, fmt.Errorf("event types: %w", err)
	}
	d.types, d.common = types, made
	return made, nil
}
