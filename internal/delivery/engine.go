// Package delivery is the delivery engine. It claims due deliveries, makes attempts, asks the
// policy to decide on each result, and records the decision.
//
// A delivery gets into memory in one of two ways and leaves it in one:
//
//	accepted here, with room ──▶ Reserve ─ commit ─ AfterCommit ─┐
//	                                                             ├─▶ window ─▶ attempt ─▶ record ─▶ gone
//	waiting in the database ───▶ claim ──────────────────────────┘                         (history, or
//	                                                                                        waiting again)
//
// engine.go has the engine with its start and stop. accept.go takes over what is accepted, and room.go lets
// a publish wait for room in the window. claim.go claims from the database. workers.go has the goroutines
// for attempts. attempt.go makes an attempt. gate.go cleans what strangers say in it. record.go records its
// result or postpones the delivery. mail.go has what differs for a mailbox, and windows.go keeps mails apart. nodes.go finds
// dead nodes. control.go cancels and redelivers for a client.
//
// internal/fairqueue does the fair queueing and bounds memory. internal/policy decides what a
// result means. internal/webhook makes one HTTP attempt, internal/mail one SMTP transaction.
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
	"herald/internal/work"
)

// Store holds pending deliveries and their history.
type Store interface {
	// Record records the result of an attempt. With work.ErrNotHeld it has recorded the attempt,
	// but the delivery was cancelled or another node took it over.
	Record(r work.Result) error
	// Lanes lists the waiting lanes that follow after, in order. Fewer than LanesLimit lanes are
	// the last ones.
	Lanes(ctx context.Context, after work.Lane) ([]work.WaitingLane, error)
	LanesLimit() int
	// Claim takes due deliveries for this node, which then holds them: of each claim's lane and of
	// all together no more than their bytes. The error is work.ErrDeclaredDead if this node must
	// register again.
	Claim(ctx context.Context, claims []work.Claim, room int) (work.Claimed, error)
	// HandBack gives up this node's hold on deliveries, without an attempt.
	HandBack(ctx context.Context, held []work.Item) error
	// Postpone gives up this node's hold on a delivery, which waits for delay and shows why. The
	// error is work.ErrNotHeld if this node did not hold it.
	Postpone(ctx context.Context, d work.Item, delay time.Duration, why string) error
}

// Nodes is the list of the nodes on the database.
type Nodes interface {
	// Register makes this process a node, with a new incarnation. FreeOrphans then frees what dead
	// nodes held. On an embedded database every earlier node is dead.
	Register(ctx context.Context) error
	// Incarnation returns the number under which this process registered last.
	Incarnation() int64
	// FreeOrphans frees some of the deliveries that dead nodes held, in the order of their ids,
	// beginning after the id after. It returns the last id and how many there were; n is 0 when
	// none are left.
	FreeOrphans(ctx context.Context, after uuid.UUID) (last uuid.UUID, n int, err error)
	Leave(ctx context.Context) error
	// Shared is true if there can be other nodes. The engine calls the methods below only then.
	Shared() bool
	// Heartbeat adds one to this node's count and returns the counts of the other nodes. The error
	// is work.ErrDeclaredDead if this node must register again.
	Heartbeat(ctx context.Context) (map[int64]int64, error)
	// DeclareDead removes a node from the list if its count is still count. It returns whether it
	// did.
	DeclareDead(ctx context.Context, node, count int64) (bool, error)
}

// Clients returns a client at a version that was the present one at most half a second ago.
type Clients interface {
	Recent(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
}

// Sender makes one HTTP attempt.
type Sender interface {
	Send(ctx context.Context, r webhook.Request) webhook.Result
}

// Digests stores the windows of mailboxes and the results of digests.
type Digests interface {
	// DecideMail asks the policy what happens to a mail that is about to be sent. If the mail is to
	// wait, this node does not hold it afterwards. The error is work.ErrNotHeld if this node did
	// not hold it before.
	DecideMail(ctx context.Context, d work.Item, digest policy.Digest) (policy.MailAction, []work.DigestEntry, error)
	// RecordDigest records the final result of a digest for all of its entries.
	RecordDigest(ctx context.Context, r work.Result, entries []work.DigestEntry, window time.Duration) error
	// AskMailboxAgain lets a mailbox be asked again soon, because it did not take the mail that asked.
	AskMailboxAgain(ctx context.Context, d work.Item) error
}

// Mailer makes one SMTP transaction.
type Mailer interface {
	Send(ctx context.Context, r mail.Request) mail.Result
}

// Clock is the program's clock, see internal/clock.
type Clock interface {
	Now() time.Time
	// Cautious returns the time that deliveries expire by.
	Cautious() time.Time
	// Jump returns how far the reference is ahead of the clock.
	Jump() time.Duration
}

type systemClock struct{}

func (systemClock) Now() time.Time      { return time.Now() }
func (systemClock) Cautious() time.Time { return time.Now() }
func (systemClock) Jump() time.Duration { return 0 }

// Options are the parts of an Engine. Queue, LongestAttempt, Limits, Log, Metrics, Digest, DeadAfter and
// Clock can be left out.
type Options struct {
	Store   Store
	Queue   Queue
	Nodes   Nodes
	Clients Clients
	Sender  Sender
	Mailer  Mailer
	Digests Digests
	// Policy decides on webhooks, MailPolicy on mails.
	Policy     policy.Policy
	MailPolicy policy.Policy
	// Consents says which receivers have consented; nil calls all.
	Consents Consents
	// Digest says when mails become a digest, and what else bounds them.
	Digest policy.Digest
	// AnswerQuota bounds, in bytes, what is stored of the answers to one client in a day, on this
	// node; 0 is no limit. Over it only the start of each answer is stored.
	AnswerQuota int
	// Limits are those of webhooks; mails have their own (mailLimits).
	Limits  fairqueue.Limits
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// LongestAttempt is the longest time that an attempt may take. The metrics reach beyond it.
	LongestAttempt time.Duration
	// Random returns numbers from [0, 1) for the policy's jitter.
	Random func() float64
	// DeadAfter is how long the count of another node may stay the same before this node declares
	// it dead; 0 is DefaultDeadAfter.
	DeadAfter time.Duration
	// Clock has the times that others compare, and the ages of deliveries; nil is the system's.
	Clock Clock
}

// Engine is safe for concurrent use.
type Engine struct {
	Options
	metrics *metrics
	answers answers

	// sending is cancelled when attempts under way must end at once.
	sending context.Context
	abort   context.CancelFunc
	wake    chan struct{} // makes the claimer read the database at once

	mu          sync.Mutex
	window      windows
	held        map[uuid.UUID]*item // all deliveries in the window or in an attempt
	hops        []*hop              // redirects that wait for a place, the oldest first
	stopping    bool
	incarnation int64 // deliveries that an earlier one held are not sent any more
	publishes   publishes
	workers     workers
	attempts    sync.WaitGroup
	accepts     sync.WaitGroup        // events that have room by Reserve, until AfterCommit
	returns     sync.WaitGroup        // deliveries being handed back
	loops       sync.WaitGroup        // the claimer and the membership
	limited     map[*item]*time.Timer // deliveries that wait for their receiver's turn
	ownFaults   ownFaults
	backlog     backlog
	probeTimer  *time.Timer // calls probe during a pause; nil before the first one
	unrecorded  map[uuid.UUID]unrecorded
}

// item is a delivery in memory.
type item struct {
	work.Item
	cancelled bool
	begun     bool // its attempt has begun
}

// size is how many of the window's bytes a delivery takes.
func size(d *work.Item) int { return d.Size() }

// New returns an engine that does nothing until Start.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.DeadAfter == 0 {
		o.DeadAfter = DefaultDeadAfter
	}
	e := &Engine{
		Options: o,
		wake:    make(chan struct{}, 1),
		window:  newWindows(o.Limits),
		held:    make(map[uuid.UUID]*item),
		limited: make(map[*item]*time.Timer),

		publishes:  newPublishes(),
		unrecorded: make(map[uuid.UUID]unrecorded),
	}
	e.sending, e.abort = context.WithCancel(context.Background())
	e.backlog.at = time.Now()
	e.metrics = newMetrics(e)
	e.measureLimited(o.Metrics)
	return e
}

func (e *Engine) stats() fairqueue.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.window.Stats()
}

// Start registers the node, frees the deliveries that dead nodes held, finds the lanes with a
// backlog, and begins to claim.
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
	if e.Queue != nil {
		n := &counter{Engine: e}
		n.start(ctx)
		e.loops.Go(func() { n.run(e.sending) })
	}
	if e.Nodes.Shared() {
		m := &membership{Engine: e, seen: make(map[int64]heartbeat), readAt: time.Now(), freedAt: time.Now()}
		e.loops.Go(func() { m.run(e.sending) })
	}
	return nil
}

// add puts a delivery that has room into the window. The caller holds mu.
func (e *Engine) add(i *item) {
	e.held[i.ID] = i
	e.window.Add(i.Lane(), i)
}

// startReady lets waiting redirects continue and starts attempts, as long as there are places in
// flight. Redirects go first: they hold a place of another lane while they wait. The caller holds
// mu.
func (e *Engine) startReady() {
	e.hops = slices.DeleteFunc(e.hops, func(h *hop) bool {
		entered := e.window.Enter(h.lane)
		if entered {
			close(h.entered)
		}
		return entered
	})
	for now := time.Now(); !e.stopping && e.ownFaults.mayStart(now); {
		i, _, ok := e.window.Next()
		if !ok {
			return
		}
		e.ownFaults.started(now)
		i.begun = true
		e.begin(i)
	}
}

// wakeClaimer makes the claimer read the database at once.
func (e *Engine) wakeClaimer() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Cancelled reports to the engine that a delivery was cancelled in the database. If its attempt has
// not begun, the engine does not send it any more.
func (e *Engine) Cancelled(id uuid.UUID) {
	e.Ended(herald.Cancelled, 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.unrecorded, id)
	if i := e.held[id]; i != nil {
		i.cancelled = true
	}
}

// Added reports to the engine that a new delivery waits in the database and is due.
func (e *Engine) Added() { e.wakeClaimer() }

// Stop stops claiming and hands back all deliveries whose attempt has not begun. It lets attempts
// under way end until ctx is done. It then interrupts the rest, and records them as interrupted.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	if !e.stopping {
		e.stopping = true
		e.workers.end(len(e.workers.idle))
	}
	e.letAllGo()
	waiting := append(e.window.Drain(func(i *item) int { return size(&i.Item) }), e.takeLimited()...)
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

// pause waits for d. It returns false if attempts must end before that.
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
