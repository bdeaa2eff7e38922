package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"slices"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// Issues are kept in the transaction that records the results: they are right to the attempt after
// a crash. herald.Issue says when one begins and ends. A row of the table begins earlier, with the
// first failing attempt. A batch writes one row for each receiver and reason that fails in it. A
// success writes nothing unless its receiver has an open row. maintenance_issues.go ends those of receivers that are
// not used any more.

// receiver is where deliveries of a client go.
type receiver struct {
	client       uuid.UUID
	address      string // empty: the receivers over herald.MaxOpenIssues
	notification bool   // the deliveries are of Herald's own events about receivers
}

// key is what the receiver's rows are found by: an address may be too long for an index.
func (r receiver) key() [32]byte {
	kind := "delivery "
	if r.notification {
		kind = "notification "
	}
	return sha256.Sum256([]byte(kind + r.address))
}

// failure is an attempt, or the end of a delivery, that counts in an issue.
type failure struct {
	receiver
	reason    herald.Reason
	delivery  uuid.UUID
	attempted bool // there was an attempt
	failed    bool // for good
	status    int
	madeAt    int64
	after     int // how many successes were recorded before it
}

// success is a delivery that reached its receiver.
type success struct {
	receiver
	delivery uuid.UUID
}

// issueChanges are what results change of issues, in their order.
type issueChanges struct {
	failures  []failure
	successes []success
}

// issueChangesOf returns what the results of requests change of issues, without refused ones.
func issueChangesOf(requests []*request) issueChanges {
	var c issueChanges
	for _, req := range requests {
		if req.result != nil && !req.result.late && req.refused == nil {
			c.add(&req.result.Result)
		}
	}
	return c
}

func (c *issueChanges) add(r *work.Result) {
	at := receiver{r.Item.ClientID, r.Item.Address, r.Item.Notification}
	switch r.State {
	case herald.Delivered:
		c.successes = append(c.successes, success{at, r.Item.ID})
		return
	case herald.Cancelled:
		return
	}
	f := failure{receiver: at, reason: r.Reason, delivery: r.Item.ID, failed: r.State == herald.Failed,
		madeAt: micros(r.Item.MadeAt), after: len(c.successes)}
	if a := r.Attempt; a != nil {
		f.attempted, f.status = true, a.Status
		if a.Reason != herald.ReasonNone {
			f.reason = a.Reason // the delivery's own may only be that its retries are used up
		}
	}
	if f.failed || f.attempted && isReceivers(f.reason) {
		c.failures = append(c.failures, f)
	}
}

// isReceivers reports whether an attempt failed for a reason of its receiver. The others say nothing
// about it, so they begin no issue while the delivery waits.
func isReceivers(r herald.Reason) bool {
	switch r {
	case herald.ReasonLocal, herald.ReasonInterrupted, herald.ReasonAttemptLimit, herald.ReasonNoConsent, herald.ReasonUnconfirmed:
		return false
	default:
		return true
	}
}

// parts splits the failures into those before and after the last success of their receiver. The first
// belong to the issue that the success ends.
func (c *issueChanges) parts() (before, after []failure) {
	if len(c.failures) == 0 || len(c.successes) == 0 {
		return nil, c.failures
	}
	last := make(map[receiver]int, len(c.successes))
	for i, s := range c.successes {
		last[s.receiver] = i + 1
	}
	for _, f := range c.failures {
		if f.after < last[f.receiver] {
			before = append(before, f)
		} else {
			after = append(after, f)
		}
	}
	return before, after
}

// openRow is the key of an open row.
type openRow struct {
	receiver
	reason herald.Reason
}

// openIssues are the open rows that results may change, as the database has them.
type openIssues struct {
	ids  map[openRow]uuid.UUID
	of   map[receiver]bool
	room map[uuid.UUID]int // how many more rows a client may have
}

func newOpenIssues() openIssues {
	return openIssues{make(map[openRow]uuid.UUID), make(map[receiver]bool), make(map[uuid.UUID]int)}
}

func (o *openIssues) add(at receiver, reason herald.Reason, id uuid.UUID) {
	o.ids[openRow{at, reason}] = id
	o.of[at] = true
}

// place makes the failures that get no row of their own count in the one that the receivers over the
// bound share.
func (o *openIssues) place(failures []failure) {
	for i := range failures {
		f := &failures[i]
		row := openRow{f.receiver, f.reason}
		if _, known := o.ids[row]; known {
			continue
		}
		if o.room[f.client] <= 0 {
			f.receiver, f.reason = receiver{client: f.client}, herald.ReasonNone
			continue
		}
		o.room[f.client]--
		o.add(row.receiver, row.reason, uuid.Nil)
	}
}

// receivers returns the receivers of the changes, each once, in the order of their keys.
func (c *issueChanges) receivers() (all []receiver, keys [][]byte) {
	byKey := make(map[receiver][32]byte, len(c.failures)+len(c.successes))
	add := func(r receiver) {
		if _, seen := byKey[r]; !seen {
			byKey[r] = r.key()
			all = append(all, r)
		}
	}
	for i := range c.failures {
		add(c.failures[i].receiver)
	}
	for i := range c.successes {
		add(c.successes[i].receiver)
	}
	slices.SortFunc(all, func(a, b receiver) int {
		ka, kb := byKey[a], byKey[b]
		return cmp.Or(bytes.Compare(a.client[:], b.client[:]), bytes.Compare(ka[:], kb[:]))
	})
	for _, r := range all {
		key := byKey[r]
		keys = append(keys, key[:])
	}
	return all, keys
}

// failingClients returns the clients with failures, each once.
func (c *issueChanges) failingClients() (all []uuid.UUID) {
	for i := range c.failures {
		if id := c.failures[i].client; !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// An issue of a client has a row of its own if fewer than herald.MaxOpenIssues are open.
const countOpenSQL = `SELECT count(*) FROM (SELECT 1 FROM issues WHERE client_id = $1 AND ended_at IS NULL LIMIT $2) x`

const findOpenSQL = `SELECT reason, id FROM issues WHERE client_id = $1 AND receiver_key = $2 AND ended_at IS NULL`

// The row may be another's that has begun meanwhile.
const addFailureSQL = `INSERT INTO issues (id, client_id, receiver_key, receiver, notification, reason, began_at, last_at, attempts, failed, made_from, last_delivery, last_status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12)` + onOpenIssue

const onOpenIssue = `
ON CONFLICT (client_id, receiver_key, reason) WHERE ended_at IS NULL DO UPDATE SET
attempts = issues.attempts + excluded.attempts, failed = issues.failed + excluded.failed, last_at = excluded.last_at,
made_from = CASE WHEN excluded.made_from < issues.made_from THEN excluded.made_from ELSE issues.made_from END,
last_delivery = excluded.last_delivery, last_status = excluded.last_status`

const endIssuesSQL = `UPDATE issues SET ended_at = $1 WHERE client_id = $2 AND receiver_key = $3 AND ended_at IS NULL`

const anyOpenSQL = `SELECT EXISTS (SELECT 1 FROM issues WHERE ended_at IS NULL)`

// issues returns what the results of a batch change of issues. Successes change nothing while no row is
// open.
func (t *sqliteWriting) issues() (issueChanges, error) {
	c := issueChangesOf(t.results)
	if len(c.failures) > 0 || len(c.successes) == 0 {
		return c, nil
	}
	var open int
	if _, err := t.anyOpen.queryRow(t.ctx, []any{&open}); err != nil || open == 0 {
		return issueChanges{}, err
	}
	return c, nil
}

// changeIssues makes the changes in a transaction, row by row.
func (s *Store) changeIssues(ctx context.Context, tx changer, now int64, c issueChanges) error {
	if len(c.failures)+len(c.successes) == 0 {
		return nil
	}
	open, err := findOpen(ctx, tx, &c)
	if err != nil {
		return err
	}
	before, after := c.parts()
	if err := s.addFailures(ctx, tx, now, &open, before); err != nil {
		return err
	}
	ended := make(map[receiver]bool)
	for i := range c.successes {
		at := c.successes[i].receiver
		if !open.of[at] || ended[at] {
			continue
		}
		ended[at] = true
		key := at.key()
		if _, err := tx.ExecContext(ctx, endIssuesSQL, now, at.client[:], key[:]); err != nil {
			return err
		}
	}
	return s.addFailures(ctx, tx, now, &open, after)
}

func findOpen(ctx context.Context, tx changer, c *issueChanges) (openIssues, error) {
	open := newOpenIssues()
	all, keys := c.receivers()
	for i, at := range all {
		_, err := list(ctx, tx, func(rows *sql.Rows) (none struct{}, err error) {
			var (
				reason herald.Reason
				id     uuid.UUID
			)
			err = rows.Scan(&reason, &id)
			open.add(at, reason, id)
			return none, err
		}, findOpenSQL, at.client[:], keys[i])
		if err != nil {
			return open, err
		}
	}
	for _, client := range c.failingClients() {
		n, err := first(ctx, tx, scanInt, countOpenSQL, client[:], herald.MaxOpenIssues)
		if err != nil {
			return open, err
		}
		open.room[client] = herald.MaxOpenIssues - int(n)
	}
	return open, nil
}

func (s *Store) addFailures(ctx context.Context, tx changer, now int64, open *openIssues, failures []failure) error {
	open.place(failures)
	for _, group := range groupFailures(failures) {
		id, key := s.ids.New(), group.key()
		_, err := tx.ExecContext(ctx, addFailureSQL, id[:], group.client[:], key[:], group.address, group.notification, string(group.reason), now,
			group.attempts, group.ends, group.madeAt, group.delivery[:], group.status)
		if err != nil {
			return err
		}
	}
	return nil
}

// failureGroup is the failures of one row; the failure is the last.
type failureGroup struct {
	failure
	attempts, ends int
}

// groupFailures returns the failures by their rows.
func groupFailures(failures []failure) (groups []failureGroup) {
	at := make(map[openRow]int, len(failures))
	for _, f := range failures {
		row := openRow{f.receiver, f.reason}
		i, found := at[row]
		if !found {
			i = len(groups)
			at[row] = i
			groups = append(groups, failureGroup{failure: f})
		}
		g := &groups[i]
		f.madeAt = min(f.madeAt, g.madeAt)
		g.failure = f
		if f.attempted {
			g.attempts++
		}
		if f.failed {
			g.ends++
		}
	}
	return groups
}
