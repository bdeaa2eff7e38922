//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// lockItself locks a directory. Unlike a file in it, a directory in use cannot be deleted and
// made again by a clean-up. taken is false when another process has the lock. Some network file
// systems cannot lock a directory; there the lock file has to do.
func lockItself(dir string) (unlock func() error, taken bool, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	switch err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case err == nil || !errors.Is(err, syscall.EWOULDBLOCK):
		return d.Close, true, nil
	default:
		return nil, false, d.Close()
	}
}
