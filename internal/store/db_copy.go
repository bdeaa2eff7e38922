package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"
)

const (
	// syncEvery is how many bytes a copy writes before it syncs them, 4 MiB. All of a large copy synced at
	// its end would make each commit of the writer wait for gigabytes.
	syncEvery = 4 << 20
	// stepsPerSync is syncEvery in steps of a backup, with SQLite's pages of 4 KiB.
	stepsPerSync = syncEvery / (backupStep * 4096)
	// backupPause is the shortest rest. It leaves the connection to the writer between two steps.
	backupPause = time.Millisecond
)

// restAfter returns how long a copy rests after work that took so long. It works a third of the time at
// most, so the writer has most of the disk, however slow the disk is.
func restAfter(took time.Duration) time.Duration { return max(backupPause, 2*took) }

// syncAndRest syncs, and rests as long as that asks for.
func syncAndRest(ctx context.Context, sync func() error) error {
	began := time.Now()
	if err := sync(); err != nil {
		return err
	}
	if !sleep(ctx, restAfter(time.Since(began))) {
		return ctx.Err()
	}
	return nil
}

// copyInSteps calls step until there is no more to copy. It rests after each step as long as the step's
// time asks for, and syncs what some steps have copied.
func copyInSteps(ctx context.Context, step func() (more bool, took time.Duration, err error), sync func() error) error {
	for n := 1; ; n++ {
		more, took, err := step()
		if err != nil || !more {
			return err
		}
		if !sleep(ctx, restAfter(took)) {
			return ctx.Err()
		}
		if n%stepsPerSync == 0 {
			if err := syncAndRest(ctx, sync); err != nil {
				return err
			}
		}
	}
}

// SyncedFile is a file that a copy is written to.
type SyncedFile interface {
	io.Writer
	Sync() error
}

// CopySynced copies all of from, syncs every 4 MiB and the end, and rests after each sync. So a copy
// beside a service on the same disk does not make its commits wait. It returns how many bytes it wrote.
func CopySynced(ctx context.Context, to SyncedFile, from io.Reader) (size int64, err error) {
	for {
		n, err := io.CopyN(to, from, syncEvery)
		size += n
		if errors.Is(err, io.EOF) {
			return size, to.Sync()
		}
		if err == nil {
			err = syncAndRest(ctx, to.Sync)
		}
		if err != nil {
			return size, err
		}
	}
}

// oneFile is a file system with one file, databaseFile, whose bytes are at r.
type oneFile struct {
	r    io.ReaderAt
	size int64
}

// Open opens databaseFile.
func (o oneFile) Open(name string) (fs.File, error) {
	if name != databaseFile {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return openedFile{io.NewSectionReader(o.r, 0, o.size)}, nil
}

// openedFile is an open file of oneFile. SQLite seeks in it.
type openedFile struct{ *io.SectionReader }

func (f openedFile) Stat() (fs.FileInfo, error) { return fileInfo{f.Size()}, nil }
func (openedFile) Close() error                 { return nil }

// fileInfo describes a file of so many bytes.
type fileInfo struct{ size int64 }

func (fileInfo) Name() string       { return databaseFile }
func (i fileInfo) Size() int64      { return i.size }
func (fileInfo) Mode() fs.FileMode  { return 0o400 }
func (fileInfo) ModTime() time.Time { return time.Time{} }
func (fileInfo) IsDir() bool        { return false }
func (fileInfo) Sys() any           { return nil }
