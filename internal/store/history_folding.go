package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Bounds of one step of FoldStatistics: what it reads of statistics_log, and how many rows of
// statistics it changes. Publishers wait for it on SQLite.
const (
	foldRows  = step
	foldBytes = 4 << 20
	foldKeys  = 1500
)

// floorKept is how long a fold begins where the one before has ended. Rows of other nodes can be
// committed with smaller ids.
const floorKept = time.Minute

// folding is what a node remembers of its folds.
type folding struct {
	mu sync.Mutex
	// floor is the id after which the log is read. On PostgreSQL, deleted rows stay where they are
	// while an old snapshot is in use, and reading would go through them. It holds until floorEnds.
	floor     int64
	floorEnds time.Duration
	// receivers are how many receivers a client may have in an hour: not fewer than it has, see limitReceivers.
	receivers map[clientHour]int
}

type clientHour struct {
	client uuid.UUID
	hour   int64
}

// FoldStatistics adds what transactions have logged to the statistics, in one step. It returns how many
// rows of the log it added if there may be more; 0 means that none are left.
func (s *Store) FoldStatistics(ctx context.Context) (n int, err error) {
	f := &s.folding
	f.mu.Lock()
	defer f.mu.Unlock()
	floor := f.floor
	if now := s.clock.Elapsed(); now >= f.floorEnds || !s.dialect.shared { // SQLite uses ids again
		floor, f.floorEnds = 0, now+floorKept
	}
	var (
		last    int64
		touched map[clientHour]int
	)
	err = s.inTransaction(ctx, "add to the statistics", func(ctx context.Context, tx *sql.Tx) error {
		n, last, touched = 0, floor, nil
		rows, full, err := s.readStatisticsLog(ctx, tx, floor)
		if err != nil || len(rows) == 0 {
			return err
		}
		sums := make(map[statisticsKey]*sum)
		taken := s.sumLog(rows, sums)
		last = taken[len(taken)-1]
		if full || len(taken) < len(rows) {
			n = len(taken)
		}
		keepBusiest(sums)
		var c conditions
		for _, id := range taken {
			c.parts = append(c.parts, c.bind(id))
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM statistics_log WHERE id IN (`+c.list()+`)`, c.args...); err != nil {
			return err
		}
		if touched, err = addStatistics(ctx, tx, sums); err != nil {
			return err
		}
		return f.limitReceivers(ctx, tx, touched)
	})
	if err != nil {
		return 0, err
	}
	f.floor = last
	f.remember(touched)
	return n, nil
}

// logRow is a row of statistics_log.
type logRow struct {
	id   int64
	body []byte
}

// readStatisticsLog reads and locks rows of the log with ids above floor: as many as fit the bounds,
// and one at least if there is any. It leaves out those that another node has locked. full says that there
// may be others.
func (s *Store) readStatisticsLog(ctx context.Context, tx *sql.Tx, floor int64) (found []logRow, full bool, err error) {
	lock := ""
	if s.dialect.shared {
		lock = ` FOR UPDATE SKIP LOCKED`
	}
	type size struct{ id, bytes int64 }
	sizes, err := list(ctx, tx, func(rows *sql.Rows) (z size, err error) {
		err = rows.Scan(&z.id, &z.bytes)
		return z, err
	}, `SELECT id, length(body) FROM statistics_log WHERE id > $1 ORDER BY id LIMIT $2`+lock, floor, foldRows)
	if err != nil || len(sizes) == 0 {
		return nil, false, err
	}
	var c conditions
	full = len(sizes) == foldRows
	total := int64(0)
	for i, z := range sizes {
		if total += z.bytes; i > 0 && total > foldBytes {
			full = true
			break
		}
		c.parts = append(c.parts, c.bind(z.id))
	}
	found, err = list(ctx, tx, func(rows *sql.Rows) (r logRow, err error) {
		err = rows.Scan(&r.id, &r.body)
		return r, err
	}, `SELECT id, body FROM statistics_log WHERE id IN (`+c.list()+`) ORDER BY id`, c.args...)
	return found, full, err
}

// sumLog adds up rows of the log, until a step has enough to write. It returns the ids of those that it
// took. A row that cannot be read counts nothing: it would hold up all others.
func (s *Store) sumLog(rows []logRow, sums map[statisticsKey]*sum) (taken []int64) {
	perHour, keys := make(map[clientHour]int), 0
	for _, row := range rows {
		if keys >= foldKeys {
			break
		}
		taken = append(taken, row.id)
		err := readLog(row.body, func(key statisticsKey) *sum {
			if sums[key] == nil {
				sums[key] = new(sum)
				hour := clientHour{key.client, key.hour}
				if perHour[hour]++; perHour[hour] <= herald.StatisticsReceivers { // more are added up, see keepBusiest
					keys++
				}
			}
			return sums[key]
		})
		if err != nil {
			s.log.Error("a row of the statistics' log cannot be read; what it counts is missing in the statistics", "id", row.id, "error", err)
		}
	}
	return taken
}

// keepBusiest leaves herald.StatisticsReceivers receivers of each client and hour, and adds the others up.
func keepBusiest(sums map[statisticsKey]*sum) {
	busy := make(map[clientHour]map[string]int64)
	for key, c := range sums {
		hour := clientHour{key.client, key.hour}
		if busy[hour] == nil {
			busy[hour] = make(map[string]int64)
		}
		busy[hour][key.receiver] += c.Attempts.Total() + c.Deliveries.Total()
	}
	others := make(map[clientHour]map[string]bool)
	for hour, receivers := range busy {
		if delete(receivers, herald.OtherReceivers); len(receivers) <= herald.StatisticsReceivers {
			continue
		}
		order := slices.SortedFunc(maps.Keys(receivers), func(a, b string) int {
			return cmp.Or(cmp.Compare(receivers[b], receivers[a]), cmp.Compare(a, b))
		})
		others[hour] = make(map[string]bool)
		for _, receiver := range order[herald.StatisticsReceivers:] {
			others[hour][receiver] = true
		}
	}
	for key, c := range sums {
		if !others[clientHour{key.client, key.hour}][key.receiver] {
			continue
		}
		delete(sums, key)
		key.receiver = herald.OtherReceivers
		if sums[key] == nil {
			sums[key] = new(sum)
		}
		sums[key].add(c)
	}
}

// addStatistics adds to rows of statistics. It returns how many receivers it counted for, by client
// and hour.
func addStatistics(ctx context.Context, tx *sql.Tx, sums map[statisticsKey]*sum) (touched map[clientHour]int, err error) {
	add, err := tx.PrepareContext(ctx, addStatisticsSQL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, add.Close()) }()
	touched = make(map[clientHour]int)
	receiver := slot{}
	// All nodes use the same order, so that they do not deadlock.
	for _, key := range slices.SortedFunc(maps.Keys(sums), statisticsKey.compare) {
		hour := clientHour{key.client, key.hour}
		if at := (slot{key.client, key.receiver}); at != receiver || touched[hour] == 0 {
			receiver = at
			touched[hour]++
		}
		if _, err := add.ExecContext(ctx, statisticsArgs(key, sums[key])...); err != nil {
			return nil, err
		}
	}
	return touched, nil
}

func (k statisticsKey) compare(o statisticsKey) int {
	return cmp.Or(bytes.Compare(k.client[:], o.client[:]), cmp.Compare(k.hour, o.hour), cmp.Compare(k.receiver, o.receiver), cmp.Compare(k.reason, o.reason))
}

const addStatisticsSQL = `INSERT INTO statistics (client_id, hour, receiver, reason,
attempts_delivered, attempts_retry, attempts_rejected, attempts_unknown, deliveries_delivered, deliveries_failed, deliveries_cancelled,
latency_0, latency_1, latency_2, latency_3, latency_4, latency_5, latency_6, latency_7, latency_8, latency_9, latency_10, latency_11, latency_12,
last_success, last_failure)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
ON CONFLICT (client_id, hour, receiver, reason) DO UPDATE SET
attempts_delivered = statistics.attempts_delivered + excluded.attempts_delivered,
attempts_retry = statistics.attempts_retry + excluded.attempts_retry,
attempts_rejected = statistics.attempts_rejected + excluded.attempts_rejected,
attempts_unknown = statistics.attempts_unknown + excluded.attempts_unknown,
deliveries_delivered = statistics.deliveries_delivered + excluded.deliveries_delivered,
deliveries_failed = statistics.deliveries_failed + excluded.deliveries_failed,
deliveries_cancelled = statistics.deliveries_cancelled + excluded.deliveries_cancelled,
latency_0 = statistics.latency_0 + excluded.latency_0, latency_1 = statistics.latency_1 + excluded.latency_1,
latency_2 = statistics.latency_2 + excluded.latency_2, latency_3 = statistics.latency_3 + excluded.latency_3,
latency_4 = statistics.latency_4 + excluded.latency_4, latency_5 = statistics.latency_5 + excluded.latency_5,
latency_6 = statistics.latency_6 + excluded.latency_6, latency_7 = statistics.latency_7 + excluded.latency_7,
latency_8 = statistics.latency_8 + excluded.latency_8, latency_9 = statistics.latency_9 + excluded.latency_9,
latency_10 = statistics.latency_10 + excluded.latency_10, latency_11 = statistics.latency_11 + excluded.latency_11,
latency_12 = statistics.latency_12 + excluded.latency_12,
last_success = CASE WHEN excluded.last_success > statistics.last_success THEN excluded.last_success ELSE statistics.last_success END,
last_failure = CASE WHEN excluded.last_failure > statistics.last_failure THEN excluded.last_failure ELSE statistics.last_failure END`

func statisticsArgs(key statisticsKey, c *sum) []any {
	args := append(make([]any, 0, 26), key.client[:], key.hour, key.receiver, string(key.reason),
		c.Attempts.Delivered, c.Attempts.Retry, c.Attempts.Rejected, c.Attempts.Unknown, c.Deliveries.Delivered, c.Deliveries.Failed, c.Deliveries.Cancelled)
	for _, n := range c.Latency {
		args = append(args, n)
	}
	return append(args, c.success, c.failure)
}

// columns returns where to scan the counts of a row of statistics.
func (s *sum) columns() []any {
	c := &s.Counts
	into := []any{&c.Attempts.Delivered, &c.Attempts.Retry, &c.Attempts.Rejected, &c.Attempts.Unknown,
		&c.Deliveries.Delivered, &c.Deliveries.Failed, &c.Deliveries.Cancelled}
	for i := range c.Latency {
		into = append(into, &c.Latency[i])
	}
	return append(into, &s.success, &s.failure)
}

// counts returns the sum with its times.
func (s *sum) counts() herald.Counts {
	c := s.Counts
	if s.success != 0 {
		c.LastSuccess = fromMicros(s.success).UTC()
	}
	if s.failure != 0 {
		c.LastFailure = fromMicros(s.failure).UTC()
	}
	return c
}

// limitReceivers adds the least busy receivers of a client and hour to the others, where the client has
// more than herald.StatisticsReceivers. It counts them only where there may be that many.
func (f *folding) limitReceivers(ctx context.Context, tx *sql.Tx, touched map[clientHour]int) error {
	for _, hour := range slices.SortedFunc(maps.Keys(touched), clientHour.compare) {
		if known, found := f.receivers[hour]; found && known+touched[hour] <= herald.StatisticsReceivers {
			touched[hour] += known
			continue
		}
		n, err := first(ctx, tx, scanInt, `SELECT count(DISTINCT receiver) FROM statistics WHERE client_id = $1 AND hour = $2 AND receiver <> ''`, hour.client[:], hour.hour)
		if err != nil {
			return err
		}
		touched[hour] = int(n)
		if n <= herald.StatisticsReceivers {
			continue
		}
		if err := addToOthers(ctx, tx, hour, n-herald.StatisticsReceivers); err != nil {
			return err
		}
		touched[hour] = herald.StatisticsReceivers
	}
	return nil
}

func (h clientHour) compare(o clientHour) int {
	return cmp.Or(bytes.Compare(h.client[:], o.client[:]), cmp.Compare(h.hour, o.hour))
}

// addToOthers adds the n least busy receivers of a client and hour to the others.
func addToOthers(ctx context.Context, tx *sql.Tx, hour clientHour, n int64) error {
	least, err := list(ctx, tx, scanText, `SELECT receiver FROM statistics WHERE client_id = $1 AND hour = $2 AND receiver <> '' GROUP BY receiver
ORDER BY sum(attempts_delivered + attempts_retry + attempts_rejected + attempts_unknown + deliveries_delivered + deliveries_failed + deliveries_cancelled), receiver
LIMIT $3`, hour.client[:], hour.hour, n)
	if err != nil {
		return err
	}
	slices.Sort(least) // the order of addStatistics
	sums := make(map[statisticsKey]*sum)
	for _, receiver := range least {
		_, err := list(ctx, tx, func(rows *sql.Rows) (none struct{}, err error) {
			var (
				deleted sum
				key     = statisticsKey{hour.client, hour.hour, herald.OtherReceivers, ""}
			)
			if err := rows.Scan(append([]any{&key.reason}, deleted.columns()...)...); err != nil {
				return none, err
			}
			if sums[key] == nil {
				sums[key] = new(sum)
			}
			sums[key].add(&deleted)
			return none, nil
		}, `DELETE FROM statistics WHERE client_id = $1 AND hour = $2 AND receiver = $3 RETURNING reason,
attempts_delivered, attempts_retry, attempts_rejected, attempts_unknown, deliveries_delivered, deliveries_failed, deliveries_cancelled,
latency_0, latency_1, latency_2, latency_3, latency_4, latency_5, latency_6, latency_7, latency_8, latency_9, latency_10, latency_11, latency_12,
last_success, last_failure`, hour.client[:], hour.hour, receiver)
		if err != nil {
			return err
		}
	}
	_, err = addStatistics(ctx, tx, sums)
	return err
}

// maxRemembered bounds the map of folding. What is not in it is counted.
const maxRemembered = 10000

func (f *folding) remember(touched map[clientHour]int) {
	if f.receivers == nil || len(f.receivers)+len(touched) > maxRemembered {
		f.receivers = make(map[clientHour]int)
	}
	maps.Copy(f.receivers, touched)
}
