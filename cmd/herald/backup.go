package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"herald/internal/app"
)

// backupCommand is `herald backup`; it needs the operator's key.
type backupCommand struct {
	connection
	To            string `arg:"" name:"file" help:"File to write, a tar archive, which must not be there yet; - writes to standard output."`
	WithSecretKey bool   `help:"Put the secret key into it. Whoever has the file can read the Authorization headers then."`
}

// Run takes a backup of the running service's embedded database.
func (c *backupCommand) Run(ctx context.Context, out *streams) (err error) {
	service, err := c.client()
	if err != nil {
		return err
	}
	archive, err := service.Backup(ctx, c.WithSecretKey)
	if err != nil {
		return err
	}
	defer archive.Close()
	if c.To == "-" {
		_, err := io.Copy(out.stdout, archive)
		return err
	}
	size, err := writeBackup(c.To, archive)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.stderr, "%s has %d bytes; check it with: herald restore --check %[1]s\n", c.To, size)
	if !c.WithSecretKey {
		fmt.Fprintln(out.stderr, "the secret key is not in it: keep a copy of the key file apart from it")
	}
	return nil
}

// writeBackup writes to a file of another name first, so that half a backup is not taken for one.
func writeBackup(name string, archive io.Reader) (size int64, err error) {
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return 0, usageError("%s is there already; name a new file", name)
	}
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part")
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(file, archive)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("write the backup: %w", err), os.Remove(file.Name()))
	}
	return size, nil
}

// restoreCommand is `herald restore`.
type restoreCommand struct {
	From  string `arg:"" name:"file" help:"Backup, a file that herald backup wrote; - reads standard input."`
	Data  string `help:"Data directory to restore into. It must have no database." env:"HERALD_DATA" default:"./herald-data" type:"path"`
	Check bool   `help:"Only check the backup, and say what is in it."`
}

// Run restores a backup, or checks it.
func (c *restoreCommand) Run(ctx context.Context, out *streams) (err error) {
	from := out.stdin
	if c.From != "-" {
		file, err := os.Open(c.From)
		if err != nil {
			return err
		}
		defer file.Close()
		from = file
	}
	dir := c.Data
	if c.Check {
		if dir, err = os.MkdirTemp("", "herald-check-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	summary, withKey, err := app.Restore(ctx, from, dir)
	if err != nil {
		return err
	}
	newest := "none"
	if !summary.NewestEvent.IsZero() {
		newest = summary.NewestEvent.Local().Format(time.RFC3339)
	}
	verb := "restored into " + dir
	if c.Check {
		verb = "the backup is whole"
	}
	fmt.Fprintf(out.stdout, "%s; clients: %d, newest event: %s, deliveries pending: %d\n", verb, summary.Clients, newest, summary.Pending)
	switch {
	case withKey:
		fmt.Fprintln(out.stdout, "the secret key is in it")
	case c.Check:
		fmt.Fprintln(out.stdout, "the secret key is not in it: a restore needs your copy of the key file")
	default:
		fmt.Fprintf(out.stdout, "the secret key is not in it: put your copy of the key file at %s before the start\n", filepath.Join(dir, app.SecretKeyFile))
	}
	return nil
}
