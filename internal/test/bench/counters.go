package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// counters are what a PostgreSQL server has counted since its start, in the order of countersSQL.
type counters [9]float64

const (
	countersSQL = `SELECT w.wal_bytes, w.wal_records, w.wal_fpi, w.wal_sync, d.xact_commit, d.tup_inserted, d.tup_updated, d.tup_deleted, pg_database_size(d.datid)
FROM pg_stat_wal w, pg_stat_database d WHERE d.datname = current_database()`
	countersHeading = "for each delivery\tlog bytes\tlog records\tfull pages\tlog syncs\ttransactions\trows added\tchanged\tremoved\tbytes stored"
)

// flushed is how long a server may take to add the counts of an idle connection (PGSTAT_IDLE_INTERVAL is
// 10 s).
const flushed = 11 * time.Second

// counting prints what the server counts for each delivery of a run. Without -counters it does nothing.
type counting struct {
	service *service
	last    counters
	text    bytes.Buffer
}

func newCounting(ctx context.Context, s *service, o options) (c *counting, err error) {
	c = &counting{service: s}
	if !o.counters {
		c.service = nil
		return c, nil
	}
	if s.server == nil {
		return nil, errors.New("-counters is for -postgres")
	}
	c.last, err = c.read(ctx)
	return c, err
}

// read reads the counters when the counts of all connections are in them.
func (c *counting) read(ctx context.Context) (now counters, err error) {
	select {
	case <-ctx.Done():
		return now, ctx.Err()
	case <-time.After(flushed):
	}
	db, err := sql.Open("pgx", c.service.database)
	if err != nil {
		return now, err
	}
	into := make([]any, len(now))
	for i := range now {
		into[i] = &now[i]
	}
	return now, errors.Join(db.QueryRowContext(ctx, countersSQL).Scan(into...), db.Close())
}

// add adds a row for a run that has ended.
func (c *counting) add(ctx context.Context, name string, deliveries int) error {
	if c.service == nil {
		return nil
	}
	now, err := c.read(ctx)
	if err != nil {
		return err
	}
	c.text.WriteString(name)
	for i := range now {
		fmt.Fprintf(&c.text, "\t%.4g", (now[i]-c.last[i])/float64(deliveries))
	}
	c.text.WriteByte('\n')
	c.last = now
	return nil
}

func (c *counting) print(out io.Writer) error {
	if c.service == nil {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\n%s\n%s", countersHeading, c.text.String())
	return table.Flush()
}
