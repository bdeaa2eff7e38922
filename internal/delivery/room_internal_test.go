package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/fairqueue"
	"herald/internal/work"
)

// waitModel makes random publishes of two clients wait, and releases room. It checks what publishes that
// wait are promised.
type waitModel struct {
	*Engine
	t       *testing.T
	random  *rand.Rand
	clients []uuid.UUID
	held    []work.Item
	places  map[*work.PreparedEvent]int // of the publishes of a client that had to wait, by their arrival
	arrived map[uuid.UUID]int
	gone    map[uuid.UUID]int // how many of them have gone on
	waited  int
}

func newWaitModel(t *testing.T, seed uint64) *waitModel {
	e := New(Options{Store: &brokenStore{}, Limits: fairqueue.Limits{Items: 120, InFlightPerLane: 8}})
	m := &waitModel{Engine: e, t: t, random: rand.New(rand.NewPCG(seed, 0)), clients: []uuid.UUID{{1}, {2}},
		places: make(map[*work.PreparedEvent]int), arrived: make(map[uuid.UUID]int), gone: make(map[uuid.UUID]int)}
	for _, c := range m.clients {
		for n := range 2 {
			i := &item{Item: m.item(c, n)}
			e.window.Reserve(i.Lane(), size(&i.Item))
			m.send(i)
		}
	}
	return m
}

// send makes the attempt of a delivery that has room.
func (m *waitModel) send(i *item) {
	m.mu.Lock()
	m.add(i)
	m.window.Next()
	m.window.Ended(i.Lane(), fairqueue.Result{Took: time.Millisecond})
	m.mu.Unlock()
	m.release(i)
}

func (m *waitModel) item(client uuid.UUID, lane int) work.Item {
	return work.Item{ID: uuid.New(), ClientID: client, Origin: fmt.Sprintf("https://r%d.example:443", lane), Node: 1}
}

// publish begins a publish. When it goes on, its deliveries are held, or are in the database.
func (m *waitModel) publish(ctx context.Context) {
	client := m.clients[m.random.IntN(2)]
	events := []work.PreparedEvent{{Event: herald.Event{ClientID: client}, Alerts: []work.PreparedAlert{{}}}}
	for range 1 + m.random.IntN(12) {
		events[0].Alerts[0].Items = append(events[0].Alerts[0].Items, m.item(client, m.random.IntN(2)))
	}
	go func() {
		m.mu.Lock()
		waits := m.mustWait(events) != nil
		if quick := m.window.webhooks.Quick((&events[0].Alerts[0].Items[0]).Lane()); quick && !waits && len(m.publishes.byClient[client]) > 0 {
			m.t.Error("a publish does not wait behind the others of its client")
		}
		if waits {
			m.arrived[client]++
			m.places[&events[0]] = m.arrived[client]
			m.waited++
		}
		m.mu.Unlock()
		began := time.Now()
		m.ReserveSoon(ctx, events)
		m.mu.Lock()
		defer m.mu.Unlock()
		if waited := time.Since(began); waited > patience || !waits && waited > 0 {
			m.t.Errorf("a publish waited for %v", waited)
		}
		if waits {
			m.gone[client]++
		}
		each(events, func(_ int, d *work.Item) {
			if d.Held {
				m.held = append(m.held, *d)
			} else {
				m.window.Spilled(d.Lane())
			}
		})
	}()
}

// check checks that the publishes that wait are the last ones that arrived, in order.
func (m *waitModel) check() {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for client, waiting := range m.publishes.byClient {
		for n, p := range waiting {
			if place := m.places[&p.events[0]]; place != m.gone[client]+n+1 {
				m.t.Fatalf("publish %d of a client waits in place %d, and %d have gone on", place, n, m.gone[client])
			}
		}
	}
}

// sendOne ends a delivery, and checks that its client's first publish still has to wait.
func (m *waitModel) sendOne() {
	m.mu.Lock()
	if len(m.held) == 0 {
		m.mu.Unlock()
		return
	}
	n := m.random.IntN(len(m.held))
	i := &item{Item: m.held[n]}
	m.held[n] = m.held[len(m.held)-1]
	m.held = m.held[:len(m.held)-1]
	m.mu.Unlock()
	m.send(i)
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if waiting := m.publishes.byClient[i.ClientID]; len(waiting) > 0 && m.window.webhooks.Missing(i.ClientID, waiting[0].needs) < 0 {
		m.t.Error("a publish waits that has room")
	}
}

// isIdle reports whether nothing is held and no publish waits.
func (m *waitModel) isIdle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held) == 0 && len(m.publishes.turns) == 0
}

// drain lets the claimer find that nothing of a lane waits in the database any more.
func (m *waitModel) drain() {
	lane := (&work.Item{ClientID: m.clients[m.random.IntN(2)], Origin: fmt.Sprintf("https://r%d.example:443", m.random.IntN(2))}).Lane()
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.window.BeginClaim(lane); n > 0 {
		m.window.EndClaim(lane, n, 0, true)
		m.letGo(lane.Client)
	}
}

// TestPublishesWaitInTheirOrder: those of a client go on in the order of their arrival, none waits longer
// than patience or while it has room, and nothing is left of them.
func TestPublishesWaitInTheirOrder(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newWaitModel(t, seed)
				for range 2000 {
					switch n := m.random.IntN(100); {
					case n < 15:
						m.publish(t.Context())
					case n < 90:
						m.sendOne()
					case n < 98:
						m.drain()
					default:
						time.Sleep(time.Duration(m.random.IntN(int(patience))))
					}
					m.check()
				}
				for !m.isIdle() {
					m.sendOne()
					m.drain()
					time.Sleep(time.Millisecond)
				}
				if m.waited < 20 || len(m.publishes.byClient) > 0 {
					t.Errorf("%d publishes waited and %v wait still", m.waited, m.publishes.byClient)
				}
				if all := m.publishes.budget.Share(m.clients[0]); !all.Grow(waitingBytes / 2) {
					t.Error("memory of publishes that waited was not given back")
				}
				if s := m.window.Stats(); s.Items > 0 || s.Bytes > 0 {
					t.Errorf("the window still has %+v", s)
				}
			})
		})
	}
}
