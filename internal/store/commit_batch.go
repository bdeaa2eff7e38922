package store

import (
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// batch is what one transaction of the writer adds and moves, gathered from its
// works before anything is written. How it is written is the dialect's: row by
// row in prepared statements on SQLite, a statement per table on PostgreSQL.
type batch struct {
	node int64
	now  int64 // microseconds, by the database's clock where it has one

	events     []*herald.Event
	alerts     []alertRow
	items      []*work.Item
	keys       []keyRow
	recordings []*request

	talliedTo uuid.UUID // alerts with smaller ids have to be tallied with the batch
}

type alertRow struct {
	*work.PreparedAlert
	event *herald.Event
}

// keyRow is an idempotency key to keep.
type keyRow struct {
	idempotent
	fingerprint [32]byte
	event       uuid.UUID
	alerts      int
	expires     int64
}

// idempotent is an idempotency key of a client.
type idempotent struct {
	client uuid.UUID
	key    string
}

// firstUse is what an idempotency key stands for.
type firstUse struct {
	fingerprint [32]byte
	event       uuid.UUID
	alerts      int
}

// gather decides which of the works can be written, by what the transaction has
// found, and collects their rows. What is wrong with one work alone goes into its
// refused, and nothing of it into the batch.
func newBatch(requests []*request, found preconditions, node int64) *batch {
	b := &batch{node: node, now: found.now, talliedTo: found.talliedTo}
	for _, k := range requests {
		k.refused = nil
		if k.recording != nil {
			b.recordings = append(b.recordings, k)
			continue
		}
		if k.refused = k.check(found.versions, found.used); k.refused == nil {
			b.add(k, found.used)
		}
	}
	return b
}

func clientsOf(requests []*request) []uuid.UUID {
	seen := make(map[uuid.UUID]bool)
	var clients []uuid.UUID
	for _, k := range requests {
		for i := range k.entries {
			if id := k.entries[i].Event.ClientID; !seen[id] {
				seen[id] = true
				clients = append(clients, id)
			}
		}
	}
	return clients
}

func keysOf(requests []*request) []idempotent {
	var keys []idempotent
	for _, k := range requests {
		for i := range k.entries {
			if e := &k.entries[i]; e.IdempotencyKey != "" {
				keys = append(keys, idempotent{e.Event.ClientID, e.IdempotencyKey})
			}
		}
	}
	return keys
}

// check says what keeps a work from being written: a client that has changed
// since, or an idempotency key that was used with other content.
func (k *request) check(versions map[uuid.UUID]int64, used map[idempotent]firstUse) error {
	var own map[idempotent][32]byte // first used by this very work
	for i := range k.entries {
		e := &k.entries[i]
		if versions[e.Event.ClientID] != e.ClientVersion {
			return work.ErrStale
		}
		if e.IdempotencyKey == "" {
			continue
		}
		id := idempotent{e.Event.ClientID, e.IdempotencyKey}
		first, found := own[id]
		if before, ok := used[id]; ok {
			first, found = before.fingerprint, true
		}
		if found && first != e.Fingerprint {
			return &herald.ItemError{Index: i, Err: &herald.Error{Code: herald.CodeMismatch, Member: "idempotencyKey",
				Message: "The idempotency key " + e.IdempotencyKey + " was used before for an event with other content. Use a new key for a new event."}}
		}
		if !found {
			if own == nil {
				own = make(map[idempotent][32]byte)
			}
			own[id] = e.Fingerprint
		}
	}
	return nil
}

// add puts a work's entries into the batch and fills in its receipts. An entry
// whose key has been used adds nothing and has the receipt of the first use,
// which may be one of the same batch.
func (b *batch) add(k *request, used map[idempotent]firstUse) {
	k.receipts = make([]herald.Receipt, len(k.entries))
	for i := range k.entries {
		e := &k.entries[i]
		id := idempotent{e.Event.ClientID, e.IdempotencyKey}
		if first, repeat := used[id]; repeat && e.IdempotencyKey != "" {
			k.receipts[i] = receipt(first.event, first.alerts)
			continue
		}
		k.receipts[i] = receipt(e.Event.ID, len(e.Alerts))
		if e.IdempotencyKey != "" {
			used[id] = firstUse{e.Fingerprint, e.Event.ID, len(e.Alerts)}
			b.keys = append(b.keys, keyRow{id, e.Fingerprint, e.Event.ID, len(e.Alerts), b.now + herald.IdempotencyTTL.Microseconds()})
		}
		b.addEntry(e)
	}
}

func (b *batch) addEntry(e *work.PreparedEvent) {
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

// assignNode sets the Node of an item that this node is to hold. It returns the
// value of queue.node: NULL for an item that is not to be held.
func (b *batch) assignNode(d *work.Item) *int64 {
	if !d.Held {
		return nil
	}
	d.Node = b.node
	return &d.Node
}

// dueAt is when a recording's next attempt is due.
func (b *batch) dueAt(r *recording) int64 {
	return b.now + max(r.Delay, 0).Round(time.Microsecond).Microseconds()
}
