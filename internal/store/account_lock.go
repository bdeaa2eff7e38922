package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Bounds of LockClients.
const (
	// clientLocks is how many calls lock clients at once on PostgreSQL. Each needs a
	// connection, and its caller another one to read the clients.
	clientLocks = 2
	// clientLockTimeout bounds the wait for the lock, and on PostgreSQL how long it lasts.
	clientLockTimeout = 5 * time.Second
)

// allClients stands in the changeGate for changes of all clients, which are those of event types.
var allClients = uuid.Nil

// LockClients makes changes of some clients wait until unlock is called, so that their Version
// stays the same. Events that are prepared and accepted meanwhile are not stale. On PostgreSQL the
// lock ends by itself after clientLockTimeout, or with ctx. The error has CodeUnavailable if the clients
// cannot be locked within that time.
func (s *Store) LockClients(ctx context.Context, clients []uuid.UUID) (unlock func(), err error) {
	locked, cancel := context.WithTimeout(ctx, clientLockTimeout)
	end, err := s.lockClients(locked, clients)
	unlock = func() {
		end()
		cancel()
	}
	if err == nil {
		return unlock, nil
	}
	if locked.Err() != nil && ctx.Err() == nil {
		err = &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second, Cause: err,
			Message: "The client is being changed, and the change takes too long. Try again."}
	}
	unlock()
	return nil, s.failed("lock clients", err)
}

// lockClients is LockClients without an end of its own. end must be called in any case.
func (s *Store) lockClients(ctx context.Context, clients []uuid.UUID) (end func(), err error) {
	gates := append(slices.Clone(clients), allClients)
	if !s.dialect.shared {
		return s.changes.close(ctx, gates) // nobody else can change the clients
	}
	select {
	case s.locks <- struct{}{}:
	case <-ctx.Done():
		return func() {}, ctx.Err()
	}
	var tx *sql.Tx
	open, err := s.changes.close(ctx, gates)
	if err == nil {
		tx, err = s.lockRows(ctx, clients)
	}
	return func() {
		if tx != nil {
			_ = tx.Rollback() // nothing was written; a connection that fails is closed, which unlocks too
		}
		open()
		<-s.locks
	}, withContextError(ctx, err)
}

// lockRows begins a transaction that locks the clients' rows against changes by other nodes, but
// not against the writer, which locks them in the same way.
func (s *Store) lockRows(ctx context.Context, clients []uuid.UUID) (*sql.Tx, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	// If this process stops here and its connection stays open, the server ends the transaction.
	_, err = tx.ExecContext(ctx, `SELECT set_config('idle_in_transaction_session_timeout', $1, true)`, idleTransactionTimeout)
	if err == nil {
		_, err = list(ctx, tx, scanID, `SELECT id FROM clients WHERE id = ANY($1::uuid[]) ORDER BY id `+s.dialect.forShare, uuids(clients))
	}
	if err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx, nil
}

// changeGate makes changes of a client wait while LockClients has closed it. On SQLite this is the
// lock. On PostgreSQL it keeps waiting changes from taking the connections that the caller of
// LockClients needs. The zero value is ready to use.
type changeGate struct {
	mu      sync.Mutex
	clients map[uuid.UUID]*gateState
}

type gateState struct {
	changing int           // changes under way
	closed   int           // calls of close that are not undone
	changed  chan struct{} // closed when one of the numbers falls to 0
}

// enter waits until the gate of a client is open. leave must be called after the change.
func (g *changeGate) enter(ctx context.Context, client uuid.UUID) (leave func(), err error) {
	gate := g.lock()
	defer gate.unlock()
	for {
		state := gate.state(client)
		if state.closed == 0 {
			state.changing++
			return func() { g.end(client, &state.changing) }, nil
		}
		if err := gate.wait(ctx, state); err != nil {
			return nil, err
		}
	}
}

// close closes the gates of clients and waits until no change of them is under way. open must be
// called in any case.
func (g *changeGate) close(ctx context.Context, clients []uuid.UUID) (open func(), err error) {
	gate := g.lock()
	defer gate.unlock()
	states := make([]*gateState, len(clients))
	for i, client := range clients {
		states[i] = gate.state(client)
		states[i].closed++
	}
	open = func() {
		for i, client := range clients {
			g.end(client, &states[i].closed)
		}
	}
	for _, state := range states {
		for state.changing > 0 && err == nil {
			err = gate.wait(ctx, state)
		}
	}
	return open, err
}

// end lowers one of the numbers of a client's state. A state without any is deleted.
func (g *changeGate) end(client uuid.UUID, number *int) {
	gate := g.lock()
	defer gate.unlock()
	state := gate.state(client)
	if *number--; *number > 0 {
		return
	}
	close(state.changed)
	state.changed = make(chan struct{})
	if state.changing == 0 && state.closed == 0 {
		delete(g.clients, client)
	}
}

// lockedGate is a changeGate whose mutex the holder has locked.
type lockedGate struct{ *changeGate }

func (g *changeGate) lock() lockedGate {
	g.mu.Lock()
	return lockedGate{g}
}

func (g lockedGate) unlock() { g.mu.Unlock() }

// state returns the state of a client and makes it if there is none.
func (g lockedGate) state(client uuid.UUID) *gateState {
	state := g.clients[client]
	if state == nil {
		state = &gateState{changed: make(chan struct{})}
		if g.clients == nil {
			g.clients = make(map[uuid.UUID]*gateState)
		}
		g.clients[client] = state
	}
	return state
}

// wait waits for a change of a state, with the mutex unlocked meanwhile.
func (g lockedGate) wait(ctx context.Context, state *gateState) error {
	changed := state.changed
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
