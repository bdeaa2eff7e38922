// Package delivery is the engine: it claims what is due, lets lanes take turns,
// has attempts made, asks the policy what they came to, and records it.
//
// A delivery comes in memory by one of two ways and leaves it by one:
//
//	accepted here, with room ──▶ Reserve ─ commit ─ Settle ─┐
//	                                                        ├─▶ window ─▶ attempt ─▶ record ─▶ gone
//	waiting in the database ───▶ claim ─────────────────────┘                         (history, or
//	                                                                                   waiting again)
//
// Whose turn it is and how much memory holds is decided in internal/fairqueue, what
// an attempt's result means in internal/policy; one HTTP attempt is made in
// internal/webhook.
package delivery

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/clientcache"
	"herald/internal/fairqueue"
	"herald/internal/mail"
	"herald/internal/policy"
	"herald/internal/webhook"
)

// Store is where deliveries wait and end.
type Store interface {
	// Record keeps an attempt's result. herald.ErrNotHeld: the attempt is
	// kept, but the delivery has been moved on by somebody else.
	Record(r herald.Recording) error
	// Lanes lists lanes that wait, in order behind after; fewer than
	// LanesLimit are the last.
	Lanes(ctx context.Context, after herald.Lane) ([]herald.WaitingLane, error)
	LanesLimit() int
	// Claim takes due deliveries for this node.
	Claim(ctx context.Context, wants []herald.Want) ([]herald.Due, error)
	// HandBack gives held deliveries back without an attempt.
	HandBack(ctx context.Context, held []herald.Due) error
}

// Nodes says who runs on the database.
type Nodes interface {
	// Register makes this process a node; what nodes before it held can be
	// freed by FreeOrphans from then on.
	Register(ctx context.Context) error
	// FreeOrphans frees some of a dead node's deliveries behind after; none
	// left is n == 0.
	FreeOrphans(ctx context.Context, after uuid.UUID) (last uuid.UUID, n int, err error)
	Leave(ctx context.Context) error
	// Shared says whether there can be other nodes; the rest is for them.
	Shared() bool
	// Beat counts this node's beat up and returns the others'.
	// herald.ErrBuried when another has buried this node.
	Beat(ctx context.Context) (map[int64]int64, error)
	// Bury takes a node off the list if its beat still stands there.
	Bury(ctx context.Context, node, beat int64) (bool, error)
}

// Directory tells what is known of a client: at most half a second old.
type Directory interface {
	Fresh(ctx context.Context, id uuid.UUID) (*clientcache.Client, error)
}

// Sender makes one HTTP attempt.
type Sender interface {
	Send(ctx context.Context, r webhook.Request) webhook.Result
}

// Mails says when mails to one mailbox are too many, and keeps what they become.
type Mails interface {
	// TakeMailTurn says what becomes of a mail that is about to be sent; one
	// that is to wait is not held any more. herald.ErrNotHeld: it was not.
	TakeMailTurn(ctx context.Context, d herald.Due, limit int, window time.Duration) (herald.MailTurn, []herald.Digested, error)
	// RecordDigest keeps a digest's final result, for all that it told of.
	RecordDigest(ctx context.Context, r herald.Recording, told []herald.Digested, window time.Duration) error
}

// Mailer makes one SMTP transaction.
type Mailer interface {
	Send(ctx context.Context, r mail.Request) mail.Result
}

// Options are what an Engine is made of; Limits, Log, Metrics and DeadAfter can be
// left out.
type Options struct {
	Store     Store
	Nodes     Nodes
	Directory Directory
	Sender    Sender
	Mailer    Mailer
	Policy    policy.Policy // of webhooks
	Mails     Mails
	// MailLimit is how many mails one mailbox gets of a client within
	// MailWindow before the others become a digest; 0: any number.
	MailLimit  int
	MailWindow time.Duration
	// MailPolicy is that of deliveries to mailboxes.
	MailPolicy policy.Policy
	Limits     fairqueue.Limits
	Log        *slog.Logger
	Metrics    prometheus.Registerer
	// Random returns numbers from [0, 1) for the policy's jitter.
	Random func() float64
	// DeadAfter is how long another node's beat may stand still; 0 is
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

	mu       sync.Mutex
	window   *fairqueue.Window[*item]
	held     map[uuid.UUID]*item // what the window or an attempt has
	hops     []*hop              // redirects that wait for a place, the longest first
	stopping bool
	attempts sync.WaitGroup
	loops    sync.WaitGroup // the claimer and the keeper
}

// item is a delivery in memory.
type item struct {
	herald.Due
	cancelled bool
}

func (i *item) lane() herald.Lane { return herald.Lane{Client: i.ClientID, Origin: i.Origin} }

// size is what a delivery takes of the window's bytes.
func size(d *herald.Due) int { return len(d.Body) + len(d.Address) + len(d.Origin) }

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
	if err := e.freeOrphans(ctx); err != nil {
		return err
	}
	c := &claimer{Engine: e}
	if err := c.findBacklog(ctx); err != nil {
		return err
	}
	e.loops.Go(func() { c.run(e.sending) })
	if e.Nodes.Shared() {
		k := &keeper{Engine: e, seen: make(map[int64]sighting), looked: time.Now(), swept: time.Now()}
		e.loops.Go(func() { k.run(e.sending) })
	}
	return nil
}

// Reserve takes room in the window for the entries' deliveries and sets Held of
// those that got it; the others are to wait in the database.
func (e *Engine) Reserve(entries []herald.Entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	each(entries, func(_ int, d *herald.Due) {
		d.Held = e.window.Reserve(lane(d), size(d))
	})
}

// Settle sends what was kept of reserved entries and gives back the room of the
// others.
func (e *Engine) Settle(entries []herald.Entry, kept func(i int) bool) {
	spilled := false
	e.mu.Lock()
	each(entries, func(i int, d *herald.Due) {
		switch {
		case !d.Held:
			e.window.Spilled(lane(d))
			spilled = true
		case kept(i):
			e.add(&item{Due: *d})
		default:
			e.window.Release(lane(d), size(d))
		}
	})
	e.pump()
	e.mu.Unlock()
	if spilled {
		e.lookSoon()
	}
}

func lane(d *herald.Due) herald.Lane { return herald.Lane{Client: d.ClientID, Origin: d.Origin} }

func each(entries []herald.Entry, fn func(entry int, d *herald.Due)) {
	for i := range entries {
		for j := range entries[i].Alerts {
			for k := range entries[i].Alerts[j].Due {
				fn(i, &entries[i].Alerts[j].Due[k])
			}
		}
	}
}

// add puts a delivery with room into the window. The caller has the lock.
func (e *Engine) add(i *item) {
	e.held[i.ID] = i
	e.window.Add(i.lane(), i)
}

// pump lets redirects go on that wait for a place, and starts attempts as long
// as somebody has a turn. Redirects go first: they hold a place of another lane
// while they wait. The caller has the lock.
func (e *Engine) pump() {
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

// lookSoon makes the claimer look into the database at once.
func (e *Engine) lookSoon() {
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
func (e *Engine) Added() { e.lookSoon() }

// Stop stops claiming at once, lets attempts under way end until ctx is done,
// cuts off the rest, which are recorded as such, and hands back what was not
// begun.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	e.stopping = true
	waiting := e.window.Drain(func(i *item) int { return size(&i.Due) })
	e.mu.Unlock()
	due := make([]herald.Due, len(waiting))
	for n, i := range waiting {
		due[n] = i.Due
	}
	err := e.Store.HandBack(context.WithoutCancel(ctx), due)
	ended := make(chan struct{})
	go func() {
		e.attempts.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	e.abort()
	<-ended
	e.loops.Wait()
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
