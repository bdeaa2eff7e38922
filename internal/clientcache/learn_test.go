package clientcache_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
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

// largeClient is a Store with one client, which has many rules. It is as slow as a database.
type largeClient struct {
	clients
	bytes   int // of the rules' texts
	rules   []herald.Rule
	changes map[int64]herald.Rule // by revision
	lookups int
	pages   int
	err     error
	mu      sync.Mutex // of what the test changes and looks at while rules are read
}

func (l *largeClient) pagesRead() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pages
}

const aLookup, aPage = time.Millisecond, time.Second

func (l *largeClient) ClientState(_ context.Context, id uuid.UUID, since int64) (work.ClientState, error) {
	l.mu.Lock()
	state, many := l.snapshot, len(l.rules)
	changes := maps.Clone(l.changes)
	l.mu.Unlock()
	time.Sleep(aLookup) // what changes meanwhile is not read
	if state.Client.ID != id {
		return state, herald.Errorf(herald.CodeNotFound, "none")
	}
	if state.Since = since; since == 0 {
		state.Many, state.RuleBytes = many, l.bytes
		return state, nil
	}
	for revision, r := range changes {
		if revision > since {
			state.Rules = append(state.Rules, r)
		}
	}
	return state, nil
}

func (l *largeClient) RulesAfter(_ context.Context, _, after uuid.UUID) ([]herald.Rule, bool, error) {
	l.mu.Lock()
	l.pages++
	rules := slices.Clone(l.rules)
	l.mu.Unlock()
	time.Sleep(aPage) // what changes meanwhile is not read
	at, _ := slices.BinarySearchFunc(rules, after, func(r herald.Rule, id uuid.UUID) int {
		return cmp.Or(slices.Compare(r.ID[:], id[:]), -1) // the first after it
	})
	end := min(at+1000, len(rules))
	return rules[at:end], end < len(rules), l.err
}

func (l *largeClient) MatchingRules(_ context.Context, _ uuid.UUID, eventType string, company uuid.UUID, limit int) (found []herald.Rule, err error) {
	l.lookups++
	time.Sleep(aLookup)
	for _, r := range l.rules {
		if len(found) < limit && r.Type == eventType && (company == uuid.Nil || r.CompanyID == company) {
			found = append(found, r)
		}
	}
	return found, nil
}

func (l *largeClient) RuleByID(_ context.Context, _, id uuid.UUID) (herald.Rule, error) {
	l.lookups++
	time.Sleep(aLookup)
	for _, r := range l.rules {
		if r.ID == id {
			return r, nil
		}
	}
	return herald.Rule{}, herald.Errorf(herald.CodeNotFound, "none")
}

func (l *largeClient) change(cache *clientcache.Cache, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snapshot.Client.Revision++
	l.rules[n].Webhook = "https://changed.example/"
	l.changes[l.snapshot.Client.Revision] = l.rules[n]
	cache.Invalidate(l.id())
}

func newLargeClient(t *testing.T, rules int) (*clientcache.Cache, *largeClient) {
	t.Helper()
	l := &largeClient{changes: make(map[int64]herald.Rule)}
	l.snapshot.Client = herald.Client{ID: uuid.New(), Version: 1, Revision: 1, Profile: herald.Profile{AlertAuthHeader: "secret"}}
	for range rules {
		l.rules = append(l.rules, herald.Rule{ID: herald.NewID(), ClientID: l.id(), Type: "Sync Failed", CompanyID: uuid.New()})
	}
	cache, err := clientcache.New(l, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cache, l
}

func matching(t *testing.T, s *clientcache.Snapshot, eventType string, company uuid.UUID) []*clientcache.Rule {
	t.Helper()
	met, err := s.Matching(t.Context(), eventType, company)
	if err != nil {
		t.Fatal(err)
	}
	return met
}

// publish finds the n-th rule as an event does that it alone is for, and returns how long that took.
func (l *largeClient) publish(t *testing.T, cache *clientcache.Cache, n int) time.Duration {
	t.Helper()
	began := time.Now()
	client, err := cache.Get(t.Context(), l.id())
	if err != nil {
		t.Fatal(err)
	}
	met := matching(t, client, "Sync Failed", l.rules[n].CompanyID)
	if len(met) != 1 || met[0].ID != l.rules[n].ID || met[0].Webhook != l.rules[n].Webhook {
		t.Fatalf("%d rules match, want the rule %s as it is", len(met), l.rules[n].ID)
	}
	return time.Since(began)
}

// TestManyRulesAreRememberedWhenTheyPay: a client with many rules is not read whole for its first events. When reads of
// single rules have cost as much, all rules are read. No event waits for that, and then none reads rules.
func TestManyRulesAreRememberedWhenTheyPay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, l := newLargeClient(t, 3000)
		const pays = 3000/51 + 1
		for n := range pays {
			if took := l.publish(t, cache, n); took > 3*aLookup {
				t.Errorf("event %d took %v, want no longer than a look-up", n, took)
			}
			time.Sleep(2 * aLookup)
			if n < pays-1 && l.pagesRead() > 0 {
				t.Errorf("all rules are read at event %d", n)
			}
		}
		if l.pagesRead() != 1 {
			t.Errorf("%d pages of rules are being read, want the first", l.pagesRead())
		}
		if took := l.publish(t, cache, 5); took > 3*aLookup {
			t.Errorf("an event took %v while all rules are read, want no longer than a look-up", took)
		}
		time.Sleep(time.Minute)
		before := l.lookups
		for n := range l.rules {
			l.publish(t, cache, n)
		}
		if l.lookups != before || l.pagesRead() != 3 {
			t.Errorf("%d look-ups after all rules were read, in %d pages; want none, and 3", l.lookups-before, l.pagesRead())
		}
	})
}

// TestChangesWhileAllRulesAreReadAreSeen: a change during the read of all rules is seen at once and is not lost after
// it, whether the client was read meanwhile or not.
func TestChangesWhileAllRulesAreReadAreSeen(t *testing.T) {
	for name, publishing := range map[string]bool{"read meanwhile": true, "not read meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache, l := newLargeClient(t, 3000)
				for l.pagesRead() == 0 {
					l.publish(t, cache, 0)
					time.Sleep(2 * aLookup)
				}
				for n := range 30 {
					time.Sleep(aPage / 7)
					l.change(cache, n*100)
					if publishing {
						l.publish(t, cache, n*100)
					}
				}
				time.Sleep(time.Minute)
				before := l.lookups
				for n := range l.rules {
					l.publish(t, cache, n)
				}
				if l.lookups != before {
					t.Errorf("%d look-ups, want all rules in memory", l.lookups-before)
				}
			})
		})
	}
}

// TestReadDuringTheEndOfAnother: while the read of all rules ends, the client changes, and a read of it without its
// rules is under way. The change is seen, and the rules stay.
func TestReadDuringTheEndOfAnother(t *testing.T) {
	for quarter := range 12 { // a change and two events take three look-ups
		synctest.Test(t, func(t *testing.T) {
			cache, l := newLargeClient(t, 1000)
			for l.pagesRead() == 0 {
				l.publish(t, cache, 0)
				time.Sleep(aLookup + time.Duration(quarter)*aLookup/4)
			}
			for n := range 600 {
				l.change(cache, n)
				l.publish(t, cache, n)
				l.publish(t, cache, n)
			}
			before := l.lookups
			for n := range l.rules {
				l.publish(t, cache, n)
			}
			if l.lookups != before {
				t.Errorf("%d look-ups, want all rules in memory", l.lookups-before)
			}
		})
	}
}

// TestClientOverTheBoundIsNotRemembered: the rules of a client that are more than the cache takes are found in the
// database all the time, and take no memory.
func TestClientOverTheBoundIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, l := newLargeClient(t, 1000)
		l.bytes = 64 << 20
		const events = 5000 // single reads cost as much as a read of all
		for n := range events {
			l.publish(t, cache, n%len(l.rules))
		}
		time.Sleep(time.Minute)
		if l.pagesRead() > 0 || l.lookups != events || cache.Bytes() > 10_000 {
			t.Errorf("%d pages, %d look-ups, %d bytes; want none, %d, and few", l.pagesRead(), l.lookups, cache.Bytes(), events)
		}
		for how, get := range map[string]func(context.Context, uuid.UUID) (*clientcache.Snapshot, error){"Current": cache.Current, "Whole": cache.Whole} {
			client, err := get(t.Context(), l.id())
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for range client.AllRules() {
				n++
			}
			if want := map[string]int{"Whole": len(l.rules)}[how]; n != want {
				t.Errorf("%s has %d rules, want %d", how, n, want)
			}
		}
	})
}

// TestRulesThatGrowOverTheBoundAreForgotten: a client whose remembered rules become more than the cache takes does not
// push out all others.
func TestRulesThatGrowOverTheBoundAreForgotten(t *testing.T) {
	cache, c := newCache(t)
	get(t, cache, c.id())
	large := herald.Rule{ID: herald.NewID(), Type: "Sync Failed", Webhook: string(make([]byte, 70<<20))}
	c.snapshot.Client.Revision, c.snapshot.Since, c.snapshot.Rules = 2, 1, []herald.Rule{large}
	cache.Invalidate(c.id())
	get(t, cache, c.id())
	if n := cache.Bytes(); n > 10_000 {
		t.Errorf("the cache has %d bytes, want few", n)
	}
}

// TestFailedReadOfAllRulesIsTriedLater: not at the next event, and events go on.
func TestFailedReadOfAllRulesIsTriedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, l := newLargeClient(t, 1000)
		l.err = errors.New("the database is away")
		for n := range 100 {
			l.publish(t, cache, n)
			time.Sleep(2 * aPage)
		}
		if l.pagesRead() < 2 || l.pagesRead() > 100/(1000/51) {
			t.Errorf("all rules were read %d times, want once for as many events as it costs", l.pagesRead())
		}
	})
}

// TestDroppedClientIsNotLearned: rules that are read for a client that was deleted meanwhile are dropped.
func TestDroppedClientIsNotLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, l := newLargeClient(t, 1000)
		id := l.id()
		client, err := cache.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for l.pagesRead() == 0 {
			matching(t, client, "Sync Failed", uuid.New())
			time.Sleep(2 * aLookup)
		}
		l.mu.Lock()
		l.snapshot.Client.ID = uuid.New()
		l.mu.Unlock()
		cache.Invalidate(id)
		if _, err := cache.Get(t.Context(), id); herald.CodeOf(err) != herald.CodeNotFound {
			t.Errorf("%v, want not found", err)
		}
		time.Sleep(time.Minute)
		if n := cache.Bytes(); n > 0 {
			t.Errorf("the cache has %d bytes, want none", n)
		}
	})
}

// TestFormerHeaderDoesNotGoToANewAddress: another node has changed the Authorization header, and then the address of a
// rule. The header of before does not go to the new address, also where the rules are not in memory.
func TestFormerHeaderDoesNotGoToANewAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, l := newLargeClient(t, 1000)
		l.rules[0].Webhook = "https://old.example/"
		client, err := cache.Get(t.Context(), l.id())
		if err != nil {
			t.Fatal(err)
		}
		check := func(rule uuid.UUID, address, want string) {
			t.Helper()
			if got, err := client.Authorization(t.Context(), rule, address); err != nil || got != want {
				t.Errorf("%s gets %q, %v; want %q", address, got, err, want)
			}
		}
		check(l.rules[0].ID, "https://old.example/", "secret")
		check(l.rules[0].ID, "https://other.example/", "")
		check(uuid.New(), "https://old.example/", "")
		l.snapshot.Client.Revision = 3
		l.snapshot.Client.Profile.AlertAuthHeader = "new secret"
		l.rules[0].Webhook = "https://new.example/"
		check(l.rules[0].ID, "https://new.example/", "new secret")
		check(l.rules[0].ID, "https://old.example/", "")
	})
}
