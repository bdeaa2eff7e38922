package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/google/uuid"

	"herald"
	"herald/internal/memory"
)

// Bounds of the answers, in bytes of what is stored. An answer takes about four times as much
// memory while it is made.
const (
	// maxNumberedPage bounds a page with a number. The caller chose its size, so a larger page is
	// refused and not cut.
	maxNumberedPage = 16 << 20
	// maxCursorPage bounds a page with a cursor. It ends where it is full, and the next begins there.
	maxCursorPage = 4 << 20
	// smallData is how much data of an event is read in the same statement as an alert of it. Larger
	// data is read once for all alerts of the event, after the size of the page is known.
	smallData = 4 << 10
)

// pageBytes adds up the sizes of the items of a page with a number.
type pageBytes struct{ items, total, largest int }

// add adds an item. It returns false if the page is too large, so that the item is not kept.
func (p *pageBytes) add(size int) bool {
	p.items++
	p.total += size
	p.largest = max(p.largest, size)
	return p.total <= maxNumberedPage
}

// reserve takes the memory for the page. The error is CodeInvalid for a page that is too large, and
// says which size fits.
func (p *pageBytes) reserve(ctx context.Context) error {
	if p.total > maxNumberedPage {
		return herald.Invalid("pageSize", "The %d results of this page have %d bytes, and a page has at most %d. Ask for fewer: pageSize=%d fits.",
			p.items, p.total, maxNumberedPage, max(1, maxNumberedPage/p.largest))
	}
	return memory.Reserve(ctx, int64(p.total))
}

// listWithin is list for a page with a cursor. It ends before the item with which the page would
// have more than maxCursorPage bytes, but not before the first, and takes the memory for the page.
// scan also returns the size of the item. full says that there is another item.
func listWithin[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, int, error), text string, args ...any) (all []T, full bool, err error) {
	ctx, cancel := withStatementTimeout(ctx, q)
	defer cancel()
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, false, withContextError(ctx, err)
	}
	total := 0
	for rows.Next() {
		one, size, err := scan(rows)
		if err != nil {
			return nil, false, errors.Join(withContextError(ctx, err), rows.Close())
		}
		if full = len(all) > 0 && total+size > maxCursorPage; full {
			break
		}
		total += size
		all = append(all, one)
	}
	if err := withContextError(ctx, errors.Join(rows.Err(), rows.Close())); err != nil {
		return nil, false, err
	}
	return all, full, memory.Reserve(ctx, int64(total))
}

// dataChunk is how many ids one statement of dataOf has: SQLite takes quadratic time to bind many.
const dataChunk = 100

// dataOf returns the data of events.
func dataOf(ctx context.Context, q querier, events []uuid.UUID) (map[uuid.UUID][]byte, error) {
	data := make(map[uuid.UUID][]byte, len(events))
	for len(events) > 0 {
		n := min(len(events), dataChunk)
		var c conditions
		placeholders := make([]string, n)
		for i, id := range events[:n] {
			placeholders[i] = c.bind(id)
		}
		events = events[n:]
		_, err := list(ctx, q, func(rows *sql.Rows) (none struct{}, err error) {
			var (
				id   uuid.UUID
				text []byte
			)
			err = rows.Scan(&id, &text)
			data[id] = text
			return none, err
		}, `SELECT id, data FROM events WHERE id IN (`+strings.Join(placeholders, ", ")+`)`, c.args...)
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}
