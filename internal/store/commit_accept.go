package store

import (
	"herald"
	"herald/internal/work"
)

// Accept keeps entries with their alerts and deliveries, all or none, and
// returns when they are synced to disk: one receipt an entry, in order. An
// entry that repeats an idempotency key with the same content is answered with
// the receipt of the first time and adds nothing; the caller knows it by the
// receipt's EventID, which is not the entry's.
//
// Errors: work.ErrStale when a client has changed since its entry was
// decided, an *herald.ItemError for a key used before with other content
// (CodeMismatch), CodeUnavailable when the database takes nothing right now.
func (s *Store) Accept(entries []work.PreparedEvent) ([]herald.Receipt, error) {
	k := &request{client: entries[0].Event.ClientID, entries: entries}
	for i := range entries {
		k.rows++
		k.bytes += len(entries[i].Event.Data)
		for j := range entries[i].Alerts {
			k.rows += 1 + len(entries[i].Alerts[j].Items)
			k.bytes += len(entries[i].Alerts[j].Head)
		}
	}
	if err := s.writer.do(k); err != nil {
		return nil, err
	}
	return k.receipts, nil
}
