package store

import (
	"bytes"
	"context"
	"database/sql"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
)

const (
	// keyUseStep is how exactly the last use of an API key is known.
	keyUseStep = time.Minute
	// maxKeyUses bounds the keys whose use is noted and not stored yet: they take about 8 MB. The use of others
	// is noted after the next SaveKeyUses.
	maxKeyUses = 100_000
)

// keyUses are the last uses of API keys that the database does not have yet. So a request costs no write:
//
//	request ─▶ KeyUsed ─▶ memory ──SaveKeyUses, once a minute and at a stop──▶ keys.used_at
type keyUses struct {
	mu   sync.Mutex
	last map[uuid.UUID]int64 // cut to keyUseStep
}

// note notes a use, unless a later one is noted, or there is no room.
func (u *keyUses) note(key uuid.UUID, at int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known, found := u.last[key]
	if found && known >= at || !found && len(u.last) >= maxKeyUses {
		return
	}
	if u.last == nil {
		u.last = make(map[uuid.UUID]int64)
	}
	u.last[key] = at
}

// take removes and returns up to most uses. more says that others are left.
func (u *keyUses) take(most int) (taken map[uuid.UUID]int64, more bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.last) <= most {
		taken, u.last = u.last, nil
		return taken, false
	}
	taken = make(map[uuid.UUID]int64, most)
	for key, at := range u.last {
		if len(taken) == most {
			break
		}
		taken[key] = at
		delete(u.last, key)
	}
	return taken, true
}

// of returns the last use of a key that the database does not have yet; 0 without one.
func (u *keyUses) of(key uuid.UUID) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last[key]
}

// KeyUsed notes that an API key is used now. It does not block, and does not touch the database.
func (s *Store) KeyUsed(key uuid.UUID) {
	s.keyUses.note(key, micros(s.clock.Now().Truncate(keyUseStep)))
}

// SaveKeyUses stores the uses of API keys that KeyUsed has noted, in one step of at most step keys. Of two nodes the
// later use is kept. It returns how many it stored if there may be more; 0 means that none are left. After an error
// the uses are noted as before.
func (s *Store) SaveKeyUses(ctx context.Context) (int, error) {
	taken, more := s.keyUses.take(step)
	if len(taken) == 0 {
		return 0, nil
	}
	keys := slices.SortedFunc(maps.Keys(taken), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	perMinute := make(map[int64]*conditions)
	for _, key := range keys {
		c := perMinute[taken[key]]
		if c == nil {
			c = new(conditions)
			c.bind(taken[key])
			perMinute[taken[key]] = c
		}
		c.parts = append(c.parts, c.bind(key))
	}
	err := s.transact(ctx, transaction{doing: "store the uses of API keys", repeatable: true}, func(ctx context.Context, tx *sql.Tx) error {
		for _, at := range slices.Sorted(maps.Keys(perMinute)) {
			c := perMinute[at]
			_, err := tx.ExecContext(ctx, `UPDATE keys SET used_at = $1 WHERE id IN (`+c.list()+`) AND (used_at IS NULL OR used_at < $1)`, c.args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for key, at := range taken {
			s.keyUses.note(key, at)
		}
		return 0, err
	}
	if more {
		return len(taken), nil
	}
	return 0, nil
}

// scanUsedKey scans a key with its last use in the database.
func scanUsedKey(rows *sql.Rows) (k herald.Key, err error) {
	var (
		created int64
		used    sql.NullInt64
	)
	err = rows.Scan(&k.ID, &k.ClientID, &k.Role, &k.Name, &created, &used)
	k.CreatedAt = fromMicros(created)
	if used.Valid {
		k.LastUse = fromMicros(used.Int64)
	}
	return k, err
}
