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
// archive is closed. The backup counts as taken when all of it was read; io.EOF comes after that.
func (b *backups) Backup(ctx context.Context, by herald.Caller, withSecretKey bool) (io.ReadCloser, error) {
	if b.store.Shared() {
		return nil, b.store.Backup(ctx, "") // which says what to use instead
	}
	dir, err := os.MkdirTemp(b.dir, backupPattern)
	if err != nil {
		return nil, fmt.Errorf("make room for a backup: %w", err)
	}
	copied := filepath.Join(dir, DatabaseFile)
	if err = b.store.Backup(ctx, copied); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	reader, writer := io.Pipe()
	go func() {
		files := []string{copied}
		if withSecretKey {
			files = append(files, b.keyFile)
		}
		err := writeArchive(writer, files)
		if err == nil { // half an archive is no backup
			err = b.store.NoteBackup(ctx, by, withSecretKey)
		}
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
	files, err := readArchive(ctx, archive, work)
	if err != nil {
		return summary, false, err
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
func readArchive(ctx context.Context, r io.Reader, dir string) (map[string]bool, error) {
	return eachFile(r, func(name string, _ int64, text io.Reader) error {
		if err := writeFile(ctx, filepath.Join(dir, name), text); err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
		return nil
	})
}

// eachFile calls fn for each file of an archive, and returns their names.
func eachFile(r io.Reader, fn func(name string, size int64, text io.Reader) error) (map[string]bool, error) {
	files := make(map[string]bool)
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			if !files[DatabaseFile] {
				return nil, fmt.Errorf("the archive has no %s: it is not a backup of herald's", DatabaseFile)
			}
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the backup: %w", err)
		}
		if !archiveNames[header.Name] || header.Typeflag != tar.TypeReg || files[header.Name] {
			return nil, fmt.Errorf("the archive has %.100q in it: it is not a backup of herald's", header.Name)
		}
		if err := fn(header.Name, header.Size, archive); err != nil {
			return nil, err
		}
		files[header.Name] = true
	}
}

func writeFile(ctx context.Context, path string, from io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = store.CopySynced(ctx, file, from)
	return errors.Join(err, file.Close())
}
