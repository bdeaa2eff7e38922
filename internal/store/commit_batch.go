package store

import (
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/clock"
	"herald/internal/work"
)

// idempotencyMargin is how much longer an idempotency key is stored than promised. So a clock
// that is ahead by less than what makes it cautious breaks no promise.
const idempotencyMargin = clock.CautionAfter

// batch is the rows that one transaction of the writer adds and moves. newBatch collects
// them from the requests before anything is written. The dialect writes them: row by row
// with prepared statements on SQLite, one statement per table on PostgreSQL.
type batch struct {
	node int64 // holds the deliveries that are to be held; 0: none does
	now  int64 // the result of Store.now
	// cautious is the time that idempotency keys expire by.
	cautious int64

	events  []*herald.Event
	alerts  []alertRow
	items   []*work.Item
	keys    []keyRow
	results []*request
	open    openIssues // on PostgreSQL

	talliedTo uuid.UUID // the batch itself adds alerts with smaller ids to their tallies

	refused bool // all requests were refused: nothing is written, and nobody is told of anything written
}

type alertRow struct {
	*work.PreparedAlert
	event *herald.Event
}

// keyRow is an idempotency key to store.
type keyRow struct {
	idempotencyKey
	fingerprint [32]byte
	event       uuid.UUID
	alerts      int
	expires     int64
}

// idempotencyKey is an idempotency key of a client.
type idempotencyKey struct {
	client uuid.UUID
	key    string
}

// firstUse is the event that first used an idempotency key.
type firstUse struct {
	fingerprint [32]byte
	event       uuid.UUID
	alerts      int
}

// newBatch checks the requests against the preconditions that the transaction has read,
// and collects the rows of those that can be written. It sets refused of the others and
// leaves them out.
func newBatch(requests []*request, found preconditions, node int64) *batch {
	b := &batch{now: found.now, cautious: found.cautious, talliedTo: found.talliedTo, open: found.open, refused: true}
	if found.registered {
		b.node = node
	}
	for _, req := range requests {
		req.refused = nil
		if req.result != nil {
			b.results = append(b.results, req)
		} else if req.refused = req.check(found.versions, found.used); req.refused == nil {
			b.add(req, found.used)
		}
		b.refused = b.refused && req.refused != nil
	}
	return b
}

func clientsOf(requests []*request) []uuid.UUID {
	seen := make(map[uuid.UUID]bool)
	var clients []uuid.UUID
	for _, req := range requests {
		for i := range req.events {
			if id := req.events[i].Event.ClientID; !seen[id] {
				seen[id] = true
				clients = append(clients, id)
			}
		}
	}
	return clients
}

func keysOf(requests []*request) []idempotencyKey {
	var keys []idempotencyKey
	for _, req := range requests {
		for i := range req.events {
			if e := &req.events[i]; e.IdempotencyKey != "" {
				keys = append(keys, idempotencyKey{e.Event.ClientID, e.IdempotencyKey})
			}
		}
	}
	return keys
}

// check returns an error for a request that must not be written: work.ErrStale when a
// client has changed since, or an *herald.ItemError when an idempotency key was used
// before with other content.
func (req *request) check(versions map[uuid.UUID]int64, used map[idempotencyKey]firstUse) error {
	var inRequest map[idempotencyKey][32]byte // keys that this request uses first
	for i := range req.events {
		e := &req.events[i]
		if versions[e.Event.ClientID] != e.ClientVersion {
			return work.ErrStale
		}
		if e.IdempotencyKey == "" {
			continue
		}
		id := idempotencyKey{e.Event.ClientID, e.IdempotencyKey}
		first, found := inRequest[id]
		if before, ok := used[id]; ok {
			first, found = before.fingerprint, true
		}
		if found && first != e.Fingerprint {
			return &herald.ItemError{Index: i, Err: &herald.Error{Code: herald.CodeMismatch, Member: "idempotencyKey",
				Message: "The idempotency key " + e.IdempotencyKey + " was used before for an event with other content. Use a new key for a new event."}}
		}
		if !found {
			if inRequest == nil {
				inRequest = make(map[idempotencyKey][32]byte)
			}
			inRequest[id] = e.Fingerprint
		}
	}
	return nil
}

// add adds a request's events to the batch and sets its receipts. An event whose key was
// used before adds nothing and gets the receipt of the first use. That may be another
// event of the same batch.
func (b *batch) add(req *request, used map[idempotencyKey]firstUse) {
	req.receipts = make([]herald.Receipt, len(req.events))
	for i := range req.events {
		e := &req.events[i]
		id := idempotencyKey{e.Event.ClientID, e.IdempotencyKey}
		if first, repeat := used[id]; repeat && e.IdempotencyKey != "" {
			req.receipts[i] = receipt(first.event, first.alerts)
			continue
		}
		req.receipts[i] = receipt(e.Event.ID, len(e.Alerts))
		if e.IdempotencyKey != "" {
			used[id] = firstUse{e.Fingerprint, e.Event.ID, len(e.Alerts)}
			b.keys = append(b.keys, keyRow{id, e.Fingerprint, e.Event.ID, len(e.Alerts), b.now + (herald.IdempotencyTTL + idempotencyMargin).Microseconds()})
		}
		b.addPrepared(e)
	}
}

func (b *batch) addPrepared(e *work.PreparedEvent) {
	b.events = append(b.events, &e.Event)
	for i := range e.Alerts {
		a := &e.Alerts[i]
		b.alerts = append(b.alerts, alertRow{a, &e.Event})
		for j := range a.Items {
			b.items = append(b.items, &a.Items[j])
		}
	}
}

func receipt(event uuid.UUID, alerts int) herald.Receipt {
	r := herald.Receipt{EventID: event, AlertCount: alerts, AlertIDs: make([]uuid.UUID, min(alerts, herald.MaxAlertIDs))}
	for i := range r.AlertIDs {
		r.AlertIDs[i] = herald.AlertID(event, i+1)
	}
	return r
}

// assignNode sets the Node of an item that this node will hold. It returns the value of
// queue.node: NULL for an item that no node will hold. If this node is not registered, it holds
// nothing, and Node is 0.
func (b *batch) assignNode(d *work.Item) *int64 {
	d.Node = 0
	if !d.Held || b.node == 0 {
		return nil
	}
	d.Node = b.node
	return &d.Node
}

// dueAt returns when the next attempt after a result is due, in microseconds.
func (b *batch) dueAt(r *encodedResult) int64 {
	return b.now + max(r.Delay, 0).Round(time.Microsecond).Microseconds()
}
