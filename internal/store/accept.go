package store

import (
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"herald"
)

// Accept keeps entries with their alerts and deliveries, all or none, and
// returns when they are synced to disk: one receipt an entry, in order. An
// entry that repeats an idempotency key with the same content is answered with
// the receipt of the first time and adds nothing; the caller knows it by the
// receipt's EventID, which is not the entry's.
//
// Errors: herald.ErrStale when a client has changed since its entry was
// decided, an *herald.ItemError for a key used before with other content
// (CodeMismatch), CodeUnavailable when the database takes nothing right now.
func (s *Store) Accept(entries []herald.Entry) ([]herald.Receipt, error) {
	k := &work{client: entries[0].Event.ClientID, entries: entries}
	for i := range entries {
		k.rows++
		k.bytes += len(entries[i].Event.Data)
		for j := range entries[i].Alerts {
			k.rows += 1 + len(entries[i].Alerts[j].Due)
			k.bytes += len(entries[i].Alerts[j].Head)
		}
	}
	if err := s.writer.do(k); err != nil {
		return nil, err
	}
	return k.receipts, nil
}

// accept checks all of the work's entries before it writes the first.
func (tx *batchTx) accept(k *work) error {
	for i := range k.entries {
		version, err := tx.version(k.entries[i].Event.ClientID)
		if err != nil {
			return err
		}
		if version != k.entries[i].ClientVersion {
			k.refused = herald.ErrStale
			return nil
		}
	}
	repeats, err := tx.findRepeats(k)
	if err != nil || k.refused != nil {
		return err
	}
	for i := range k.entries {
		if repeats[i] {
			continue
		}
		if err := tx.addEntry(&k.entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// findRepeats fills in the work's receipts and reports which entries repeat an
// earlier one, be it in the database or in the same work.
func (tx *batchTx) findRepeats(k *work) ([]bool, error) {
	type key struct {
		client uuid.UUID
		text   string
	}
	repeats := make([]bool, len(k.entries))
	k.receipts = make([]herald.Receipt, len(k.entries))
	var first map[key]int
	for i := range k.entries {
		e := &k.entries[i]
		k.receipts[i] = receipt(e.Event.ID, len(e.Alerts))
		if e.IdempotencyKey == "" {
			continue
		}
		own := key{e.Event.ClientID, e.IdempotencyKey}
		fingerprint, found, err := tx.lookUpKey(e, &k.receipts[i])
		if err != nil {
			return nil, err
		}
		if j, ok := first[own]; ok && !found {
			fingerprint, found = k.entries[j].Fingerprint, true
			k.receipts[i] = k.receipts[j]
		}
		if found && fingerprint != e.Fingerprint {
			k.refused = &herald.ItemError{Index: i, Err: &herald.Error{Code: herald.CodeMismatch, Member: "idempotencyKey",
				Message: "The idempotency key " + e.IdempotencyKey + " was used before for an event with other content. Use a new key for a new event."}}
			return nil, nil
		}
		repeats[i] = found
		if !found {
			if first == nil {
				first = make(map[key]int)
			}
			first[own] = i
		}
	}
	return repeats, nil
}

// lookUpKey finds an entry's idempotency key in the database and puts the
// receipt of the first time into r.
func (tx *batchTx) lookUpKey(e *herald.Entry, r *herald.Receipt) (fingerprint [32]byte, found bool, err error) {
	var (
		text  []byte
		event uuid.UUID
		n     int
	)
	err = tx.findKey.QueryRowContext(tx.ctx, e.Event.ClientID[:], e.IdempotencyKey, micros(tx.now)).Scan(&text, &event, &n)
	if errors.Is(err, sql.ErrNoRows) {
		return fingerprint, false, nil
	}
	if err != nil {
		return fingerprint, false, err
	}
	copy(fingerprint[:], text)
	*r = receipt(event, n)
	return fingerprint, true, nil
}

func receipt(event uuid.UUID, alerts int) herald.Receipt {
	r := herald.Receipt{EventID: event, AlertCount: alerts, AlertIDs: make([]uuid.UUID, min(alerts, herald.MaxAlertIDs))}
	for i := range r.AlertIDs {
		r.AlertIDs[i] = herald.AlertID(event, i+1)
	}
	return r
}

func (tx *batchTx) addEntry(e *herald.Entry) error {
	v := &e.Event
	err := tx.exec(tx.addEvent, v.ID[:], v.ClientID[:], v.Type, idOrNull(v.CompanyID), idOrNull(v.ConnectionID),
		micros(v.OccurredAt), v.Message, []byte(v.Data))
	if err != nil {
		return err
	}
	if e.IdempotencyKey != "" {
		err := tx.exec(tx.saveKey, v.ClientID[:], e.IdempotencyKey, e.Fingerprint[:], v.ID[:], len(e.Alerts),
			micros(tx.now.Add(herald.IdempotencyTTL)))
		if err != nil {
			return err
		}
	}
	for i := range e.Alerts {
		if err := tx.addRaised(v, &e.Alerts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (tx *batchTx) addRaised(e *herald.Event, a *herald.Raised) error {
	err := tx.exec(tx.addAlert, a.ID[:], e.ClientID[:], e.ID[:], a.RuleID[:], idOrNull(e.CompanyID), a.Message, a.Head)
	if err != nil {
		return err
	}
	for i := range a.Due {
		d := &a.Due[i]
		err := tx.exec(tx.addQueue, d.ID[:], d.ClientID[:], d.Origin, d.Address, micros(d.MadeAt), micros(tx.now), tx.holder(d.Held), d.Attempt, d.Retries)
		if err != nil {
			return err
		}
	}
	return nil
}

// holder is what queue.node says of a delivery that this node does or does not
// hold.
func (tx *batchTx) holder(held bool) any {
	if !held {
		return nil
	}
	return tx.node
}
