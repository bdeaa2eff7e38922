package delivery

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald/internal/work"
)

// The backlog is known from three sources, none of which reads the whole queue at a scrape:
//
//	what this node holds                 the engine's own memory, exact
//	how much waits in the database       counted step by step in the background (counter)
//	the longest due in the database      the claimer's scan of the lanes, which it makes anyway
//
// Each pending delivery is in one series of one node, or in the database's, which all nodes report alike.

// Queue counts what waits in the database.
type Queue interface {
	// CountWaiting counts the deliveries that no node holds, in one step after an id. last is uuid.Nil
	// when there are no more.
	CountWaiting(ctx context.Context, after uuid.UUID) (n work.Waiting, last uuid.UUID, err error)
}

const (
	// countEvery is the pause between two counts of a short queue.
	countEvery = 5 * time.Second
	// countShare bounds the time that counting takes: one part in so many. A million rows take about
	// a second of the database's time, and so 20 s. The first count takes firstShare, because nothing is
	// known before it.
	countShare = 20
	firstShare = 4
	// firstCount is how long the start waits for the first count.
	firstCount = 500 * time.Millisecond
)

// backlog is what the engine knows of the database's part of the backlog. The engine's mu guards it.
type backlog struct {
	waiting work.Waiting
	counted bool
	at      time.Time // when the last count ended, or the engine was made
	// When the longest due delivery of all lanes, and of the lanes that are not slow, became due,
	// by the last whole scan of the lanes; zero if none was due.
	oldest, oldestFast time.Time
}

// longestDue finds the earliest of some due times, of all lanes and of those that are not slow.
type longestDue struct{ all, fast time.Time }

// add adds a due time. isFast is called only if the answer matters.
func (l *longestDue) add(due time.Time, isFast func() bool) {
	if l.all.IsZero() || due.Before(l.all) {
		l.all = due
	}
	if (l.fast.IsZero() || due.Before(l.fast)) && isFast() {
		l.fast = due
	}
}

// scanned follows the claimer's scan of the lanes. A scan takes some calls, the first and the last of
// which are marked.
func (e *Engine) scanned(sum *longestDue, lanes []work.WaitingLane, first, last bool) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if first {
		*sum = longestDue{}
	}
	for _, l := range lanes {
		if l.DueIn <= 0 && !strings.HasPrefix(l.Origin, work.DigestLanePrefix) {
			sum.add(now.Add(l.DueIn), func() bool { return !e.window.Slow(l.Lane) })
		}
	}
	if last {
		e.backlog.oldest, e.backlog.oldestFast = sum.all, sum.fast
	}
}

// counter counts what waits in the database, again and again.
type counter struct {
	*Engine
	after uuid.UUID
	sum   work.Waiting
	share int // one part of the time in so many
	fails bool
}

// start makes the first count, for a short time.
func (c *counter) start(ctx context.Context) {
	c.share = firstShare
	for began := time.Now(); time.Since(began) < firstCount; {
		if ended, err := c.step(ctx); ended || err != nil {
			return
		}
	}
}

func (c *counter) run(ctx context.Context) {
	first := countEvery
	if c.after != uuid.Nil { // start has begun a long count
		first = 0
	}
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		ended, err := c.step(ctx)
		wait := time.Duration(c.share-1) * time.Since(began)
		if ended || err != nil {
			wait = max(wait, countEvery)
		}
		if err != nil && !c.fails && ctx.Err() == nil {
			c.Log.Warn("what waits in the database cannot be counted; it is tried again", "error", safeError(err))
		}
		c.fails = err != nil
		timer.Reset(wait)
	}
}

// step counts one step, and reports whether it was the last one of a count.
func (c *counter) step(ctx context.Context) (ended bool, err error) {
	n, last, err := c.Queue.CountWaiting(ctx, c.after)
	if err != nil {
		return false, err
	}
	c.sum.Add(n)
	if c.after = last; last != uuid.Nil {
		return false, nil
	}
	c.mu.Lock()
	c.backlog.waiting, c.backlog.counted, c.backlog.at = c.sum, true, time.Now()
	c.mu.Unlock()
	c.sum, c.share = work.Waiting{}, countShare
	return true, nil
}

// dueAt returns when a delivery in memory became due.
func (i *item) dueAt() time.Time {
	if i.DueAt.IsZero() {
		return i.MadeAt
	}
	return i.DueAt
}

// backlogView is the backlog at one moment.
type backlogView struct {
	backlog
	ready, inFlight int // of this node
	// Ages are zero if nothing is due.
	age, fastAge time.Duration
}

// viewBacklog reads the backlog from memory.
func (e *Engine) viewBacklog() backlogView {
	now := e.Clock.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	v := backlogView{backlog: e.backlog}
	var here longestDue
	for _, i := range e.held {
		if i.begun {
			v.inFlight++
			continue
		}
		v.ready++
		here.add(i.dueAt(), func() bool { return !e.window.Slow(i.Lane()) })
	}
	v.age = max(ageOf(v.oldest, time.Now()), ageOf(here.all, now))
	v.fastAge = max(ageOf(v.oldestFast, time.Now()), ageOf(here.fast, now))
	return v
}

// ageOf returns how long ago a time was; 0 for the zero time and for one to come.
func ageOf(due, now time.Time) time.Duration {
	if due.IsZero() {
		return 0
	}
	return max(now.Sub(due), 0)
}

// viewFor is how long one look at memory serves all scrapes: it holds the engine's mu for up to two
// milliseconds, and anybody may scrape.
const viewFor = time.Second

// backlogMetrics show the backlog. They are one collector, so that a scrape takes one look at memory.
type backlogMetrics struct {
	engine                             *Engine
	pending, oldest, oldestFast, count *prometheus.Desc

	mu   sync.Mutex
	view backlogView
	at   time.Time // of the view
}

// look returns a view that is at most viewFor old.
func (b *backlogMetrics) look() backlogView {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at.IsZero() || time.Since(b.at) >= viewFor {
		b.view, b.at = b.engine.viewBacklog(), time.Now()
	}
	return b.view
}

func newBacklogMetrics(e *Engine) *backlogMetrics {
	return &backlogMetrics{
		engine: e,
		pending: prometheus.NewDesc("herald_pending_deliveries",
			"Pending deliveries by state. place=\"memory\": those that this node holds, take the sum of all nodes. place=\"database\": those that no node holds, which all nodes count alike, take the maximum.",
			[]string{"place", "state"}, nil),
		oldest: prometheus.NewDesc("herald_oldest_due_seconds",
			"How long ago the longest due delivery became due whose attempt has not begun, in the database or on this node; 0 if none is due. Take the maximum of all nodes.", nil, nil),
		oldestFast: prometheus.NewDesc("herald_oldest_due_fast_seconds",
			"The same of the lanes that are not slow: their receivers answer, and in time. Take the maximum of all nodes.", nil, nil),
		count: prometheus.NewDesc("herald_pending_counted_seconds",
			"How long ago this node ended its count of what waits in the database.", nil, nil),
	}
}

// Describe is part of prometheus.Collector.
func (b *backlogMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.pending, b.oldest, b.oldestFast, b.count} {
		to <- d
	}
}

// Collect is part of prometheus.Collector. What was not counted yet is not a number.
func (b *backlogMetrics) Collect(to chan<- prometheus.Metric) {
	v := b.look()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(b.pending, float64(v.ready), "memory", "ready")
	gauge(b.pending, float64(v.inFlight), "memory", "in_flight")
	for state, n := range map[string]int{"ready": v.waiting.Ready, "retry": v.waiting.Retry, "postponed": v.waiting.Postponed, "digest": v.waiting.Digest} {
		value := float64(n)
		if !v.counted {
			value = math.NaN()
		}
		gauge(b.pending, value, "database", state)
	}
	gauge(b.oldest, v.age.Seconds())
	gauge(b.oldestFast, v.fastAge.Seconds())
	gauge(b.count, time.Since(v.at).Seconds())
}
