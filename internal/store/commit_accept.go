package store

import (
	"herald"
	"herald/internal/work"
)

// Accept stores events with their alerts and deliveries, all or none. It returns when
// they are synced to disk, with one receipt per event, in order. There must be at least
// one event.
//
// An event that repeats an idempotency key with the same content adds nothing and gets
// the receipt of the first use. The caller sees that by the receipt's EventID, which is
// not the event's own.
//
// Errors: work.ErrStale when a client has changed since its event was prepared; a
// *herald.ItemError with CodeMismatch for a key that was used before with other content;
// CodeUnavailable when the database fails or too much waits to be written.
func (s *Store) Accept(events []work.PreparedEvent) ([]herald.Receipt, error) {
	req := &request{client: events[0].Event.ClientID, events: events}
	for i := range events {
		rows, bytes := events[i].Size()
		req.rows += rows
		req.bytes += bytes
	}
	if err := s.writer.do(req); err != nil {
		return nil, err
	}
	return req.receipts, nil
}
