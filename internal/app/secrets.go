package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"herald"
	"herald/internal/secret"
	"herald/internal/store"
)

// keyFile returns the path of the secret key file, and whether the service makes it.
func (c *Config) keyFile() (path string, isOurs bool) {
	if c.SecretKeyFile != "" {
		return c.SecretKeyFile, false
	}
	return filepath.Join(c.DataDir, SecretKeyFile), true
}

// openBox opens the secret key file, and makes it at the first start. A missing file beside a
// database is an error: a new key would open nothing that the database has sealed. existed says
// that the file was there before.
func (c *Config) openBox() (box *secret.Box, existed bool, err error) {
	path, isOurs := c.keyFile()
	_, statErr := os.Stat(path)
	existed = statErr == nil
	if isOurs && errors.Is(statErr, os.ErrNotExist) && c.Database == "" && store.HasDatabase(c.DataDir) {
		return nil, false, fmt.Errorf("the secret key file %s is missing, and the data directory has a database that was sealed with it: put the file back from your backup; %s",
			path, c.wayOut())
	}
	box, err = secret.OpenBox(path, isOurs)
	if err != nil && (existed || !isOurs) {
		err = fmt.Errorf("%w; put the file of this database there, or a new one with a new database; %s", err, c.wayOut())
	}
	return box, existed, err
}

// wayOut says what to do when the key is lost.
func (c *Config) wayOut() string {
	where := "--data " + c.DataDir
	if c.Database != "" {
		where = "--database …"
	}
	if c.SecretKeyFile != "" {
		where += " --secret-key-file " + c.SecretKeyFile
	}
	return "if the key is lost, stop every node and run `herald secrets reset " + where + "`, which clears the headers that cannot be read and lists whose they were"
}

// checkSecrets returns an error if the key file is not the one of the database.
func (a *App) checkSecrets(ctx context.Context, fileExisted bool) error {
	path, _ := a.config.keyFile()
	isNew, err := a.store.CheckSecrets(ctx)
	if errors.Is(err, store.ErrWrongKey) {
		return fmt.Errorf("the secret key file %s is not the one of this database: %w. Use the file that belongs to the database, the same on every node; %s", path, err, a.config.wayOut())
	}
	if err == nil && isNew && fileExisted {
		a.log.Warn("the database is empty, but the secret key file is not new; if there should be data, stop and check --data or --database", "secretKeyFile", path)
	}
	return err
}

// ResetSecrets clears the Authorization headers that the key file does not open and returns the
// clients whose they were. A missing file in the data directory is made.
func ResetSecrets(ctx context.Context, c Config) (cleared []herald.Client, err error) {
	c.setDefaults()
	path, isOurs := c.keyFile()
	if c.Database == "" && !store.HasDatabase(c.DataDir) {
		return nil, fmt.Errorf("there is no database in %s: nothing is sealed; check --data", c.DataDir)
	}
	box, err := secret.OpenBox(path, isOurs)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, store.Options{Dir: c.DataDir, Database: c.Database, MigrateDatabase: c.MigrateDatabase, Box: box, Logger: c.Log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.ResetSecrets(ctx)
}

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
