package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/google/uuid"
	sqlitedriver "modernc.org/sqlite"
	"modernc.org/sqlite/vfs"

	"herald"
)

// backupStep is how many pages one step of a backup copies, 256 KiB. Publishing waits for a step.
const backupStep = 64

// Backup copies the embedded database into a new file at path while the service goes on. The copy is
// consistent: it holds all that was committed before Backup was called, and some that was committed since.
//
// It runs on the connection that writes. So what is committed meanwhile goes into the copy too. A backup
// on a connection of its own would begin again after each commit, and never end under load. CodeConflict
// on PostgreSQL, which has backups of its own. The file is removed after an error.
func (s *Store) Backup(ctx context.Context, path string) error {
	if s.dialect.shared {
		return herald.Errorf(herald.CodeConflict, "The database is PostgreSQL, which has its own tools for backups: use pg_dump, or pg_basebackup with an archive of its log.")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the backup's file: %w", err)
	}
	defer file.Close()
	if err = s.copyTo(ctx, path, file.Sync); err == nil {
		return nil
	}
	if removed := os.Remove(path); removed != nil {
		err = errors.Join(err, removed)
	}
	return &herald.Error{Code: herald.CodeUnavailable, Cause: err, Message: fmt.Sprintf("The database could not be copied: %v", err)}
}

// copyTo copies the database to path. It calls sync for the file while nobody waits for the writer.
func (s *Store) copyTo(ctx context.Context, path string, sync func() error) error {
	// The copy is one transaction that nobody else sees. SQLite does not sync it: that would be within a
	// step, and hold up publishing.
	target := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"journal_mode(OFF)", "synchronous(OFF)"},
	}.Encode()}).String()
	var (
		backup *sqlitedriver.Backup
		source any // the connection that the backup began on
	)
	err := s.onWriter(ctx, func(conn any) (err error) {
		maker, ok := conn.(interface {
			NewBackup(string) (*sqlitedriver.Backup, error)
		})
		if !ok {
			return errors.New("the driver cannot copy a database")
		}
		backup, err = maker.NewBackup(target)
		source = conn
		return err
	})
	if err != nil {
		return err
	}
	err = copyInSteps(ctx, func() (more bool, took time.Duration, err error) {
		err = s.onWriter(ctx, func(conn any) (err error) {
			if conn != source {
				return errors.New("the connection was replaced during the backup; try again")
			}
			began := time.Now() // not before: the wait for the writer is no work of the copy's
			more, err = backup.Step(backupStep)
			took = time.Since(began)
			return err
		})
		return more, took, err
	}, sync)
	finish := s.onWriter(context.WithoutCancel(ctx), func(conn any) error {
		if conn != source {
			return nil // it went with its connection
		}
		return backup.Finish()
	})
	if err = errors.Join(err, finish); err != nil {
		return err
	}
	return sync() // what SQLite wrote with the last pages
}

// onWriter calls fn with the driver's connection that writes, while nobody else uses it.
func (s *Store) onWriter(ctx context.Context, fn func(conn any) error) error {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	return errors.Join(conn.Raw(fn), conn.Close())
}

// FileSummary is what a copy of the embedded database holds.
type FileSummary struct {
	Clients int
	Pending int
	// NewestEvent is when the last event in it was accepted; zero: there is none.
	NewestEvent time.Time
}

// CheckFile checks a copy of the embedded database that no service uses, page by page, and returns what
// it holds.
func CheckFile(ctx context.Context, path string) (f FileSummary, err error) {
	if _, err := os.Stat(path); err != nil {
		return f, err
	}
	return checkFile(ctx, path, path, url.Values{})
}

// CheckReader is CheckFile for a copy inside another file. name is what errors call it.
func CheckReader(ctx context.Context, name string, r io.ReaderAt, size int64) (f FileSummary, err error) {
	system, files, err := vfs.New(oneFile{r, size})
	if err != nil {
		return f, fmt.Errorf("open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	return checkFile(ctx, name, databaseFile, url.Values{"vfs": {system}})
}

// checkFile checks the file at path, which errors call name.
func checkFile(ctx context.Context, name, path string, options url.Values) (f FileSummary, err error) {
	options.Set("mode", "ro")
	options.Set("immutable", "1")
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: options.Encode()}).String())
	if err != nil {
		return f, err
	}
	defer db.Close()
	conn, err := db.Conn(ctx) // its statements have all the time they need: the file may be large
	if err != nil {
		return f, fmt.Errorf("open %s: %w", name, err)
	}
	defer conn.Close() //nolint:errcheck // it was only read
	findings, err := list(ctx, conn, scanText, `PRAGMA integrity_check(5)`)
	if err != nil {
		return f, fmt.Errorf("check %s: %w", name, err)
	}
	if len(findings) != 1 || findings[0] != "ok" {
		return f, fmt.Errorf("%s is damaged: %q", name, findings)
	}
	err = conn.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM clients WHERE deleted_at IS NULL), (SELECT count(*) FROM queue)`).Scan(&f.Clients, &f.Pending)
	if err != nil {
		return f, fmt.Errorf("%s is not a database of Herald's: %w", name, err)
	}
	newest, err := first(ctx, conn, scanID, `SELECT id FROM events ORDER BY id DESC LIMIT 1`)
	switch {
	case err == nil:
		f.NewestEvent = herald.TimeOf(newest)
	case !errors.Is(err, sql.ErrNoRows):
		return f, fmt.Errorf("read the newest event of %s: %w", name, err)
	}
	return f, nil
}

// NoteBackup writes to the audit log that a backup was sent to its end, and whether the secret key is in it.
func (s *Store) NoteBackup(ctx context.Context, by herald.Caller, withSecretKey bool) error {
	contents := struct {
		SecretKey bool `json:"secretKey"`
	}{withSecretKey}
	return s.inTransaction(ctx, "note a backup", func(ctx context.Context, tx *sql.Tx) error {
		return s.audit(ctx, tx, by, auditEntry{uuid.Nil, herald.BackupTaken, "backup", nil, contents})
	})
}

// LastBackup returns when a backup was taken last, from the audit log; zero if it has no entry. On
// PostgreSQL it is zero: backups are the operator's own there.
func (s *Store) LastBackup(ctx context.Context) (time.Time, error) {
	ctx, cancel := withReadDeadline(ctx)
	defer cancel()
	// The index of the audit log has the entries without a client together, and they are few.
	id, err := first(ctx, s.read, scanID, `SELECT id FROM audit WHERE client_id IS NULL AND action = $1 ORDER BY id DESC LIMIT 1`, string(herald.BackupTaken))
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, s.failed("read when a backup was taken last", err)
	}
	return herald.TimeOf(id), nil
}
