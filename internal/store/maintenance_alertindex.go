package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
)

// segmentAlerts is how many alerts a segment has. A list looks into every segment, and searches
// the alerts that are in none yet one by one: larger segments cost the second more, smaller ones
// the first. A segment is read and written in about 0.1 s.
const segmentAlerts = 20_000

// errIndexMoved says that another node, or a retention that was set back, moved indexed_to.
var errIndexMoved = errors.New("the index of alerts was moved meanwhile")

// IndexAlerts writes one segment of the index of alerts (history_alertindex.go). It returns how
// many alerts are in it; 0 when there are too few for a segment, or when another node was first.
func (s *Store) IndexAlerts(ctx context.Context) (n int, err error) {
	part, alerts, n, err := s.readSegment(ctx)
	if err != nil || n == 0 {
		return 0, s.failed("read alerts for their index", err)
	}
	blocks := pack(byKey(alerts))
	err = s.inTransaction(ctx, "write a segment of the index of alerts", func(ctx context.Context, tx *sql.Tx) error {
		return writeSegment(ctx, tx, part, blocks)
	})
	if errors.Is(err, errIndexMoved) {
		return 0, nil
	}
	return n, err
}

// readSegment returns the next segment's range of ids, its alerts, and how many there are in the range: 0
// when they are too few for a segment. The alerts are without those in late_alerts.
func (s *Store) readSegment(ctx context.Context) (part span, alerts []keyedAlert, n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = s.snapshot(ctx, s.read, func(tx *sql.Tx) error {
		var kept uuid.UUID
		part, err = first(ctx, tx, func(rows *sql.Rows) (p span, err error) {
			err = rows.Scan(&p.from, &p.to, &kept)
			return p, err
		}, `SELECT i.indexed_to, h.tallied_to, h.kept_from FROM alert_index i, history h`)
		if err != nil {
			return err
		}
		search := part
		search.after(kept)
		if few, err := s.segments.stillFew(ctx, tx, search.from); few || err != nil {
			return err
		}
		if alerts, err = list(ctx, tx, scanKeyedAlert, `SELECT id, client_id, company_id, type FROM alerts WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3`,
			search.from[:], search.to[:], s.segmentAlerts); err != nil {
			return err
		}
		if len(alerts) < s.segmentAlerts {
			return s.segments.waitFor(ctx, tx, search.from, s.segmentAlerts-len(alerts))
		}
		n = len(alerts)
		part.to = herald.DeliveryID(alerts[n-1].id, 1) // the next id, which no alert has
		search.to = part.to
		late, err := list(ctx, tx, scanID, `SELECT DISTINCT id FROM late_alerts WHERE id >= $1 AND id < $2 ORDER BY id`, search.from[:], search.to[:])
		alerts = slices.DeleteFunc(alerts, func(a keyedAlert) bool {
			_, isLate := slices.BinarySearchFunc(late, a.id, compareIDs)
			return isLate
		})
		return err
	})
	return part, alerts, n, err
}

func scanKeyedAlert(rows *sql.Rows) (a keyedAlert, err error) {
	err = rows.Scan(&a.id, &a.client, &a.company, &a.kind)
	return a, err
}

// segmentCheck remembers that the alerts for the next segment were too few, so that they are not read again
// before there can be enough.
type segmentCheck struct {
	mu     sync.Mutex
	from   uuid.UUID // where the segment begins
	enough int64     // what the tallies since then must be
}

// stillFew reports that the alerts from an id on are too few as before.
func (c *segmentCheck) stillFew(ctx context.Context, tx *sql.Tx, from uuid.UUID) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from != from || c.enough == 0 {
		return false, nil
	}
	tallied, err := talliedSince(ctx, tx, from)
	return tallied < c.enough, err
}

// waitFor remembers that so many alerts are missing.
func (c *segmentCheck) waitFor(ctx context.Context, tx *sql.Tx, from uuid.UUID, missing int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	tallied, err := talliedSince(ctx, tx, from)
	c.from, c.enough = from, tallied+int64(missing)
	return err
}

// talliedSince returns the tallies since the hour of an id. There are at most as many rows as alerts.
func talliedSince(ctx context.Context, tx *sql.Tx, from uuid.UUID) (int64, error) {
	return first(ctx, tx, scanInt, `SELECT CAST(coalesce(sum(n), 0) AS bigint) FROM tallies WHERE hour >= $1 AND rule_id = $2`,
		micros(herald.TimeOf(from).Truncate(time.Hour)), uuid.Nil[:])
}

// blocksPerStatement is how many rows one INSERT has: PostgreSQL needs a round trip for each, and
// SQLite takes quadratic time to bind many values.
const blocksPerStatement = 32

// writeSegment writes a segment, and moves indexed_to to its end. The error is errIndexMoved when
// the segment does not begin at indexed_to.
func writeSegment(ctx context.Context, tx *sql.Tx, part span, blocks []block) error {
	moved, err := affected(tx.ExecContext(ctx, `UPDATE alert_index SET indexed_to = $1 WHERE indexed_to = $2`, part.to[:], part.from[:]))
	if err != nil {
		return err
	}
	if moved == 0 {
		return errIndexMoved
	}
	id := herald.NewID()
	for len(blocks) > 0 {
		var (
			c    conditions
			rows []string
		)
		for _, b := range blocks[:min(len(blocks), blocksPerStatement)] {
			rows = append(rows, `(`+strings.Join([]string{c.bind(id), c.bind([]byte(b.first)), c.bind(b.keys), c.bind(b.n), c.bind(b.entries)}, ", ")+`)`)
		}
		blocks = blocks[len(rows):]
		if _, err := tx.ExecContext(ctx, `INSERT INTO alert_blocks (segment, first, keys, n, entries) VALUES `+strings.Join(rows, ", "), c.args...); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO alert_segments (id, from_id, to_id) VALUES ($1, $2, $3)`, id[:], part.from[:], part.to[:])
	return err
}

// indexAgain takes the segments with alerts from an id on out of the index, so that IndexAlerts writes
// them again. They become empty ranges, which ExpireAlertIndex deletes.
func indexAgain(ctx context.Context, tx *sql.Tx, from uuid.UUID) error {
	whole, err := first(ctx, tx, scanID, `SELECT to_id FROM alert_segments WHERE to_id <= $1 ORDER BY to_id DESC LIMIT 1`, from[:])
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE alert_index SET indexed_to = $1 WHERE indexed_to > $1`, whole[:]); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE alert_segments SET from_id = $1, to_id = $1 WHERE to_id > $2`, uuid.Nil[:], whole[:])
	return err
}

// ExpireAlertIndex deletes what the index has of history that is not kept any more: in one step one
// segment, and at most step late alerts. It returns how many rows.
func (s *Store) ExpireAlertIndex(ctx context.Context) (n int, err error) {
	err = s.inTransaction(ctx, "delete the index of old alerts", func(ctx context.Context, tx *sql.Tx) error {
		n = 0
		old, err := list(ctx, tx, scanID, `SELECT id FROM alert_segments WHERE to_id <= (SELECT kept_from FROM history) ORDER BY to_id, id LIMIT 1`)
		if err != nil {
			return err
		}
		for _, id := range old {
			for _, text := range []string{`DELETE FROM alert_blocks WHERE segment = $1`, `DELETE FROM alert_segments WHERE id = $1`} {
				deleted, err := affected(tx.ExecContext(ctx, text, id[:]))
				if err != nil {
					return err
				}
				n += int(deleted)
			}
		}
		deleted, err := affected(tx.ExecContext(ctx, `DELETE FROM late_alerts WHERE (key, id) IN (
SELECT key, id FROM late_alerts WHERE id < (SELECT kept_from FROM history) ORDER BY id LIMIT $1)`, step))
		n += int(deleted)
		return err
	})
	return n, err
}

// addLateAlertSQL adds an alert to the index, whether or not its segment is written yet.
const addLateAlertSQL = `INSERT INTO late_alerts (key, id) VALUES ($1, $2)`

// indexLate calls add with the arguments of addLateAlertSQL, for the late alerts of a batch.
func (b *batch) indexLate(add func(args ...any) error) error {
	for _, a := range b.alerts {
		if bytes.Compare(a.ID[:], b.talliedTo[:]) >= 0 {
			continue
		}
		for _, key := range alertKeys(a.event.ClientID, a.event.CompanyID, a.event.Type) {
			if err := add([]byte(key), a.ID[:]); err != nil {
				return err
			}
		}
	}
	return nil
}
