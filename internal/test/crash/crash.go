// Package crash checks that nothing was lost: it holds a publisher's book and a
// receiver's book against what the service says, after a run in which anything
// may have been killed.
//
// What must hold, whatever happened: every alert of an acknowledged event was
// delivered, and the receiver has it; nothing is pending for ever; every request
// that the receiver saw is an attempt on record; and an alert that the receiver
// took twice has an attempt on record that explains it.
package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
)

// Receiver takes webhooks with random answers, most of them good, and keeps the
// book of what it was sent and how it answered.
type Receiver struct {
	mu      sync.Mutex
	seen    map[uuid.UUID]*Entry
	present int
	peak    int
}

// Entry is what a receiver has seen of one alert.
type Entry struct {
	Requests int // all, however they were answered
	Taken    int // answered with a 2xx
}

// NewReceiver returns a receiver that has seen nothing.
func NewReceiver() *Receiver { return &Receiver{seen: make(map[uuid.UUID]*Entry)} }

// ServeHTTP takes a webhook: seven in ten are answered 200; the others 503, by
// breaking the connection, or not before the sender gives up.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.enter(1)
	defer r.enter(-1)
	text, err := io.ReadAll(req.Body)
	var body struct {
		AlertID uuid.UUID `json:"AlertId"`
	}
	if err != nil || json.Unmarshal(text, &body) != nil {
		return // broken off: not a request that was sent
	}
	chance := rand.IntN(100)
	r.note(body.AlertID, chance < 70)
	switch {
	case chance < 70:
	case chance < 85:
		w.WriteHeader(http.StatusServiceUnavailable)
	case chance < 95:
		panic(http.ErrAbortHandler)
	default:
		select {
		case <-req.Context().Done():
		case <-time.After(5 * time.Second):
		}
	}
}

func (r *Receiver) enter(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.present += n
	r.peak = max(r.peak, r.present)
}

// Peak returns the most requests that it had at once.
func (r *Receiver) Peak() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peak
}

func (r *Receiver) note(alert uuid.UUID, taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.seen[alert]
	if e == nil {
		e = &Entry{}
		r.seen[alert] = e
	}
	e.Requests++
	if taken {
		e.Taken++
	}
}

func (r *Receiver) entry(alert uuid.UUID) Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.seen[alert]; e != nil {
		return *e
	}
	return Entry{}
}

// Publisher publishes until its context ends and keeps the book of what was
// acknowledged. An event is published again under the same key until it is.
type Publisher struct {
	mu      sync.Mutex
	alerts  []uuid.UUID
	Clients func() []*client.API // the nodes that are up; any will do
	Event   client.Event
}

// Run publishes one event after the other.
func (p *Publisher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		e := p.Event
		e.IdempotencyKey = uuid.NewString()
		p.publish(ctx, e)
	}
}

func (p *Publisher) publish(ctx context.Context, e client.Event) {
	for ctx.Err() == nil {
		nodes := p.Clients()
		node := nodes[rand.IntN(len(nodes))]
		receipt, err := node.Publish(ctx, e)
		if err == nil {
			p.mu.Lock()
			p.alerts = append(p.alerts, receipt.AlertIDs...)
			p.mu.Unlock()
			return
		}
	}
}

// Alerts returns the alerts of all acknowledged events so far.
func (p *Publisher) Alerts() []uuid.UUID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]uuid.UUID(nil), p.alerts...)
}

// Check holds the books against the service. It waits for what is still pending as
// long as something gets done: patience is how long nothing may end, because there
// may be any number to make up for. It returns what does not agree, all of it.
func Check(ctx context.Context, service *client.API, p *Publisher, r *Receiver, patience time.Duration) (problems []error) {
	var ended atomic.Int64 // when a delivery was last seen to have ended
	ended.Store(time.Now().UnixNano())
	alerts := p.Alerts()
	seen := make(map[uuid.UUID]bool, len(alerts))
	for _, alert := range alerts {
		if seen[alert] {
			problems = append(problems, fmt.Errorf("alert %s was acknowledged for two events", alert))
		}
		seen[alert] = true
	}
	var (
		mu      sync.Mutex
		workers sync.WaitGroup
	)
	for part := range slices.Chunk(alerts, len(alerts)/checkers+1) {
		workers.Go(func() {
			for _, alert := range part {
				var found []error
				if d, err := settled(ctx, service, alert, &ended, patience); err != nil {
					found = []error{fmt.Errorf("alert %s: %w", alert, err)}
				} else {
					found = compare(d, r.entry(alert))
				}
				mu.Lock()
				problems = append(problems, found...)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return problems
}

// checkers is how many alerts are looked up at a time.
const checkers = 8

// settled waits until an alert's delivery has ended, or none has for long.
func settled(ctx context.Context, service *client.API, alert uuid.UUID, ended *atomic.Int64, patience time.Duration) (client.Delivery, error) {
	for {
		d, err := service.Delivery(ctx, herald.DeliveryID(alert, 0))
		if err != nil || d.State != herald.Pending {
			ended.Store(time.Now().UnixNano())
			return d, err
		}
		if time.Since(time.Unix(0, ended.Load())) > patience {
			return d, fmt.Errorf("still pending after %d attempts (held by a node: %v)", len(d.Attempts), d.InFlight)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func compare(d client.Delivery, e Entry) (problems []error) {
	complain := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("alert %s: "+format, append([]any{d.AlertID}, args...)...))
	}
	// An attempt makes a second request when it finds a kept-alive connection
	// closed; that is on record, unless the attempt was cut off. An attempt
	// whose response did not come may have been taken all the same.
	unknown, unanswered, redialled, taken := 0, 0, 0, 0
	for _, a := range d.Attempts {
		switch {
		case a.Outcome == herald.OutcomeUnknown:
			unknown++
		case a.Outcome == herald.OutcomeDelivered:
			taken++ // twice only if a node was taken for dead in between
		case a.Status == 0:
			unanswered++
		}
		if a.Request != nil && a.Request.Redialled {
			redialled++
		}
	}
	if d.State != herald.Delivered {
		complain("it is %s (%s) after %d attempts", d.State, d.Reason, len(d.Attempts))
	}
	if d.State == herald.Delivered && e.Taken == 0 {
		complain("it is delivered, and the receiver has not taken it")
	}
	if most := len(d.Attempts) + redialled + unknown; e.Requests > most {
		complain("the receiver saw %d requests, and only %d are on record", e.Requests, most)
	}
	if most := taken + redialled + unanswered + 2*unknown; e.Taken > most {
		complain("the receiver took it %d times, and the record explains only %d", e.Taken, most)
	}
	return problems
}
