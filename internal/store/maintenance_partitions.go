package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"

	"herald"
)

// On PostgreSQL history lies in partitions of a week by the time in their ids, so
// that what retention is over for is dropped as a whole: deleting row by row
// would cost as much as writing did. They are made weeks ahead and attached,
// which lets reads and writes go on; a partition that goes is detached
// concurrently, which waits for readers and lets nobody wait.

// partitioned are the tables of history, and the column that each is led by.
var partitioned = map[string]string{"events": "id", "alerts": "id", "deliveries": "id", "attempts": "delivery_id"}

const (
	week = 7 * 24 * time.Hour
	// Partitions are there for ids of other weeks too, because nodes' clocks
	// differ, and because they are to be there when nobody could make them.
	weeksBack  = 1
	weeksAhead = 4
	// partitionPatience bounds each statement that changes partitions: it may
	// have to wait for a reader, and is tried again later.
	partitionPatience = 30 * time.Second
)

// partition is a week of one table, named by its first day.
type partition struct {
	table string
	from  time.Time
}

func (p partition) String() string { return p.table + "_" + p.from.Format("20060102") }

// makePartitions makes what is missing of the weeks around now.
func makePartitions(ctx context.Context, db *sql.DB) error {
	now, err := postgresNow(ctx, db)
	if err != nil {
		return err
	}
	return makePartitionsFrom(ctx, db, fromMicros(now).Add(-weeksBack*week), weeksBack+weeksAhead+1)
}

func makePartitionsFrom(ctx context.Context, db *sql.DB, from time.Time, weeks int) error {
	names, err := list(ctx, db, scanText, `SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relispartition`)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	for table, column := range partitioned {
		for n := range weeks {
			p := partition{table, from.Add(time.Duration(n) * week).Truncate(week)} // a Monday, UTC
			if there[p.String()] {
				continue
			}
			if err := p.make(ctx, db, column); err != nil {
				return fmt.Errorf("make the partition %s: %w", p, err)
			}
		}
	}
	return nil
}

// make makes the table first and attaches it then: a partition that is created
// as one would lock its parent against everybody.
func (p partition) make(ctx context.Context, db *sql.DB, column string) error {
	ctx, cancel := context.WithTimeout(ctx, partitionPatience)
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

// dropPartitions drops the partitions that end before keptFrom. One that a
// reader holds on to for long is left for the next time.
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
	for _, f := range tables {
		name := partitionName.FindStringSubmatch(f.name)
		if name == nil {
			continue
		}
		from, err := time.Parse("20060102", name[2])
		if err != nil || from.Add(week).After(herald.TimeOf(keptFrom)) {
			continue
		}
		if err := (partition{name[1], from}).drop(ctx, db, f.attached, f.pending); err != nil {
			return fmt.Errorf("drop the partition %s: %w", f.name, err)
		}
	}
	return nil
}

// drop takes a partition out and drops it, from wherever an attempt before was
// interrupted.
func (p partition) drop(ctx context.Context, db *sql.DB, attached, pending bool) error {
	ctx, cancel := context.WithTimeout(ctx, partitionPatience)
	defer cancel()
	detach := "CONCURRENTLY"
	if pending {
		detach = "FINALIZE"
	}
	if attached {
		if _, err := db.ExecContext(ctx, fmt.Sprintf(`ALTER TABLE %s DETACH PARTITION %s %s`, p.table, p, detach)); err != nil {
			return because(ctx, err)
		}
	}
	_, err := db.ExecContext(ctx, `DROP TABLE `+p.String())
	return because(ctx, err)
}
