package fairqueue_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald/internal/fairqueue"
	"herald/internal/work"
)

// small are limits that make every bound take effect often.
var small = fairqueue.Limits{Items: 30, Bytes: 3000, InFlight: 8, InFlightPerClient: 6, InFlightPerLane: 4}

// testItem is an item of the model. It is in the window or in the model's database.
type testItem struct{ id, size int }

// model is a simple second implementation of the window, by scans over slices. Every step is made
// on both, and the model checks what the window returns.
type model struct {
	t              *testing.T
	random         *rand.Rand
	window         *fairqueue.Window[testItem]
	lanes          []*modelLane
	nextID         int
	sent           map[int]int // how often Next returned each item
	leads          map[[2]int]int
	before         []waiting
	slowFullBefore bool
}

type modelLane struct {
	key    work.Lane
	client int

	reserved, ready, sending, ended []testItem
	uncommitted, database           []testItem
	claim                           *modelClaim
	hops                            int

	limit, answers int
	mean           time.Duration
	silent         bool
	spilled        bool
}

type modelClaim struct {
	asked, size int
	begun       bool // the claim has read the database
	taken       []testItem
	overtaken   bool
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), window: fairqueue.New[testItem](small),
		sent: map[int]int{}, leads: map[[2]int]int{},
	}
	for client, lanes := range []int{3, 2, 1} {
		id := uuid.UUID{15: byte(client + 1)}
		for n := range lanes {
			m.lanes = append(m.lanes, &modelLane{
				key:    work.Lane{Client: id, Origin: fmt.Sprintf("https://r%d.example:443", n)},
				client: client, limit: small.InFlightPerLane,
			})
		}
	}
	return m
}

func (l *modelLane) inFlight() int { return len(l.sending) + l.hops }
func (l *modelLane) slow() bool    { return l.silent || l.mean > time.Second }
func (l *modelLane) items() int {
	n := len(l.reserved) + len(l.ready) + len(l.sending) + len(l.ended)
	if l.claim != nil {
		n += l.claim.asked
	}
	return n
}

func (l *modelLane) bytes() (n int) {
	for _, held := range [][]testItem{l.reserved, l.ready, l.sending, l.ended} {
		for _, it := range held {
			n += it.size
		}
	}
	if l.claim != nil {
		n += l.claim.asked * l.claim.size
	}
	return n
}

// sum adds up a number over all chosen lanes.
func (m *model) sum(number func(*modelLane) int, chosen func(*modelLane) bool) (n int) {
	for _, l := range m.lanes {
		if chosen(l) {
			n += number(l)
		}
	}
	return n
}

func all(*modelLane) bool       { return true }
func attempts(l *modelLane) int { return len(l.sending) }
func ofClient(c int) (f func(*modelLane) bool) {
	return func(l *modelLane) bool { return l.client == c }
}

func (m *model) slowInFlight() int { return m.sum((*modelLane).inFlight, (*modelLane).slow) }
func (m *model) slowFull() bool    { return m.slowInFlight() >= small.InFlight/2 }
func (m *model) full(client int) bool {
	return m.sum(attempts, ofClient(client)) >= small.InFlightPerClient
}

// share is how much of total a lane may still take: no lane and no client may hold more than is
// left to the others.
func (m *model) share(l *modelLane, total int, number func(*modelLane) int) int {
	return total - m.sum(number, all) - m.sum(number, ofClient(l.client)) - number(l)
}

func (m *model) reserve(l *modelLane) {
	it := testItem{id: m.nextID, size: 1 + m.random.IntN(120)}
	m.nextID++
	want := !l.spilled && m.share(l, small.Items, (*modelLane).items) > 0 && m.share(l, small.Bytes, (*modelLane).bytes) >= 3*it.size
	if got := m.window.Reserve(l.key, it.size); got != want {
		m.t.Fatalf("Reserve(%v, %d) = %v, want %v", l.key.Origin, it.size, got, want)
	}
	if want {
		if len(l.database)+len(l.uncommitted) > 0 {
			m.t.Fatalf("a new item of %s overtakes %d in the database and %d uncommitted", l.key.Origin, len(l.database), len(l.uncommitted))
		}
		l.reserved = append(l.reserved, it)
		return
	}
	l.spilled = true
	l.uncommitted = append(l.uncommitted, it)
	if l.claim != nil {
		l.claim.overtaken = true
	}
}

// commit ends the commit of a reserved or spilled item. It fails at times.
func (m *model) commit(l *modelLane) {
	fails := m.random.IntN(8) == 0
	if n := len(l.uncommitted); n > 0 && m.random.IntN(2) == 0 {
		it := take(&l.uncommitted, m.random.IntN(n))
		if !fails {
			l.database = append(l.database, it)
		} else {
			m.sent[it.id]++ // the commit failed, so it must never be sent
		}
		m.window.Spilled(l.key)
		return
	}
	if n := len(l.reserved); n > 0 {
		it := take(&l.reserved, m.random.IntN(n))
		if fails {
			m.sent[it.id]++
			m.window.Release(l.key, it.size)
			return
		}
		l.ready = append(l.ready, it)
		m.window.Add(l.key, it)
	}
}

// claimStep begins a claim, makes it read the database, or ends it.
func (m *model) claimStep(l *modelLane, mayFail bool) {
	switch c := l.claim; {
	case c == nil:
		m.beginClaim(l)
	case !c.begun:
		c.begun = true
		n := min(c.asked, len(l.database))
		c.taken, l.database = l.database[:n:n], l.database[n:]
	case mayFail && m.random.IntN(6) == 0:
		l.database = append(append([]testItem{}, c.taken...), l.database...)
		l.claim = nil
		m.window.EndClaim(l.key, c.asked, 0, false)
	default:
		l.claim = nil
		for _, it := range c.taken {
			l.ready = append(l.ready, it)
			m.window.AddClaimed(l.key, it, it.size)
		}
		m.window.EndClaim(l.key, c.asked, len(c.taken), true)
		if len(c.taken) == c.asked {
			l.spilled = true
		} else if !c.overtaken {
			l.spilled = false
		}
	}
}

func (m *model) beginClaim(l *modelLane) {
	share, waiting := m.share(l, small.Items, (*modelLane).items), len(l.ready)
	empty := m.sum((*modelLane).items, ofClient(l.client)) == 0
	before := m.window.Stats()
	n := m.window.BeginClaim(l.key)
	if n == 0 {
		if empty && before.Items < small.Items && before.Bytes < small.Bytes {
			m.t.Fatalf("no claim for a client that holds nothing, with room: %+v", before)
		}
		return
	}
	held := m.window.Stats().Bytes - before.Bytes
	if n < 0 || 3*n > share+2 || waiting+n > 4*l.limit || held%n != 0 {
		m.t.Fatalf("a claim of %d (%d bytes) with a share of %d, %d ready and a limit of %d", n, held, share, waiting, l.limit)
	}
	if !empty && before.Bytes+held > small.Bytes {
		m.t.Fatalf("a claim of %d bytes on top of %d", held, before.Bytes)
	}
	l.claim = &modelClaim{asked: n, size: held / n, overtaken: len(l.uncommitted) > 0}
}

func (m *model) mark(l *modelLane) {
	m.window.MarkSpilled(l.key)
	l.spilled = true
	if l.claim != nil {
		l.claim.overtaken = true
	}
}

// startable reports whether a lane may have the next turn.
func (m *model) startable(l *modelLane) bool {
	return m.sum(attempts, all) < small.InFlight && !m.full(l.client) && m.waits(l) && !(l.slow() && m.slowFull())
}

func (m *model) waits(l *modelLane) bool { return len(l.ready) > 0 && l.inFlight() < l.limit }

func (m *model) next() bool {
	it, key, ok := m.window.Next()
	if !ok {
		for _, l := range m.lanes {
			if m.startable(l) {
				m.t.Fatalf("no lane has a turn, although %s of client %d may start", l.key.Origin, l.client)
			}
		}
		return false
	}
	for i, l := range m.lanes {
		if l.key != key {
			continue
		}
		if !m.startable(l) {
			m.t.Fatalf("%s of client %d has a turn, but may not start", key.Origin, l.client)
		}
		if want := take(&l.ready, 0); it != want {
			m.t.Fatalf("%s gave out %+v, want %+v: first in, first out", key.Origin, it, want)
		}
		m.sent[it.id]++
		l.sending = append(l.sending, it)
		m.countTurn(i)
	}
	return true
}

func (m *model) end(l *modelLane, r fairqueue.Result) {
	l.ended = append(l.ended, take(&l.sending, m.random.IntN(len(l.sending))))
	m.window.Ended(l.key, r)
	if r.Skipped {
		return
	}
	l.mean += (r.Took - l.mean) / 8
	if l.silent = r.TimedOut; l.silent {
		l.limit, l.answers = max(1, l.limit/2), 0
	} else if l.answers++; l.answers >= l.limit && l.limit < small.InFlightPerLane {
		l.limit, l.answers = l.limit+1, 0
	}
}

func (m *model) result() fairqueue.Result {
	switch m.random.IntN(10) {
	case 0:
		return fairqueue.Result{Skipped: true}
	case 1:
		return fairqueue.Result{Took: 30 * time.Second, TimedOut: true}
	case 2:
		return fairqueue.Result{Took: 3 * time.Second}
	default:
		return fairqueue.Result{Took: 10 * time.Millisecond}
	}
}

func (m *model) release(l *modelLane) {
	it := take(&l.ended, m.random.IntN(len(l.ended)))
	m.window.Release(l.key, it.size)
}

func (m *model) enter(l *modelLane) {
	want := l.inFlight() < l.limit && !(l.slow() && m.slowFull())
	if got := m.window.Enter(l.key); got != want {
		m.t.Fatalf("Enter(%s) = %v, want %v", l.key.Origin, got, want)
	}
	if want {
		l.hops++
	}
}

func (m *model) leave(l *modelLane) {
	l.hops--
	m.window.Leave(l.key)
}

func take(from *[]testItem, n int) testItem {
	it := (*from)[n]
	*from = append((*from)[:n:n], (*from)[n+1:]...)
	return it
}

// checkNumbers compares the window's numbers with those of the model, and checks the bounds.
func (m *model) checkNumbers() {
	got := m.window.Stats()
	want := fairqueue.Stats{
		Items: m.sum((*modelLane).items, all), Bytes: m.sum((*modelLane).bytes, all),
		InFlight: m.sum(attempts, all), SlowInFlight: m.slowInFlight(),
		Lanes:   got.Lanes,
		Spilled: m.sum(func(*modelLane) int { return 1 }, func(l *modelLane) bool { return l.spilled }),
	}
	if got != want {
		m.t.Fatalf("stats %+v, want %+v", got, want)
	}
	if got.Items > small.Items || got.InFlight > small.InFlight {
		m.t.Fatalf("over the bounds %+v: %+v", small, got)
	}
}
