package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"herald"
)

// Every transaction that adds attempts or ends deliveries also adds one row to statistics_log, which
// says what to count. So the counts are exact after a crash and after a lost answer. FoldStatistics
// adds the rows to the table statistics and deletes them:
//
//	results ──▶ statistics_log ──FoldStatistics──▶ statistics
//	            a row a batch                      a row for client, hour, receiver and reason
//
// The writer does not add to statistics itself. Nodes that count for one receiver would wait
// for each other's commits. And PostgreSQL keeps all versions of a row while an old snapshot is
// in use, so each batch would read those of all batches before.

// counting makes a row of statistics_log.
type counting struct {
	now       int64 // of the transaction; entries have their times as differences from it
	slots     map[slot]int
	receivers []byte // those of the entries: client, length, text
	entries   []byte
	last      struct { // the slot of the last entry; the next is often the same
		client  uuid.UUID
		address string
		n       int
	}
}

// slot is what an entry says by a number.
type slot struct {
	client   uuid.UUID
	receiver string // as of herald.ReceiverOf
}

// logVersion begins each row of statistics_log.
const logVersion = 1

// entryKind is the first byte of an entry.
type entryKind byte

const (
	attemptDelivered entryKind = iota
	attemptRetry
	attemptRejected
	attemptUnknown
	deliveryEnded // and the herald.State
)

// attempt adds an entry for a recorded attempt.
func (c *counting) attempt(client uuid.UUID, address string, a *herald.Attempt) {
	kind := attemptUnknown
	switch a.Outcome {
	case herald.OutcomeDelivered:
		kind = attemptDelivered
	case herald.OutcomeRetry:
		kind = attemptRetry
	case herald.OutcomeRejected:
		kind = attemptRejected
	}
	took := time.Duration(a.Timings.Total * float64(time.Millisecond))
	c.entry(kind, client, address, micros(a.At), a.Reason)
	c.entries = append(c.entries, byte(herald.LatencyBucket(took)))
}

// delivery adds an entry for a delivery that ended at a time in microseconds.
func (c *counting) delivery(client uuid.UUID, address string, state herald.State, reason herald.Reason, at int64) {
	c.entry(deliveryEnded+entryKind(state), client, address, at, reason)
}

// entry adds what all entries have.
func (c *counting) entry(kind entryKind, client uuid.UUID, address string, at int64, reason herald.Reason) {
	e := append(c.entries, byte(kind))
	e = binary.AppendUvarint(e, uint64(c.slot(client, address)))
	e = binary.AppendVarint(e, at-c.now)
	e = binary.AppendUvarint(e, uint64(len(reason)))
	c.entries = append(e, reason...)
}

func (c *counting) slot(client uuid.UUID, address string) int {
	if c.slots != nil && c.last.client == client && c.last.address == address {
		return c.last.n
	}
	key := slot{client, herald.ReceiverOf(address)}
	n, known := c.slots[key]
	if !known {
		if c.slots == nil {
			c.slots = make(map[slot]int)
		}
		n = len(c.slots)
		c.slots[key] = n
		c.receivers = append(c.receivers, client[:]...)
		c.receivers = binary.AppendUvarint(c.receivers, uint64(len(key.receiver)))
		c.receivers = append(c.receivers, key.receiver...)
	}
	c.last.client, c.last.address, c.last.n = client, address, n
	return n
}

// header returns the row without its entries.
func (c *counting) header() []byte {
	h := append(make([]byte, 0, 16+len(c.receivers)+len(c.entries)), logVersion)
	h = binary.AppendVarint(h, c.now)
	h = binary.AppendUvarint(h, uint64(len(c.receivers)))
	return append(h, c.receivers...)
}

// row returns the row, or nil if it has no entries.
func (c *counting) row() []byte {
	if len(c.entries) == 0 {
		return nil
	}
	return append(c.header(), c.entries...)
}

// logStatisticsSQL adds a row to statistics_log.
const logStatisticsSQL = `INSERT INTO statistics_log (body) VALUES ($1)`

// save adds the row, if it has entries, in the transaction that it counts.
func (c *counting) save(ctx context.Context, tx *sql.Tx) error {
	row := c.row()
	if row == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, logStatisticsSQL, row)
	return err
}

// addEnded adds a delivery to history, with the attempt that ended it, and counts both.
func (c *counting) addEnded(ctx context.Context, tx *sql.Tx, d *endedDelivery) error {
	c.ended(d)
	_, err := tx.ExecContext(ctx, addDeliverySQL, d.args(c.now)...)
	return err
}

// ended adds the entries for a delivery that ends, and for the attempt that ends it.
func (c *counting) ended(d *endedDelivery) {
	c.delivery(d.client, d.address, d.state, d.reason, c.now)
	if d.by != nil {
		c.attempt(d.client, d.address, d.by)
	}
}

// addAttempt adds an attempt to history, and counts it unless it is there already.
func (c *counting) addAttempt(ctx context.Context, tx *sql.Tx, client uuid.UUID, address string, a *herald.Attempt) error {
	n, err := affected(tx.ExecContext(ctx, addAttemptSQL, a.DeliveryID[:], a.N, micros(a.At), string(a.Outcome), a.Status, string(a.Reason), encodeAttempt(a)))
	if n > 0 {
		c.attempt(client, address, a)
	}
	return err
}

// statisticsKey is the key of a row of statistics. The hour is when it begins, in microseconds.
type statisticsKey struct {
	client   uuid.UUID
	hour     int64
	receiver string
	reason   herald.Reason
}

var errLogRow = errors.New("the row cannot be read")

// sum is the sum of entries. Times are in microseconds, 0 if there is none.
type sum struct {
	herald.Counts          // without its times
	success, failure int64 // the last ones
}

// readLog adds up the entries of a row of statistics_log. sumOf returns the sum for a key.
func readLog(row []byte, sumOf func(statisticsKey) *sum) error {
	r := &logReader{rest: row}
	if r.byte() != logVersion {
		return errLogRow
	}
	now := r.varint()
	slots := readSlots(&logReader{rest: r.bytes(r.uvarint())})
	for len(r.rest) > 0 && !r.failed {
		kind, n, at, reason := entryKind(r.byte()), r.uvarint(), now+r.varint(), r.bytes(r.uvarint())
		if n >= uint64(len(slots)) || kind > deliveryEnded+entryKind(herald.Cancelled) {
			return errLogRow
		}
		bucket := 0
		if kind < deliveryEnded {
			if bucket = int(r.byte()); bucket > len(herald.LatencyBounds) {
				return errLogRow
			}
		}
		if s := &slots[n]; s.sum == nil || at < s.hour || at >= s.hour+time.Hour.Microseconds() || string(reason) != string(s.reason) {
			s.hour, s.reason = micros(fromMicros(at).Truncate(time.Hour)), herald.Reason(reason)
			s.sum = sumOf(statisticsKey{s.client, s.hour, s.receiver, s.reason})
		}
		slots[n].sum.count(kind, bucket, at)
	}
	if r.failed {
		return errLogRow
	}
	return nil
}

// readSlot is a slot and the sum that its last entry was added to.
type readSlot struct {
	slot
	hour   int64
	reason herald.Reason
	sum    *sum
}

func readSlots(r *logReader) (slots []readSlot) {
	for len(r.rest) > 0 && !r.failed {
		var s readSlot
		copy(s.client[:], r.bytes(uint64(len(s.client))))
		s.receiver = string(r.bytes(r.uvarint()))
		slots = append(slots, s)
	}
	return slots
}

// count adds an entry.
func (s *sum) count(kind entryKind, bucket int, at int64) {
	switch kind {
	case attemptDelivered:
		s.Attempts.Delivered++
		s.success = max(s.success, at)
	case attemptRetry:
		s.Attempts.Retry++
		s.failure = max(s.failure, at)
	case attemptRejected:
		s.Attempts.Rejected++
		s.failure = max(s.failure, at)
	case attemptUnknown:
		s.Attempts.Unknown++
		return // nobody knows how long it took
	default:
		s.end(herald.State(kind - deliveryEnded))
		return
	}
	s.Latency[bucket]++
}

func (s *sum) end(state herald.State) {
	switch state {
	case herald.Delivered:
		s.Deliveries.Delivered++
	case herald.Failed:
		s.Deliveries.Failed++
	case herald.Cancelled:
		s.Deliveries.Cancelled++
	}
}

// add adds another sum.
func (s *sum) add(o *sum) {
	s.Add(o.Counts)
	s.success, s.failure = max(s.success, o.success), max(s.failure, o.failure)
}

// logReader reads the parts of a row. After the first part that the row does not have, failed is true
// and all parts are zero.
type logReader struct {
	rest   []byte
	failed bool
}

func (r *logReader) bytes(n uint64) []byte {
	if r.failed || n > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	part := r.rest[:n]
	r.rest = r.rest[n:]
	return part
}

func (r *logReader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *logReader) uvarint() uint64 {
	value, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return value
}

func (r *logReader) varint() int64 {
	value, n := binary.Varint(r.rest)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return value
}
