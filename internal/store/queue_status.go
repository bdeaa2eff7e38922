package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"herald"
)

const (
	// slowAfter is how long a delivery waits before its receiver counts as slow.
	slowAfter = time.Minute
	// maxSlowReceivers is how many slow receivers are shown.
	maxSlowReceivers = 5
)

// The oldest deliveries that are pending, at most $1, are read in the order of the key: so the time that
// the statements take has a bound, whatever the queue's length.
const (
	backlogSQL = `SELECT count(*), coalesce(sum(CASE WHEN node IS NOT NULL THEN 1 ELSE 0 END), 0),
coalesce(sum(CASE WHEN node IS NULL AND due_at <= $2 THEN 1 ELSE 0 END), 0), coalesce(min(CASE WHEN due_at <= $2 THEN due_at END), 0)
FROM (SELECT node, due_at FROM queue ORDER BY id LIMIT $1) x`

	// clientBacklogSQL lists the clients with most of them; at most $3.
	clientBacklogSQL = `SELECT client_id, count(*), coalesce(min(CASE WHEN due_at <= $2 THEN due_at END), 0)
FROM (SELECT client_id, due_at FROM queue ORDER BY id LIMIT $1) x GROUP BY client_id ORDER BY count(*) DESC, client_id LIMIT $3`

	slowSQL = `SELECT client_id, lane, count(*), min(made_at)
FROM (SELECT client_id, lane, made_at FROM queue ORDER BY id LIMIT $1) x
GROUP BY client_id, lane HAVING min(made_at) <= $2 ORDER BY count(*) DESC, min(made_at), client_id, lane LIMIT $3`

	lastBackupSQL = `SELECT id FROM audit WHERE client_id IS NULL AND action = $1 ORDER BY id DESC LIMIT 1`
)

// Status returns what the database knows of the service's status: nodes, backlog, slow receivers, size and
// last backup. It reads at most herald.MaxBacklog rows of the queue.
func (s *Store) Status(ctx context.Context) (status herald.Status, err error) {
	ctx, done, err := s.readTurn(ctx, uuid.Nil)
	if err != nil {
		return status, err
	}
	defer done()
	now, err := s.now(ctx, s.lists)
	if err != nil {
		return status, s.failed("read the clock", err)
	}
	status.At = fromMicros(now)
	nodes, err := first(ctx, s.lists, scanInt, `SELECT count(*) FROM nodes`)
	if err != nil {
		return status, s.failed("count the nodes", err)
	}
	status.Nodes = int(nodes)
	if status.Backlog, err = s.backlog(ctx, now); err != nil {
		return status, s.failed("count what is pending", err)
	}
	if status.Clients, err = s.clientBacklogs(ctx, now); err != nil {
		return status, s.failed("count what is pending of each client", err)
	}
	status.SlowReceivers, err = list(ctx, s.lists, func(rows *sql.Rows) (r herald.SlowReceiver, err error) {
		var since int64
		err = rows.Scan(&r.ClientID, &r.Receiver, &r.Waiting, &since)
		r.Since = fromMicros(since)
		return r, err
	}, slowSQL, herald.MaxBacklog, now-slowAfter.Microseconds(), maxSlowReceivers)
	if err != nil {
		return status, s.failed("list slow receivers", err)
	}
	if status.Database, err = s.size(ctx); err != nil {
		return status, s.failed("measure the database", err)
	}
	taken, err := first(ctx, s.lists, scanID, lastBackupSQL, string(herald.BackupTaken))
	if err == nil {
		at := herald.TimeOf(taken)
		status.LastBackup = &at
	} else if !errors.Is(err, sql.ErrNoRows) {
		return status, s.failed("look for the last backup", err)
	}
	return status, nil
}

func (s *Store) backlog(ctx context.Context, now int64) (*herald.Backlog, error) {
	return first(ctx, s.lists, func(rows *sql.Rows) (*herald.Backlog, error) {
		var b herald.Backlog
		var oldest int64
		err := rows.Scan(&b.Pending, &b.Held, &b.Ready, &oldest)
		b.Waiting, b.AtLeast = b.Pending-b.Held-b.Ready, b.Pending == herald.MaxBacklog
		if oldest != 0 {
			at := fromMicros(oldest)
			b.OldestDue = &at
		}
		return &b, err
	}, backlogSQL, herald.MaxBacklog, now)
}

func (s *Store) clientBacklogs(ctx context.Context, now int64) ([]herald.ClientBacklog, error) {
	return list(ctx, s.lists, func(rows *sql.Rows) (b herald.ClientBacklog, err error) {
		var oldest int64
		err = rows.Scan(&b.ClientID, &b.Pending, &oldest)
		if oldest != 0 {
			at := fromMicros(oldest)
			b.OldestDue = &at
		}
		return b, err
	}, clientBacklogSQL, herald.MaxBacklog, now, herald.MaxBacklogClients)
}

// size returns the size of the database. SQLite's is that of its files.
func (s *Store) size(ctx context.Context) (*herald.DatabaseStatus, error) {
	if s.dialect.shared {
		n, err := first(ctx, s.lists, scanInt, `SELECT pg_database_size(current_database())`)
		return &herald.DatabaseStatus{Kind: "PostgreSQL", Bytes: n}, err
	}
	d := &herald.DatabaseStatus{Kind: "SQLite"}
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		info, err := os.Stat(filepath.Join(s.options.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return d, err
		}
		d.Bytes += info.Size()
	}
	return d, nil
}

// Owner returns the client of an event, or of the event that an alert or a delivery comes from. The error
// is CodeNotFound when there is none.
func (s *Store) Owner(ctx context.Context, id uuid.UUID) (uuid.UUID, error) {
	ctx, done, err := s.readTurn(ctx, uuid.Nil)
	if err != nil {
		return uuid.Nil, err
	}
	defer done()
	event := herald.EventOf(id)
	owner, err := first(ctx, s.lists, scanID, `SELECT client_id FROM events WHERE id = $1`, s.withCachedPlan(event[:])...)
	if errors.Is(err, sql.ErrNoRows) {
		return uuid.Nil, herald.Errorf(herald.CodeNotFound, "Nothing was found with ID %s", id)
	}
	return owner, s.failed("look for the client of an id", err)
}
