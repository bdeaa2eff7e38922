package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
)

const (
	// slowAfter is how long a delivery waits before its receiver counts as slow.
	slowAfter = time.Minute
	// maxSlowReceivers is how many slow receivers are shown.
	maxSlowReceivers = 5
	// backlogLimit is how many pending deliveries a status counts.
	backlogLimit = herald.MaxBacklog
)

const (
	// backlogSQL counts the oldest deliveries that are pending, at most $1, of each receiver. It reads
	// them once, in the order of the key: so its time has a bound, whatever the queue's length.
	backlogSQL = `SELECT client_id, lane, count(*), coalesce(sum(CASE WHEN node IS NOT NULL THEN 1 ELSE 0 END), 0),
coalesce(sum(CASE WHEN node IS NULL AND due_at <= $2 THEN 1 ELSE 0 END), 0), coalesce(min(CASE WHEN due_at <= $2 THEN due_at END), 0), min(made_at)
FROM (SELECT client_id, lane, node, due_at, made_at FROM queue ORDER BY id LIMIT $1) x GROUP BY client_id, lane`

	lastBackupSQL = `SELECT id FROM audit WHERE client_id IS NULL AND action = $1 ORDER BY id DESC LIMIT 1`
)

// Status returns what the database knows of the service's status: nodes, backlog, slow receivers, size,
// growth and last backup. It reads at most herald.MaxBacklog rows of the queue.
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
	if err := s.backlog(ctx, now, &status); err != nil {
		return status, s.failed("count what is pending", err)
	}
	if status.Database, err = s.size(ctx, s.lists); err != nil {
		return status, s.failed("measure the database", err)
	}
	if err := s.addGrowth(ctx, status.At, status.Database); err != nil {
		return status, s.failed("read how the database has grown", err)
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

// backlog fills in what is pending: in all, by client, and at slow receivers.
func (s *Store) backlog(ctx context.Context, now int64, status *herald.Status) error {
	all, clients := &herald.Backlog{}, map[uuid.UUID]*herald.ClientBacklog{}
	slow, err := list(ctx, s.lists, func(rows *sql.Rows) (r herald.SlowReceiver, err error) {
		var held, ready int
		var due, made int64
		if err := rows.Scan(&r.ClientID, &r.Receiver, &r.Waiting, &held, &ready, &due, &made); err != nil {
			return r, err
		}
		r.Since = fromMicros(made)
		c := clients[r.ClientID]
		if c == nil {
			c = &herald.ClientBacklog{ClientID: r.ClientID}
			clients[r.ClientID] = c
		}
		c.Pending += r.Waiting
		all.Pending, all.Held, all.Ready = all.Pending+r.Waiting, all.Held+held, all.Ready+ready
		if due != 0 {
			c.OldestDue, all.OldestDue = earlier(c.OldestDue, due), earlier(all.OldestDue, due)
		}
		return r, nil
	}, backlogSQL, s.backlogLimit, now)
	if err != nil {
		return err
	}
	all.Waiting, all.AtLeast = all.Pending-all.Held-all.Ready, all.Pending == s.backlogLimit
	slow = slices.DeleteFunc(slow, func(r herald.SlowReceiver) bool { return micros(r.Since) > now-slowAfter.Microseconds() })
	slices.SortFunc(slow, func(a, b herald.SlowReceiver) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), a.Since.Compare(b.Since), bytes.Compare(a.ClientID[:], b.ClientID[:]), cmp.Compare(a.Receiver, b.Receiver))
	})
	for _, c := range clients {
		status.Clients = append(status.Clients, *c)
	}
	slices.SortFunc(status.Clients, func(a, b herald.ClientBacklog) int {
		return cmp.Or(cmp.Compare(b.Pending, a.Pending), bytes.Compare(a.ClientID[:], b.ClientID[:]))
	})
	status.Backlog, status.SlowReceivers = all, slices.Clone(slow[:min(len(slow), maxSlowReceivers)])
	status.Clients = status.Clients[:min(len(status.Clients), herald.MaxBacklogClients)]
	return nil
}

// earlier returns the earlier of two times, of which the first may be nil.
func earlier(t *time.Time, us int64) *time.Time {
	if at := fromMicros(us); t == nil || at.Before(*t) {
		return &at
	}
	return t
}

// size returns the size of the database. SQLite's is that of its files.
func (s *Store) size(ctx context.Context, q querier) (*herald.DatabaseStatus, error) {
	if s.dialect.shared {
		n, err := first(ctx, q, scanInt, `SELECT pg_database_size(current_database())`)
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
