// Package delivery is the engine: it claims what is due, has attempts made, asks
// the policy what they came to, and records it.
//
// A delivery comes into memory in one of two ways and leaves it in one:
//
//	accepted here, with room ──▶ Reserve ─ commit ─ AfterCommit ─┐
//	                                                             ├─▶ window ─▶ attempt ─▶ record ─▶ gone
//	waiting in the database ───▶ claim ──────────────────────────┘                         (history, or
//	                                                                                        waiting again)
//
// engine.go has the parts and their start and stop, claim.go the way in from the
// database, attempt.go an attempt from its start to its record, mail.go what is
// different for a mailbox, nodes.go how nodes find dead ones, control.go what a
// client may ask for.
//
// Fair queueing and the bound on memory lie in internal/fairqueue, the meaning of a
// result in internal/policy, one HTTP attempt in internal/webhook and one SMTP
// transaction in internal/mail.
package delivery

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald/internal/clientcache"
	"herald/internal/fairqueue"
	"herald/internal/mail"
	"herald/internal/policy"
	"herald/internal/webhook"
	"herald/internal/work"
)

// Store is where deliveries wait and end.
type Store interface {
	// Record keeps the result of an attempt. work.ErrNotHeld: the attempt is
	// kept, but the delivery was cancelled or taken over.
	Record(r work.Result) error
	// Lanes lists lanes that wait, in order behind after; fewer than
	// LanesLimit are the last.
	Lanes(ctx context.Context, after work.Lane) ([]work.WaitingLane, error)
	LanesLimit() int
	// Claim takes due deliveries for this node.
	Claim(ctx context.Context, claims []work.Claim) ([]work.Item, error)
	// HandBack gives held deliveries back without an attempt.
	HandBack(ctx context.Context, held []work.Item) error
}

// Nodes keeps the list of nodes on the database.
type Nodes interface {
	// Register makes this process a node. What earlier nodes held can be freed
	// by FreeOrphans from then on.
	Register(ctx context.Context) error
	// Incarnation returns the number under which Register did so last.
	Incarnation() int64
	// FreeOrphans frees some deliveries behind after that a dead node held; n is
	// 0 when none are left.
	FreeOrphans(ctx context.Context, after uuid.UUID) (last uuid.UUID, n int, err error)
	Leave(ctx context.Context) error
	// Shared says whether there can be other nodes. The methods below are for
	// them.
	Shared() bool
	// Heartbeat adds one to this node's count and returns the counts of the
	// others. work.ErrDeclaredDead when another node has declared this one dead.
	Heartbeat(ctx context.Context) (map[int64]int64, error)
	// DeclareDead removes a node from the list if its count is still that one.
	DeclareDead(ctx context.Context, node, count int64) (bool, error)
}

// Clients tells what is known of a client: at most half a second old.
type Clients interface {
	Recent(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
}

// Sender makes one HTTP attempt.
type Sender interface {
	Send(ctx context.Context, r webhook.Request) webhook.Result
}

// Digests keeps the windows of mailboxes and the results of digests.
type Digests interface {
	// DecideMail asks the policy what happens to a mail that is about to be sent.
	// One that is to wait is not held any more. work.ErrNotHeld: it was not.
	DecideMail(ctx context.Context, d work.Item, digest policy.Digest) (policy.MailAction, []work.DigestEntry, error)
	// RecordDigest keeps a digest's final result for all of its entries.
	RecordDigest(ctx context.Context, r work.Result, entries []work.DigestEntry, window time.Duration) error
}

// Mailer makes one SMTP transaction.
type Mailer interface {
	Send(ctx context.Context, r mail.Request) mail.Result
}

// Options are what an Engine is made of. Limits, Log, Metrics, Digest and DeadAfter
// can be left out.
type Options struct {
	Store   Store
	Nodes   Nodes
	Clients Clients
	Sender  Sender
	Mailer  Mailer
	Digests Digests
	// Policy decides on webhooks, MailPolicy on mails.
	Policy     policy.Policy
	MailPolicy policy.Policy
	// Digest is when mails become a digest.
	Digest  policy.Digest
	Limits  fairqueue.Limits
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Random returns numbers from [0, 1) for the policy's jitter.
	Random func() float64
	// DeadAfter is how long another node's heartbeat may stand still; 0 is
	// DefaultDeadAfter.
	DeadAfter time.Duration
}

// Engine is safe for concurrent use.
type Engine struct {
	Options
	metrics *metrics

	// sending is cancelled when attempts under way must end at once.
	sending context.Context
	abort   context.CancelFunc
	wake    chan struct{} // the claimer is to look at once

	mu          sync.Mutex
	window      *fairqueue.Window[*item]
	held        map[uuid.UUID]*item // all that is in the window or in an attempt
	hops        []*hop              // redirects that wait for a place, the oldest first
	stopping    bool
	incarnation int64 // what an earlier one held is not sent any more
	attempts    sync.WaitGroup
	accepts     sync.WaitGroup // what Reserve took room for, until AfterCommit
	returns     sync.WaitGroup // deliveries being handed back
	loops       sync.WaitGroup // the claimer and the heartbeats
}

// item is a delivery in memory.
type item struct {
	work.Item
	cancelled bool
}

// size is what a delivery takes of the window's bytes.
func size(d *work.Item) int { return len(d.Body) + len(d.Address) + len(d.Origin) }

// New returns an engine that does nothing until Start.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.DeadAfter == 0 {
		o.DeadAfter = DefaultDeadAfter
	}
	e := &Engine{
		Options: o,
		wake:    make(chan struct{}, 1),
		window:  fairqueue.New[*item](o.Limits),
		held:    make(map[uuid.UUID]*item),
	}
	e.sending, e.abort = context.WithCancel(context.Background())
	e.metrics = newMetrics(o.Metrics, e.stats)
	return e
}

func (e *Engine) stats() fairqueue.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.window.Stats()
}

// Start registers the node, frees what dead nodes left behind, finds out which
// lanes have a backlog, and begins to claim.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.Nodes.Register(ctx); err != nil {
		return err
	}
	e.incarnation = e.Nodes.Incarnation()
	if err := e.freeOrphans(ctx); err != nil {
		return err
	}
	c := &claimer{Engine: e}
	if err := c.findBacklog(ctx); err != nil {
		return err
	}
	e.loops.Go(func() { c.run(e.sending) })
	if e.Nodes.Shared() {
		k := &membership{Engine: e, seen: make(map[int64]heartbeat), heardAt: time.Now(), freedAt: time.Now()}
		e.loops.Go(func() { k.run(e.sending) })
	}
	return nil
}

// Reserve takes room in the window for the events' deliveries and sets Held of
// those that got it. The others are to wait in the database. AfterCommit must
// follow.
func (e *Engine) Reserve(events []work.PreparedEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	each(events, func(_ int, d *work.Item) {
		d.Held = !e.stopping && e.window.Reserve(d.Lane(), size(d))
	})
	if anyHeld(events) {
		e.accepts.Add(1)
	}
}

func anyHeld(events []work.PreparedEvent) (held bool) {
	each(events, func(_ int, d *work.Item) { held = held || d.Held })
	return held
}

// AfterCommit sends the deliveries of the events that were committed, and gives
// back the room of the others.
func (e *Engine) AfterCommit(events []work.PreparedEvent, committed func(i int) bool) {
	if anyHeld(events) {
		defer e.accepts.Done()
	}
	spilled := false
	var unsent []work.Item
	e.mu.Lock()
	each(events, func(i int, d *work.Item) {
		switch {
		case !d.Held && e.stopping: // Reserve may not have asked the window
		case !d.Held:
			e.window.Spilled(d.Lane())
			spilled = true
		case !committed(i):
			e.window.Release(d.Lane(), size(d))
		case d.Node == 0: // the node was not registered: the delivery waits to be claimed
			e.window.MarkSpilled(d.Lane())
			e.window.Release(d.Lane(), size(d))
			spilled = true
		case e.stopping || d.Node < e.incarnation:
			e.window.Release(d.Lane(), size(d))
			unsent = append(unsent, *d)
		default:
			e.add(&item{Item: *d})
		}
	})
	e.startReady()
	e.mu.Unlock()
	if len(unsent) > 0 {
		e.returns.Go(func() { e.handBack(unsent) })
	}
	if spilled {
		e.wakeClaimer()
	}
}

// handBack hands back deliveries that were not sent. If it cannot, another node makes them
// after this one has left, and they count as perhaps sent.
func (e *Engine) handBack(unsent []work.Item) {
	if err := e.Store.HandBack(context.Background(), unsent); err != nil {
		e.Log.Error("hand deliveries back", "error", err)
	}
}

// each calls fn with every delivery of the events, and the event's index.
func each(events []work.PreparedEvent, fn func(event int, d *work.Item)) {
	for i := range events {
		for j := range events[i].Alerts {
			for k := range events[i].Alerts[j].Items {
				fn(i, &events[i].Alerts[j].Items[k])
			}
		}
	}
}

// add puts a delivery that has room into the window. The caller holds mu.
func (e *Engine) add(i *item) {
	e.held[i.ID] = i
	e.window.Add(i.Lane(), i)
}

// startReady lets redirects go on that wait for a place, and starts attempts as
// long as a delivery has its turn. Redirects go first: they hold a place of another
// lane while they wait. The caller holds mu.
func (e *Engine) startReady() {
	e.hops = slices.DeleteFunc(e.hops, func(h *hop) bool {
		entered := e.window.Enter(h.lane)
		if entered {
			close(h.entered)
		}
		return entered
	})
	for !e.stopping {
		i, _, ok := e.window.Next()
		if !ok {
			return
		}
		e.attempts.Go(func() { e.attempt(i) })
	}
}

// wakeClaimer makes the claimer look into the database at once.
func (e *Engine) wakeClaimer() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Cancelled tells the engine that a delivery was cancelled in the database, so
// that it is not sent from memory any more if it has not been yet.
func (e *Engine) Cancelled(id uuid.UUID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := e.held[id]; i != nil {
		i.cancelled = true
	}
}

// Added tells the engine that a delivery waits in the database to be made now.
func (e *Engine) Added() { e.wakeClaimer() }

// Stop stops claiming at once, lets attempts under way end until ctx is done,
// cuts off the rest, which are recorded as such, and hands back what was not
// begun.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	e.stopping = true
	waiting := e.window.Drain(func(i *item) int { return size(&i.Item) })
	e.mu.Unlock()
	held := make([]work.Item, len(waiting))
	for n, i := range waiting {
		held[n] = i.Item
	}
	err := e.Store.HandBack(context.WithoutCancel(ctx), held)
	e.wakeClaimer() // so that it ends
	ended := make(chan struct{})
	go func() {
		e.attempts.Wait()
		e.accepts.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	e.abort()
	<-ended
	e.loops.Wait()
	e.returns.Wait()
	if err != nil {
		return err
	}
	return e.Nodes.Leave(context.WithoutCancel(ctx))
}

// pause waits for d, or until attempts must end.
func (e *Engine) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-e.sending.Done():
		return false
	case <-timer.C:
		return true
	}
}
