package app

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"herald/internal/secret"
	"herald/internal/store"
)

// rereadInterval is how often the key file is looked at.
const rereadInterval = time.Second

// resealer follows the key file, and seals anew what is not sealed with the key that
// stands first in it. One goroutine uses it.
type resealer struct {
	box    *secret.Box
	store  *store.Store
	log    *slog.Logger
	done   []byte // the prefix of the key that all was sealed with
	sealed int    // so far, with the present key
	told   string // the error that is known already
}

// step looks at the file and does some of the work; it returns how much if there may
// be more.
func (r *resealer) step(ctx context.Context) (int, error) {
	changed, err := r.box.Reload()
	if err != nil {
		if told := err.Error(); told != r.told {
			r.told = told
			return 0, err
		}
		return 0, nil
	}
	if changed {
		r.log.Info("the secret key file was read again")
		r.done, r.sealed, r.told = nil, 0, ""
	}
	prefix := r.box.Prefix()
	if bytes.Equal(prefix, r.done) {
		return 0, nil
	}
	n, err := r.store.Reseal(ctx)
	if r.sealed += n; n > 0 {
		return n, err
	}
	if ctx.Err() == nil {
		r.done = prefix
	}
	if err == nil && r.sealed > 0 {
		r.log.Info("all secrets are sealed with the first key of the secret key file", "sealedAnew", r.sealed)
	}
	return 0, err
}
