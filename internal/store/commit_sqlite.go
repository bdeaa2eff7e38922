package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// statements are the statements of a batch on SQLite, prepared once.
type statements struct {
	begin, commit, rollback statement

	clientVersion statement
	talliedTo     statement

	findKey statement
	saveKey statement

	addEvents insertion
	addAlerts insertion
	addQueue  insertion

	endQueue      statement
	retryQueue    statement
	addDeliveries insertion
	addAttempt    statement
	addLate       statement
	indexLate     statement
	logCounts     statement
	anyOpen       statement
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

	eventsInto  = `INTO events (id, client_id, type, company_id, connection_id, occurred_at, message, data) VALUES `
	addEventSQL = `INSERT ` + eventsInto + `($1, $2, $3, $4, $5, $6, $7, $8)`

	alertsInto  = `INTO alerts (id, client_id, event_id, rule_id, type, company_id, message, head) VALUES `
	addAlertSQL = `INSERT ` + alertsInto + `($1, $2, $3, $4, $5, $6, $7, $8)`

	queueInto   = `INTO queue (id, client_id, lane, address, made_at, due_at, node, attempt, retries) VALUES `
	addQueueSQL = `INSERT ` + queueInto + `($1, $2, $3, $4, $5, $6, $7, $8, $9)`

	// A delivery ends or waits again only if this node still holds it for this
	// attempt. So a node that was too slow cannot overwrite another's result.
	endQueueSQL = `DELETE FROM queue WHERE id = $1 AND node = $2 AND attempt = $3`

	retryQueueSQL = `UPDATE queue SET node = NULL, due_at = $1, attempt = attempt + 1, retries = $2
WHERE id = $3 AND node = $4 AND attempt = $5`

	deliveriesInto = `INTO deliveries (id, client_id, address, state, reason, done_at, attempt, last_status, last_reason, record) VALUES `
	addDeliverySQL = `INSERT ` + deliveriesInto + `($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

	// The attempt may be on record: another node has recorded it as "may have been sent", see
	// FreeOrphans, or the answer to a commit was lost.
	addAttemptSQL = `INSERT INTO attempts (delivery_id, n, at, outcome, status, reason, error, record)
SELECT $1, $2, $3, $4, $5, $6, '', $7 WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE id = $1 AND attempt = $2) ON CONFLICT DO NOTHING`
)

// preparedSQL is a prepared statement, or several, and the text.
type preparedSQL struct {
	stmt interface {
		prepare(ctx context.Context, conn driver.ConnPrepareContext, text string) error
		close() error
	}
	text string
}

func (s *statements) prepared() []preparedSQL {
	return []preparedSQL{
		{&s.begin, `BEGIN IMMEDIATE`}, {&s.commit, `COMMIT`}, {&s.rollback, `ROLLBACK`},
		{&s.clientVersion, clientVersionSQL}, {&s.talliedTo, talliedToSQL},
		{&s.findKey, findKeySQL}, {&s.saveKey, saveKeySQL},
		{&s.addEvents, eventsInto}, {&s.addAlerts, alertsInto}, {&s.addQueue, queueInto},
		{&s.endQueue, endQueueSQL}, {&s.retryQueue, retryQueueSQL},
		{&s.addDeliveries, deliveriesInto}, {&s.addAttempt, addAttemptSQL}, {&s.addLate, addLateSQL}, {&s.anyOpen, anyOpenSQL},
		{&s.indexLate, addLateAlertSQL},
		{&s.logCounts, logStatisticsSQL},
	}
}

func (s *statements) prepare(ctx context.Context, conn driver.ConnPrepareContext) error {
	for _, p := range s.prepared() {
		if err := p.stmt.prepare(ctx, conn, p.text); err != nil {
			return err
		}
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, p := range s.prepared() {
		errs = append(errs, p.stmt.close())
	}
	return errors.Join(errs...)
}

// sqliteBatch is the writer's transaction on SQLite. It has the connection for itself. Its statements are
// the connection's own: database/sql would begin a goroutine for the transaction.
type sqliteBatch struct {
	conn  *sql.Conn
	store *Store
}

func sqliteBegin(ctx context.Context, s *Store, node int64, ask questions) (_ batchTx, found preconditions, err error) {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return nil, found, err
	}
	t := &sqliteBatch{conn, s}
	if err := t.run(ctx, func(stmts *statements) error { return stmts.begin.exec(ctx) }); err != nil {
		return nil, found, t.end(err)
	}
	found.now, err = s.now(ctx, conn)
	if err == nil {
		found.cautious = micros(s.clock.Cautious())
		err = t.run(ctx, func(stmts *statements) error { return stmts.preconditions(ctx, &found, ask) })
	}
	if err != nil {
		return nil, found, t.end(t.rollback(ctx, err))
	}
	found.registered = node != 0 // no other node could declare it dead
	return t, found, nil
}

// run calls fn with the connection's statements. fn must not use the sql.Conn, which would wait for fn.
func (t *sqliteBatch) run(ctx context.Context, fn func(*statements) error) error {
	return t.conn.Raw(func(conn any) error {
		stmts, err := conn.(*writerConn).statements(ctx)
		if err != nil {
			return err
		}
		return fn(stmts)
	})
}

// rollback ends the transaction after an error, which it returns. SQLite may have ended it before.
func (t *sqliteBatch) rollback(ctx context.Context, err error) error {
	return errors.Join(err, t.run(ctx, func(stmts *statements) error { return stmts.rollback.exec(ctx) }))
}

// end gives the connection back after the transaction, and returns the transaction's error.
func (t *sqliteBatch) end(err error) error {
	_ = t.conn.Close() // it fails only where the connection was given back before
	return err
}

// preconditions reads what the batch asks for.
func (s *statements) preconditions(ctx context.Context, found *preconditions, ask questions) error {
	found.versions, found.used = make(map[uuid.UUID]int64, len(ask.clients)), make(map[idempotencyKey]firstUse)
	for _, id := range ask.clients {
		var version int64
		if _, err := s.clientVersion.queryRow(ctx, []any{&version}, id[:]); err != nil {
			return err
		}
		found.versions[id] = version
	}
	for _, id := range ask.keys {
		var use firstUse
		fingerprint, event := use.fingerprint[:], use.event[:]
		known, err := s.findKey.queryRow(ctx, []any{fingerprint, event, &use.alerts}, id.client[:], id.key, found.cautious)
		if err != nil {
			return err
		}
		if known {
			found.used[id] = use
		}
	}
	_, err := s.talliedTo.queryRow(ctx, []any{found.talliedTo[:]})
	return err
}

func (t *sqliteBatch) commit(ctx context.Context, b *batch) error {
	var issues issueChanges
	err := t.run(ctx, func(stmts *statements) (err error) {
		w := &sqliteWriting{ctx: ctx, statements: stmts, batch: b, counting: counting{now: b.now}}
		if err = w.all(); err == nil {
			issues, err = w.issues()
		}
		return err
	})
	if err == nil {
		err = t.store.changeIssues(ctx, t.conn, b.now, issues)
	}
	if err == nil {
		err = t.run(ctx, func(stmts *statements) error { return stmts.commit.exec(ctx) })
	}
	if err != nil {
		err = t.rollback(ctx, err)
	}
	return t.end(err)
}

// sqliteWriting writes one batch.
type sqliteWriting struct {
	ctx context.Context
	*statements
	*batch
	ended    []*endedDelivery // what addEnded adds
	counting counting
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
	if err := t.addEnded(); err != nil {
		return err
	}
	if counts := t.counting.row(); counts != nil {
		if err := t.logCounts.exec(t.ctx, counts); err != nil {
			return err
		}
	}
	if err := t.tallyLate(func(args ...any) error { return t.addLate.exec(t.ctx, args...) }); err != nil {
		return err
	}
	return t.batch.indexLate(func(args ...any) error { return t.statements.indexLate.exec(t.ctx, args...) })
}

func (t *sqliteWriting) accept() error {
	for _, k := range t.keys {
		if err := t.saveKey.exec(t.ctx, k.client[:], k.key, k.fingerprint[:], k.event[:], k.alerts, k.expires); err != nil {
			return err
		}
	}
	err := insert(t.ctx, &t.addEvents, t.events, func(row *statement, e *herald.Event) error {
		return row.bind(e.ID[:], e.ClientID[:], e.Type, idOrNull(e.CompanyID), idOrNull(e.ConnectionID),
			micros(e.OccurredAt), e.Message, []byte(e.Data))
	})
	if err != nil {
		return err
	}
	err = insert(t.ctx, &t.addAlerts, t.alerts, func(row *statement, a alertRow) error {
		e := a.event
		return row.bind(a.ID[:], e.ClientID[:], e.ID[:], a.RuleID[:], e.Type, idOrNull(e.CompanyID), a.Message, a.Head)
	})
	if err != nil {
		return err
	}
	return insert(t.ctx, &t.addQueue, t.items, func(row *statement, d *work.Item) error {
		return row.bind(d.ID[:], d.ClientID[:], d.Origin, d.Address, micros(d.MadeAt), t.now, t.assignNode(d), d.Attempt, d.Retries)
	})
}

func (t *sqliteWriting) record(req *request) error {
	r := req.result
	if r.late {
		if err := t.addEnded(); err != nil { // the attempt may be that which ended its delivery
			return err
		}
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
		ended := r.ended()
		t.ended = append(t.ended, ended)
		t.counting.ended(ended)
		return nil
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

// addEnded adds the deliveries that have ended since its last call to history.
func (t *sqliteWriting) addEnded() error {
	ended := t.ended
	t.ended = nil
	return insert(t.ctx, &t.addDeliveries, ended, func(row *statement, d *endedDelivery) error { return row.bind(d.args(t.now)...) })
}
