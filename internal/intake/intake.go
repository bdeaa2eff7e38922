// Package intake accepts events. It finds the client's rules that an event meets, renders the alert
// of each rule, and passes the prepared events to the store. An event is accepted once its commit
// is synced to disk, and not before.
//
// internal/api has the wire format of a publish. internal/catalogue says what an event type
// requires. internal/delivery sends.
package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/catalogue"
	"herald/internal/clientcache"
	"herald/internal/memory"
	"herald/internal/work"
)

// staleLimit bounds how often an event is prepared again because its client changed between
// preparation and commit. After that, changes of the client wait until the event is committed.
const staleLimit = 4

// Clients returns what is known of a client.
type Clients interface {
	// Get may return an old version. Current returns the present version. Both return CodeNotFound
	// if there is no such client.
	Get(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
	Current(ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)
}

// Store commits prepared events, all or none, see Accept of internal/store.
type Store interface {
	Accept(events []work.PreparedEvent) ([]herald.Receipt, error)
	// LockClients makes changes of the clients wait until unlock is called, or for some seconds.
	LockClients(ctx context.Context, clients []uuid.UUID) (unlock func(), err error)
}

// Engine sends the deliveries of accepted events.
type Engine interface {
	// Reserve takes room in memory for the deliveries of the events, and sets Held on those that
	// got it. One AfterCommit follows each Reserve or ReserveSoon.
	Reserve(events []work.PreparedEvent)
	// ReserveSoon is Reserve. If there will be room soon, it first waits for it, for a fraction of a
	// second at most, or until ctx ends.
	ReserveSoon(ctx context.Context, events []work.PreparedEvent)
	// AfterCommit sends the deliveries of the events that were committed, and releases the room of
	// the others.
	AfterCommit(events []work.PreparedEvent, committed func(i int) bool)
}

// Intake is safe for concurrent use.
type Intake struct {
	// MaxFanOut is how many deliveries one request may make. New sets DefaultMaxFanOut.
	MaxFanOut int

	budget  *memory.Budget
	turns   *memory.Turns
	clients Clients
	store   Store
	engine  Engine
	origin  func(address string) (string, error)
	ids     *herald.IDs

	mu       sync.Mutex
	underWay map[idempotent]bool
}

// idempotent is an idempotency key of a client.
type idempotent struct {
	client uuid.UUID
	key    string
}

// New returns an Intake. origin returns the origin of a webhook's address.
func New(c Clients, s Store, e Engine, origin func(string) (string, error)) *Intake {
	return &Intake{MaxFanOut: DefaultMaxFanOut, budget: memory.NewBudget(maxPrepared), turns: memory.NewTurns(), clients: c, store: s, engine: e, origin: origin,
		ids: herald.NewIDs(time.Now), underWay: make(map[idempotent]bool)}
}

// WithIDs makes the events' ids come from ids, and so from the program's clock. It returns the
// Intake. It must be called before Publish.
func (in *Intake) WithIDs(ids *herald.IDs) *Intake {
	in.ids = ids
	return in
}

// Publish accepts publications, all or none. It returns a receipt for each, in order, once they are
// synced to disk.
//
// An error about one publication is a *herald.ItemError. Its code is CodeInvalid; CodeNotFound for
// an unknown client; CodeForbidden for a client that is not the caller's; CodeMismatch for an
// idempotency key that was used with other content; or CodeConflict while the first use of the key
// is under way, if the request would make more than MaxFanOut deliveries, or if it would store more
// than maxRequest bytes. The code is CodeUnauthorized if the caller's key was revoked since the
// request came in, and CodeUnavailable if the database accepts nothing now.
func (in *Intake) Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	entered, err := in.enter(pubs)
	if err != nil {
		return nil, err
	}
	defer in.leave(entered)
	get := Clients.Get
	reserve := func(events []work.PreparedEvent) { in.engine.ReserveSoon(ctx, events) }
	for try := range staleLimit {
		plans, used, err := in.planAll(ctx, get, caller, pubs)
		get = Clients.Current
		if err != nil && try == 0 && !in.arePresent(ctx, used) {
			continue // the present version may have no error
		}
		if err != nil {
			return nil, err
		}
		receipts, err := in.accept(caller, plans, reserve)
		reserve = in.engine.Reserve // it has waited
		if !errors.Is(err, work.ErrStale) {
			return receipts, err
		}
	}
	return in.publishLocked(ctx, caller, pubs)
}

// publishLocked is Publish for clients that change all the time: their changes wait meanwhile.
func (in *Intake) publishLocked(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error) {
	clients := make([]uuid.UUID, len(pubs))
	for i, p := range pubs {
		clients[i] = p.ClientID
	}
	slices.SortFunc(clients, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	unlock, err := in.store.LockClients(ctx, slices.Compact(clients))
	if err != nil {
		return nil, err
	}
	defer unlock()
	plans, _, err := in.planAll(ctx, Clients.Current, caller, pubs)
	if err != nil {
		return nil, err
	}
	receipts, err := in.accept(caller, plans, in.engine.Reserve)
	if errors.Is(err, work.ErrStale) { // the lock ended before the commit
		err = &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second,
			Message: "The client's rules change too fast to decide whom the event concerns. Try again."}
	}
	return receipts, err
}

// accept renders the alerts of plans, commits them, and reports the result to the engine. It takes the memory
// for that before. reserve is a Reserve of the engine.
func (in *Intake) accept(caller herald.Caller, plans []plan, reserve func([]work.PreparedEvent)) ([]herald.Receipt, error) {
	share := in.budget.Share(caller.Key.ClientID)
	defer share.Release()
	bytes := 0
	for i := range plans {
		bytes += plans[i].bytes
	}
	if !share.Grow(int64(bytes)) {
		return nil, &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second,
			Message: "More is being published at once than the memory for it takes. Try again."}
	}
	events := make([]work.PreparedEvent, len(plans))
	for i := range plans {
		events[i] = plans[i].render()
	}
	reserve(events)
	receipts, err := in.store.Accept(events)
	in.engine.AfterCommit(events, func(i int) bool {
		// A repeated event has the receipt of the first one, and so another id.
		return err == nil && receipts[i].EventID == events[i].Event.ID
	})
	return receipts, err
}

// enter refuses a publication if another request uses its idempotency key at this moment, because
// the outcome of that request is not known yet. leave must be called with what enter returned.
func (in *Intake) enter(pubs []herald.Publication) (entered []idempotent, err error) {
	for i := range pubs {
		if pubs[i].IdempotencyKey == "" {
			continue
		}
		id := idempotent{pubs[i].ClientID, pubs[i].IdempotencyKey}
		in.mu.Lock()
		taken := in.underWay[id]
		in.underWay[id] = true
		in.mu.Unlock()
		switch {
		case !taken:
			entered = append(entered, id)
		case !repeats(pubs[:i], id): // a repeat within one request is no conflict
			in.leave(entered)
			return nil, &herald.ItemError{Index: i, Err: &herald.Error{Code: herald.CodeConflict, Member: "idempotencyKey", RetryAfter: time.Second,
				Message: "Another request with the idempotency key " + id.key + " is under way. Try again to learn its outcome."}}
		}
	}
	return entered, nil
}

// leave allows the keys that a request has entered to others.
func (in *Intake) leave(entered []idempotent) {
	if len(entered) == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, id := range entered {
		delete(in.underWay, id)
	}
}

func repeats(pubs []herald.Publication, id idempotent) bool {
	for i := range pubs {
		if pubs[i].IdempotencyKey == id.key && pubs[i].ClientID == id.client {
			return true
		}
	}
	return false
}

// getClient is Get or Current of Clients.
type getClient func(c Clients, ctx context.Context, id uuid.UUID) (*clientcache.Snapshot, error)

// planAll plans the publications. All publications of one client use the same version of it: used has
// the clients, also if there is an error.
func (in *Intake) planAll(ctx context.Context, get getClient, caller herald.Caller, pubs []herald.Publication) (plans []plan, used []*clientcache.Snapshot, err error) {
	plans = make([]plan, len(pubs))
	var sum load
	budget := catalogue.NewBudget(ctx)
	for i := range pubs {
		at := slices.IndexFunc(used, func(known *clientcache.Snapshot) bool { return known.ID == pubs[i].ClientID })
		if at < 0 {
			client, err := get(in.clients, ctx, pubs[i].ClientID)
			if err != nil {
				return nil, used, onItem(i, err)
			}
			at, used = len(used), append(used, client)
			if err := authorize(caller, client); err != nil {
				return nil, used, onItem(i, err)
			}
		}
		if plans[i], err = in.planInTurn(ctx, budget, used[at], pubs[i]); err == nil {
			err = sum.add(&plans[i], in.MaxFanOut)
		}
		if err != nil {
			return nil, used, onItem(i, err)
		}
	}
	return plans, used, nil
}

// arePresent reports whether clients are at their present versions.
func (in *Intake) arePresent(ctx context.Context, clients []*clientcache.Snapshot) bool {
	return !slices.ContainsFunc(clients, func(known *clientcache.Snapshot) bool {
		present, err := in.clients.Current(ctx, known.ID)
		return err != nil || present.Version != known.Version
	})
}

// planInTurn is plan. Large data is validated in turns.
func (in *Intake) planInTurn(ctx context.Context, budget *catalogue.Budget, client *clientcache.Snapshot, p herald.Publication) (plan, error) {
	end, err := in.turns.Take(ctx, len(p.Data))
	if err != nil {
		return plan{}, err
	}
	defer end()
	return in.plan(ctx, budget, client, p)
}

func onItem(i int, err error) error {
	var known *herald.Error
	if !errors.As(err, &known) {
		return err
	}
	return &herald.ItemError{Index: i, Err: err}
}

// authorize checks the caller's key again, on the client's version that the events are prepared on:
// the key may have been revoked since the request came in.
func authorize(caller herald.Caller, client *clientcache.Snapshot) error {
	switch {
	case caller.Operator:
		return nil
	case caller.Key.ClientID != client.ID:
		return herald.Errorf(herald.CodeForbidden, "The API key does not belong to client %s", client.ID)
	case caller.Actor() == herald.ActorPortalLink:
		return nil // has no key; its session was found for this request
	case !client.HasKey(caller.Key.ID):
		return herald.Errorf(herald.CodeUnauthorized, "The API key has been revoked")
	default:
		return nil
	}
}

// fingerprint is a hash of what the publisher sent, so that publications with other content differ.
// It is taken before defaults are filled in, so that a repeat has the same one.
func fingerprint(e herald.Event) [32]byte {
	text := make([]byte, 0, 200+len(e.Type)+len(e.Data)+len(e.Message))
	text = appendPart(text, e.Type)
	text = appendPart(text, e.CompanyID.String())
	text = appendPart(text, e.ConnectionID.String())
	text = appendPart(text, e.Data)
	text = appendPart(text, e.Message)
	text = appendPart(text, occurred(e.OccurredAt))
	return sha256.Sum256(text)
}

func appendPart[T string | json.RawMessage](text []byte, part T) []byte {
	return append(binary.BigEndian.AppendUint64(text, uint64(len(part))), part...)
}

func occurred(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}
