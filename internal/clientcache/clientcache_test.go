package clientcache_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
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
	since     int64 // of the last read of the client
}

func (c *clients) ClientState(_ context.Context, id uuid.UUID, since int64) (work.ClientState, error) {
	c.snapshots++
	c.since = since
	if id != c.snapshot.Client.ID {
		return work.ClientState{}, herald.Errorf(herald.CodeNotFound, "none")
	}
	return c.snapshot, nil
}

func (c *clients) RulesAfter(context.Context, uuid.UUID, uuid.UUID) ([]herald.Rule, bool, error) {
	return nil, false, nil
}

func (c *clients) MatchingRules(context.Context, uuid.UUID, string, uuid.UUID, int) ([]herald.Rule, error) {
	return nil, nil
}

func (c *clients) RuleByID(context.Context, uuid.UUID, uuid.UUID) (herald.Rule, error) {
	return herald.Rule{}, nil
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
		if got, err := client.Authorization(t.Context(), test.rule, test.address); err != nil || got != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
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
	rules, bytes int
	reads        map[uuid.UUID]int
}

func (c *manyClients) ClientState(_ context.Context, id uuid.UUID, _ int64) (work.ClientState, error) {
	c.reads[id]++
	state := work.ClientState{Client: herald.Client{ID: id, Version: 1, Revision: 1, Profile: herald.Profile{Name: strings.Repeat("x", 10)}}, KeyIDs: []uuid.UUID{uuid.New()}}
	for range c.rules {
		state.Rules = append(state.Rules, herald.Rule{ID: uuid.New(), ClientID: id, Type: string([]byte("Sync Failed")), Webhook: strings.Repeat("x", c.bytes) + uuid.NewString()})
	}
	return state, nil
}

func (c *manyClients) again() (n int) {
	for _, reads := range c.reads {
		n += reads - 1
	}
	return n
}

func newManyClients(t *testing.T, rules, bytes int) (*clientcache.Cache, *manyClients) {
	t.Helper()
	c := &manyClients{rules: rules, bytes: bytes, reads: make(map[uuid.UUID]int)}
	cache, err := clientcache.New(c, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cache, c
}

func get(t *testing.T, cache *clientcache.Cache, id uuid.UUID) {
	t.Helper()
	if _, err := cache.Get(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// TestCacheIsBoundedByBytes: clients with large rules push out those that were not used for the longest time.
// Small ones stay, however many they are.
func TestCacheIsBoundedByBytes(t *testing.T) {
	const used = 3
	for _, test := range []struct {
		name                  string
		clients, rules, bytes int
		stay                  bool
	}{
		{"large rules", 32, 1, 8 << 20, false},
		{"many rules", 32, 1000, 8 << 10, false},
		{"small clients", 20_000, 1, 40, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache, c := newManyClients(t, test.rules, test.bytes)
			ids := make([]uuid.UUID, test.clients)
			for i := range ids {
				ids[i] = uuid.New()
				get(t, cache, ids[i])
				get(t, cache, ids[min(i, used)]) // is used all the time
			}
			if n := c.reads[ids[used]]; n != 1 {
				t.Errorf("a client that is used all the time was read %d times", n)
			}
			for _, id := range ids {
				get(t, cache, id)
			}
			if again := c.again(); (again == 0) != test.stay {
				t.Errorf("%d of %d clients were read again", again, test.clients)
			}
		})
	}
}

// TestBytesAreThoseOfMemory: what the cache counts for clients is about what they take.
func TestBytesAreThoseOfMemory(t *testing.T) {
	for _, test := range []struct{ clients, rules, most int }{{20_000, 1, 1300}, {20, 5000, 450 * 5000}} {
		cache, c := newManyClients(t, test.rules, 30)
		clients := make([]uuid.UUID, test.clients)
		for i := range clients {
			clients[i] = uuid.New()
			c.reads[clients[i]] = 0
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, id := range clients {
			client, err := cache.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for r := range client.AllRules() {
				rule, err := client.Rule(t.Context(), r.ID)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := rule.Receivers(func(string) (string, error) { return strings.Repeat("x", 40), nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took, counted := int(after.HeapAlloc)-int(before.HeapAlloc), cache.Bytes()
		if took > counted*5/4 || took < counted/2 || counted > test.clients*test.most {
			t.Errorf("%d clients with %d rules take %d bytes, counted as %d, each %d", test.clients, test.rules, took, counted, counted/test.clients)
		}
		runtime.KeepAlive(cache)
	}
}

// slowStore is a Store that begins a read only when it is told to.
type slowStore struct {
	clients
	mu    sync.Mutex
	begin chan struct{}
}

func (s *slowStore) Revision(ctx context.Context, id uuid.UUID) (int64, error) {
	<-s.begin
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients.Revision(ctx, id)
}

func (s *slowStore) ClientState(ctx context.Context, id uuid.UUID, since int64) (work.ClientState, error) {
	<-s.begin
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients.ClientState(ctx, id, since)
}

// TestPublishersShareTheReadOfAClient: a thousand callers who need the present version of a client make two reads.
// Those who came during the first one do not get what it has read, because it may be older than what they know of.
func TestPublishersShareTheReadOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{begin: make(chan struct{})}
		s.snapshot.Client = herald.Client{ID: uuid.New(), Version: 1, Revision: 1}
		cache, err := clientcache.New(s, catalogue.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var first, later sync.WaitGroup
		first.Go(func() { get(t, cache, s.id()) })
		synctest.Wait() // it waits for the store
		for range 1000 {
			later.Go(func() {
				client, err := cache.Current(t.Context(), s.id())
				if err != nil || client.Revision != 2 {
					t.Errorf("%+v, %v; want revision 2", client, err)
				}
			})
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := cache.Current(gone, s.id()); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who has gone waits: %v", err)
		}
		synctest.Wait()
		s.begin <- struct{}{}
		first.Wait()
		s.mu.Lock()
		s.snapshot.Client.Revision = 2 // after the first read, before the second one
		s.mu.Unlock()
		close(s.begin)
		later.Wait()
		if s.snapshots != 2 || s.revisions != 1 {
			t.Errorf("the client was read %d times, and its revision %d times; want 2 and 1", s.snapshots, s.revisions)
		}
	})
}

// TestChangeDuringAReadIsSeen: a client that changes while it is read is read again before it is used.
func TestChangeDuringAReadIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{begin: make(chan struct{})}
		s.snapshot.Client = herald.Client{ID: uuid.New(), Version: 1, Revision: 1}
		cache, err := clientcache.New(s, catalogue.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var first sync.WaitGroup
		first.Go(func() { get(t, cache, s.id()) })
		synctest.Wait()
		cache.Invalidate(s.id())
		s.begin <- struct{}{}
		first.Wait()
		close(s.begin)
		s.snapshot.Client.Revision = 2
		if client, err := cache.Get(t.Context(), s.id()); err != nil || client.Revision != 2 {
			t.Errorf("%+v, %v; want revision 2", client, err)
		}
	})
}

// TestFailedReadIsNotKept: after an error the client is read again, and what was known is not lost.
func TestFailedReadIsNotKept(t *testing.T) {
	cache, c := newCache(t)
	if _, err := cache.Get(t.Context(), uuid.New()); herald.CodeOf(err) != herald.CodeNotFound {
		t.Errorf("an unknown client: %v, want not found", err)
	}
	get(t, cache, c.id())
	id := c.snapshot.Client.ID
	c.snapshot.Client.ID = uuid.New() // it is deleted
	cache.Invalidate(id)
	for range 2 {
		if _, err := cache.Get(t.Context(), id); herald.CodeOf(err) != herald.CodeNotFound {
			t.Errorf("a deleted client: %v, want not found", err)
		}
	}
	c.snapshot.Client.ID = id
	get(t, cache, id)
}

// TestOnlyChangedRulesAreRead: a client that is known is read since its revision, and the rules that did not
// change stay the same.
func TestOnlyChangedRulesAreRead(t *testing.T) {
	cache, c := newCache(t)
	kept, deleted := herald.Rule{ID: herald.NewID(), Type: "Sync Failed"}, herald.Rule{ID: herald.NewID(), Type: "Sync Failed"}
	c.snapshot.Rules = []herald.Rule{kept, deleted}
	before, err := cache.Get(t.Context(), c.id())
	if err != nil {
		t.Fatal(err)
	}
	added := herald.Rule{ID: herald.NewID(), Type: "Sync Failed"}
	c.snapshot.Client.Revision, c.snapshot.Since = 2, 1
	c.snapshot.Rules, c.snapshot.Deleted = []herald.Rule{added}, []uuid.UUID{deleted.ID}
	cache.Invalidate(c.id())
	after, err := cache.Get(t.Context(), c.id())
	if err != nil {
		t.Fatal(err)
	}
	if c.since != 1 {
		t.Errorf("the client was read since revision %d, want 1", c.since)
	}
	met := matching(t, after, "Sync Failed", uuid.New())
	if len(met) != 2 || met[0] != matching(t, before, "Sync Failed", uuid.Nil)[0] || met[1].ID != added.ID {
		t.Errorf("%d rules match, want the one that stayed and the new one", len(met))
	}
	for eventType, want := range map[string]bool{"Sync Failed": true, "Sync Completed": false} {
		if has, err := after.HasRules(t.Context(), eventType); err != nil || has != want {
			t.Errorf("HasRules(%q): %v, %v; want %v", eventType, has, err, want)
		}
	}
}
