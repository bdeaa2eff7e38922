package fairqueue_test

import (
	"time"

	"herald/internal/fairqueue"
)

// many is more than any number of items in the model.
const many = 1 << 30

// quick reports whether a lane that is full has room again soon.
func (l *modelLane) quick() bool {
	return !l.slow() && !l.stuck && l.behind <= small.Items/4 && time.Duration(l.items()+l.behind)*l.quickest <= time.Duration(l.limit)*time.Second
}

// publish reserves items in several lanes of a client, unless the window says that it should wait. If all
// lanes are quick and the client could have room, all items find room.
func (m *model) publish(client int) {
	var needs []fairqueue.Need
	all, items := fairqueue.Need{}, [][]int{}
	possible := true
	for _, l := range m.lanes {
		if l.client != client || m.random.IntN(3) == 0 {
			continue
		}
		need, sizes := fairqueue.Need{Lane: l.key}, []int{}
		for range 1 + m.random.IntN(4) {
			size := 1 + m.random.IntN(60)
			need.Items, need.Bytes, sizes = need.Items+1, need.Bytes+size, append(sizes, size)
		}
		needs, items = append(needs, need), append(items, sizes)
		all.Items, all.Bytes = all.Items+need.Items, all.Bytes+need.Bytes
		possible = possible && l.quick()
		if got := m.window.Quick(l.key); got != l.quick() {
			m.t.Fatalf("Quick(%s) = %v, want %v", l.key.Origin, got, l.quick())
		}
	}
	for n, total := range []int{small.Items, small.Bytes} {
		free := total - m.sum(numbers[n], func(l *modelLane) bool { return l.client != client })
		want := []int{all.Items, all.Bytes}[n]
		possible = possible && (3*want <= free+2 && want <= free-total/8 || want <= max(1, total/8/128))
	}
	missing := m.window.Missing(m.clientID(client), needs)
	hasRoom := m.window.HasRoom(m.clientID(client), all.Items, all.Bytes)
	if missing >= 0 && !m.laneOf(needs[missing].Lane).quick() {
		m.t.Fatalf("%s is waited for, which is not quick", needs[missing].Lane.Origin)
	}
	if missing >= 0 || len(needs) == 0 {
		return
	}
	order := m.random.Perm(len(needs))
	for _, n := range order {
		l := m.laneOf(needs[n].Lane)
		if possible && l.spilled {
			m.t.Fatalf("%s has spilled and is quick, and is not waited for", l.key.Origin)
		}
		fits := !l.spilled && (possible || hasRoom && !l.slow())
		for _, size := range items[n] {
			if got := m.reserveSize(l, size); fits && !got {
				m.t.Fatalf("no room for an item of %d bytes in %s, of %+v", size, l.key.Origin, needs)
			}
		}
	}
}
