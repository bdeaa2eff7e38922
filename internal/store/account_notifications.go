package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/google/uuid"

	"herald"
)

// Notifications tell a client once that a receiver fails, and once that it has recovered. What was told
// is on the issue (the column told), so that it is told once by all nodes, and after a crash:
//
//	untold ──MarkFailing──▶ tell failing ──published──▶ told failing
//	                                                       │ the issue ends
//	                        told recovered ◀──published────┘
//
// A mark is made before its event is published, and the event has an idempotency key of the issue. So a
// node that dies in between leaves the mark, and the event is published again at most with the same key.
const (
	untold = iota
	tellFailing
	toldFailing
	toldRecovered
)

// notificationsStep is how many receivers one step of the notifications reads.
const notificationsStep = 100

// notificationRules returns a client's rules for notifications.
func notificationRules(ctx context.Context, q querier, client uuid.UUID) ([]herald.Rule, error) {
	return list(ctx, q, scanRule, `SELECT `+ruleColumns+` FROM rules WHERE client_id = $1 AND `+isNotificationSQL+` ORDER BY id`, client[:])
}

// Notifications returns who hears when a receiver of a client fails: the receivers of its rules for that.
func (s *Store) Notifications(ctx context.Context, client uuid.UUID) (herald.Notifications, error) {
	ctx, done, err := s.readTurn(ctx, client)
	if err != nil {
		return herald.Notifications{}, err
	}
	defer done()
	n, err := notifications(ctx, s.lists, client)
	return n, s.failed("read notifications", err)
}

func notifications(ctx context.Context, q querier, client uuid.UUID) (herald.Notifications, error) {
	n, err := first(ctx, q, func(rows *sql.Rows) (n herald.Notifications, err error) {
		n.On = true // a rule of their types alone is not enough
		err = rows.Scan(&n.AfterMinutes, &n.AfterDeliveries)
		return n, err
	}, `SELECT after_minutes, after_deliveries FROM notifications WHERE client_id = $1`, client[:])
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return n, err
	}
	rules, err := notificationRules(ctx, q, client)
	for _, r := range rules {
		if r.Webhook != "" && !slices.Contains(n.Webhooks, r.Webhook) {
			n.Webhooks = append(n.Webhooks, r.Webhook)
		}
		for _, box := range herald.Mailboxes(r.Emails) {
			if !slices.Contains(n.Mailboxes, box) {
				n.Mailboxes = append(n.Mailboxes, box)
			}
		}
	}
	return n, err
}

// SetNotifications sets who hears when a receiver of a client fails. It makes rules for that, and deletes
// other rules of their types. The error is CodeNotFound when there is no such client, and CodeConflict
// when it would have too many rules.
func (s *Store) SetNotifications(ctx context.Context, by herald.Caller, client uuid.UUID, n herald.Notifications) error {
	return s.changeNotifications(ctx, by, client, herald.NotificationsSet, n, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO notifications (client_id, after_minutes, after_deliveries) VALUES ($1, $2, $3)
ON CONFLICT (client_id) DO UPDATE SET after_minutes = excluded.after_minutes, after_deliveries = excluded.after_deliveries`,
			client[:], n.AfterMinutes, n.AfterDeliveries)
		return err
	})
}

// StopNotifications tells nobody any more when a receiver of a client fails. A second call changes nothing.
func (s *Store) StopNotifications(ctx context.Context, by herald.Caller, client uuid.UUID) error {
	return s.changeNotifications(ctx, by, client, herald.NotificationsOff, herald.Notifications{}, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM notifications WHERE client_id = $1`, client[:])
		return err
	})
}

func (s *Store) changeNotifications(ctx context.Context, by herald.Caller, client uuid.UUID, action herald.Action, after herald.Notifications, fn change) error {
	var before herald.Notifications
	err := s.changeClient(ctx, client, "change notifications", func(ctx context.Context, tx *sql.Tx) (err error) {
		before, err = notifications(ctx, tx, client)
		if err == nil {
			err = fn(ctx, tx)
		}
		if err == nil {
			err = s.setNotificationRules(ctx, tx, by, client, after)
		}
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client, action, client.String(), before, after})
	})
	if err == nil {
		s.endUnusedOf(ctx, client, append(receiversOf(herald.Rule{Emails: before.Mailboxes}), before.Webhooks...)...)
	}
	return err
}

// setNotificationRules makes the client's rules for notifications those of n. A rule that is right
// already keeps its id.
func (s *Store) setNotificationRules(ctx context.Context, tx *sql.Tx, by herald.Caller, client uuid.UUID, n herald.Notifications) error {
	var missing []herald.Rule
	for _, kind := range herald.NotificationTypes() {
		rule := herald.Rule{ClientID: client, Type: kind, PostedType: kind}
		for _, webhook := range n.Webhooks {
			rule.Webhook = webhook
			missing = append(missing, rule)
		}
		if rule.Webhook = ""; len(n.Mailboxes) > 0 {
			rule.Emails = n.Mailboxes
			missing = append(missing, rule)
		}
	}
	present, err := notificationRules(ctx, tx, client)
	if err != nil {
		return err
	}
	for _, r := range present {
		i := slices.IndexFunc(missing, func(m herald.Rule) bool {
			return m.Type == r.Type && m.Webhook == r.Webhook && slices.Equal(m.Emails, r.Emails) && r.CompanyID == uuid.Nil
		})
		if i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			continue
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM rules WHERE client_id = $1 AND id = $2`, client[:], r.ID[:]); err != nil {
			return err
		}
		if err := s.audit(ctx, tx, by, auditEntry{client, herald.RuleDeleted, r.ID.String(), auditRule(r), nil}); err != nil {
			return err
		}
	}
	for _, r := range missing {
		r.ID = herald.NewID()
		if err := s.addRule(ctx, tx, by, r); err != nil {
			return err
		}
	}
	return nil
}

// MarkFailing marks the receivers that have failed for as long or as often as their clients want to be
// told, and returns how many. It leaves out those with an acknowledged issue.
func (s *Store) MarkFailing(ctx context.Context) (n int, err error) {
	type due struct {
		client uuid.UUID
		key    []byte
	}
	now, err := s.now(ctx, s.read)
	if err != nil {
		return 0, s.failed("read the time", err)
	}
	found, err := list(ctx, s.read, func(rows *sql.Rows) (d due, err error) {
		err = rows.Scan(&d.client, &d.key)
		return d, err
	}, `SELECT i.client_id, i.receiver_key FROM notifications n JOIN issues i ON i.client_id = n.client_id
WHERE i.ended_at IS NULL AND NOT i.notification AND i.receiver <> '' AND `+isIssue+`
GROUP BY i.client_id, i.receiver_key, n.after_minutes, n.after_deliveries
HAVING max(i.told) = 0 AND count(i.acked_at) = 0 AND (n.after_minutes > 0 AND min(i.began_at) <= $1 - n.after_minutes * 60000000
OR n.after_deliveries > 0 AND sum(i.failed) >= n.after_deliveries) LIMIT $2`, now, notificationsStep)
	if err != nil {
		return 0, s.failed("look for failing receivers", err)
	}
	for _, d := range found {
		if err := s.markFailing(ctx, d.client, d.key); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// markFailing marks the first issue of a receiver, unless another node has done so.
func (s *Store) markFailing(ctx context.Context, client uuid.UUID, key []byte) error {
	return s.inTransaction(ctx, "mark a failing receiver", func(ctx context.Context, tx *sql.Tx) error {
		type row struct {
			id    uuid.UUID
			told  int
			acked sql.NullInt64
		}
		// The lock makes the nodes mark one after the other.
		if _, err := list(ctx, tx, scanID, `SELECT client_id FROM notifications WHERE client_id = $1 `+s.dialect.forUpdate, client[:]); err != nil {
			return err
		}
		open, err := list(ctx, tx, func(rows *sql.Rows) (r row, err error) {
			err = rows.Scan(&r.id, &r.told, &r.acked)
			return r, err
		}, `SELECT i.id, i.told, i.acked_at FROM issues i WHERE i.client_id = $1 AND i.receiver_key = $2 AND i.ended_at IS NULL AND `+isIssue+` ORDER BY i.id `+s.dialect.forUpdate,
			client[:], key)
		if err != nil || len(open) == 0 || slices.ContainsFunc(open, func(r row) bool { return r.told != untold || r.acked.Valid }) {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE issues SET told = $1 WHERE id = $2`, tellFailing, open[0].id[:])
		return err
	})
}

// ToTell returns issues of which the clients are to be told now: that they have begun if recovered is
// false, else that they have ended. It returns notificationsStep at most, the longest begun first.
func (s *Store) ToTell(ctx context.Context, recovered bool) ([]herald.Issue, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	where, told := "", tellFailing
	if recovered {
		where, told = " AND i.ended_at IS NOT NULL", toldFailing
	}
	issues, err := list(ctx, s.read, func(rows *sql.Rows) (herald.Issue, error) {
		i, _, err := scanIssue(rows)
		return i, err
	}, `SELECT `+issueColumns+` FROM issues i WHERE i.told IN (1, 2) AND i.told = $1`+where+` ORDER BY i.id LIMIT $2`, told, notificationsStep)
	return issues, s.failed("read what is to be told", err)
}

// Told notes that a client was told of an issue, as ToTell has it. A second call changes nothing.
func (s *Store) Told(ctx context.Context, issue uuid.UUID, recovered bool) error {
	from, to := tellFailing, toldFailing
	if recovered {
		from, to = toldFailing, toldRecovered
	}
	return s.inTransaction(ctx, "note that a client was told", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE issues SET told = $1 WHERE id = $2 AND told = $3`, to, issue[:], from)
		return err
	})
}
