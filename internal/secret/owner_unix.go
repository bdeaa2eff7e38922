//go:build unix

package secret

import (
	"os"
	"syscall"
)

// copyOwner gives a file the owner of another. The service that reads the file may run as a
// different user than the person who replaces it.
func copyOwner(file *os.File, like os.FileInfo) error {
	owner, ok := like.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return file.Chown(int(owner.Uid), int(owner.Gid))
}
