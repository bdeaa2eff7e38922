package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// isIssue is the condition of rows that are issues: a row begins with the first failing attempt.
var isIssue = fmt.Sprintf("(i.attempts >= %d OR i.failed > 0)", herald.IssueAttempts)

const issueColumns = `i.id, i.client_id, i.receiver, i.notification, i.reason, i.began_at, i.last_at, i.ended_at, i.attempts, i.failed,
i.made_from, i.last_delivery, i.last_status, i.unused, i.acked_at, i.acked_by, i.acked_key, i.note`

// scanIssue also returns the size of the issue, in bytes.
func scanIssue(rows *sql.Rows) (i herald.Issue, size int, err error) {
	var (
		began, last, from int64
		ended, acked      sql.NullInt64
		ack               herald.Acknowledgement
	)
	err = rows.Scan(&i.ID, &i.ClientID, &i.Receiver, &i.Notification, &i.Reason, &began, &last, &ended, &i.Attempts, &i.Failed,
		&from, &i.LastDelivery, &i.LastStatus, &i.Unused, &acked, &ack.Actor, &ack.APIKeyID, &ack.Note)
	i.State, i.BeganAt, i.LastAt = herald.IssueOpen, fromMicros(began), fromMicros(last)
	i.RecoveryFilter = herald.RecoveryFilter{Receiver: i.Receiver, Reason: i.Reason, Since: fromMicros(from)}
	if ended.Valid {
		i.State, i.EndedAt = herald.IssueEnded, fromMicros(ended.Int64)
		i.RecoveryFilter.Until = i.EndedAt
	}
	if acked.Valid {
		ack.At = fromMicros(acked.Int64)
		i.Acknowledged = &ack
	}
	return i, work.RowSize + 2*len(i.Receiver) + len(ack.Note), err
}

// ofClient adds the condition that issues are those of a client, or those of all clients that are not
// deleted if it is uuid.Nil.
func (c *conditions) ofClient(client uuid.UUID) {
	if client != uuid.Nil {
		c.add("i.client_id = %s", client)
		return
	}
	c.add("i.client_id IN (SELECT id FROM clients WHERE deleted_at IS NULL)")
}

// Issues lists a client's issues that meet the filter, or those of all clients if client is uuid.Nil:
// newest first, up to f.Limit. If they have more than maxCursorPage bytes, it lists fewer, and next is
// the After of the call that continues; otherwise next is uuid.Nil.
func (s *Store) Issues(ctx context.Context, client uuid.UUID, f herald.IssueFilter) (found []herald.Issue, next uuid.UUID, err error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return nil, uuid.Nil, err
	}
	defer done()
	c := conditions{parts: []string{isIssue}}
	c.ofClient(client)
	receivers, err := s.spellings(ctx, client, f.Receiver, sameReceiver)
	if err != nil {
		return nil, uuid.Nil, err
	}
	c.receiver("i.receiver", receivers)
	if f.Reason != herald.ReasonNone {
		c.add("i.reason = %s", string(f.Reason))
	}
	if f.After != uuid.Nil {
		c.add("i.id < %s", f.After)
	}
	limit := c.bind(f.Limit)
	// Open and ended ones have an index each.
	part := func(condition string) string {
		return `SELECT * FROM (SELECT ` + issueColumns + ` FROM issues i WHERE i.ended_at ` + condition + ` AND ` + c.where() + ` ORDER BY i.id DESC LIMIT ` + limit + `) x`
	}
	var text string
	switch f.State {
	case herald.IssueOpen:
		text = part("IS NULL")
	case herald.IssueEnded:
		text = part("IS NOT NULL")
	default:
		text = part("IS NULL") + ` UNION ALL ` + part("IS NOT NULL")
	}
	found, full, err := listWithin(ctx, s.lists, scanIssue, `SELECT * FROM (`+text+`) y ORDER BY id DESC LIMIT `+limit, c.args...)
	if full {
		next = found[len(found)-1].ID
	}
	return found, next, s.failed("list issues", err)
}

// Issue returns an issue of a client, or of any client if client is uuid.Nil. The error is
// CodeNotFound when there is none.
func (s *Store) Issue(ctx context.Context, client, id uuid.UUID) (herald.Issue, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return herald.Issue{}, err
	}
	defer done()
	return s.issue(ctx, s.lists, client, id, "")
}

func (s *Store) issue(ctx context.Context, q querier, client, id uuid.UUID, lock string) (herald.Issue, error) {
	c := conditions{parts: []string{isIssue}}
	c.add("i.id = %s", id)
	c.ofClient(client)
	i, err := first(ctx, q, func(rows *sql.Rows) (herald.Issue, error) {
		i, _, err := scanIssue(rows)
		return i, err
	}, `SELECT `+issueColumns+` FROM issues i WHERE `+c.where()+lock, c.args...)
	if errors.Is(err, sql.ErrNoRows) {
		return i, herald.Errorf(herald.CodeNotFound, "No issue was found with ID %s", id)
	}
	return i, s.failed("read an issue", err)
}

// AcknowledgeIssue notes that somebody takes care of an open issue, and returns it. A second call
// replaces the note and who made it. client is as of Issue. Nobody is told of an issue that was
// acknowledged before that.
//
// Errors: CodeNotFound when there is no such issue, CodeConflict when it has ended.
func (s *Store) AcknowledgeIssue(ctx context.Context, by herald.Caller, client, id uuid.UUID, note string) (herald.Issue, error) {
	var after herald.Issue
	err := s.changeInTurn(ctx, client, "acknowledge an issue", func(ctx context.Context, tx *sql.Tx) error {
		before, err := s.issue(ctx, tx, client, id, s.forUpdateOf("i"))
		switch {
		case err != nil:
			return err
		case before.State == herald.IssueEnded:
			return herald.Errorf(herald.CodeConflict, "The issue %s has ended; only an open one can be acknowledged.", id)
		}
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE issues SET acked_at = $1, acked_by = $2, acked_key = $3, note = $4 WHERE id = $5`,
			now, string(by.Actor()), idOrNull(by.Key.ID), note, id[:])
		if err != nil {
			return err
		}
		if after, err = s.issue(ctx, tx, client, id, ""); err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client: after.ClientID, action: herald.IssueAcknowledged, subject: id.String(),
			after: auditedIssue{after.Receiver, after.Reason, note}})
	})
	return after, err
}

// forUpdateOf locks the rows of one table of a SELECT.
func (s *Store) forUpdateOf(alias string) string {
	if s.dialect.forUpdate == "" {
		return ""
	}
	return " " + s.dialect.forUpdate + " OF " + alias
}

// auditedIssue is what the audit log has of an issue.
type auditedIssue struct {
	Receiver string        `json:"receiver"`
	Reason   herald.Reason `json:"reason"`
	Note     string        `json:"note"`
}

// ExpireIssues deletes what is not kept, in one step of at most step rows, and returns how many: ended
// rows that were no issues; what last failed before the kept history; all of a client's ended ones but
// the newest herald.MaxEndedIssues; and those of deleted clients.
func (s *Store) ExpireIssues(ctx context.Context) (int, error) {
	return s.expireStep(ctx, "delete old issues", `DELETE FROM issues WHERE id IN (
SELECT i.id FROM issues i WHERE i.ended_at IS NOT NULL AND NOT `+isIssue+`
OR i.last_at < (SELECT kept_hour FROM history)
OR i.client_id IN (SELECT id FROM clients WHERE deleted_at IS NOT NULL)
OR i.id IN (SELECT id FROM (SELECT id, told, row_number() OVER (PARTITION BY client_id ORDER BY id DESC) n FROM issues WHERE ended_at IS NOT NULL) x
  WHERE n > `+fmt.Sprint(herald.MaxEndedIssues)+` AND told NOT IN (1, 2))
LIMIT $1)`)
}
