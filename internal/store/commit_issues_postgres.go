package store

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"herald"
)

// On PostgreSQL the batch's first round trip reads the open rows of its receivers (findOpenIssues), and
// its second changes them (issues). What a result may change is known only in the second: a result that
// is recorded again, or too late, moves no delivery. So the statements look whether this very
// transaction has moved it: xmin is the transaction that wrote a row.

func findOpenIssues(p *pgx.Batch, c *issueChanges, open *openIssues) {
	all, keys := c.receivers()
	clients := make([]uuid.UUID, len(all))
	for i, at := range all {
		clients[i] = at.client
	}
	queueList(p, func(rows pgx.Rows) error {
		var (
			n      int
			reason herald.Reason
			id     uuid.UUID
		)
		if err := rows.Scan(&n, &reason, &id); err != nil {
			return err
		}
		open.add(all[n-1], reason, id)
		return nil
	}, `SELECT r.n, i.reason, i.id FROM unnest($1::uuid[], $2::bytea[]) WITH ORDINALITY r(client_id, receiver_key, n),
LATERAL (SELECT i.reason, i.id FROM issues i WHERE i.client_id = r.client_id AND i.receiver_key = r.receiver_key AND i.ended_at IS NULL LIMIT 100) i`,
		uuids(clients), keys)
	failing := c.failingClients()
	if len(failing) == 0 {
		return
	}
	queueList(p, func(rows pgx.Rows) error {
		var (
			client uuid.UUID
			n      int
		)
		err := rows.Scan(&client, &n)
		open.room[client] = herald.MaxOpenIssues - n
		return err
	}, `SELECT c.id, (SELECT count(*) FROM (SELECT 1 FROM issues i WHERE i.client_id = c.id AND i.ended_at IS NULL LIMIT $2) x)
FROM unnest($1::uuid[]) c(id)`, uuids(failing), herald.MaxOpenIssues)
}

// issues changes the rows of issues. Nodes lock them in one order: first the known ones by id, then
// the others by their keys.
func (t *postgresWriting) issues() {
	c := issueChangesOf(t.results)
	if len(c.failures) == 0 && len(t.open.ids) == 0 {
		return
	}
	if len(t.open.ids) > 1 {
		ids := make([]uuid.UUID, 0, len(t.open.ids))
		for _, id := range t.open.ids {
			ids = append(ids, id)
		}
		t.Queue(`SELECT id FROM issues WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`, uuids(ids))
	}
	before, after := c.parts()
	t.addFailures(before)
	t.endIssues(c.successes)
	t.addFailures(after)
}

func (t *postgresWriting) addFailures(failures []failure) {
	if len(failures) == 0 {
		return
	}
	t.open.place(failures)
	var (
		ids, clients, keys, deliveries [][]byte
		addresses, reasons             []string
		notifications, tried, ended    []bool
		statuses, made                 []int64
	)
	for i := range failures {
		f := &failures[i]
		id, key := t.ids.New(), f.key()
		ids, clients, keys = append(ids, id[:]), append(clients, f.client[:]), append(keys, key[:])
		deliveries, addresses, reasons = append(deliveries, f.delivery[:]), append(addresses, f.address), append(reasons, string(f.reason))
		notifications, tried, ended = append(notifications, f.notification), append(tried, f.attempted), append(ended, f.failed)
		statuses, made = append(statuses, int64(f.status)), append(made, f.madeAt)
	}
	t.Queue(postgresAddFailuresSQL, ids, clients, keys, deliveries, addresses, reasons, notifications, tried, ended, statuses, made, t.now)
}

const postgresAddFailuresSQL = `INSERT INTO issues (id, client_id, receiver_key, receiver, notification, reason, began_at, last_at,
attempts, failed, made_from, last_delivery, last_status)
SELECT (array_agg(id ORDER BY n))[1], client_id, receiver_key, min(receiver), bool_or(notification), reason, $12, $12,
count(*) FILTER (WHERE tried), count(*) FILTER (WHERE ended), min(made_at), (array_agg(delivery_id ORDER BY n DESC))[1], (array_agg(status ORDER BY n DESC))[1]
FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::uuid[], $5::text[], $6::text[], $7::boolean[], $8::boolean[], $9::boolean[], $10::bigint[], $11::bigint[])
WITH ORDINALITY r(id, client_id, receiver_key, delivery_id, receiver, reason, notification, tried, ended, status, made_at, n)
WHERE CASE WHEN ended THEN EXISTS (SELECT 1 FROM deliveries d WHERE d.id = r.delivery_id AND d.xmin = pg_current_xact_id()::xid)
ELSE EXISTS (SELECT 1 FROM queue q WHERE q.id = r.delivery_id AND q.xmin = pg_current_xact_id()::xid) END
GROUP BY client_id, receiver_key, reason ORDER BY client_id, receiver_key, reason` + onOpenIssue

func (t *postgresWriting) endIssues(successes []success) {
	var clients, keys, deliveries [][]byte
	for i := range successes {
		s := &successes[i]
		if !t.open.of[s.receiver] {
			continue
		}
		key := s.key()
		clients, keys, deliveries = append(clients, s.client[:]), append(keys, key[:]), append(deliveries, s.delivery[:])
	}
	if len(clients) > 0 {
		t.Queue(postgresEndIssuesSQL, clients, keys, deliveries, t.now)
	}
}

// A condition on ended_at outside would let the plan read all open rows.
const postgresEndIssuesSQL = `UPDATE issues SET ended_at = coalesce(ended_at, $4) WHERE id = ANY(ARRAY(
SELECT i.id FROM unnest($1::uuid[], $2::bytea[], $3::uuid[]) r(client_id, receiver_key, delivery_id),
LATERAL (SELECT i.id FROM issues i WHERE i.client_id = r.client_id AND i.receiver_key = r.receiver_key AND i.ended_at IS NULL LIMIT 100) i
WHERE (EXISTS (SELECT 1 FROM deliveries d WHERE d.id = r.delivery_id AND d.xmin = pg_current_xact_id()::xid)) IS TRUE))`
