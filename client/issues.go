package client

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"herald"
)

// IssueFilter selects issues. A member with the zero value selects all.
type IssueFilter struct {
	Cursor
	State    herald.IssueState
	Receiver string        // the whole address, in any spelling; of a mailbox with or without mailto:
	Reason   herald.Reason // why the attempts fail
	Client   uuid.UUID     // for the operator
}

// Issues lists what fails, newest first: the failing deliveries of one receiver with one reason are one
// issue. The operator's key sees those of all clients.
func (c *API) Issues(ctx context.Context, f IssueFilter) (Page[herald.Issue], error) {
	v := f.values()
	for name, value := range map[string]string{"state": string(f.State), "receiver": f.Receiver, "reason": string(f.Reason)} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if f.Client != uuid.Nil {
		v.Set("client", f.Client.String())
	}
	return get[Page[herald.Issue]](ctx, c, "/issues", v)
}

// Issue returns an issue.
func (c *API) Issue(ctx context.Context, id uuid.UUID) (herald.Issue, error) {
	return get[herald.Issue](ctx, c, "/issues/"+id.String(), nil)
}

// AcknowledgeIssue says that somebody takes care of an open issue, and returns it. It stays until the
// issue ends. A second call replaces the note, which may be empty.
func (c *API) AcknowledgeIssue(ctx context.Context, id uuid.UUID, note string) (herald.Issue, error) {
	body := struct {
		Note string `json:"note,omitempty"`
	}{note}
	var i herald.Issue
	err := c.do(ctx, call{method: http.MethodPost, path: "/issues/" + id.String() + "/acknowledge", body: body, into: &i, repeatable: true})
	return i, err
}

// NotificationSettings say who hears when a receiver fails. AfterMinutes and AfterDeliveries are limits of
// which the first counts; 0 is none.
type NotificationSettings struct {
	AfterMinutes    int      `json:"failingAfterMinutes,omitempty"`
	AfterDeliveries int      `json:"failingAfterDeliveries,omitempty"`
	Mailboxes       []string `json:"mailboxes,omitempty"`
	Webhooks        []string `json:"webhooks,omitempty"`
}

// Notifications returns who hears when a receiver of the client fails.
func (c *API) Notifications(ctx context.Context) (herald.Notifications, error) {
	return get[herald.Notifications](ctx, c, "/notifications", nil)
}

// SetNotifications sets who hears when a receiver of the client fails. It replaces the client's rules of
// the types herald.receiver.failing and herald.receiver.recovered.
func (c *API) SetNotifications(ctx context.Context, n NotificationSettings) (herald.Notifications, error) {
	var set herald.Notifications
	err := c.do(ctx, call{method: http.MethodPut, path: "/notifications", body: n, into: &set})
	return set, err
}

// StopNotifications tells nobody any more when a receiver of the client fails.
func (c *API) StopNotifications(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/notifications"})
}
