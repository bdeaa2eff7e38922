package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// statements are the statements that the writer runs for every row on SQLite, prepared
// once. One statement with thousands of values per table would be slower: binding them
// takes SQLite quadratic time.
type statements struct {
	clientVersion *sql.Stmt
	talliedTo     *sql.Stmt

	findKey *sql.Stmt
	saveKey *sql.Stmt

	addEvent *sql.Stmt
	addAlert *sql.Stmt
	addQueue *sql.Stmt

	endQueue    *sql.Stmt
	retryQueue  *sql.Stmt
	addDelivery *sql.Stmt
	addAttempt  *sql.Stmt
	addLate     *sql.Stmt
	indexLate   *sql.Stmt
	logCounts   *sql.Stmt
	anyOpen     *sql.Stmt
}

const (
	clientVersionSQL = `SELECT version FROM clients WHERE id = $1 AND deleted_at IS NULL`

	talliedToSQL = `SELECT tallied_to FROM history`

	findKeySQL = `SELECT fingerprint, first_event, n FROM idempotency
WHERE client_id = $1 AND key = $2 AND expires_at > $3`

	saveKeySQL = `INSERT INTO idempotency (client_id, key, fingerprint, first_event, n, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (client_id, key) DO UPDATE SET fingerprint = excluded.fingerprint,
first_event = excluded.first_event, n = excluded.n, expires_at = excluded.expires_at`

	addEventSQL = `INSERT INTO events (id, client_id, type, company_id, connection_id, occurred_at, message, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`

	addAlertSQL = `INSERT INTO alerts (id, client_id, event_id, rule_id, type, company_id, message, head)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`

	addQueueSQL = `INSERT INTO queue (id, client_id, lane, address, made_at, due_at, node, attempt, retries)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

	// A delivery ends or waits again only if this node still holds it for this
	// attempt. So a node that was too slow cannot overwrite another's result.
	endQueueSQL = `DELETE FROM queue WHERE id = $1 AND node = $2 AND attempt = $3`

	retryQueueSQL = `UPDATE queue SET node = NULL, due_at = $1, attempt = attempt + 1, retries = $2
WHERE id = $3 AND node = $4 AND attempt = $5`

	addDeliverySQL = `INSERT INTO deliveries (id, client_id, address, state, reason, done_at, attempt, last_status, last_reason, record)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

	// The attempt may be on record: another node has recorded it as "may have been sent", see
	// FreeOrphans, or the answer to a commit was lost.
	addAttemptSQL = `INSERT INTO attempts (delivery_id, n, at, outcome, status, reason, error, record)
SELECT $1, $2, $3, $4, $5, $6, '', $7 WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE id = $1 AND attempt = $2) ON CONFLICT DO NOTHING`
)

// each calls fn with the field and the text of every statement.
func (s *statements) each(fn func(stmt **sql.Stmt, text string) error) error {
	for _, row := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.clientVersion, clientVersionSQL}, {&s.talliedTo, talliedToSQL},
		{&s.findKey, findKeySQL}, {&s.saveKey, saveKeySQL},
		{&s.addEvent, addEventSQL}, {&s.addAlert, addAlertSQL}, {&s.addQueue, addQueueSQL},
		{&s.endQueue, endQueueSQL}, {&s.retryQueue, retryQueueSQL},
		{&s.addDelivery, addDeliverySQL}, {&s.addAttempt, addAttemptSQL}, {&s.addLate, addLateSQL}, {&s.anyOpen, anyOpenSQL},
		{&s.indexLate, addLateAlertSQL},
		{&s.logCounts, logStatisticsSQL},
	} {
		if err := fn(row.stmt, row.text); err != nil {
			return err
		}
	}
	return nil
}

func (s *statements) prepare(ctx context.Context, db *sql.DB) error {
	return s.each(func(stmt **sql.Stmt, text string) (err error) {
		*stmt, err = db.PrepareContext(ctx, text)
		return err
	})
}

func (s *statements) close() error {
	var errs []error
	_ = s.each(func(stmt **sql.Stmt, _ string) error {
		if *stmt != nil {
			errs = append(errs, (*stmt).Close())
		}
		return nil
	})
	return errors.Join(errs...)
}

// in returns a copy of the statements that is bound to a transaction.
func (s statements) in(ctx context.Context, tx *sql.Tx) statements {
	_ = s.each(func(stmt **sql.Stmt, _ string) error {
		*stmt = tx.StmtContext(ctx, *stmt)
		return nil
	})
	return s
}

// sqliteBatch is the writer's transaction on SQLite.
type sqliteBatch struct {
	*sql.Tx
	store *Store
	statements
}

func sqliteBegin(ctx context.Context, s *Store, node int64, ask questions) (batchTx, preconditions, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, preconditions{}, err
	}
	t := &sqliteBatch{tx, s, s.stmts.in(ctx, tx)}
	now, err := s.now(ctx, tx)
	if err != nil {
		return nil, preconditions{}, errors.Join(err, tx.Rollback())
	}
	found, err := t.preconditions(ctx, now, micros(s.clock.Cautious()), ask.clients, ask.keys)
	if err != nil {
		return nil, found, errors.Join(err, tx.Rollback())
	}
	found.registered = node != 0 // no other node could declare it dead
	return t, found, nil
}

func (t *sqliteBatch) preconditions(ctx context.Context, now, cautious int64, clients []uuid.UUID, keys []idempotencyKey) (preconditions, error) {
	found := preconditions{now: now, cautious: cautious, versions: make(map[uuid.UUID]int64, len(clients)), used: make(map[idempotencyKey]firstUse)}
	for _, id := range clients {
		var v int64
		err := t.clientVersion.QueryRowContext(ctx, id[:]).Scan(&v)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return found, err
		}
		found.versions[id] = v
	}
	for _, id := range keys {
		var (
			u           firstUse
			fingerprint []byte
		)
		err := t.findKey.QueryRowContext(ctx, id.client[:], id.key, found.cautious).Scan(&fingerprint, &u.event, &u.alerts)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return found, err
		}
		u.fingerprint = [32]byte(fingerprint)
		found.used[id] = u
	}
	return found, t.talliedTo.QueryRowContext(ctx).Scan(&found.talliedTo)
}

func (t *sqliteBatch) commit(ctx context.Context, b *batch) error {
	w := &sqliteWriting{ctx, t.statements, b, counting{now: b.now}, t}
	if err := w.all(); err != nil {
		return errors.Join(err, t.Rollback())
	}
	return t.Commit()
}

// sqliteWriting writes one batch.
type sqliteWriting struct {
	ctx context.Context
	statements
	*batch
	counting counting
	tx       *sqliteBatch
}

func (t *sqliteWriting) all() error {
	if err := t.accept(); err != nil {
		return err
	}
	for _, req := range t.results {
		if err := t.record(req); err != nil {
			return err
		}
	}
	if counts := t.counting.row(); counts != nil {
		if err := t.exec(t.logCounts, counts); err != nil {
			return err
		}
	}
	if err := t.tallyLate(func(args ...any) error { return t.exec(t.addLate, args...) }); err != nil {
		return err
	}
	if err := t.batch.indexLate(func(args ...any) error { return t.exec(t.statements.indexLate, args...) }); err != nil {
		return err
	}
	return t.issues()
}

func (t *sqliteWriting) exec(stmt *sql.Stmt, args ...any) error {
	_, err := stmt.ExecContext(t.ctx, args...)
	return err
}

func (t *sqliteWriting) accept() error {
	for _, e := range t.events {
		err := t.exec(t.addEvent, e.ID[:], e.ClientID[:], e.Type, idOrNull(e.CompanyID), idOrNull(e.ConnectionID),
			micros(e.OccurredAt), e.Message, []byte(e.Data))
		if err != nil {
			return err
		}
	}
	for _, k := range t.keys {
		if err := t.exec(t.saveKey, k.client[:], k.key, k.fingerprint[:], k.event[:], k.alerts, k.expires); err != nil {
			return err
		}
	}
	for _, a := range t.alerts {
		err := t.exec(t.addAlert, a.ID[:], a.event.ClientID[:], a.event.ID[:], a.RuleID[:], a.event.Type, idOrNull(a.event.CompanyID), a.Message, a.Head)
		if err != nil {
			return err
		}
	}
	for _, d := range t.items {
		err := t.exec(t.addQueue, d.ID[:], d.ClientID[:], d.Origin, d.Address, micros(d.MadeAt), t.now, t.assignNode(d), d.Attempt, d.Retries)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *sqliteWriting) record(req *request) error {
	r := req.result
	if r.late {
		return t.addAttemptOf(r)
	}
	held, err := t.moveDelivery(r)
	if err != nil {
		return err
	}
	if !held {
		req.refused = work.ErrNotHeld
		return nil
	}
	if r.State != herald.Pending {
		t.counting.ended(r.ended())
		return t.exec(t.addDelivery, r.ended().args(t.now)...)
	}
	return t.addAttemptOf(r)
}

func (t *sqliteWriting) addAttemptOf(r *encodedResult) error {
	a := r.Attempt
	if a == nil {
		return nil
	}
	n, err := affected(t.addAttempt.ExecContext(t.ctx, r.Item.ID[:], r.Item.Attempt, micros(a.At), string(a.Outcome), a.Status, string(a.Reason), r.record))
	if n > 0 {
		t.counting.attempt(r.Item.ClientID, r.Item.Address, a)
	}
	return err
}

// moveDelivery takes the delivery out of the queue, or lets it wait there for its next attempt. It
// reports whether this node still held it.
func (t *sqliteWriting) moveDelivery(r *encodedResult) (bool, error) {
	d := &r.Item
	if r.State == herald.Pending {
		n, err := affected(t.retryQueue.ExecContext(t.ctx, t.dueAt(r), r.Retries, d.ID[:], d.Node, d.Attempt))
		return n > 0, err
	}
	n, err := affected(t.endQueue.ExecContext(t.ctx, d.ID[:], d.Node, d.Attempt))
	return n > 0, err
}
