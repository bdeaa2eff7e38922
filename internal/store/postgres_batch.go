package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"herald"
)

// On PostgreSQL a batch is one statement a table, over arrays: a statement a row
// would be a round trip a row.

func postgresStanding(ctx context.Context, s *Store, tx *sql.Tx, clients []uuid.UUID) (standing, error) {
	found := standing{versions: make(map[uuid.UUID]int64, len(clients))}
	if len(clients) == 0 {
		return found, nil
	}
	// The lock lets other batches in and makes a change of the client wait.
	_, err := list(ctx, tx, func(rows *sql.Rows) (none struct{}, err error) {
		var (
			id      uuid.UUID
			version int64
		)
		err = rows.Scan(&id, &version, &found.talliedTo)
		found.versions[id] = version
		return none, err
	}, `SELECT id, version, (SELECT tallied_to FROM history) FROM clients
WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL ORDER BY id FOR SHARE OF clients`, s.dialect.hot, uuids(clients))
	return found, err
}

func uuids(ids []uuid.UUID) [][]byte {
	all := make([][]byte, len(ids))
	for i := range ids {
		all[i] = ids[i][:]
	}
	return all
}

func postgresFindKeys(ctx context.Context, _ *Store, tx *sql.Tx, keys []idempotent, now int64) (map[idempotent]firstUse, error) {
	used := make(map[idempotent]firstUse)
	if len(keys) == 0 {
		return used, nil
	}
	var (
		clients [][]byte
		texts   []string
	)
	for i := range keys {
		clients, texts = append(clients, keys[i].client[:]), append(texts, keys[i].key)
	}
	_, err := list(ctx, tx, func(rows *sql.Rows) (struct{}, error) {
		var (
			id          idempotent
			u           firstUse
			fingerprint []byte
		)
		err := rows.Scan(&id.client, &id.key, &fingerprint, &u.event, &u.alerts)
		copy(u.fingerprint[:], fingerprint)
		used[id] = u
		return struct{}{}, err
	}, `SELECT i.client_id, i.key, i.fingerprint, i.first_event, i.n FROM unnest($1::uuid[], $2::text[]) k(client_id, key)
JOIN idempotency i ON i.client_id = k.client_id AND i.key = k.key WHERE i.expires_at > $3`, clients, texts, now)
	return used, err
}

func postgresWrite(ctx context.Context, s *Store, tx *sql.Tx, b *batch) error {
	t := &postgresTx{ctx, tx, s.dialect.hot, b}
	for _, write := range []func() error{t.addKeys, t.addEvents, t.addAlerts, t.addDue, t.record} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// postgresTx writes one batch.
type postgresTx struct {
	ctx context.Context
	tx  *sql.Tx
	hot pgx.QueryExecMode // see dialect
	*batch
}

func (t *postgresTx) exec(text string, args ...any) error {
	_, err := t.tx.ExecContext(t.ctx, text, slices.Insert(args, 0, any(t.hot))...)
	return err
}

func (t *postgresTx) addKeys() error {
	if len(t.keys) == 0 {
		return nil
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
	n, err := affected(t.tx.ExecContext(t.ctx, `INSERT INTO idempotency (client_id, key, fingerprint, first_event, n, expires_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::bigint[], $6::bigint[])
ON CONFLICT (client_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, first_event = excluded.first_event,
n = excluded.n, expires_at = excluded.expires_at WHERE idempotency.expires_at <= $7`,
		clients, texts, fingerprints, events, alerts, expires, t.now))
	if err == nil && n < int64(len(t.keys)) {
		return errKeyRace
	}
	return err
}

func (t *postgresTx) addEvents() error {
	if len(t.events) == 0 {
		return nil
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
	return t.exec(`INSERT INTO events (id, client_id, type, company_id, connection_id, occurred_at, message, data)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::text[], $8::bytea[])`,
		ids, clients, types, companies, connections, occurred, messages, data)
}

func (t *postgresTx) addAlerts() error {
	if len(t.alerts) == 0 {
		return nil
	}
	var (
		ids, clients, events, rules, companies, heads [][]byte
		messages                                      []string
	)
	for _, a := range t.alerts {
		ids, clients, events, rules = append(ids, a.ID[:]), append(clients, a.event.ClientID[:]), append(events, a.event.ID[:]), append(rules, a.RuleID[:])
		companies, messages, heads = append(companies, idOrNull(a.event.CompanyID)), append(messages, a.Message), append(heads, a.Head)
	}
	return t.exec(`INSERT INTO alerts (id, client_id, event_id, rule_id, company_id, message, head)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::bytea[])`,
		ids, clients, events, rules, companies, messages, heads)
}

func (t *postgresTx) addDue() error {
	if len(t.due) == 0 {
		return nil
	}
	var (
		ids, clients            [][]byte
		lanes, addresses        []string
		made, attempts, retries []int64
		nodes                   []*int64
	)
	for _, d := range t.due {
		ids, clients, lanes, addresses = append(ids, d.ID[:]), append(clients, d.ClientID[:]), append(lanes, d.Origin), append(addresses, d.Address)
		made, nodes = append(made, micros(d.MadeAt)), append(nodes, t.holder(d))
		attempts, retries = append(attempts, int64(d.Attempt)), append(retries, int64(d.Retries))
	}
	return t.exec(`INSERT INTO queue (id, client_id, lane, address, made_at, due_at, node, attempt, retries)
SELECT id, client_id, lane, address, made_at, $5, node, attempt, retries
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
q(id, client_id, lane, address, made_at, node, attempt, retries)`,
		ids, clients, lanes, addresses, t.now, made, nodes, attempts, retries)
}

// record moves deliveries on that are still held, and adds the attempts of all.
func (t *postgresTx) record() error {
	if len(t.recordings) == 0 {
		return nil
	}
	held, err := t.retry()
	if err != nil {
		return err
	}
	ended, err := t.end()
	if err != nil {
		return err
	}
	for _, k := range t.recordings {
		if id := k.recording.Due.ID; !held[id] && !ended[id] {
			k.refused = herald.ErrNotHeld
		}
	}
	return t.addAttempts()
}

// retry puts back what has another attempt coming and returns what this was.
func (t *postgresTx) retry() (map[uuid.UUID]bool, error) {
	var (
		ids                           [][]byte
		due, retries, attempts, nodes []int64
	)
	for _, k := range t.recordings {
		if r := k.recording; r.State == herald.Pending {
			ids, due = append(ids, r.Due.ID[:]), append(due, t.dueAt(r))
			retries, attempts, nodes = append(retries, int64(r.Retries)), append(attempts, int64(r.Due.Attempt)), append(nodes, r.Due.Node)
		}
	}
	return t.moved(ids, `UPDATE queue q SET node = NULL, due_at = r.due_at, attempt = q.attempt + 1, retries = r.retries
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) r(id, due_at, retries, attempt, node)
WHERE q.id = r.id AND q.node = r.node AND q.attempt = r.attempt RETURNING q.id`, ids, due, retries, attempts, nodes)
}

// end moves what has ended to history and returns what this was.
func (t *postgresTx) end() (map[uuid.UUID]bool, error) {
	var (
		ids                     [][]byte
		attempts, states, nodes []int64
		reasons                 []string
	)
	for _, k := range t.recordings {
		if r := k.recording; r.State != herald.Pending {
			ids, attempts = append(ids, r.Due.ID[:]), append(attempts, int64(r.Due.Attempt))
			states, reasons, nodes = append(states, int64(r.State)), append(reasons, string(r.Reason)), append(nodes, r.Due.Node)
		}
	}
	return t.moved(ids, `WITH ended AS (
DELETE FROM queue q USING unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) r(id, attempt, state, reason, node)
WHERE q.id = r.id AND q.node = r.node AND q.attempt = r.attempt RETURNING q.id, q.client_id, q.address, r.state, r.reason)
INSERT INTO deliveries (id, client_id, address, state, reason, done_at)
SELECT id, client_id, address, state, reason, $6 FROM ended RETURNING id`, ids, attempts, states, reasons, nodes, t.now)
}

func (t *postgresTx) moved(ids [][]byte, text string, args ...any) (map[uuid.UUID]bool, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	moved, err := list(t.ctx, t.tx, scanID, text, args...)
	set := make(map[uuid.UUID]bool, len(moved))
	for _, id := range moved {
		set[id] = true
	}
	return set, err
}

func (t *postgresTx) addAttempts() error {
	var (
		ids, timings, requests, responses [][]byte
		numbers, at, statuses             []int64
		outcomes, reasons, errs           []string
	)
	for _, k := range t.recordings {
		r, a := k.recording, &k.recording.Attempt
		if a.Outcome == "" {
			continue
		}
		ids, numbers, at = append(ids, r.Due.ID[:]), append(numbers, int64(r.Due.Attempt)), append(at, micros(a.At))
		outcomes, statuses = append(outcomes, string(a.Outcome)), append(statuses, int64(a.Status))
		reasons, errs = append(reasons, string(a.Reason)), append(errs, a.Error)
		timings, requests, responses = append(timings, r.timings), append(requests, r.request), append(responses, r.response)
	}
	if len(ids) == 0 {
		return nil
	}
	return t.exec(`INSERT INTO attempts (delivery_id, n, at, outcome, status, reason, error, timings, request, response)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::bytea[], $10::bytea[])
ON CONFLICT DO NOTHING`, ids, numbers, at, outcomes, statuses, reasons, errs, timings, requests, responses)
}

// Several nodes can claim from one lane at once: each passes over the rows that
// another is taking. The ids are found first, as an array, because a join would
// let the planner read the whole queue.
const postgresClaimSQL = `UPDATE queue SET node = $1 WHERE id = ANY(ARRAY(
  SELECT c.id FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[]) w(client_id, lane, n, floor), LATERAL (
    SELECT q.id FROM queue q WHERE q.node IS NULL AND q.client_id = w.client_id AND q.lane = w.lane AND q.due_at BETWEEN w.floor AND $6
    ORDER BY q.due_at LIMIT w.n FOR UPDATE SKIP LOCKED) c))
RETURNING ` + claimedColumns

func postgresClaim(ctx context.Context, tx *sql.Tx, node int64, wants []herald.Want, floors []int64, now int64) ([]claimedRow, error) {
	var (
		clients [][]byte
		lanes   []string
		numbers []int64
	)
	for i := range wants {
		w := &wants[i]
		clients, lanes, numbers = append(clients, w.Client[:]), append(lanes, w.Origin), append(numbers, int64(w.N))
	}
	return list(ctx, tx, scanClaimed(node), postgresClaimSQL, node, clients, lanes, numbers, floors, now)
}

func postgresReadBodies(ctx context.Context, s *Store, due []herald.Due) error {
	type body struct {
		rule       uuid.UUID
		head, data []byte
	}
	var (
		alerts [][]byte
		bodies = make(map[uuid.UUID]body, len(due))
	)
	for i := range due {
		alert := herald.AlertOf(due[i].ID)
		alerts = append(alerts, alert[:])
	}
	_, err := list(ctx, s.read, func(rows *sql.Rows) (none struct{}, err error) {
		var (
			id uuid.UUID
			b  body
		)
		err = rows.Scan(&id, &b.rule, &b.head, &b.data)
		bodies[id] = b
		return none, err
	}, `SELECT a.id, a.rule_id, a.head, e.data FROM alerts a JOIN events e ON e.id = a.event_id WHERE a.id = ANY($1::uuid[])`, alerts)
	for i := range due {
		b, found := bodies[herald.AlertOf(due[i].ID)]
		if err == nil && !found {
			err = fmt.Errorf("the alert of the pending delivery %s is gone", due[i].ID)
		}
		due[i].RuleID, due[i].Body = b.rule, herald.Body(b.head, b.data)
	}
	return err
}
