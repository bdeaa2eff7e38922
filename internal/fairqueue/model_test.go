package fairqueue_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald/internal/fairqueue"
	"herald/internal/work"
)

// small are limits that make every bound take effect often.
var small = fairqueue.Limits{Items: 30, Bytes: 3000, InFlight: 16, InFlightPerLane: 4}

// testItem is an item of the model. It is in the window or in the model's database.
type testItem struct{ id, size int }

// model is a simple second implementation of the window, by scans over slices. Every step is made
// on both, and the model checks what the window returns.
type model struct {
	t      *testing.T
	random *rand.Rand
	window *fairqueue.Window[testItem]
	lanes  []*modelLane
	nextID int
	sent   map[int]int // how often Next returned each item
	leads  map[[2]int]int
	before []waiting
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
	known, silent  bool
	quickest       time.Duration
	stuck          bool
	spilled        bool
	behind         int // items in the database at most; many if that is not known
	took, tookSlow taken
}

// taken is what a lane has taken: items, bytes and attempts.
type taken [3]int

type modelClaim struct {
	asked, size int
	left        int // items that are not added yet
	behind      int
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
		id := m.clientID(client)
		for n := range lanes {
			m.lanes = append(m.lanes, &modelLane{
				key:    work.Lane{Client: id, Origin: fmt.Sprintf("https://r%d.example:443", n)},
				client: client, limit: small.InFlightPerLane,
			})
		}
	}
	return m
}

func (*model) clientID(client int) uuid.UUID { return uuid.UUID{15: byte(client + 1)} }

func (m *model) laneOf(key work.Lane) *modelLane {
	return m.lanes[slices.IndexFunc(m.lanes, func(l *modelLane) bool { return l.key == key })]
}

func (l *modelLane) inFlight() int { return len(l.sending) + l.hops }
func (l *modelLane) slow() bool    { return !l.known || l.silent || l.mean > time.Second }

func (l *modelLane) items() int {
	n := len(l.reserved) + len(l.ready) + len(l.sending) + len(l.ended)
	if l.claim != nil {
		n += l.claim.left
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
		n += l.claim.left * l.claim.size
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

// numbers and slowNumbers are what a lane has taken, and the part that it took while it was slow.
var (
	numbers     = [3]func(*modelLane) int{(*modelLane).items, (*modelLane).bytes, attempts}
	slowNumbers = [3]func(*modelLane) int{
		func(l *modelLane) int { return l.tookSlow[0] },
		func(l *modelLane) int { return l.tookSlow[1] },
		func(l *modelLane) int { return l.tookSlow[2] },
	}
)

// count counts what a lane has taken, after each call of the window. What is taken while it is slow
// counts as slow until it is released or the lane is fast.
func (m *model) count(l *modelLane) {
	for i, number := range numbers {
		now := number(l)
		if l.slow() {
			l.tookSlow[i] += max(0, now-l.took[i])
		} else {
			l.tookSlow[i] = 0
		}
		l.took[i], l.tookSlow[i] = now, min(now, l.tookSlow[i])
	}
}

func (m *model) slowInFlight() int { return m.sum(slowNumbers[2], all) }

// mayStart reports whether a client may have one more place in flight: it has none and one is free,
// or it has fewer than are free and not only the last eighth is.
func (m *model) mayStart(client, total int, number func(*modelLane) int) bool {
	free := total - m.sum(number, all)
	own := m.sum(number, ofClient(client))
	return own == 0 && free > 0 || own < free && free > total/8
}

// share is how much of total a lane may still take: no lane and no client may hold more than is
// left to the others, and the last eighth is for clients that hold nothing. n is the place of the
// number in taken.
func (m *model) share(l *modelLane, total, n int) int {
	share := m.shareOf(l, total, numbers[n])
	if l.slow() {
		share = min(share, m.shareOf(l, total/2, slowNumbers[n]))
	}
	return share
}

func (m *model) shareOf(l *modelLane, total int, number func(*modelLane) int) int {
	free := total - m.sum(number, all)
	own := m.sum(number, ofClient(l.client))
	share := 0
	for free-share-1 >= total/8 && number(l)+share+1 <= free-share-1-(own+share+1)+2 {
		share++
	}
	if own == 0 && free > 0 {
		share = max(share, 1)
	}
	return share
}

func (m *model) reserve(l *modelLane) { m.reserveSize(l, 1+m.random.IntN(120)) }

func (m *model) reserveSize(l *modelLane, size int) (fits bool) {
	it := testItem{id: m.nextID, size: size}
	m.nextID++
	want := !l.spilled && m.share(l, small.Items, 0) > 0 && m.share(l, small.Bytes, 1) >= it.size
	if got := m.window.Reserve(l.key, it.size); got != want {
		m.t.Fatalf("Reserve(%v, %d) = %v, want %v", l.key.Origin, it.size, got, want)
	}
	if want {
		if len(l.database)+len(l.uncommitted) > 0 {
			m.t.Fatalf("a new item of %s overtakes %d in the database and %d uncommitted", l.key.Origin, len(l.database), len(l.uncommitted))
		}
		l.reserved = append(l.reserved, it)
		m.count(l)
		return true
	}
	l.spilled = true
	l.behind++
	l.uncommitted = append(l.uncommitted, it)
	if l.claim != nil {
		l.claim.overtaken = true
	}
	return false
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
			m.count(l)
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
		m.count(l)
	default:
		for _, it := range c.taken {
			c.left--
			l.behind = max(0, l.behind-1)
			l.ready = append(l.ready, it)
			m.window.AddClaimed(l.key, it, it.size)
			m.count(l)
		}
		l.claim = nil
		m.count(l)
		m.window.EndClaim(l.key, c.asked, len(c.taken), true)
		if len(c.taken) == c.asked {
			l.spilled = true
			if len(c.taken) > c.behind {
				l.behind = many
			}
		} else if !c.overtaken {
			l.spilled, l.behind = false, 0
		}
	}
}

func (m *model) beginClaim(l *modelLane) {
	share, waiting, quick := m.share(l, small.Items, 0), len(l.ready), l.quick()
	empty := m.sum((*modelLane).items, ofClient(l.client)) == 0
	before := m.window.Stats()
	n := m.window.BeginClaim(l.key)
	if n == 0 {
		if empty && !l.slow() && before.Items < small.Items && before.Bytes < small.Bytes {
			m.t.Fatalf("no claim for a client that holds nothing, with room: %+v", before)
		}
		return
	}
	held := m.window.Stats().Bytes - before.Bytes
	if quick {
		waiting = 0
	}
	if n < 0 || n > max(share, 1) || waiting+n > 4*l.limit || held%n != 0 {
		m.t.Fatalf("a claim of %d (%d bytes) with a share of %d, %d ready and a limit of %d", n, held, share, waiting, l.limit)
	}
	if !empty && before.Bytes+held > small.Bytes {
		m.t.Fatalf("a claim of %d bytes on top of %d", held, before.Bytes)
	}
	l.claim = &modelClaim{asked: n, left: n, size: held / n, behind: l.behind, overtaken: len(l.uncommitted) > 0}
	m.count(l)
}

func (m *model) mark(l *modelLane) {
	m.window.MarkSpilled(l.key)
	l.spilled, l.behind = true, many
	if l.claim != nil {
		l.claim.overtaken = true
	}
}

// startable reports whether a lane may have the next turn.
func (m *model) startable(l *modelLane) bool {
	return m.waits(l) && m.mayStart(l.client, small.InFlight, attempts) &&
		(!l.slow() || m.mayStart(l.client, small.InFlight/2, slowNumbers[2]))
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
		m.count(l)
		m.countTurn(i)
	}
	return true
}

func (m *model) end(l *modelLane, r fairqueue.Result) {
	l.ended = append(l.ended, take(&l.sending, m.random.IntN(len(l.sending))))
	m.window.Ended(l.key, r)
	m.count(l)
	if r.Skipped {
		return
	}
	defer m.count(l)
	if !l.known {
		l.known, l.mean, l.quickest = true, r.Took, r.Took
	}
	l.quickest = min(r.Took, l.quickest+max(l.quickest, time.Millisecond)/64)
	l.stuck = l.stuck && r.TimedOut
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
	m.count(l)
}

func (m *model) enter(l *modelLane) {
	want := l.inFlight() < l.limit
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
