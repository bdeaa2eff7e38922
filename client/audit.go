package client

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Change is an entry of the audit log.
type Change struct {
	ID       uuid.UUID `json:"id"`
	At       time.Time `json:"at"`
	ClientID uuid.UUID `json:"clientId,omitzero"`
	Action   string    `json:"action"`  // such as rule.updated
	Subject  string    `json:"subject"` // the id of what was changed, or its name
	Actor    string    `json:"actor"`   // operator, apiKey, portalLink or reader
	APIKeyID uuid.UUID `json:"apiKeyId,omitzero"`
	Address  string    `json:"address,omitempty"` // where the request came from
	// Before and After are JSON objects without secrets. Before is nil when the
	// subject was created, After when it was deleted.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Changes lists the audit log, newest first. The operator's key sees all changes, or
// those of one client when client is not uuid.Nil. A client's key sees its own changes only.
func (c *API) Changes(ctx context.Context, client uuid.UUID, u Cursor) (Page[Change], error) {
	v := u.values()
	if client != uuid.Nil {
		v.Set("client", client.String())
	}
	return get[Page[Change]](ctx, c, "/audit", v)
}
