package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"herald"
	"herald/internal/secret"
)

// auditedLink is what the audit log says of a portal link.
type auditedLink struct {
	Role      herald.Role `json:"role"`
	Path      string      `json:"path,omitempty"`
	ExpiresAt time.Time   `json:"expiresAt"`
}

// CreatePortalLink makes a link that lives as long as life, and returns its secret this once. The
// operator must make it.
//
// Errors: CodeNotFound when there is no such client, CodeTooMany when it has herald.MaxOpenLinks.
func (s *Store) CreatePortalLink(ctx context.Context, by herald.Caller, l herald.PortalLink, life time.Duration) (made herald.PortalLink, token string, err error) {
	err = s.changeInTurn(ctx, l.ClientID, "make a portal link", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := s.readableClient(ctx, tx, l.ClientID); err != nil {
			return err
		}
		now := s.clock.Now()
		open, err := first(ctx, tx, scanInt, `SELECT count(*) FROM (SELECT 1 FROM portal_links WHERE client_id = $1 AND expires_at > $2 LIMIT $3) x`,
			l.ClientID[:], micros(now), herald.MaxOpenLinks)
		if err != nil {
			return err
		}
		if open >= herald.MaxOpenLinks {
			return &herald.Error{Code: herald.CodeTooMany, RetryAfter: time.Minute,
				Message: "The client has 1000 portal links that nobody has used yet. Wait until some have expired, or let them expire sooner."}
		}
		var hash [32]byte
		token, hash = secret.NewToken()
		made = l
		made.ExpiresAt = now.Add(life).Truncate(time.Microsecond)
		_, err = tx.ExecContext(ctx, `INSERT INTO portal_links (hash, client_id, operator_key, role, path, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			hash[:], l.ClientID[:], by.OperatorKey[:], string(l.Role), l.Path, micros(made.ExpiresAt))
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{l.ClientID, herald.PortalLinkCreated, l.ClientID.String(), nil, auditedLink{l.Role, l.Path, made.ExpiresAt}})
	})
	return made, token, err
}

// RedeemPortalLink uses up the link that a secret finds, and makes a session. The error is
// CodeUnauthorized for every link that has expired, was used, or never was.
func (s *Store) RedeemPortalLink(ctx context.Context, token string) (l herald.PortalLink, session string, err error) {
	hash := secret.HashToken(token)
	err = s.inTransaction(ctx, "use a portal link", func(ctx context.Context, tx *sql.Tx) (err error) {
		var by herald.Caller
		l, err = first(ctx, tx, func(rows *sql.Rows) (l herald.PortalLink, err error) {
			var (
				expires     int64
				operatorKey []byte
			)
			err = rows.Scan(&l.ClientID, &operatorKey, &l.Role, &l.Path, &expires)
			copy(by.OperatorKey[:], operatorKey)
			l.ExpiresAt = fromMicros(expires)
			return l, err
		}, `DELETE FROM portal_links WHERE hash = $1 RETURNING client_id, operator_key, role, path, expires_at`, hash[:])
		if err == nil {
			_, err = s.readableClient(ctx, tx, l.ClientID)
		}
		switch {
		case errors.Is(err, sql.ErrNoRows), herald.CodeOf(err) == herald.CodeNotFound,
			err == nil && (!l.ExpiresAt.After(s.clock.Now()) || !s.knowsOperator(by)):
			return herald.Errorf(herald.CodeUnauthorized, "The link has been used or has expired. Ask for a new one where you got it.")
		case err != nil:
			return err
		}
		by.Key = herald.Key{ClientID: l.ClientID, Role: l.Role}
		session, err = s.addSession(ctx, tx, by)
		return err
	})
	return l, session, err
}
