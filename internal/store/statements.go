package store

import (
	"context"
	"database/sql"
	"errors"
)

// statements are what the writer runs for every event, prepared once.
type statements struct {
	clientVersion *sql.Stmt

	findKey *sql.Stmt
	saveKey *sql.Stmt

	addEvent *sql.Stmt
	addAlert *sql.Stmt
	addQueue *sql.Stmt

	endQueue    *sql.Stmt
	retryQueue  *sql.Stmt
	addDelivery *sql.Stmt
	addAttempt  *sql.Stmt
}

const (
	clientVersionSQL = `SELECT version FROM clients WHERE id = $1 AND deleted_at IS NULL`

	findKeySQL = `SELECT fingerprint, first_event, n FROM idempotency
WHERE client_id = $1 AND key = $2 AND expires_at > $3`

	saveKeySQL = `INSERT INTO idempotency (client_id, key, fingerprint, first_event, n, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (client_id, key) DO UPDATE SET fingerprint = excluded.fingerprint,
first_event = excluded.first_event, n = excluded.n, expires_at = excluded.expires_at`

	addEventSQL = `INSERT INTO events (id, client_id, type, company_id, connection_id, occurred_at, message, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`

	addAlertSQL = `INSERT INTO alerts (id, client_id, event_id, rule_id, company_id, message, head)
VALUES ($1, $2, $3, $4, $5, $6, $7)`

	addQueueSQL = `INSERT INTO queue (id, client_id, lane, address, made_at, due_at, node, attempt, retries)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

	// What ends or goes back must still be held by this node for this very
	// attempt: a node that was too slow cannot overwrite another's result.
	endQueueSQL = `DELETE FROM queue WHERE id = $1 AND node = $2 AND attempt = $3`

	retryQueueSQL = `UPDATE queue SET node = NULL, due_at = $1, attempt = attempt + 1, retries = $2
WHERE id = $3 AND node = $4 AND attempt = $5`

	addDeliverySQL = `INSERT INTO deliveries (id, client_id, address, state, reason, done_at)
VALUES ($1, $2, $3, $4, $5, $6)`

	// Another node may have put "may have been sent" in this attempt's place.
	addAttemptSQL = `INSERT INTO attempts (delivery_id, n, at, outcome, status, reason, error, timings, request, response)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`
)

// each calls fn with every statement's place and text.
func (s *statements) each(fn func(stmt **sql.Stmt, text string) error) error {
	for _, row := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.clientVersion, clientVersionSQL},
		{&s.findKey, findKeySQL}, {&s.saveKey, saveKeySQL},
		{&s.addEvent, addEventSQL}, {&s.addAlert, addAlertSQL}, {&s.addQueue, addQueueSQL},
		{&s.endQueue, endQueueSQL}, {&s.retryQueue, retryQueueSQL},
		{&s.addDelivery, addDeliverySQL}, {&s.addAttempt, addAttemptSQL},
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

// in returns the statements bound to a transaction.
func (s statements) in(ctx context.Context, tx *sql.Tx) statements {
	_ = s.each(func(stmt **sql.Stmt, _ string) error {
		*stmt = tx.StmtContext(ctx, *stmt)
		return nil
	})
	return s
}
