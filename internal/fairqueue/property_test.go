package fairqueue_test

import (
	"fmt"
	"testing"
	"time"

	"herald/internal/fairqueue"
)

// TestRandomStepsKeepEveryRule makes thousands of random steps on the window and on the model, and
// finishes all items at the end.
func TestRandomStepsKeepEveryRule(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			defer func() {
				if t.Failed() {
					t.Logf("after %d items with seed %d", m.nextID, seed)
				}
			}()
			for range 10_000 {
				m.step()
				m.check()
			}
			m.finishAll()
			m.checkEnd()
		})
	}
}

func (m *model) step() {
	l := m.lanes[m.random.IntN(len(m.lanes))]
	switch n := m.random.IntN(100); {
	case n < 15:
		m.reserve(l)
	case n < 18:
		m.publish(l.client)
	case n == 99 && m.random.IntN(4) == 0:
		l.stuck = l.stuck || m.window.Quick(l.key)
		if l.stuck {
			m.window.Stuck(l.key)
		}
	case n < 36:
		m.commit(l)
	case n < 50:
		m.claimStep(l, true)
	case n < 70:
		m.next()
	case n < 83:
		if len(l.sending) > 0 {
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

// waiting has one bit for each pace that a lane or client may start an attempt with. It is 0 if the
// lane or client waits for nothing, or may start none. A client's has further bits that say whether
// it has anything in flight, and anything slow. When those change, it waits in another list.
type waiting int

// waitingNow returns the state of all lanes, followed by that of all clients.
func (m *model) waitingNow() []waiting {
	now := make([]waiting, len(m.lanes)+3)
	for i, l := range m.lanes {
		if !m.startable(l) {
			continue
		}
		now[i] = 1
		if l.slow() {
			now[i] = 2
		}
		now[len(m.lanes)+l.client] |= now[i]
	}
	for _, l := range m.lanes {
		client := &now[len(m.lanes)+l.client]
		if *client != 0 && len(l.sending) > 0 {
			*client |= 4
			if l.tookSlow[2] > 0 {
				*client |= 8
			}
		}
	}
	return now
}

// rivals reports whether a and b take turns with each other: both are lanes of one client, or both
// are clients.
func (m *model) rivals(a, b int) bool {
	n := len(m.lanes)
	if a == b || (a < n) != (b < n) {
		return false
	}
	return a >= n || m.lanes[a].client == m.lanes[b].client
}

// countTurn counts a turn of a lane, and so of its client, for each rival. While two rivals both
// wait, neither may get two turns more than the other. The count starts again when the state of
// either changes.
func (m *model) countTurn(lane int) {
	for _, who := range []int{lane, len(m.lanes) + m.lanes[lane].client} {
		for rival := range m.before {
			if !m.rivals(who, rival) {
				continue
			}
			if lead := m.leads[[2]int{who, rival}]; lead >= 1 && m.before[who] != 0 && m.before[rival] != 0 {
				m.t.Fatalf("%d has two turns more than %d while both wait", who, rival)
			}
			m.leads[[2]int{who, rival}]++
			m.leads[[2]int{rival, who}] = max(0, m.leads[[2]int{rival, who}]-1)
		}
	}
}

// checkTurns deletes the counts of those whose state the last step changed.
func (m *model) checkTurns() {
	now := m.waitingNow()
	for a := range now {
		for b := range now {
			moved := len(m.before) == 0 || now[a] != m.before[a] || now[b] != m.before[b] || now[a] == 0 || now[b] == 0
			if moved {
				delete(m.leads, [2]int{a, b})
			}
		}
	}
	m.before = now
}

// finishAll ends all steps under way and sends all waiting items.
func (m *model) finishAll() {
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
			for len(l.sending)+len(l.ended) > 0 {
				m.finish(l)
				m.check()
			}
		}
		if !busy {
			return
		}
	}
	m.t.Fatalf("items are left after many steps: %+v", m.window.Stats())
}

// finish ends the attempt of one item of the lane, or releases its slot.
func (m *model) finish(l *modelLane) {
	if len(l.sending) > 0 {
		m.end(l, fairqueue.Result{Took: time.Millisecond})
	} else {
		m.release(l)
	}
}

// checkEnd checks that each item was sent once. It then drains all lanes and lets them answer for a
// while, and checks that the window is empty.
func (m *model) checkEnd() {
	for id := range m.nextID {
		if m.sent[id] != 1 {
			m.t.Errorf("item %d was sent %d times", id, m.sent[id])
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
			for len(l.sending)+len(l.ended) > 0 {
				m.finish(l)
			}
		}
	}
	got := m.window.Stats()
	if want := (fairqueue.Stats{Lanes: got.Lanes}); got != want || got.Lanes > len(m.lanes) {
		m.t.Errorf("%+v is left", got)
	}
}
