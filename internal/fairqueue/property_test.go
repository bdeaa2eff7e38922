package fairqueue_test

import (
	"fmt"
	"testing"
	"time"

	"herald/internal/fairqueue"
)

// TestRandomStepsKeepEveryRule makes thousands of random steps on the window
// and on the model, and in the end lets everything that is under way run out.
func TestRandomStepsKeepEveryRule(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			defer func() {
				if t.Failed() {
					t.Logf("after %d things with seed %d", m.nextID, seed)
				}
			}()
			for range 10_000 {
				m.step()
				m.check()
			}
			m.runOut()
			m.checkEnd()
		})
	}
}

func (m *model) step() {
	l := m.lanes[m.random.IntN(len(m.lanes))]
	switch n := m.random.IntN(100); {
	case n < 18:
		m.reserve(l)
	case n < 36:
		m.commit(l)
	case n < 50:
		m.claimStep(l, true)
	case n < 70:
		m.next()
	case n < 83:
		if len(l.flying) > 0 {
			m.end(l, m.result())
		}
	case n < 96:
		if len(l.ended) > 0 {
			m.release(l)
		}
	case n < 97:
		m.enter(l)
	case n < 99:
		if l.hops > 0 {
			m.leave(l)
		}
	default:
		if len(l.database) > 0 {
			m.mark(l)
		}
	}
}

func (m *model) check() {
	m.checkNumbers()
	m.checkTurns()
}

// waiting is where a lane or client stands waiting: bits of the paces that it
// waits with, 0 when it does not.
type waiting int

func (m *model) lanesStand() []waiting {
	stand := make([]waiting, len(m.lanes))
	for i, l := range m.lanes {
		if m.inLine(l) {
			stand[i] = 1
			if l.slow() {
				stand[i] = 2
			}
		}
	}
	return stand
}

// stand returns where lanes and, behind them, clients stand.
func (m *model) stand() []waiting {
	stand := append(m.lanesStand(), 0, 0, 0)
	for i, l := range m.lanes {
		if !m.full(l.client) {
			stand[len(m.lanes)+l.client] |= stand[i]
		}
	}
	return stand
}

// rivals reports whether a and b, both lanes of one client or both clients,
// take turns with each other.
func (m *model) rivals(a, b int) bool {
	n := len(m.lanes)
	if a == b || (a < n) != (b < n) {
		return false
	}
	return a >= n || m.lanes[a].client == m.lanes[b].client
}

// countTurn counts the turn of a lane, and so of its client, over each rival.
// A stretch in which two are both waiting is over when either moves; in it,
// neither may get two turns more than the other.
func (m *model) countTurn(lane int) {
	for _, who := range []int{lane, len(m.lanes) + m.lanes[lane].client} {
		for rival := range m.before {
			if !m.rivals(who, rival) {
				continue
			}
			if stretch := m.leads[[2]int{who, rival}]; stretch >= 1 && m.comparable(who, rival) {
				m.t.Fatalf("%d has two turns more than %d while both wait", who, rival)
			}
			m.leads[[2]int{who, rival}]++
			m.leads[[2]int{rival, who}] = max(0, m.leads[[2]int{rival, who}]-1)
		}
	}
}

// comparable reports whether the last step left both waiting, neither of them
// passed over for being slow.
func (m *model) comparable(a, b int) bool {
	return m.before[a] != 0 && m.before[b] != 0 && (m.before[a]&1 == m.before[b]&1 || !m.slowFullBefore)
}

// checkTurns ends the stretches of those that moved in the last step.
func (m *model) checkTurns() {
	now := m.stand()
	full := m.slowFull()
	for a := range now {
		for b := range now {
			moved := len(m.before) == 0 || now[a] != m.before[a] || now[b] != m.before[b] || now[a] == 0 || now[b] == 0
			if moved || full && now[a]&1 != now[b]&1 {
				delete(m.leads, [2]int{a, b})
			}
		}
	}
	m.before, m.slowFullBefore = now, full
}

// runOut ends all that is under way and sends all that waits.
func (m *model) runOut() {
	for range 100_000 {
		busy := false
		for _, l := range m.lanes {
			for len(l.reserved)+len(l.uncommitted) > 0 {
				m.commit(l)
				m.check()
			}
			if l.claim != nil || len(l.database) > 0 {
				busy = true
				m.claimStep(l, false)
				m.check()
			}
			for l.hops > 0 {
				m.leave(l)
				m.check()
			}
		}
		for m.next() {
			busy = true
			m.check()
		}
		for _, l := range m.lanes {
			for len(l.flying)+len(l.ended) > 0 {
				m.finish(l)
				m.check()
			}
		}
		if !busy {
			return
		}
	}
	m.t.Fatalf("it does not run out: %+v", m.window.Stats())
}

// finish takes one thing a step further that was given out.
func (m *model) finish(l *modelLane) {
	if len(l.flying) > 0 {
		m.end(l, fairqueue.Result{Took: time.Millisecond})
	} else {
		m.release(l)
	}
}

// checkEnd finds that everything was sent once and that nothing is left, after
// lanes have been drained and answered well for a while.
func (m *model) checkEnd() {
	for id := range m.nextID {
		if m.sent[id] != 1 {
			m.t.Errorf("thing %d was given out %d times", id, m.sent[id])
		}
	}
	for _, l := range m.lanes {
		for l.spilled {
			m.claimStep(l, false)
		}
		for range 200 {
			m.reserve(l)
			for len(l.reserved) > 0 {
				m.commit(l)
			}
			m.next()
			for len(l.flying)+len(l.ended) > 0 {
				m.finish(l)
			}
		}
	}
	if got := m.window.Stats(); got != (fairqueue.Stats{}) || m.window.Clients() != 0 {
		m.t.Errorf("%+v and %d clients are left", got, m.window.Clients())
	}
}
