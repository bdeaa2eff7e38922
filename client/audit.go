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

// ChangeFilter selects entries of the audit log. A member with the zero value selects all.
type ChangeFilter struct {
	Cursor
	// Client is for the operator's key: only this client's changes.
	Client uuid.UUID
	// Action is one, such as "rule.deleted", or a kind of thing, such as "rule".
	Action string
	// Actor is operator, apiKey, portalLink or reader.
	Actor string
	// Since and Until bound when the change was made: at Since or later, before Until.
	Since, Until time.Time
}

// Changes lists the audit log, newest first. The operator's key sees all changes, a client's key
// its own only. A page before the last can be short or even empty; only a Next of uuid.Nil marks the last page.
func (c *API) Changes(ctx context.Context, f ChangeFilter) (Page[Change], error) {
	v := f.values()
	for name, text := range map[string]string{"action": f.Action, "actor": f.Actor} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if f.Client != uuid.Nil {
		v.Set("client", f.Client.String())
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	return get[Page[Change]](ctx, c, "/audit", v)
}
