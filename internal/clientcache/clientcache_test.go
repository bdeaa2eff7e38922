package clientcache_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/work"
)

// clients is a Store with one client. It counts the calls.
type clients struct {
	snapshot  work.ClientState
	key       herald.Key
	snapshots int
	revisions int
}

func (c *clients) ClientState(_ context.Context, id uuid.UUID) (work.ClientState, error) {
	c.snapshots++
	if id != c.snapshot.Client.ID {
		return work.ClientState{}, herald.Errorf(herald.CodeNotFound, "none")
	}
	return c.snapshot, nil
}

func (c *clients) Revision(context.Context, uuid.UUID) (int64, error) {
	c.revisions++
	return c.snapshot.Client.Revision, nil
}

func (c *clients) EventTypes(context.Context) ([]herald.EventType, error) {
	return c.snapshot.EventTypes, nil
}

func (c *clients) KeyByHash(context.Context, [32]byte) (herald.Key, error) {
	if len(c.snapshot.KeyIDs) == 0 {
		return herald.Key{}, herald.Errorf(herald.CodeNotFound, "none")
	}
	return c.key, nil
}

func newCache(t *testing.T) (*clientcache.Cache, *clients) {
	t.Helper()
	c := &clients{}
	c.snapshot.Client = herald.Client{ID: uuid.New(), Version: 1, Revision: 1, Profile: herald.Profile{AlertAuthHeader: "secret"}}
	c.key = herald.Key{ID: uuid.New(), ClientID: c.snapshot.Client.ID}
	c.snapshot.KeyIDs = []uuid.UUID{c.key.ID}
	cache, err := clientcache.New(c, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cache, c
}

func (c *clients) id() uuid.UUID { return c.snapshot.Client.ID }

// TestHowOldAClientMayBe: Get may return any old version, Recent one at most half a second old,
// Current only the present one. After Invalidate the client is read again.
func TestHowOldAClientMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, c := newCache(t)
		version := func(get func(context.Context, uuid.UUID) (*clientcache.Snapshot, error)) int64 {
			t.Helper()
			got, err := get(t.Context(), c.id())
			if err != nil {
				t.Fatal(err)
			}
			return got.Revision
		}
		version(cache.Get)
		c.snapshot.Client.Revision = 2
		if v := version(cache.Get); v != 1 {
			t.Errorf("Get: version %d, want the cached version 1", v)
		}
		if v := version(cache.Recent); v != 1 || c.revisions != 0 {
			t.Errorf("Recent at once: version %d after %d calls of Revision", v, c.revisions)
		}
		if v := version(cache.Current); v != 2 {
			t.Errorf("Current: version %d, want 2", v)
		}
		c.snapshot.Client.Revision = 3
		time.Sleep(time.Second)
		if v := version(cache.Recent); v != 3 {
			t.Errorf("Recent after a second: version %d, want 3", v)
		}
		c.snapshot.Client.Revision = 4
		cache.Invalidate(c.id())
		if v := version(cache.Get); v != 4 {
			t.Errorf("Get after Invalidate: version %d, want 4", v)
		}
		reads := c.snapshots
		for range 100 {
			version(cache.Get)
			version(cache.Recent)
		}
		if c.snapshots != reads {
			t.Errorf("the client was read %d times more although it had not changed", c.snapshots-reads)
		}
	})
}

func TestAuthorizationGoesOnlyWhereItBelongs(t *testing.T) {
	cache, c := newCache(t)
	with := herald.Rule{ID: uuid.New(), Webhook: "https://a.example/"}
	without := herald.Rule{ID: uuid.New(), Webhook: "https://a.example/", WithoutAuthorization: true}
	c.snapshot.Rules = []herald.Rule{with, without}
	client, err := cache.Get(t.Context(), c.id())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, address, want string
		rule                uuid.UUID
	}{
		{"its address", "https://a.example/", "secret", with.ID},
		{"an address that the rule had before", "https://old.example/", "", with.ID},
		{"a deleted rule", "https://a.example/", "", uuid.New()},
		{"a rule without authorization", "https://a.example/", "", without.ID},
	} {
		if got := client.Authorization(test.rule, test.address); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestRevokedKeyIsNotCached(t *testing.T) {
	cache, c := newCache(t)
	if _, err := cache.KeyByHash(t.Context(), [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	c.snapshot.KeyIDs, c.snapshot.Client.Revision = nil, 2
	cache.Invalidate(c.id())
	if _, err := cache.KeyByHash(t.Context(), [32]byte{1}); herald.CodeOf(err) != herald.CodeNotFound {
		t.Errorf("%v, want not found", err)
	}
}

func TestCatalogueFollowsTheOperator(t *testing.T) {
	cache, c := newCache(t)
	c.snapshot.EventTypes = []herald.EventType{{Name: "Invoice overdue", Message: "late"}}
	client, err := cache.Get(t.Context(), c.id())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := client.Catalogue.Lookup("invoice overdue"); !ok {
		t.Error("the operator's type is not in the client's catalogue")
	}
	common, err := cache.Catalogue(t.Context())
	if err != nil || common != client.Catalogue {
		t.Errorf("the catalogue was compiled twice from the same types (%v)", err)
	}
	if _, err := cache.Get(t.Context(), uuid.New()); herald.CodeOf(err) != herald.CodeNotFound {
		t.Errorf("an unknown client: %v", err)
	}
}

// manyClients is a Store in which every client has rules of some bytes.
type manyClients struct {
	clients
	bytes int
	reads map[uuid.UUID]int
}

func (c *manyClients) ClientState(_ context.Context, id uuid.UUID) (work.ClientState, error) {
	c.reads[id]++
	return work.ClientState{
		Client: herald.Client{ID: id, Version: 1},
		Rules:  []herald.Rule{{ID: uuid.New(), ClientID: id, Type: "Sync Failed", Emails: []string{strings.Repeat("x", c.bytes)}}},
	}, nil
}

// TestCacheIsBoundedByBytes: clients with large rules push others out, and small ones stay.
func TestCacheIsBoundedByBytes(t *testing.T) {
	for _, test := range []struct{ bytes, again int }{{16 << 20, 32 - 7}, {1 << 10, 0}} {
		c := &manyClients{bytes: test.bytes, reads: make(map[uuid.UUID]int)}
		cache, err := clientcache.New(c, catalogue.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []uuid.UUID
		for range 32 {
			ids = append(ids, uuid.New())
		}
		for range 2 {
			for _, id := range ids {
				if _, err := cache.Get(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
		}
		again := 0
		for _, n := range c.reads {
			again += n - 1
		}
		if again < test.again {
			t.Errorf("clients of %d bytes: %d of 32 were read again, want at least %d", test.bytes, again, test.again)
		}
		if test.again == 0 && again != 0 {
			t.Errorf("small clients were read again %d times", again)
		}
		cache.Invalidate(ids[0])
		if _, err := cache.Get(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
	}
}
