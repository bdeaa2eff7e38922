package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
)

// On PostgreSQL each table of history has one partition per week, by the time in the ids.
// So history older than the retention is dropped a week at a time: deleting it row by row
// would cost as much as writing it did. Partitions are made weeks ahead and then attached,
// which does not block reads and writes. An old partition is detached concurrently, which
// waits for its readers and blocks nobody.

// partitioned maps the tables of history to the column of their partitions.
var partitioned = map[string]string{"events": "id", "alerts": "id", "deliveries": "id", "attempts": "delivery_id"}

const (
	week = 7 * 24 * time.Hour
	// Partitions exist for ids of other weeks too: nodes' clocks differ, and for
	// some weeks it may be impossible to make new ones.
	weeksBack  = 1
	weeksAhead = 4
	// partitionTimeout bounds making or dropping one partition, which may have to
	// wait for a reader. The next Expire tries again.
	partitionTimeout = 30 * time.Second
)

// partition is one week of one table. Its name ends with its first day.
type partition struct {
	table string
	from  time.Time
}

func (p partition) String() string { return p.table + "_" + p.from.Format("20060102") }

// makePartitions makes the missing partitions of the weeks around now, and of the weeks of
// pending deliveries: these could not be recorded without. After a jump of the database's clock,
// now is both the clock that is used and the one that is used next if the jump lasts.
func (s *Store) makePartitions(ctx context.Context, db *sql.DB) error {
	now, err := first(ctx, db, scanInt, `SELECT `+s.dialect.clockSQL)
	if err != nil {
		return err
	}
	around := []time.Time{fromMicros(now)}
	if s.clock != nil { // Migrate has none
		around = append(around, s.clock.Now())
	}
	for _, at := range around {
		if err := makePartitionsFrom(ctx, db, at.Add(-weeksBack*week), weeksBack+weeksAhead+1); err != nil {
			return err
		}
	}
	weeks, err := weeksPending(ctx, db, lastID)
	for _, at := range weeks {
		err = errors.Join(err, makePartitionsFrom(ctx, db, at, 1))
	}
	return err
}

// weeksPending returns the weeks that have pending deliveries with ids before an id. It skips
// from week to week in the queue's key.
func weeksPending(ctx context.Context, db *sql.DB, before uuid.UUID) ([]time.Time, error) {
	var weeks []time.Time
	for after := uuid.Nil; ; {
		id, err := first(ctx, db, scanID, `SELECT id FROM queue WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 1`, after[:], before[:])
		if errors.Is(err, sql.ErrNoRows) {
			return weeks, nil
		}
		if err != nil {
			return weeks, err
		}
		at := herald.TimeOf(id).Truncate(week)
		weeks, after = append(weeks, at), herald.FirstIDAt(at.Add(week))
	}
}

// makePartitionsFrom makes the missing partitions of so many weeks from the week of from.
func makePartitionsFrom(ctx context.Context, db *sql.DB, from time.Time, weeks int) error {
	names, err := list(ctx, db, scanText, `SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relispartition`)
	if err != nil {
		return err
	}
	existing := make(map[string]bool, len(names))
	for _, name := range names {
		existing[name] = true
	}
	for table, column := range partitioned {
		for n := range weeks {
			p := partition{table, from.Add(time.Duration(n) * week).Truncate(week)} // a Monday, UTC
			if existing[p.String()] {
				continue
			}
			if err := p.make(ctx, db, column); err != nil {
				return fmt.Errorf("make the partition %s: %w", p, err)
			}
		}
	}
	return nil
}

// make makes the table first and then attaches it. CREATE TABLE … PARTITION OF would lock
// the parent table against all reads and writes.
func (p partition) make(ctx context.Context, db *sql.DB, column string) error {
	ctx, cancel := context.WithTimeout(ctx, partitionTimeout)
	defer cancel()
	from, to := herald.FirstIDAt(p.from), herald.FirstIDAt(p.from.Add(week))
	_, err := db.ExecContext(ctx, fmt.Sprintf(`DO $$ BEGIN
CREATE TABLE %[1]s (LIKE %[2]s INCLUDING ALL, CONSTRAINT %[1]s_week CHECK (%[3]s >= '%[4]s' AND %[3]s < '%[5]s'));
ALTER TABLE %[2]s ATTACH PARTITION %[1]s FOR VALUES FROM ('%[4]s') TO ('%[5]s');
ALTER TABLE %[1]s DROP CONSTRAINT %[1]s_week;
END $$`, p, p.table, column, from, to))
	return err
}

// partitionName matches the names that partition.String makes.
var partitionName = regexp.MustCompile(`^(events|alerts|deliveries|attempts)_(\d{8})$`)

// dropPartitions drops the partitions that end before keptFrom, except those of weeks that have
// pending deliveries. When a reader blocks one for longer than partitionTimeout, it returns an
// error, and the next call continues there.
func dropPartitions(ctx context.Context, db *sql.DB, keptFrom uuid.UUID) error {
	type found struct {
		name              string
		attached, pending bool
	}
	tables, err := list(ctx, db, func(rows *sql.Rows) (f found, err error) {
		err = rows.Scan(&f.name, &f.attached, &f.pending)
		return f, err
	}, `SELECT c.relname, c.relispartition, coalesce(i.inhdetachpending, false)
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' ORDER BY c.relname`)
	if err != nil {
		return err
	}
	pending, err := weeksPending(ctx, db, keptFrom)
	if err != nil {
		return err
	}
	for _, f := range tables {
		name := partitionName.FindStringSubmatch(f.name)
		if name == nil {
			continue
		}
		from, err := time.Parse("20060102", name[2])
		if err != nil || from.Add(week).After(herald.TimeOf(keptFrom)) || slices.Contains(pending, from) {
			continue
		}
		if err := (partition{name[1], from}).drop(ctx, db, f.attached, f.pending); err != nil {
			return fmt.Errorf("drop the partition %s: %w", f.name, err)
		}
	}
	return nil
}

// drop detaches a partition and drops it. It continues where an earlier, interrupted drop
// stopped: attached says that it is still attached, pending that detaching has begun.
func (p partition) drop(ctx context.Context, db *sql.DB, attached, pending bool) error {
	ctx, cancel := context.WithTimeout(ctx, partitionTimeout)
	defer cancel()
	detach := "CONCURRENTLY"
	if pending {
		detach = "FINALIZE"
	}
	if attached {
		if _, err := db.ExecContext(ctx, fmt.Sprintf(`ALTER TABLE %s DETACH PARTITION %s %s`, p.table, p, detach)); err != nil {
			return withContextError(ctx, err)
		}
	}
	_, err := db.ExecContext(ctx, `DROP TABLE `+p.String())
	return withContextError(ctx, err)
}
