// Package notify tells clients that a receiver of theirs fails, and that it has recovered. It publishes
// an event of Herald's own, which the client's rules of its type send on like any other.
//
//	issue open for the time or ──▶ herald.receiver.failing ──▶ issue ended ──▶ herald.receiver.recovered
//	number that the client set      (once)                                      (once, if failing was told)
//
// The issues' rows say what was told, so it is told once by all nodes and over restarts. Deliveries of
// these events have issues of their own, which nobody is told of: a receiver that fails to take them
// cannot cause more.
//
// internal/store has the issues and decides which are due.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/explain"
)

// patience bounds how long telling of one issue may take.
const patience = 10 * time.Second

// Store has the issues.
type Store interface {
	// MarkFailing marks what is due to be told, and returns how many issues.
	MarkFailing(ctx context.Context) (int, error)
	// ToTell returns some of the issues whose clients are to be told that they have begun, or have ended.
	ToTell(ctx context.Context, recovered bool) ([]herald.Issue, error)
	// Told notes that a client was told.
	Told(ctx context.Context, issue uuid.UUID, recovered bool) error
}

// Publisher accepts events, see Publish of internal/intake.
type Publisher interface {
	Publish(ctx context.Context, caller herald.Caller, pubs []herald.Publication) ([]herald.Receipt, error)
}

// Notifier tells clients. All members are required.
type Notifier struct {
	Store     Store
	Publisher Publisher
	// HasRules reports whether a client has rules of an event type. It is false for a client that does not
	// exist.
	HasRules func(ctx context.Context, client uuid.UUID, eventType string) (bool, error)
	// Link returns the address where people see an issue, or "".
	Link func(herald.Issue) string
	Log  *slog.Logger
}

// data is the data of both events.
type data struct {
	IssueID          uuid.UUID     `json:"issueId"`
	Receiver         string        `json:"receiver"`
	Since            time.Time     `json:"since"`
	RecoveredAt      time.Time     `json:"recoveredAt,omitzero"`
	FailingAttempts  int           `json:"failingAttempts"`
	FailedDeliveries int           `json:"failedDeliveries"`
	Reason           herald.Reason `json:"reason"`
	Description      string        `json:"description"`
	Link             string        `json:"link,omitempty"`
}

// Step tells what is due now, and returns how many issues it was about. What cannot be told now is told
// by a later step. An issue that cannot be told of does not hold up the others.
func (n *Notifier) Step(ctx context.Context) (int, error) {
	if _, err := n.Store.MarkFailing(ctx); err != nil {
		return 0, err
	}
	all := 0
	for _, recovered := range []bool{false, true} {
		issues, err := n.Store.ToTell(ctx, recovered)
		if err != nil {
			return all, err
		}
		for _, i := range issues {
			if err := n.tell(ctx, i, recovered); err != nil {
				if ctx.Err() != nil {
					return all, err
				}
				n.Log.Warn("a client cannot be told of a receiver now; it is tried again", "issueId", i.ID, "clientId", i.ClientID, "recovered", recovered, "error", err)
				continue
			}
			all++
		}
	}
	return all, nil
}

// tell publishes the event of an issue and notes it. If the node dies in between, another publishes the
// event with the same key, which adds nothing.
func (n *Notifier) tell(ctx context.Context, i herald.Issue, recovered bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	kind := herald.ReceiverFailing
	if recovered {
		kind = herald.ReceiverRecovered
	}
	has, err := n.HasRules(ctx, i.ClientID, kind)
	if err != nil {
		return err
	}
	if has {
		if err := n.publish(ctx, i, kind); err != nil {
			return err
		}
	}
	return n.Store.Told(ctx, i.ID, recovered)
}

func (n *Notifier) publish(ctx context.Context, i herald.Issue, kind string) error {
	d := data{IssueID: i.ID, Receiver: i.Receiver, Since: i.BeganAt.Truncate(time.Second), FailingAttempts: i.Attempts, FailedDeliveries: i.Failed,
		Reason: i.Reason, Description: explain.Issue(i), Link: n.Link(i)}
	if kind == herald.ReceiverRecovered {
		d.RecoveredAt = i.EndedAt.Truncate(time.Second)
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode a notification: %w", err)
	}
	_, err = n.Publisher.Publish(ctx, herald.Caller{Operator: true}, []herald.Publication{{
		Event:          herald.Event{ClientID: i.ClientID, Type: kind, Data: text},
		IdempotencyKey: kind + " " + i.ID.String(),
	}})
	var known *herald.Error
	if errors.As(err, &known) && known.Code == herald.CodeMismatch {
		return nil // it was published before the node died, with the counts of that time
	}
	return err
}
