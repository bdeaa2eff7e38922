package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Unsubscribed is a mailbox that gets no more mail of the client.
type Unsubscribed struct {
	Address string    `json:"address"`
	At      time.Time `json:"unsubscribedAt"`
}

// Unsubscribed lists the mailboxes that get no more mail of the client.
func (c *API) Unsubscribed(ctx context.Context) ([]Unsubscribed, error) {
	answer, err := get[Page[Unsubscribed]](ctx, c, "/unsubscribed", nil)
	return answer.Results, err
}

// Resubscribe allows the client's mail to a mailbox again.
func (c *API) Resubscribe(ctx context.Context, address string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/unsubscribed/" + url.PathEscape(address)})
}
