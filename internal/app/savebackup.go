package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"herald/internal/store"
)

// BackupSummary is what the database of a backup holds.
type BackupSummary = store.FileSummary

// SavedBackup is a backup in a file.
type SavedBackup struct {
	Size int64 // bytes
	// Summary is what it holds; zero if it was not verified.
	Summary BackupSummary
}

// SaveBackup writes a backup's archive into a new file. With verify it reads the file again, and checks
// its database page by page, at a low priority. The file has its name only after that, so a file of that
// name is a whole backup. The part that was written is removed after an error.
func SaveBackup(ctx context.Context, name string, archive io.Reader, verify bool) (saved SavedBackup, err error) {
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part")
	if err != nil {
		return saved, fmt.Errorf("write the backup: %w", err)
	}
	if saved.Size, err = store.CopySynced(ctx, file, archive); err != nil {
		err = fmt.Errorf("write the backup: %w", err)
	} else if verify {
		err = atLowPriority(func() (err error) {
			saved.Summary, _, err = CheckBackup(ctx, file)
			return err
		})
		if err != nil {
			err = fmt.Errorf("the backup could not be verified, and was removed: %w", err)
		}
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return SavedBackup{}, errors.Join(err, os.Remove(file.Name()))
	}
	return saved, nil
}

// CheckBackup reads a backup's file and checks its database page by page, where it lies in the archive.
// It returns what the database holds and whether the secret key is in the archive.
func CheckBackup(ctx context.Context, file *os.File) (summary BackupSummary, withSecretKey bool, err error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return summary, false, fmt.Errorf("read the backup: %w", err)
	}
	files, err := eachFile(file, func(name string, size int64, _ io.Reader) error {
		if name != DatabaseFile {
			return nil
		}
		start, err := file.Seek(0, io.SeekCurrent) // the reader of the archive reads nothing in advance
		if err != nil {
			return fmt.Errorf("read the backup: %w", err)
		}
		summary, err = store.CheckReader(ctx, "the copy in "+file.Name(), io.NewSectionReader(file, start, size), size)
		return err
	})
	return summary, files[SecretKeyFile], err
}

// atLowPriority calls fn on a thread that gets the processor and the disk after all others.
func atLowPriority(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and its priority with it
		lowerPriority()
		done <- fn()
	}()
	return <-done
}
