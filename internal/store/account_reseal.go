package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Reseal seals secrets with the present key that are sealed with an older one, in one
// step of at most step rows. It returns how many. A secret that no key opens stays as
// it is and is part of the error. Several nodes may call Reseal at the same time.
func (s *Store) Reseal(ctx context.Context) (n int, err error) {
	if err := s.resealCheck(ctx); err != nil {
		return 0, err
	}
	prefix := s.box.Prefix()
	type sealed struct {
		client uuid.UUID
		auth   []byte
	}
	var (
		after  uuid.UUID
		failed []error
	)
	for {
		old, err := list(ctx, s.read, func(rows *sql.Rows) (o sealed, err error) {
			err = rows.Scan(&o.client, &o.auth)
			return o, err
		}, `SELECT id, auth FROM clients WHERE auth IS NOT NULL AND substr(auth, 1, $1) <> $2 AND id > $3 ORDER BY id LIMIT $4`, len(prefix), prefix, after[:], step)
		if err != nil {
			return n, s.failed("read secrets sealed with an older key", err)
		}
		if len(old) == 0 {
			return n, errors.Join(failed...)
		}
		before := len(failed)
		err = s.inTransaction(ctx, "seal secrets with the present key", func(ctx context.Context, tx *sql.Tx) error {
			n, failed = 0, failed[:before]
			for _, o := range old {
				plain, err := s.box.Open(o.auth, authContext(o.client))
				if err != nil {
					failed = append(failed, fmt.Errorf("alertAuthHeader of client %s: %w", o.client, err))
					continue
				}
				// The condition on auth spares a header that was saved since the read.
				changed, err := affected(tx.ExecContext(ctx, `UPDATE clients SET auth = $1 WHERE id = $2 AND auth = $3`,
					s.box.Seal(plain, authContext(o.client)), o.client[:], o.auth))
				if err != nil {
					return err
				}
				n += int(changed)
			}
			return nil
		})
		if err != nil || n > 0 {
			return n, errors.Join(append(failed, err)...)
		}
		after = old[len(old)-1].client // no key opens any of these; later ones may open
	}
}
