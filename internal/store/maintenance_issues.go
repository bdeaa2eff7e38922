package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"herald"
)

// An issue whose receiver is not used any more ends: no success to it can come. A receiver is used while a
// rule has its address, or a delivery to it is pending. A mailbox that has unsubscribed is not. What may end
// the use looks at once, after its transaction (endUnusedOf). What fails later, or was not looked at because a
// node died, is found by a maintenance task (EndUnusedIssues).

const (
	// unusedStep is how many open rows one step looks at.
	unusedStep = 100
	// maxKnownUsed bounds usedReceivers, to some MB. The rules of further rows are read in each round.
	maxKnownUsed = 100_000
)

// usedReceivers are what this node knows of open rows, so that the rules of a client are read only after a change of it.
type usedReceivers struct {
	mu    sync.Mutex
	after uuid.UUID // where the next step goes on
	// The client's revision at which a rule had the row's receiver, by the row's id: of the last round and of this one.
	last, now map[uuid.UUID]int64
}

// openReceiver is an open row with its receiver.
type openReceiver struct {
	receiver
	id       uuid.UUID
	revision int64 // of the client
}

func scanOpenReceiver(rows *sql.Rows) (o openReceiver, err error) {
	err = rows.Scan(&o.id, &o.client, &o.address, &o.notification, &o.revision)
	return o, err
}

const openReceiversSQL = `SELECT i.id, i.client_id, i.receiver, i.notification, c.version + c.settings_version
FROM issues i JOIN clients c ON c.id = i.client_id WHERE i.ended_at IS NULL AND i.receiver <> '' AND `

// EndUnusedIssues ends issues whose receivers are not used any more, in steps. It returns 0 at the end of a round.
func (s *Store) EndUnusedIssues(ctx context.Context) (int, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	u := &s.usedReceivers
	u.mu.Lock()
	defer u.mu.Unlock()
	open, err := list(ctx, s.read, scanOpenReceiver, openReceiversSQL+`i.id > $1 ORDER BY i.id LIMIT $2`, u.after[:], unusedStep)
	if err != nil {
		return 0, s.failed("read open issues", err)
	}
	for _, o := range open {
		used := u.last[o.id] == o.revision
		if !used {
			if used, err = s.endIfUnused(ctx, o); err != nil {
				return 0, err
			}
		}
		if u.after = o.id; used && len(u.now) < maxKnownUsed {
			if u.now == nil {
				u.now = make(map[uuid.UUID]int64)
			}
			u.now[o.id] = o.revision
		}
	}
	if len(open) < unusedStep {
		u.after, u.last, u.now = uuid.Nil, u.now, nil
		return 0, nil
	}
	return len(open), nil
}

// endUnusedOf ends the issues of receivers of a client that may not be used any more. It is for those who have just
// changed that: EndUnusedIssues does later what cannot be done now.
func (s *Store) endUnusedOf(ctx context.Context, client uuid.UUID, addresses ...string) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	for _, address := range addresses {
		for _, notification := range []bool{false, true} {
			key := receiver{client, address, notification}.key()
			open, err := list(ctx, s.read, scanOpenReceiver, openReceiversSQL+`i.client_id = $1 AND i.receiver_key = $2`, client[:], key[:])
			for _, o := range open {
				if err == nil {
					_, err = s.endIfUnused(ctx, o)
				}
			}
			if err != nil {
				s.log.Warn("an issue whose receiver is not used any more ends later", "clientId", client, "error", err)
				return
			}
		}
	}
}

// endIfUnused ends an open row unless its receiver is used. used says that a rule has the receiver.
func (s *Store) endIfUnused(ctx context.Context, o openReceiver) (used bool, err error) {
	if used, err = s.hasRule(ctx, s.read, o.receiver); err != nil || used {
		return used, s.failed("look for a rule of a receiver", err)
	}
	pending, err := first(ctx, s.read, scanInt, `SELECT count(*) FROM (SELECT 1 FROM queue WHERE client_id = $1 AND address = $2 LIMIT 1) x`, o.client[:], o.address)
	if err != nil || pending > 0 {
		return false, s.failed("look for a receiver's deliveries", err)
	}
	err = s.changeOf(ctx, o.client, "end an issue of an unused receiver", func(ctx context.Context, tx *sql.Tx) error {
		if used, err = s.hasRule(ctx, tx, o.receiver); err != nil || used { // it may be used again
			return err
		}
		now, err := s.now(ctx, tx)
		if err != nil {
			return err
		}
		// Nobody is told that the receiver has recovered.
		_, err = tx.ExecContext(ctx, `UPDATE issues SET ended_at = $1, unused = $2, told = CASE WHEN told = 0 THEN 0 ELSE 3 END WHERE id = $3 AND ended_at IS NULL`,
			now, true, o.id[:])
		return err
	})
	return used, err
}

// hasRule reports whether a rule of its client has a receiver, and may send to it.
func (s *Store) hasRule(ctx context.Context, q querier, r receiver) (bool, error) {
	kind := ` AND NOT ` + isNotificationSQL
	if r.notification {
		kind = ` AND ` + isNotificationSQL
	}
	box, mail := strings.CutPrefix(r.address, herald.MailScheme)
	if !mail {
		n, err := first(ctx, q, scanInt, `SELECT count(*) FROM (SELECT 1 FROM rules WHERE client_id = $1 AND webhook = $2`+kind+` LIMIT 1) x`, r.client[:], r.address)
		return n > 0, err
	}
	n, err := first(ctx, q, scanInt, `SELECT count(*) FROM unsubscribed WHERE client_id = $1 AND address IN ($2, $3)`, r.client[:], box, herald.MailboxKey(box))
	if err != nil || n > 0 {
		return false, err
	}
	text, err := json.Marshal(box)
	if err != nil {
		return false, err
	}
	// An element may have several mailboxes, or have the box only as a part of another one.
	found := false
	_, err = list(ctx, q, func(rows *sql.Rows) (none struct{}, err error) {
		var text string
		var emails []string
		if err = rows.Scan(&text); err == nil && !found {
			err = json.Unmarshal([]byte(text), &emails)
			found = slices.Contains(herald.Mailboxes(emails), box)
		}
		return none, err
	}, `SELECT emails FROM rules WHERE client_id = $1 AND replace(emails, $2, '') <> emails`+kind, r.client[:], strings.Trim(string(text), `"`))
	return found, err
}

// receiversOf returns the addresses of a rule's receivers.
func receiversOf(r herald.Rule) (addresses []string) {
	if r.Webhook != "" {
		addresses = append(addresses, r.Webhook)
	}
	for _, box := range herald.Mailboxes(r.Emails) {
		addresses = append(addresses, herald.MailScheme+box)
	}
	return addresses
}
