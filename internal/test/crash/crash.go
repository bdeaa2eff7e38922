// Package crash checks that nothing was lost in a run in which anything may have been killed. It
// compares what a publisher and a receiver recorded with what the service shows. The tests beside
// it do the killing.
//
// It checks the following, whatever happened. Every alert of an acknowledged event was delivered,
// and the receiver has it. Nothing is pending for ever. Every request that the receiver saw is an
// attempt on record. If the receiver took an alert twice, an attempt on record explains it. The statistics
// and the open issues count what is on record, and nothing else.
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

// Receiver takes webhooks and answers at random, mostly with success. It counts the requests of
// each alert.
type Receiver struct {
	mu       sync.Mutex
	seen     map[uuid.UUID]*counts
	inFlight int
	peak     int
}

// counts are the requests that a receiver saw of one alert.
type counts struct {
	requests int // all requests, whatever the answer
	taken    int // answered with a 2xx
}

// NewReceiver returns a receiver that has seen no request.
func NewReceiver() *Receiver { return &Receiver{seen: make(map[uuid.UUID]*counts)} }

// ServeHTTP takes a webhook. It answers seven in ten with 200. It answers the others with 503,
// breaks the connection, or does not answer before the sender's timeout.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.enter(1)
	defer r.enter(-1)
	text, err := io.ReadAll(req.Body)
	var body struct {
		AlertID uuid.UUID `json:"AlertId"`
	}
	if err != nil || json.Unmarshal(text, &body) != nil {
		return // the request broke off, so it was not sent completely
	}
	chance := rand.IntN(100)
	r.count(body.AlertID, chance < 70)
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
	r.inFlight += n
	r.peak = max(r.peak, r.inFlight)
}

// Peak returns the highest number of requests that it had at once.
func (r *Receiver) Peak() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peak
}

func (r *Receiver) count(alert uuid.UUID, taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.seen[alert]
	if c == nil {
		c = &counts{}
		r.seen[alert] = c
	}
	c.requests++
	if taken {
		c.taken++
	}
}

func (r *Receiver) counts(alert uuid.UUID) counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.seen[alert]; c != nil {
		return *c
	}
	return counts{}
}

// Publisher publishes until its context ends and records the alerts of acknowledged events. It
// repeats an event with the same idempotency key until the event is acknowledged.
type Publisher struct {
	mu      sync.Mutex
	alerts  []uuid.UUID
	Clients func() []*client.API // the nodes that may be asked
	Event   client.Event
	Every   time.Duration // the least time from one event to the next
}

// Run publishes one event after the other.
func (p *Publisher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		e := p.Event
		e.IdempotencyKey = uuid.NewString()
		next := time.After(p.Every)
		p.publish(ctx, e)
		select {
		case <-next:
		case <-ctx.Done():
		}
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

// Check compares the records with the service and returns all differences. It waits for pending
// deliveries as long as some end: timeout is the longest time in which none ends, because there may
// be any number of them.
func Check(ctx context.Context, service *client.API, p *Publisher, r *Receiver, timeout time.Duration) (problems []error) {
	var ended atomic.Int64 // when a delivery was last seen in a final state
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
				if d, err := waitUntilEnded(ctx, service, alert, &ended, timeout); err != nil {
					found = []error{fmt.Errorf("alert %s: %w", alert, err)}
				} else {
					found = compare(d, r.counts(alert))
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

// waitUntilEnded waits until the delivery of an alert has ended. It returns an error if no delivery
// of any alert has ended for timeout.
func waitUntilEnded(ctx context.Context, service *client.API, alert uuid.UUID, ended *atomic.Int64, timeout time.Duration) (client.Delivery, error) {
	for {
		d, err := service.Delivery(ctx, herald.DeliveryID(alert, 0))
		if err != nil || d.State != herald.Pending {
			ended.Store(time.Now().UnixNano())
			return d, err
		}
		if time.Since(time.Unix(0, ended.Load())) > timeout {
			return d, fmt.Errorf("still pending after %d attempts (held by a node: %v)", len(d.Attempts), d.InFlight)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func compare(d client.Delivery, c counts) (problems []error) {
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("alert %s: "+format, append([]any{d.AlertID}, args...)...))
	}
	// An attempt makes a second request when the receiver has closed a kept-alive connection. That
	// is on record unless the attempt was interrupted. The receiver may have taken an attempt whose
	// response did not arrive.
	unknown, unanswered, redialled, taken := 0, 0, 0, 0
	for _, a := range d.Attempts {
		switch {
		case a.Outcome == herald.OutcomeUnknown:
			unknown++
		case a.Outcome == herald.OutcomeDelivered:
			taken++ // two only if a node was declared dead in between
		case a.Status == 0:
			unanswered++
		}
		if a.Request != nil && a.Request.Redialled {
			redialled++
		}
	}
	if d.State != herald.Delivered {
		add("it is %s (%s) after %d attempts", d.State, d.Reason, len(d.Attempts))
	}
	if d.State == herald.Delivered && c.taken == 0 {
		add("it is delivered, but the receiver has not taken it")
	}
	if most := len(d.Attempts) + redialled + unknown; c.requests > most {
		add("the receiver saw %d requests, but only %d are on record", c.requests, most)
	}
	if most := taken + redialled + unanswered + 2*unknown; c.taken > most {
		add("the receiver took it %d times, but the record explains only %d", c.taken, most)
	}
	return problems
}
