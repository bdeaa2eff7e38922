package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/secret"
)

// Bounds of sessions. The sessions of a key beyond its bound end, the least recently used first.
const (
	maxSessions     = 100  // of one key
	maxLinkSessions = 1000 // that links of one operator's key began for one client
	// useStep is how exactly the last use of a session is known, so that a page costs no write.
	useStep = time.Minute
	// viewMargin is how far the clocks of two nodes may be apart for RecordView to find the other's entry.
	viewMargin = time.Hour
)

// errNoSession is the same whatever is wrong with a session.
func errNoSession() error {
	return herald.Errorf(herald.CodeUnauthorized, "You are not signed in, or the session has ended.")
}

// CreateSession makes a session of the caller and returns the secret that finds it, this once.
func (s *Store) CreateSession(ctx context.Context, by herald.Caller) (token string, err error) {
	err = s.inTransaction(ctx, "make a session", func(ctx context.Context, tx *sql.Tx) (err error) {
		token, err = s.addSession(ctx, tx, by)
		return err
	})
	return token, err
}

func (s *Store) addSession(ctx context.Context, tx *sql.Tx, by herald.Caller) (token string, err error) {
	token, hash := secret.NewToken()
	now := s.clock.Now()
	if err := dropSessions(ctx, tx, by); err != nil {
		return "", err
	}
	var operatorKey []byte
	if by.Key.ID == uuid.Nil {
		operatorKey = by.OperatorKey[:]
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO sessions (hash, client_id, key_id, operator_key, role, made_at, used_at, ends_at)
VALUES ($1, $2, $3, $4, $5, $6, $6, $7)`, hash[:], idOrNull(by.Key.ClientID), idOrNull(by.Key.ID), operatorKey,
		string(by.Key.Role), micros(now), micros(now.Add(herald.SessionLife)))
	return token, err
}

// dropSessions ends the least recently used sessions that would make too many with another one.
func dropSessions(ctx context.Context, tx *sql.Tx, by herald.Caller) (err error) {
	const most = 1 << 20 // SQLite has no OFFSET without a LIMIT
	switch {
	case by.Key.ID != uuid.Nil:
		_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions
WHERE key_id = $1 ORDER BY used_at DESC LIMIT $2 OFFSET $3)`, by.Key.ID[:], most, maxSessions-1)
	case by.Operator:
		_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions
WHERE operator_key = $1 AND client_id IS NULL ORDER BY used_at DESC LIMIT $2 OFFSET $3)`, by.OperatorKey[:], most, maxSessions-1)
	default:
		_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions
WHERE operator_key = $1 AND client_id = $2 ORDER BY used_at DESC LIMIT $3 OFFSET $4)`, by.OperatorKey[:], by.Key.ClientID[:], most, maxLinkSessions-1)
	}
	return err
}

// sessionSQL reads a session whose key and client are still what they were when it was made.
const sessionSQL = `SELECT s.client_id, s.key_id, s.operator_key, s.role, s.made_at, s.used_at, s.ends_at,
coalesce(k.name, ''), coalesce(k.created_at, 0), coalesce(c.name, '') FROM sessions s
LEFT JOIN keys k ON k.id = s.key_id AND k.client_id = s.client_id AND k.role = s.role
LEFT JOIN clients c ON c.id = s.client_id AND c.deleted_at IS NULL
WHERE s.hash = $1 AND s.ends_at > $2 AND s.used_at > $3
AND (s.key_id IS NULL OR k.id IS NOT NULL) AND (s.client_id IS NULL OR c.id IS NOT NULL)`

func scanSession(rows *sql.Rows) (o herald.Session, err error) {
	var (
		operatorKey               []byte
		made, used, ends, created int64
		key                       = &o.Caller.Key
	)
	err = rows.Scan(&key.ClientID, &key.ID, &operatorKey, &key.Role, &made, &used, &ends, &key.Name, &created, &o.ClientName)
	copy(o.Caller.OperatorKey[:], operatorKey)
	o.Caller.Operator = operatorKey != nil && key.ClientID == uuid.Nil
	o.MadeAt, o.LastUse, o.EndsAt = fromMicros(made), fromMicros(used), fromMicros(ends)
	if created != 0 {
		key.CreatedAt = fromMicros(created)
	}
	return o, err
}

// Session returns the session that a secret finds. used notes its use, which keeps it from ending for want of it;
// a page that refreshes itself is no use. It is a use of the session's key too. It ends with its key: when that
// is revoked or gets another role, when its client is deleted, and when the operator's key is none of
// this node's any more. The error is CodeUnauthorized for every session that has ended or never was.
func (s *Store) Session(ctx context.Context, token string, used bool) (herald.Session, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	hash, now := secret.HashToken(token), s.clock.Now()
	found, err := first(ctx, s.read, scanSession, sessionSQL, s.withCachedPlan(hash[:], micros(now), micros(now.Add(-herald.SessionIdle)))...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return herald.Session{}, errNoSession()
	case err != nil:
		return herald.Session{}, s.failed("look up a session", err)
	case !s.knowsOperator(found.Caller):
		return herald.Session{}, errNoSession()
	}
	if used && found.Caller.Key.ID != uuid.Nil {
		s.KeyUsed(found.Caller.Key.ID)
	}
	if used && now.Sub(found.LastUse) >= useStep {
		if err := s.noteUse(ctx, hash, now); err != nil {
			s.log.Warn("the use of a session was not noted", "error", err) // it may end early, no more
		}
	}
	return found, nil
}

// knowsOperator is false for a caller by an operator's key that is none of this node's any more.
func (s *Store) knowsOperator(by herald.Caller) bool {
	return by.OperatorKey == [32]byte{} || slices.Contains(s.options.OperatorKeys, by.OperatorKey)
}

func (s *Store) noteUse(ctx context.Context, hash [32]byte, now time.Time) error {
	return s.transact(ctx, transaction{doing: "note the use of a session", timeout: changeTimeout, repeatable: true}, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE sessions SET used_at = $1 WHERE hash = $2 AND used_at <= $3`, micros(now), hash[:], micros(now.Add(-useStep)))
		return err
	})
}

// viewed is what the audit log holds of a page that was opened: which session it was, without its secret.
type viewed struct {
	Session string `json:"session"`
}

// maxViews bounds how many pages of a client are named in the audit log for one session. A person opens fewer.
const maxViews = 1000

// RecordView writes to the audit log that the person of a session has opened a page of a client. page is the page's path, and
// kind the same for all pages alike, which is recorded instead after maxViews pages. There is one entry for each client, page
// and session, however often and on however many nodes it is called. The error is CodeUnauthorized for a session that has
// ended.
func (s *Store) RecordView(ctx context.Context, by herald.Caller, token string, client uuid.UUID, page, kind string) error {
	hash := secret.HashToken(token)
	return s.inTransaction(ctx, "record who looks", func(ctx context.Context, tx *sql.Tx) error {
		// The session's row is locked, so that two requests do not both write an entry.
		made, err := first(ctx, tx, scanInt, `SELECT made_at FROM sessions WHERE hash = $1 `+s.dialect.forUpdate, hash[:])
		if errors.Is(err, sql.ErrNoRows) {
			return errNoSession()
		}
		if err != nil {
			return err
		}
		of := viewed{hex.EncodeToString(hash[:8])}
		known, err := encodeAudited(of)
		if err != nil {
			return err
		}
		from := herald.FirstIDAt(fromMicros(made).Add(-viewMargin))
		before, err := list(ctx, tx, func(rows *sql.Rows) (page string, err error) {
			err = rows.Scan(&page)
			return page, err
		}, `SELECT subject FROM audit WHERE client_id = $1 AND id >= $2 AND action = $3 AND after = $4`,
			client[:], from[:], string(herald.ClientViewed), known)
		if len(before) >= maxViews {
			page = kind
		}
		if err != nil || slices.Contains(before, page) {
			return err
		}
		return s.audit(ctx, tx, by, auditEntry{client: client, action: herald.ClientViewed, subject: page, after: of})
	})
}

// EndSession ends the session that a secret finds. It is no error if there is none.
func (s *Store) EndSession(ctx context.Context, token string) error {
	hash := secret.HashToken(token)
	return s.inTransaction(ctx, "end a session", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash = $1`, hash[:])
		return err
	})
}

// EndSessions ends all sessions of the caller's key, on every node. For a person who came by a link it is
// CodeConflict: each link has one session only, and the others are other people's.
func (s *Store) EndSessions(ctx context.Context, by herald.Caller) error {
	if by.Key.ID == uuid.Nil && !by.Operator {
		return herald.Errorf(herald.CodeConflict, "A portal link signs in one browser only; sign out there.")
	}
	return s.inTransaction(ctx, "end sessions", func(ctx context.Context, tx *sql.Tx) (err error) {
		if by.Operator {
			_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE operator_key = $1 AND client_id IS NULL`, by.OperatorKey[:])
		} else {
			_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE key_id = $1`, by.Key.ID[:])
		}
		return err
	})
}

// ExpireSessions deletes sessions that have ended by themselves and links that nobody used in time, in
// one step of at most step each. It returns how many.
func (s *Store) ExpireSessions(ctx context.Context) (n int, err error) {
	now := s.clock.Cautious()
	err = s.inTransaction(ctx, "delete ended sessions", func(ctx context.Context, tx *sql.Tx) error {
		sessions, err := affected(tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE ends_at <= $1 LIMIT $2)`, micros(now), step))
		if err != nil {
			return err
		}
		links, err := affected(tx.ExecContext(ctx, `DELETE FROM portal_links WHERE hash IN (SELECT hash FROM portal_links WHERE expires_at <= $1 LIMIT $2)`, micros(now), step))
		n = int(sessions + links)
		return err
	})
	return n, err
}
