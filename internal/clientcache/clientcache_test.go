package clientcache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/work"
)

// clients keeps one client, and counts how often it is asked.
type clients struct {
	snapshot  work.ClientState
	key       herald.Key
	snapshots int
	versions  int
}

func (c *clients) Snapshot(_ context.Context, id uuid.UUID) (work.ClientState, error) {
	c.snapshots++
	if id != c.snapshot.Client.ID {
		return work.ClientState{}, herald.Errorf(herald.CodeNotFound, "none")
	}
	return c.snapshot, nil
}

func (c *clients) Version(context.Context, uuid.UUID) (int64, error) {
	c.versions++
	return c.snapshot.Client.Version, nil
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
	c.snapshot.Client = herald.Client{ID: uuid.New(), Version: 1, Profile: herald.Profile{AlertAuthHeader: "secret"}}
	c.key = herald.Key{ID: uuid.New(), ClientID: c.snapshot.Client.ID}
	c.snapshot.KeyIDs = []uuid.UUID{c.key.ID}
	d, err := clientcache.New(c, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d, c
}

func (c *clients) id() uuid.UUID { return c.snapshot.Client.ID }

// TestHowOldAClientMayBe: Client may be old, Fresh at most half a second, Current
// not at all; what has been forgotten is read again.
func TestHowOldAClientMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := newCache(t)
		version := func(get func(context.Context, uuid.UUID) (*clientcache.Snapshot, error)) int64 {
			t.Helper()
			got, err := get(t.Context(), c.id())
			if err != nil {
				t.Fatal(err)
			}
			return got.Version
		}
		version(d.Get)
		c.snapshot.Client.Version = 2
		if v := version(d.Get); v != 1 {
			t.Errorf("Client: version %d, want the entry one", v)
		}
		if v := version(d.Recent); v != 1 || c.versions != 0 {
			t.Errorf("Recent at once: version %d after %d questions", v, c.versions)
		}
		if v := version(d.Current); v != 2 {
			t.Errorf("Current: version %d, want 2", v)
		}
		c.snapshot.Client.Version = 3
		time.Sleep(time.Second)
		if v := version(d.Recent); v != 3 {
			t.Errorf("Recent after a second: version %d, want 3", v)
		}
		c.snapshot.Client.Version = 4
		d.Invalidate(c.id())
		if v := version(d.Get); v != 4 {
			t.Errorf("Client when forgotten: version %d, want 4", v)
		}
		asked := c.snapshots
		for range 100 {
			version(d.Get)
			version(d.Recent)
		}
		if c.snapshots != asked {
			t.Errorf("the client was read %d times more, and had not changed", c.snapshots-asked)
		}
	})
}

func TestAuthorizationGoesOnlyWhereItBelongs(t *testing.T) {
	d, c := newCache(t)
	with := herald.Rule{ID: uuid.New(), Webhook: "https://a.example/"}
	without := herald.Rule{ID: uuid.New(), Webhook: "https://a.example/", WithoutAuthorization: true}
	c.snapshot.Rules = []herald.Rule{with, without}
	client, err := d.Get(t.Context(), c.id())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, address, want string
		rule                uuid.UUID
	}{
		{"its address", "https://a.example/", "secret", with.ID},
		{"an address that has left the rule", "https://old.example/", "", with.ID},
		{"a rule that is gone", "https://a.example/", "", uuid.New()},
		{"a rule that does without", "https://a.example/", "", without.ID},
	} {
		if got := client.Authorization(test.rule, test.address); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestRevokedKeyIsNotRemembered(t *testing.T) {
	d, c := newCache(t)
	if _, err := d.KeyByHash(t.Context(), [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	c.snapshot.KeyIDs, c.snapshot.Client.Version = nil, 2
	d.Invalidate(c.id())
	if _, err := d.KeyByHash(t.Context(), [32]byte{1}); herald.CodeOf(err) != herald.CodeNotFound {
		t.Errorf("%v, want not found", err)
	}
}

func TestCatalogueFollowsTheOperator(t *testing.T) {
	d, c := newCache(t)
	c.snapshot.EventTypes = []herald.EventType{{Name: "Invoice overdue", Message: "late"}}
	client, err := d.Get(t.Context(), c.id())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := client.Catalogue.Lookup("invoice overdue"); !ok {
		t.Error("the operator's type is not in the client's catalogue")
	}
	common, err := d.Catalogue(t.Context())
	if err != nil || common != client.Catalogue {
		t.Errorf("the catalogue was made twice of the same types (%v)", err)
	}
	if _, err := d.Get(t.Context(), uuid.New()); herald.CodeOf(err) != herald.CodeNotFound {
		t.Errorf("an unknown client: %v", err)
	}
}
