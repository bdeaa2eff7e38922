package app

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"herald"
	"herald/internal/store"
)

// DatabaseFile is the database's name in the data directory and in a backup.
const DatabaseFile = "herald.db"

// backupPattern names the copies that backups are sent from.
const backupPattern = "backup-*.tmp"

// backups takes backups of the embedded database.
type backups struct {
	store   *store.Store
	dir     string
	keyFile string
}

// Backup returns an archive of the database as it is now. The copy lies in the data directory until the
// archive is closed.
func (b *backups) Backup(ctx context.Context, by herald.Caller, withSecretKey bool) (io.ReadCloser, error) {
	if b.store.Shared() {
		return nil, b.store.Backup(ctx, "") // which says what to use instead
	}
	dir, err := os.MkdirTemp(b.dir, backupPattern)
	if err != nil {
		return nil, fmt.Errorf("make room for a backup: %w", err)
	}
	copied := filepath.Join(dir, DatabaseFile)
	err = b.store.Backup(ctx, copied)
	if err == nil {
		err = b.store.NoteBackup(ctx, by, withSecretKey)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	reader, writer := io.Pipe()
	go func() {
		files := []string{copied}
		if withSecretKey {
			files = append(files, b.keyFile)
		}
		err := writeArchive(writer, files)
		writer.CloseWithError(errors.Join(err, os.RemoveAll(dir)))
	}()
	return reader, nil
}

// removeOldBackups removes copies that a killed process has left.
func (b *backups) removeOldBackups() error {
	left, err := filepath.Glob(filepath.Join(b.dir, backupPattern))
	if err != nil {
		return err
	}
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("remove what a backup left: %w", err)
	}
	return nil
}

// archiveNames are the names that a backup's archive may have in it.
var archiveNames = map[string]bool{DatabaseFile: true, SecretKeyFile: true}

// writeArchive writes files as a tar archive. The key's name in it is SecretKeyFile, whatever it is here.
func writeArchive(w io.Writer, files []string) error {
	archive := tar.NewWriter(w)
	for _, name := range files {
		if err := addFile(archive, name); err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
	}
	return archive.Close()
}

func addFile(archive *tar.Writer, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	base := filepath.Base(name)
	if !archiveNames[base] {
		base = SecretKeyFile
	}
	header := &tar.Header{Name: base, Size: info.Size(), Mode: 0o600, ModTime: info.ModTime(), Format: tar.FormatPAX}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.CopyN(archive, file, info.Size())
	return err
}

// Restore writes a backup's archive into a data directory, and checks the database page by page before
// it takes its name. A directory that has a database, or a key beside the archive's own, is refused.
// It returns what the database holds and whether the secret key was in the archive.
func Restore(ctx context.Context, archive io.Reader, dir string) (summary store.FileSummary, withSecretKey bool, err error) {
	for _, name := range []string{DatabaseFile, DatabaseFile + "-wal"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return summary, false, fmt.Errorf("%s has a database (%s): restore into an empty directory, or move it away first", dir, name)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return summary, false, fmt.Errorf("make the data directory: %w", err)
	}
	work, err := os.MkdirTemp(dir, backupPattern)
	if err != nil {
		return summary, false, fmt.Errorf("make room for the backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	files, err := readArchive(archive, work)
	if err != nil {
		return summary, false, err
	}
	if !files[DatabaseFile] {
		return summary, false, fmt.Errorf("the archive has no %s: it is not a backup of herald's", DatabaseFile)
	}
	if summary, err = store.CheckFile(ctx, filepath.Join(work, DatabaseFile)); err != nil {
		return summary, false, err
	}
	key := filepath.Join(dir, SecretKeyFile)
	if _, err := os.Lstat(key); files[SecretKeyFile] && !errors.Is(err, fs.ErrNotExist) {
		return summary, false, fmt.Errorf("%s is there, and the backup has its own: move it away first", key)
	}
	for _, name := range []string{SecretKeyFile, DatabaseFile} { // the database last: it makes the directory one
		if files[name] {
			if err := os.Rename(filepath.Join(work, name), filepath.Join(dir, name)); err != nil {
				return summary, false, fmt.Errorf("restore %s: %w", name, err)
			}
		}
	}
	return summary, files[SecretKeyFile], nil
}

// readArchive writes the files of an archive into dir, synced, and returns their names.
func readArchive(r io.Reader, dir string) (map[string]bool, error) {
	files := make(map[string]bool)
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the backup: %w", err)
		}
		if !archiveNames[header.Name] || header.Typeflag != tar.TypeReg || files[header.Name] {
			return nil, fmt.Errorf("the archive has %.100q in it: it is not a backup of herald's", header.Name)
		}
		if err := writeFile(filepath.Join(dir, header.Name), archive); err != nil {
			return nil, fmt.Errorf("write the backup: %w", err)
		}
		files[header.Name] = true
	}
}

func writeFile(path string, from io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Sync(), file.Close())
}
