package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"herald"
)

// The index of alerts finds the alerts of a company, of a type, or of both, and counts them. A row or
// an entry of a plain index for each would cost publishing too much. So IndexAlerts writes the index
// later and in bulk, in segments of 20,000 alerts of all clients, in the order of their ids:
//
//	kept_from                                        indexed_to    tallied_to  now
//	    │ segment │ segment │ segment │ … │ segment │     │      open     │
//
// The blocks of a segment (history_alertblocks.go) are written once, and sorted by key, so that a list
// reads one block of each segment, or few. Open alerts, which are in no segment yet, are searched one by one.
//
// A late alert (history_tallies.go) may belong to a segment that is written. Its own batch
// adds it to late_alerts, and no segment has it. indexed_to is never after tallied_to, so each alert
// with an id before indexed_to is either in a segment or in late_alerts.

// openLimit is how many open alerts of a client a list searches at most. They are more only while the
// index is being made, or while more are published than it can take.
const openLimit = 100_000

// run is a range of ids with alerts of one set. Runs are in the order of their ids and do not overlap.
type run struct {
	span
	n       int
	segment uuid.UUID   // has more of the alerts than ids; uuid.Nil: it has not
	ids     []uuid.UUID // in their order
}

// indexed are the alerts of a set in a span of ids, as the index has them.
type indexed struct {
	set alertSet
	span
	runs []run
	// indexedTo is the id from which on alerts are open. They are in runs after addOpen.
	indexedTo uuid.UUID
}

func (k *indexed) total() (n int) {
	for i := range k.runs {
		n += k.runs[i].n
	}
	return n
}

// blocksOf is the condition on the blocks b that may have keys from $1 to before $2 of a segment.
const blocksOf = `b.first < $2 AND b.first >= coalesce((SELECT x.first FROM alert_blocks x WHERE x.segment = %s AND x.first <= $1 ORDER BY x.first DESC LIMIT 1), $1)`

// findIndexed returns the alerts of a set in a span, without those that are open.
func findIndexed(ctx context.Context, q querier, set alertSet, ids span) (*indexed, error) {
	k := &indexed{set: set, span: ids}
	from, to := set.keys()
	var err error
	if k.indexedTo, err = first(ctx, q, scanID, `SELECT indexed_to FROM alert_index`); err != nil {
		return nil, err
	}
	ids.before(k.indexedTo)
	late, err := list(ctx, q, scanID, `SELECT id FROM late_alerts WHERE key >= $1 AND key < $2 AND NOT id < $3 AND NOT id >= $4`, // "NOT" keeps SQLite from the index by id
		[]byte(from), []byte(to), ids.from[:], ids.to[:])
	if err != nil {
		return nil, err
	}
	slices.SortFunc(late, compareIDs)
	runs, err := findRuns(ctx, q, set, ids)
	for _, r := range runs {
		n, _ := slices.BinarySearchFunc(late, r.from, compareIDs)
		k.addIDs(late[:n])
		late = late[n:]
		n, _ = slices.BinarySearchFunc(late, r.to, compareIDs)
		if err := k.add(ctx, q, r, late[:n]); err != nil {
			return nil, err
		}
		late = late[n:]
	}
	k.addIDs(late)
	return k, err
}

// findRuns returns a run for each segment that has alerts of the set. A block with one key may be large.
// If it has alerts of the set, it has nothing else, and is read only where its ids are needed.
func findRuns(ctx context.Context, q querier, set alertSet, ids span) (runs []run, err error) {
	from, to := set.keys()
	_, err = list(ctx, q, func(rows *sql.Rows) (none struct{}, err error) {
		var (
			r              run
			first, entries []byte
		)
		if err := rows.Scan(&r.segment, &r.from, &r.to, &first, &r.n, &entries); err != nil {
			return none, err
		}
		if len(runs) == 0 || runs[len(runs)-1].to != r.to {
			runs = append(runs, run{span: r.span})
		}
		of := &runs[len(runs)-1]
		if entries == nil && string(first) >= from {
			of.n, of.segment = of.n+r.n, r.segment
			return none, nil
		}
		known := len(of.ids)
		of.ids, err = find(of.ids, entries, from, to)
		of.n += len(of.ids) - known
		return none, err
	}, `SELECT s.id, s.from_id, s.to_id, b.first, b.n, CASE WHEN b.keys > 1 THEN b.entries END
FROM alert_segments s JOIN alert_blocks b ON b.segment = s.id AND `+fmt.Sprintf(blocksOf, "s.id")+`
WHERE s.to_id > $3 AND s.from_id < $4 ORDER BY s.to_id, b.first`, []byte(from), []byte(to), ids.from[:], ids.to[:])
	return slices.DeleteFunc(runs, func(r run) bool { return r.n == 0 }), err
}

// add adds the run of a segment with the late alerts in its range.
func (k *indexed) add(ctx context.Context, q querier, r run, late []uuid.UUID) error {
	whole := bytes.Compare(r.from[:], k.from[:]) >= 0 && bytes.Compare(r.to[:], k.to[:]) <= 0
	if r.segment != uuid.Nil && whole {
		r.ids, r.n = late, r.n+len(late)
		k.runs = append(k.runs, r)
		return nil
	}
	if r.segment != uuid.Nil {
		ids, err := k.idsIn(ctx, q, r.segment)
		if err != nil {
			return err
		}
		r.ids = ids
	}
	k.addIDs(sorted(r.ids, late))
	return nil
}

// addIDs adds a run of those ids that are in the span.
func (k *indexed) addIDs(ids []uuid.UUID) {
	from, _ := slices.BinarySearchFunc(ids, k.from, compareIDs)
	to, _ := slices.BinarySearchFunc(ids, k.to, compareIDs)
	if ids = ids[from:max(from, to)]; len(ids) > 0 {
		k.runs = append(k.runs, run{span: span{ids[0], herald.DeliveryID(ids[len(ids)-1], 1)}, n: len(ids), ids: ids})
	}
}

// addOpen adds the open alerts. It reports false, and adds none, when the client has more than openLimit
// of them in the span, whether in the set or not.
func (s *Store) addOpen(ctx context.Context, q querier, k *indexed) (bool, error) {
	open := k.span
	open.after(k.indexedTo)
	n, err := first(ctx, q, scanInt, `SELECT count(*) FROM (SELECT a.id FROM alerts a WHERE a.client_id = $1 AND a.id >= $2 AND a.id < $3 ORDER BY a.id LIMIT $4) x`,
		k.set.client[:], open.from[:], open.to[:], s.openLimit+1)
	if err != nil || int(n) > s.openLimit {
		return false, err
	}
	var c conditions
	k.set.conditions(&c)
	c.add("a.id >= %s", open.from)
	c.add("a.id < %s", open.to)
	ids, err := list(ctx, q, scanID, `SELECT a.id FROM alerts a WHERE `+c.where()+` ORDER BY a.id`, c.args...)
	k.addIDs(ids)
	return true, err
}

// idsOf returns the ids of a run's alerts.
func (k *indexed) idsOf(ctx context.Context, q querier, r run) ([]uuid.UUID, error) {
	if r.segment == uuid.Nil {
		return r.ids, nil
	}
	ids, err := k.idsIn(ctx, q, r.segment)
	return sorted(ids, r.ids), err
}

// idsIn returns the ids that a segment has of the set.
func (k *indexed) idsIn(ctx context.Context, q querier, segment uuid.UUID) (ids []uuid.UUID, err error) {
	from, to := k.set.keys()
	_, err = list(ctx, q, func(rows *sql.Rows) (none struct{}, err error) {
		entries, err := scanBytes(rows)
		if err == nil {
			ids, err = find(ids, entries, from, to)
		}
		return none, err
	}, `SELECT b.entries FROM alert_blocks b WHERE b.segment = $3 AND `+fmt.Sprintf(blocksOf, "$3"), []byte(from), []byte(to), segment[:])
	return ids, err
}

// pick returns up to limit ids after the first skip, in the order of the ids or in the opposite one.
func (k *indexed) pick(ctx context.Context, q querier, desc bool, skip, limit int) ([]uuid.UUID, error) {
	var picked []uuid.UUID
	for i := range k.runs {
		r := k.runs[i]
		if desc {
			r = k.runs[len(k.runs)-1-i]
		}
		if skip >= r.n {
			skip -= r.n
			continue
		}
		ids, err := k.idsOf(ctx, q, r)
		if err != nil {
			return nil, err
		}
		if desc {
			ids = slices.Clone(ids)
			slices.Reverse(ids)
		}
		picked = append(picked, ids[min(skip, len(ids)):]...)
		if skip = 0; len(picked) >= limit {
			return picked[:limit], nil
		}
	}
	return picked, nil
}

// before returns the n newest ids before another, the newest first.
func (k *indexed) before(ctx context.Context, q querier, id uuid.UUID, n int) ([]uuid.UUID, error) {
	older := indexed{set: k.set}
	for _, r := range k.runs {
		if bytes.Compare(r.to[:], id[:]) <= 0 {
			older.runs = append(older.runs, r)
			continue
		}
		if bytes.Compare(r.from[:], id[:]) < 0 {
			ids, err := k.idsOf(ctx, q, r)
			if err != nil {
				return nil, err
			}
			older.span = span{to: id}
			older.addIDs(ids)
		}
		break
	}
	return older.pick(ctx, q, true, 0, n)
}

func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// sorted returns the ids of both, in their order.
func sorted(a, b []uuid.UUID) []uuid.UUID {
	all := slices.Concat(a, b)
	slices.SortFunc(all, compareIDs)
	return all
}

// jsonIDs returns ids as the parameter of dialect.idList.
func jsonIDs(ids []uuid.UUID) string {
	text, _ := json.Marshal(ids) // ids have no error
	return string(text)
}
