package delivery

import (
	"context"

	"herald/internal/work"
)

// Reserve takes room in the window for the deliveries of the events, and sets Held on those that
// got it. The others wait in the database. AfterCommit must follow.
func (e *Engine) Reserve(events []work.PreparedEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.take(events)
}

// take is Reserve. The caller holds mu.
func (e *Engine) take(events []work.PreparedEvent) {
	held := false
	each(events, func(_ int, d *work.Item) {
		d.Held = !e.stopping && e.window.Reserve(d.Lane(), size(d))
		held = held || d.Held
	})
	if held {
		e.accepts.Add(1)
	}
}

// AfterCommit sends the deliveries of the events that were committed, and releases the room of the
// others.
func (e *Engine) AfterCommit(events []work.PreparedEvent, committed func(i int) bool) {
	held, released, spilled := false, false, 0
	var unsent []work.Item
	e.mu.Lock()
	each(events, func(i int, d *work.Item) {
		held = held || d.Held
		switch {
		case !d.Held && e.stopping: // Reserve may not have asked the window
		case !d.Held:
			e.window.Spilled(d.Lane())
			spilled++
		case !committed(i):
			e.window.Release(d.Lane(), size(d))
			released = true
		case d.Node == 0: // the node was not registered: the delivery waits to be claimed
			e.window.MarkSpilled(d.Lane())
			e.window.Release(d.Lane(), size(d))
			spilled++
		case e.stopping || d.Node < e.incarnation:
			e.window.Release(d.Lane(), size(d))
			unsent = append(unsent, *d)
		default:
			e.add(&item{Item: *d})
		}
	})
	if released {
		e.letGo(events[0].Event.ClientID)
	}
	e.startReady()
	e.mu.Unlock()
	if held {
		e.accepts.Done()
	}
	if len(unsent) > 0 {
		e.returns.Go(func() { e.returnUnsent(unsent) })
	}
	if spilled > 0 {
		e.metrics.spilled.Add(float64(spilled))
		e.wakeClaimer()
	}
	e.metrics.accepted(events, committed)
}

// returnUnsent hands back deliveries that were not sent. If it cannot, another node makes them
// after this one has left, and they count as perhaps sent.
func (e *Engine) returnUnsent(unsent []work.Item) {
	if err := e.Store.HandBack(context.Background(), unsent); err != nil {
		e.Log.Error("hand deliveries back", "error", err)
	}
}

// each calls fn with every delivery of the events, and with the index of its event.
func each(events []work.PreparedEvent, fn func(event int, d *work.Item)) {
	for i := range events {
		for j := range events[i].Alerts {
			for k := range events[i].Alerts[j].Items {
				fn(i, &events[i].Alerts[j].Items[k])
			}
		}
	}
}
