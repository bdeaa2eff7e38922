package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/intake"
	"herald/internal/test/postgres"
	"herald/internal/webhook"
)

// BenchmarkRules measures what rules cost a publisher: one event is published after the other, and each
// meets one rule. "after a change" is the first publish after a rule was changed, without the change
// itself; "of another node" is the same where another node made the change. "while rules change" publishes without
// pause while a rule of the client changes every 100 ms.
func BenchmarkRules(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		benchmarkRules(b, func(b *testing.B) Options { return Options{Dir: b.TempDir()} })
	})
	b.Run("postgres", func(b *testing.B) {
		benchmarkRules(b, func(b *testing.B) Options { return Options{Database: postgres.Database(b)} })
	})
}

func benchmarkRules(b *testing.B, newOptions func(*testing.B) Options) {
	for _, rules := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) {
			r := newRulesBench(b, newOptions(b), 1, rules)
			r.publish(b, 0, 0) // reads the client
			b.Run("publish", func(b *testing.B) {
				took := make([]time.Duration, b.N)
				for i := range took {
					begun := time.Now()
					r.publish(b, 0, i)
					took[i] = time.Since(begun)
				}
				report(b, took, "publish")
			})
			b.Run("change", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					r.change(b, i)
				}
			})
			b.Run("after a change", func(b *testing.B) { r.afterAChange(b, r.cache.Invalidate) })
			b.Run("of another node", func(b *testing.B) { r.afterAChange(b, func(uuid.UUID) {}) })
			b.Run("while rules change", func(b *testing.B) { r.whileRulesChange(b, r.cache.Invalidate) })
			b.Run("while another node changes rules", func(b *testing.B) { r.whileRulesChange(b, func(uuid.UUID) {}) })
		})
	}
	for _, size := range []struct{ clients, rules int }{{1000, 1}, {100_000, 1}, {1000, 1000}} {
		b.Run(fmt.Sprintf("clients=%d rules=%d", size.clients, size.rules), func(b *testing.B) {
			r := newRulesBench(b, newOptions(b), size.clients, size.rules)
			b.Run("in turn", func(b *testing.B) {
				for next := range 2 * size.clients { // as after some time
					r.read(b, next)
				}
				b.ResetTimer()
				for i := range b.N {
					r.publish(b, i, i)
				}
			})
		})
	}
}

type rulesBench struct {
	*fixture
	cache   *clientcache.Cache
	intake  *intake.Intake
	clients []uuid.UUID
	rules   []uuid.UUID // of the first client
	perEach int
}

func newRulesBench(b *testing.B, o Options, clients, rules int) *rulesBench {
	b.Helper()
	o.Box, o.MaxRules = testBox(b), 1_000_000
	r := &rulesBench{fixture: &fixture{t: b}, perEach: rules}
	var err error
	o.Changed = func(id uuid.UUID) { r.cache.Invalidate(id) }
	if r.Store, err = Open(b.Context(), o); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() }) //nolint:errcheck // the benchmark is over
	if err := r.Register(b.Context()); err != nil {
		b.Fatal(err)
	}
	if r.cache, err = clientcache.New(r.Store, catalogue.Options{}); err != nil {
		b.Fatal(err)
	}
	r.intake = intake.New(r.cache, r.Store, noEngine{}, webhook.Origin)
	r.fill(b, clients)
	return r
}

// company returns the company of a client's n-th rule.
func company(n int) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte{byte(n >> 16), byte(n >> 8), byte(n)})
}

// fill adds the clients and their rules, which are for one company each.
func (r *rulesBench) fill(b *testing.B, clients int) {
	tx, err := r.write.BeginTx(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	insert := func(table string, width, n int, row func(i int) []any) {
		const atOnce = 20 // SQLite takes quadratic time to bind more
		for from := 0; from < n; from += atOnce {
			var values []string
			var args []any
			for i := from; i < min(from+atOnce, n); i++ {
				var marks []string
				for _, arg := range row(i) {
					args = append(args, arg)
					marks = append(marks, fmt.Sprintf("$%d", len(args)))
				}
				values = append(values, "("+strings.Join(marks, ",")+")")
			}
			if _, err := tx.ExecContext(b.Context(), `INSERT INTO `+table+` VALUES `+strings.Join(values, ","), args...); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range clients {
		r.clients = append(r.clients, herald.NewID())
	}
	insert("clients (id, name, profile, version)", 4, clients, func(i int) []any { return []any{r.clients[i][:], "Acme", []byte(`{}`), 1} })
	insert("rules ("+ruleColumns+")", 8, clients*r.perEach, func(i int) []any {
		id, of := herald.NewID(), company(i%r.perEach)
		if i < r.perEach {
			r.rules = append(r.rules, id)
		}
		return []any{id[:], r.clients[i/r.perEach][:], "Sync Failed", "sync-failed", of[:], fmt.Sprintf("https://receiver.example/hooks/of/one/company/%d", i), "[]", true}
	})
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	if r.Shared() {
		r.exec(`ANALYZE clients, rules`)
	}
}

func (r *rulesBench) publish(b *testing.B, client, n int) {
	receipts, err := r.intake.Publish(b.Context(), operator, []herald.Publication{{Event: herald.Event{
		ClientID: r.clients[client%len(r.clients)], Type: "Sync Failed", CompanyID: company(n % r.perEach),
		Data: []byte(`{"syncId":"1","syncType":"Expense","FailureStage":"fetching"}`),
	}}})
	if err != nil || receipts[0].AlertCount != 1 {
		b.Fatalf("%v, %v; want one alert", receipts, err)
	}
}

// read lets the cache read a client if it does not have it.
func (r *rulesBench) read(b *testing.B, client int) {
	if _, err := r.cache.Get(b.Context(), r.clients[client%len(r.clients)]); err != nil {
		b.Fatal(err)
	}
}

func (r *rulesBench) change(b *testing.B, n int) {
	_, err := r.UpdateRule(b.Context(), operator, herald.Rule{ID: r.rules[n%len(r.rules)], ClientID: r.clients[0], Type: "Sync Failed",
		PostedType: "sync-failed", CompanyID: company(n % r.perEach), Webhook: fmt.Sprintf("https://changed.example/%d", n)})
	if err != nil {
		b.Fatal(err)
	}
}

// afterAChange measures publishes, each after a change that the cache is told of by changed.
func (r *rulesBench) afterAChange(b *testing.B, changed func(uuid.UUID)) {
	r.publish(b, 0, 0)
	told := r.changed
	defer func() { r.changed = told }()
	r.changed = changed
	took := make([]time.Duration, b.N)
	for i := range took {
		r.change(b, i)
		begun := time.Now()
		r.publish(b, 0, i)
		took[i] = time.Since(begun)
	}
	report(b, took, "publish")
}

// whileRulesChange changes a rule every 100 ms, b.N times, and publishes all the time. It reports how long publishes
// take: all of them, and the first ones that begin after a change.
func (r *rulesBench) whileRulesChange(b *testing.B, changed func(uuid.UUID)) {
	r.publish(b, 0, 0)
	told := r.changed
	defer func() { r.changed = told }()
	r.changed = changed
	var (
		changes   atomic.Int64
		changing  sync.WaitGroup
		all, next []time.Duration
	)
	changing.Go(func() {
		every := time.NewTicker(100 * time.Millisecond)
		defer every.Stop()
		for i := range b.N {
			<-every.C
			r.change(b, i)
			changes.Add(1)
		}
	})
	for i, seen := 0, int64(0); seen < int64(b.N); i++ {
		before := changes.Load()
		begun := time.Now()
		r.publish(b, 0, i)
		all = append(all, time.Since(begun))
		if before > seen {
			next, seen = append(next, all[len(all)-1]), before
		}
	}
	changing.Wait()
	report(b, all, "publish")
	report(b, next, "after-a-change")
}

// report reports percentiles of what took some time.
func report(b *testing.B, took []time.Duration, what string) {
	slices.Sort(took)
	for _, percent := range []int{50, 99} {
		b.ReportMetric(float64(took[(len(took)-1)*percent/100].Nanoseconds()), fmt.Sprintf("p%d-%s-ns", percent, what))
	}
}
