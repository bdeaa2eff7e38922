package clientcache

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// game changes the rules of a client at random, and keeps them beside in a plain map.
type game struct {
	*rand.Rand
	client    uuid.UUID
	types     []string
	companies []uuid.UUID // with uuid.Nil
	plain     map[uuid.UUID]herald.Rule
	rules     rules
}

func newGame(seed uint64, types, companies, rules int) *game {
	g := &game{Rand: rand.New(rand.NewPCG(seed, 1)), client: uuid.New(), companies: []uuid.UUID{uuid.Nil}, plain: make(map[uuid.UUID]herald.Rule)}
	for n := range types {
		g.types = append(g.types, fmt.Sprintf("Type %d", n))
	}
	for range companies {
		g.companies = append(g.companies, uuid.New())
	}
	var all []herald.Rule
	for range rules {
		r := g.rule(herald.NewID())
		g.plain[r.ID] = r
		all = append(all, r)
	}
	g.rules = newRules(all)
	return g
}

func pick[T any](g *game, all []T) T { return all[g.IntN(len(all))] }

func (g *game) rule(id uuid.UUID) herald.Rule {
	return herald.Rule{ID: id, ClientID: g.client, Type: pick(g, g.types), CompanyID: pick(g, g.companies), Webhook: fmt.Sprintf("https://r.example/%d", g.IntN(10))}
}

// change makes, changes and deletes up to n rules, as the state of a later revision says it.
func (g *game) change(n int) {
	ids := slices.Collect(maps.Keys(g.plain))
	state := work.ClientState{Since: 1}
	for range g.IntN(n + 1) {
		switch id := herald.NewID(); g.IntN(4) {
		case 0:
			state.Deleted = append(state.Deleted, id) // made and deleted since
		case 1:
			if len(ids) > 0 {
				state.Deleted = append(state.Deleted, pick(g, ids))
			}
		case 2:
			if len(ids) > 0 {
				id = pick(g, ids)
			}
			fallthrough
		default:
			state.Rules = append(state.Rules, g.rule(id))
		}
	}
	for _, id := range state.Deleted {
		delete(g.plain, id)
	}
	for _, r := range state.Rules {
		g.plain[r.ID] = r
	}
	g.rules = g.rules.after(&state)
}

// meeting returns the rules that an event meets, one after the other.
func meeting(plain map[uuid.UUID]herald.Rule, e herald.Event) (met []uuid.UUID) {
	for _, r := range plain {
		if r.Meets(e) {
			met = append(met, r.ID)
		}
	}
	slices.SortFunc(met, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return met
}

func matchingIDs(r rules, e herald.Event) (met []uuid.UUID) {
	for _, rule := range r.matching(e.Type, e.CompanyID) {
		met = append(met, rule.ID)
	}
	return met
}

func (g *game) check(t *testing.T) {
	t.Helper()
	for _, eventType := range append(g.types, "unknown") {
		for _, company := range append(g.companies, uuid.New()) {
			e := herald.Event{ClientID: g.client, Type: eventType, CompanyID: company}
			if got, want := matchingIDs(g.rules, e), meeting(g.plain, e); !slices.Equal(got, want) {
				t.Fatalf("an event of %s about %s meets %d rules, want the %d that Meets finds, in their order\n got %v\nwant %v", eventType, company, len(got), len(want), got, want)
			}
		}
	}
	bytes := 0
	for _, r := range slices.Concat(g.rules.byID.chunks...) {
		bytes += r.size()
		if want, ok := g.plain[r.ID]; !ok || want.Webhook != r.Webhook {
			t.Fatalf("rule %s: %+v, want %+v", r.ID, r.Rule, want)
		}
		if found := g.rules.find(r.ID); found != r {
			t.Fatalf("rule %s is not found by its id", r.ID)
		}
	}
	if bytes != g.rules.bytes {
		t.Fatalf("the rules count %d bytes, and have %d", g.rules.bytes, bytes)
	}
}

// TestMatchingIsThatOfAllRules: the rules that an event meets are those that Meets finds among all of them, in the
// order of their creation, after any changes. A version of before stays as it was.
func TestMatchingIsThatOfAllRules(t *testing.T) {
	for _, test := range []struct{ types, companies, rules, changes, atOnce int }{
		{1, 0, 0, 30, 2},
		{3, 4, 10, 100, 3},
		{2, 4, 2000, 20, 200}, // chunks are split and joined
		{3, 3, 3 * maxChunk, 5, 3},
	} {
		for seed := range uint64(2) {
			g := newGame(seed, test.types, test.companies, test.rules)
			g.check(t)
			before := *g
			before.plain = maps.Clone(g.plain)
			for range test.changes {
				g.change(test.atOnce)
				g.check(t)
			}
			before.check(t)
		}
	}
}

// TestListsStayShort: chunks of deleted rules do not stay behind, and a large client can become a small one.
func TestListsStayShort(t *testing.T) {
	g := newGame(1, 1, 1, 20*maxChunk)
	left := 10
	for id := range maps.Clone(g.plain) {
		if len(g.plain) > left {
			delete(g.plain, id)
			g.rules = g.rules.without(id)
		}
	}
	g.check(t)
	if n := len(g.rules.byID.chunks); n > left {
		t.Errorf("%d rules are in %d chunks", left, n)
	}
	for id := range maps.Clone(g.plain) {
		delete(g.plain, id)
		g.rules = g.rules.without(id)
	}
	g.check(t)
	g.change(3)
	g.check(t)
}

// TestSharedTextsAreKeptOnce: 1,000 rules with one webhook do not have 1,000 copies of it.
func TestSharedTextsAreKeptOnce(t *testing.T) {
	all := make([]herald.Rule, 1000)
	for i := range all {
		all[i] = herald.Rule{ID: herald.NewID(), Type: string([]byte("Sync Failed")), Webhook: string([]byte("https://r.example/hook"))}
	}
	made := newRules(all)
	var first *Rule
	for _, r := range slices.Concat(made.byID.chunks...) {
		if first == nil {
			first = r
		}
		if stringData(first.Webhook) != stringData(r.Webhook) || stringData(first.Type) != stringData(r.Type) {
			t.Fatal("a rule has a copy of its own")
		}
	}
}

func stringData(s string) *byte { return unsafe.StringData(s) }

// BenchmarkRulesMatching measures how long it takes to find the one rule that an event meets.
func BenchmarkRulesMatching(b *testing.B) {
	for _, n := range []int{1, 10, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := make([]herald.Rule, n)
			for i := range all {
				all[i] = herald.Rule{ID: herald.NewID(), Type: "Sync Failed", CompanyID: uuid.New()}
			}
			r := newRules(all)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if len(r.matching("Sync Failed", all[i*7919%n].CompanyID)) != 1 {
					b.Fatal("not one rule")
				}
			}
		})
	}
}

// BenchmarkRulesChange measures how long a changed rule takes.
func BenchmarkRulesChange(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := make([]herald.Rule, n)
			for i := range all {
				all[i] = herald.Rule{ID: herald.NewID(), Type: "Sync Failed", CompanyID: uuid.New()}
			}
			r := newRules(all)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r = r.with(all[i*7919%n])
			}
		})
	}
}
