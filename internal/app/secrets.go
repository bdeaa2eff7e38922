package app

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"herald/internal/secret"
	"herald/internal/store"
)

// rereadInterval is how often the key file is read again.
const rereadInterval = time.Second

// resealer reads changes of the key file, and seals again what was not sealed with the first key in
// it. One goroutine uses it.
type resealer struct {
	box    *secret.Box
	store  *store.Store
	log    *slog.Logger
	done   []byte // the prefix of the key that seals everything now; nil while there is more to do
	sealed int    // how many secrets were sealed again with the present key
	logged string // the last error of the key file, so that it is logged once
}

// step reads the key file and seals some secrets again. It returns how many it sealed; 0 means that
// there is no more to do now.
func (r *resealer) step(ctx context.Context) (int, error) {
	changed, err := r.box.Reload()
	if err != nil {
		if text := err.Error(); text != r.logged {
			r.logged = text
			return 0, err
		}
		return 0, nil
	}
	if changed {
		r.log.Info("the service has read the changed secret key file")
		r.done, r.sealed, r.logged = nil, 0, ""
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
		r.log.Info("the first key of the secret key file seals all secrets now", "sealedAnew", r.sealed)
	}
	return 0, err
}
