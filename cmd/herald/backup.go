package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"herald/internal/app"
)

// backupCommand is `herald backup`; it needs the operator's key.
type backupCommand struct {
	connection
	To            string `arg:"" name:"file" help:"File to write, a tar archive, which must not be there yet. In a directory that is there, the file is named by its time. - writes to standard output."`
	WithSecretKey bool   `help:"Put the secret key into it. Whoever has the file can read the Authorization headers then."`
	NoVerify      bool   `help:"Do not read the backup again and check it, because that is done elsewhere."`
}

// Run takes a backup of the running service's embedded database.
func (c *backupCommand) Run(ctx context.Context, out *streams) (err error) {
	service, err := c.client()
	if err != nil {
		return err
	}
	name := c.To
	if name != "-" {
		if name, err = backupName(name, time.Now()); err != nil {
			return err
		}
	}
	archive, err := service.Backup(ctx, c.WithSecretKey)
	if err != nil {
		return err
	}
	defer archive.Close()
	if name == "-" {
		if _, err := io.Copy(out.stdout, archive); err != nil {
			return err
		}
		fmt.Fprintln(out.stderr, "the backup was sent to its end, and is not verified; where it was written, check it with: herald restore --check FILE")
		return nil
	}
	saved, err := app.SaveBackup(ctx, name, archive, !c.NoVerify)
	if err != nil {
		return err
	}
	if c.NoVerify {
		fmt.Fprintf(out.stderr, "%s has %d bytes and is not verified; check it with: herald restore --check %[1]s\n", name, saved.Size)
	} else {
		fmt.Fprintf(out.stderr, "%s has %d bytes; the backup is whole; %s\n", name, saved.Size, contents(saved.Summary))
	}
	if !c.WithSecretKey {
		fmt.Fprintln(out.stderr, "the secret key is not in it: keep a copy of the key file apart from it")
	}
	return nil
}

// backupName returns the name of a new backup. In a directory it is named by its time, so that the names
// sort by age.
func backupName(to string, now time.Time) (string, error) {
	info, err := os.Stat(to)
	if err == nil && info.IsDir() {
		to = filepath.Join(to, "herald-"+now.UTC().Format("20060102T150405Z")+".tar")
	}
	switch _, err := os.Lstat(to); {
	case err == nil:
		return "", usageError("%s is there already; name a new file, or a directory", to)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return to, nil
}

// contents says what is in a copy.
func contents(s app.BackupSummary) string {
	newest := "none"
	if !s.NewestEvent.IsZero() {
		newest = s.NewestEvent.Local().Format(time.RFC3339)
	}
	return fmt.Sprintf("clients: %d, newest event: %s, deliveries pending: %d", s.Clients, newest, s.Pending)
}

// restoreCommand is `herald restore`.
type restoreCommand struct {
	From  string `arg:"" name:"file" help:"Backup, a file that herald backup wrote; - reads standard input."`
	Data  string `help:"Data directory to restore into. It must have no database." env:"HERALD_DATA" default:"./herald-data" type:"path"`
	Check bool   `help:"Only check the backup, and say what is in it."`
}

// Run restores a backup, or checks it.
func (c *restoreCommand) Run(ctx context.Context, out *streams) (err error) {
	summary, withKey, dir, err := c.read(ctx, out.stdin)
	if err != nil {
		return err
	}
	verb := "restored into " + dir
	if c.Check {
		verb = "the backup is whole"
	}
	fmt.Fprintf(out.stdout, "%s; %s\n", verb, contents(summary))
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

// read restores or checks the backup, and returns what is in it and the directory that it was restored to.
func (c *restoreCommand) read(ctx context.Context, from io.Reader) (summary app.BackupSummary, withKey bool, dir string, err error) {
	if c.From != "-" {
		file, err := os.Open(c.From)
		if err != nil {
			return summary, false, "", err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return summary, false, "", err
		}
		if c.Check && info.Mode().IsRegular() {
			summary, withKey, err = app.CheckBackup(ctx, file)
			return summary, withKey, "", err
		}
		from = file
	}
	dir = c.Data
	if c.Check { // what cannot be read twice is written first
		if dir, err = os.MkdirTemp("", "herald-check-"); err != nil {
			return summary, false, "", err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	summary, withKey, err = app.Restore(ctx, from, dir)
	return summary, withKey, dir, err
}
