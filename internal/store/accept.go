package store

import "herald"

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
