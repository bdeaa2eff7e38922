package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"herald"
	"herald/internal/work"
)

// On PostgreSQL a batch is one statement per table, over arrays. It goes to the server in
// two round trips: the first reads the preconditions, the second writes and commits. Each
// round trip costs two process switches, which take longer than most of the statements.
//
// The statements keep the plans of their first runs, when the queue may have been empty.
// So they find rows by keys alone, in forms that leave the planner no choice once it may
// not read whole tables (enable_seqscan is off). None joins a table that can grow. They
// use a LATERAL of one row instead, or an IN with IS TRUE, which the planner does not turn
// into a join.

// postgresBatch is the writer's transaction on PostgreSQL.
type postgresBatch struct {
	conn  *pgxpool.Conn
	store *Store
}

func postgresBegin(ctx context.Context, s *Store, node int64, ask questions) (batchTx, preconditions, error) {
	conn, err := s.batches.Acquire(ctx)
	if err != nil {
		return nil, preconditions{}, err
	}
	t := &postgresBatch{conn, s}
	found, err := t.preconditions(ctx, node, ask)
	if err != nil {
		return nil, found, t.rollback(ctx, err)
	}
	return t, found, nil
}

func (t *postgresBatch) preconditions(ctx context.Context, node int64, ask questions) (preconditions, error) {
	var (
		p     pgx.Batch
		found = preconditions{versions: make(map[uuid.UUID]int64, len(ask.clients)), used: make(map[idempotencyKey]firstUse), open: newOpenIssues()}
	)
	p.Queue(`BEGIN`)
	began := t.store.clock.Elapsed()
	p.Queue(t.store.dialect.openSQL, tallyLock, idleTransactionTimeout, node).QueryRow(func(row pgx.Row) error {
		var reading int64
		if err := row.Scan(&reading, &found.registered, nil, nil, nil, nil); err != nil { // the other columns have only side effects
			return err
		}
		t.store.clock.Observe(fromMicros(reading), began)
		found.now, found.cautious = micros(t.store.clock.Now()), micros(t.store.clock.Cautious())
		return nil
	})
	if len(ask.clients) > 0 {
		// FOR SHARE lets other batches run and makes a change of the client wait.
		queueList(&p, func(rows pgx.Rows) error {
			var (
				id      uuid.UUID
				version int64
			)
			err := rows.Scan(&id, &version, &found.talliedTo)
			found.versions[id] = version
			return err
		}, `SELECT id, version, (SELECT tallied_to FROM history) FROM clients
WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL ORDER BY id FOR SHARE OF clients`, uuids(ask.clients))
	}
	if len(ask.keys) > 0 {
		findKeys(&p, ask.keys, &found)
	}
	if c := &ask.issues; len(c.failures)+len(c.successes) > 0 {
		findOpenIssues(&p, c, &found.open)
	}
	return found, t.conn.SendBatch(ctx, &p).Close()
}

// postgresOpenSQL opens the writer's transaction. jit is off because enable_seqscan = off
// makes some plans look so expensive that PostgreSQL would compile them.
func postgresOpenSQL(clock string) string {
	return `SELECT ` + clock + `, EXISTS (SELECT 1 FROM nodes WHERE id = $3),
pg_advisory_xact_lock_shared($1, hashtext(current_schema()))::text, set_config('idle_in_transaction_session_timeout', $2, true),
set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)`
}

func findKeys(p *pgx.Batch, keys []idempotencyKey, found *preconditions) {
	var (
		clients [][]byte
		texts   []string
	)
	for i := range keys {
		clients, texts = append(clients, keys[i].client[:]), append(texts, keys[i].key)
	}
	queueList(p, func(rows pgx.Rows) error {
		var (
			id          idempotencyKey
			u           firstUse
			fingerprint []byte
			expires     int64
		)
		err := rows.Scan(&id.client, &id.key, &fingerprint, &u.event, &u.alerts, &expires)
		if err == nil && expires > found.cautious {
			u.fingerprint = [32]byte(fingerprint)
			found.used[id] = u
		}
		return err
	}, `SELECT i.client_id, i.key, i.fingerprint, i.first_event, i.n, i.expires_at FROM unnest($1::uuid[], $2::text[]) k(client_id, key),
LATERAL (SELECT * FROM idempotency i WHERE i.client_id = k.client_id AND i.key = k.key LIMIT 1) i`, clients, texts)
}

// commit sends the batch with COMMIT as its last statement. When an earlier statement
// fails, the server skips COMMIT. When the connection fails without an answer, the outcome
// of COMMIT is unknown.
func (t *postgresBatch) commit(ctx context.Context, b *batch) error {
	if b.refused {
		return t.rollback(ctx, nil) // a COMMIT would sync the locks of the clients
	}
	w := &postgresWriting{batch: b, ids: t.store.ids, moved: make(map[uuid.UUID]bool)}
	w.all()
	committed := false
	w.Queue(`COMMIT`).Exec(func(pgconn.CommandTag) error {
		committed = true
		return nil
	})
	if err := t.conn.SendBatch(ctx, &w.Batch).Close(); err != nil && !committed {
		if t.store.dialect.unanswered(err) {
			err = &lostAnswer{error: err}
		}
		return t.rollback(ctx, err)
	}
	t.conn.Release()
	for _, req := range b.results {
		if !req.result.late && !w.moved[req.result.Item.ID] {
			req.refused = work.ErrNotHeld
		}
	}
	return nil
}

// rollback ends the transaction after err and returns err with any further error. If it
// cannot end the transaction, the connection is closed.
func (t *postgresBatch) rollback(ctx context.Context, err error) error {
	if !t.conn.Conn().IsClosed() {
		_, rollback := t.conn.Exec(ctx, `ROLLBACK`)
		err = errors.Join(err, rollback)
	}
	t.conn.Release() // closes a connection that is still in a transaction
	return err
}

// queueList adds a statement to p and calls scan for every row of its result.
func queueList(p *pgx.Batch, scan func(pgx.Rows) error, text string, args ...any) {
	p.Queue(text, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

func uuids(ids []uuid.UUID) [][]byte {
	all := make([][]byte, len(ids))
	for i := range ids {
		all[i] = ids[i][:]
	}
	return all
}

// postgresWriting collects the statements that write one batch.
type postgresWriting struct {
	pgx.Batch
	*batch
	ids   *herald.IDs
	moved map[uuid.UUID]bool // the deliveries that were still held
}

func (t *postgresWriting) all() {
	t.addKeys()
	t.addEvents()
	t.addAlerts()
	t.addItems()
	t.retry()
	t.end()
	t.addAttempts()
	_ = t.tallyLate(func(args ...any) error {
		t.Queue(addLateSQL, args...)
		return nil
	})
	_ = t.indexLate(func(args ...any) error {
		t.Queue(addLateAlertSQL, args...)
		return nil
	})
	t.issues() // last: the rows are locked until the commit
}

func (t *postgresWriting) addKeys() {
	if len(t.keys) == 0 {
		return
	}
	var (
		clients, fingerprints, events [][]byte
		texts                         []string
		alerts, expires               []int64
	)
	for i := range t.keys {
		k := &t.keys[i]
		clients, texts, fingerprints = append(clients, k.client[:]), append(texts, k.key), append(fingerprints, k.fingerprint[:])
		events, alerts, expires = append(events, k.event[:]), append(alerts, int64(k.alerts)), append(expires, k.expires)
	}
	// Another node may have used a key since the preconditions were read. Then
	// expires_at becomes NULL, which violates NOT NULL: the batch fails, runs again
	// and finds the key (see keyInUse).
	t.Queue(`INSERT INTO idempotency (client_id, key, fingerprint, first_event, n, expires_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::bigint[], $6::bigint[])
ON CONFLICT (client_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, first_event = excluded.first_event, n = excluded.n,
expires_at = CASE WHEN idempotency.expires_at <= $7 THEN excluded.expires_at END`, clients, texts, fingerprints, events, alerts, expires, t.cautious)
}

func (t *postgresWriting) addEvents() {
	if len(t.events) == 0 {
		return
	}
	var (
		ids, clients, companies, connections, data [][]byte
		types, messages                            []string
		occurred                                   []int64
	)
	for _, e := range t.events {
		ids, clients, types = append(ids, e.ID[:]), append(clients, e.ClientID[:]), append(types, e.Type)
		companies, connections = append(companies, idOrNull(e.CompanyID)), append(connections, idOrNull(e.ConnectionID))
		occurred, messages, data = append(occurred, micros(e.OccurredAt)), append(messages, e.Message), append(data, e.Data)
	}
	t.Queue(`INSERT INTO events (id, client_id, type, company_id, connection_id, occurred_at, message, data)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::text[], $8::bytea[])`,
		ids, clients, types, companies, connections, occurred, messages, data)
}

func (t *postgresWriting) addAlerts() {
	if len(t.alerts) == 0 {
		return
	}
	var (
		ids, clients, events, rules, companies, heads [][]byte
		types, messages                               []string
	)
	for _, a := range t.alerts {
		ids, clients, events, rules = append(ids, a.ID[:]), append(clients, a.event.ClientID[:]), append(events, a.event.ID[:]), append(rules, a.RuleID[:])
		types, companies = append(types, a.event.Type), append(companies, idOrNull(a.event.CompanyID))
		messages, heads = append(messages, a.Message), append(heads, a.Head)
	}
	t.Queue(`INSERT INTO alerts (id, client_id, event_id, rule_id, type, company_id, message, head)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::bytea[])`,
		ids, clients, events, rules, types, companies, messages, heads)
}

func (t *postgresWriting) addItems() {
	if len(t.items) == 0 {
		return
	}
	var (
		ids, clients            [][]byte
		lanes, addresses        []string
		made, attempts, retries []int64
		nodes                   []*int64
	)
	for _, d := range t.items {
		ids, clients, lanes, addresses = append(ids, d.ID[:]), append(clients, d.ClientID[:]), append(lanes, d.Origin), append(addresses, d.Address)
		made, nodes = append(made, micros(d.MadeAt)), append(nodes, t.assignNode(d))
		attempts, retries = append(attempts, int64(d.Attempt)), append(retries, int64(d.Retries))
	}
	t.Queue(`INSERT INTO queue (id, client_id, lane, address, made_at, due_at, node, attempt, retries)
SELECT id, client_id, lane, address, made_at, $5, node, attempt, retries
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
q(id, client_id, lane, address, made_at, node, attempt, retries)`,
		ids, clients, lanes, addresses, t.now, made, nodes, attempts, retries)
}

// retry lets deliveries wait for their next attempts. It takes one statement per row: one
// statement for all would need a join to give each row its own values.
func (t *postgresWriting) retry() {
	for _, req := range t.results {
		if r := req.result; r.State == herald.Pending && !r.late {
			t.Queue(retryQueueSQL, t.dueAt(r), r.Retries, r.Item.ID[:], r.Item.Node, r.Item.Attempt).Exec(func(tag pgconn.CommandTag) error {
				t.moved[r.Item.ID] = tag.RowsAffected() > 0
				return nil
			})
		}
	}
}

// end moves deliveries that have ended to history, with the attempts that ended them.
func (t *postgresWriting) end() {
	var (
		ids, clients, records             [][]byte
		addresses, reasons, lastReasons   []string
		attempts, states, nodes, statuses []int64
		counts                            = postgresCounting{counting: counting{now: t.now}}
	)
	for _, req := range t.results {
		r := req.result
		if r.State == herald.Pending || r.late {
			continue
		}
		d := r.ended()
		ids, clients, addresses = append(ids, d.id[:]), append(clients, d.client[:]), append(addresses, d.address)
		attempts, nodes = append(attempts, int64(d.n)), append(nodes, r.Item.Node)
		states, reasons, records = append(states, int64(d.state)), append(reasons, string(d.reason)), append(records, d.record)
		var status int64
		var last string
		if d.by != nil {
			status, last = int64(d.by.Status), string(d.by.Reason)
		}
		statuses, lastReasons = append(statuses, status), append(lastReasons, last)
		counts.next()
		counts.ended(d)
	}
	if len(ids) == 0 {
		return
	}
	row, starts := counts.row()
	queueList(&t.Batch, func(rows pgx.Rows) error {
		var id uuid.UUID
		err := rows.Scan(&id)
		t.moved[id] = true
		return err
	}, postgresEndSQL, ids, nodes, attempts, clients, addresses, states, reasons, t.now, row, starts, statuses, lastReasons, records)
}

const postgresEndSQL = `WITH ended AS (
DELETE FROM queue WHERE id = ANY($1::uuid[])
AND ((id, node, attempt) IN (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]))) IS TRUE RETURNING id),
moved AS (INSERT INTO deliveries (id, client_id, address, state, reason, done_at, attempt, last_status, last_reason, record)
SELECT id, client_id, address, state, reason, $8, CASE WHEN record IS NOT NULL THEN n END,
CASE WHEN record IS NOT NULL THEN status END, CASE WHEN record IS NOT NULL THEN last_reason END, record
FROM unnest($1::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $3::bigint[], $11::bigint[], $12::text[], $13::bytea[])
r(id, client_id, address, state, reason, n, status, last_reason, record)
WHERE (id IN (SELECT id FROM ended)) IS TRUE RETURNING id),
logged AS (INSERT INTO statistics_log (body)
SELECT CASE WHEN n = cardinality($1::uuid[]) THEN $9::bytea ELSE (
SELECT substring($9::bytea FOR ($10::int[])[1] - 1) || string_agg(substring($9::bytea FROM ($10::int[])[k] FOR ($10::int[])[k + 1] - ($10::int[])[k]), '')
FROM (SELECT min(k)::int k FROM unnest($1::uuid[]) WITH ORDINALITY e(id, k) WHERE (id IN (SELECT id FROM moved)) IS TRUE GROUP BY id) e
) END FROM (SELECT count(*) n FROM moved) m WHERE n > 0)
SELECT id FROM moved`

// postgresCounting makes a row of statistics_log whose entries SQL can leave out: those of attempts and
// deliveries that the batch did not add. There are hardly ever any. So SQL compares the numbers first, and
// cuts the row only if they differ.
type postgresCounting struct {
	counting
	starts []int32
}

// next says that an entry follows.
func (c *postgresCounting) next() { c.starts = append(c.starts, int32(len(c.entries))) }

// row returns the row, where its entries begin, and where the last one ends. SQL counts bytes from 1.
func (c *postgresCounting) row() (row []byte, starts []int32) {
	row = c.counting.row()
	first := int32(len(row) - len(c.entries) + 1)
	for i := range c.starts {
		c.starts[i] += first
	}
	return row, append(c.starts, int32(len(row)+1))
}

// addAttempts adds the attempts that did not end their deliveries.
func (t *postgresWriting) addAttempts() {
	var (
		ids, records          [][]byte
		numbers, at, statuses []int64
		outcomes, reasons     []string
		counts                = postgresCounting{counting: counting{now: t.now}}
	)
	for _, req := range t.results {
		r, a := req.result, req.result.Attempt
		if a == nil || r.State != herald.Pending && !r.late {
			continue
		}
		ids, numbers, at = append(ids, r.Item.ID[:]), append(numbers, int64(r.Item.Attempt)), append(at, micros(a.At))
		outcomes, statuses = append(outcomes, string(a.Outcome)), append(statuses, int64(a.Status))
		reasons, records = append(reasons, string(a.Reason)), append(records, r.record)
		counts.next()
		counts.attempt(r.Item.ClientID, r.Item.Address, a)
	}
	if len(ids) == 0 {
		return
	}
	row, starts := counts.row()
	t.Queue(`WITH added AS (INSERT INTO attempts (delivery_id, n, at, outcome, status, reason, error, record)
SELECT id, n, at, outcome, status, reason, '', record
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bytea[]) r(id, n, at, outcome, status, reason, record)
WHERE (EXISTS (SELECT 1 FROM deliveries d WHERE d.id = r.id AND d.attempt = r.n)) IS NOT TRUE
ON CONFLICT DO NOTHING RETURNING delivery_id, n)
INSERT INTO statistics_log (body)
SELECT CASE WHEN n = cardinality($1::uuid[]) THEN $8::bytea ELSE (
SELECT substring($8::bytea FOR ($9::int[])[1] - 1) || string_agg(substring($8::bytea FROM ($9::int[])[k] FOR ($9::int[])[k + 1] - ($9::int[])[k]), '')
FROM (SELECT min(k)::int k FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY e(id, n, k)
WHERE ((id, n) IN (SELECT delivery_id, n FROM added)) IS TRUE GROUP BY id, n) e
) END FROM (SELECT count(*) n FROM added) a WHERE n > 0`,
		ids, numbers, at, outcomes, statuses, reasons, records, row, starts)
}
