package secret

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// LoadKeys reads a key file: a key a line in base64, of which the first seals
// and all open; empty lines and lines that begin with # do not count. A file
// that others than its owner can read is refused.
func LoadKeys(path string) ([]Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("secret key file: %w", err)
	}
	defer file.Close()
	// The open file's mode, so that no other file can be put in its place
	// between the look and the reading.
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("secret key file: %w", err)
	}
	// The group may read it: systemd's credentials and Kubernetes' secrets come so.
	if mode := info.Mode().Perm(); mode&0o027 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("secret key file %s is open to others than its owner and group (mode %04o); run: chmod 600 %[1]s", path, mode)
	}
	var keys []Key
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != KeySize {
			return nil, fmt.Errorf("secret key file %s, line %d: want %d bytes in base64", path, n, KeySize)
		}
		keys = append(keys, Key(key))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the secret key file %s: %w", path, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("secret key file %s holds no key", path)
	}
	return keys, nil
}

// LoadOrMakeKey is LoadKeys on a file that is made with a new key if there is
// none yet, readable by its owner alone. Of two processes that make it at the
// same time, both get the key of one. The file system must know hard links.
func LoadOrMakeKey(path string) ([]Key, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeKeyFile(path); err != nil {
			return nil, fmt.Errorf("make the secret key file %s: %w", path, err)
		}
	}
	return LoadKeys(path)
}

// makeKeyFile writes a file beside and links it into place, so that nobody
// reads a half-written key, and syncs both: what is sealed with a lost key is
// lost. That another process was faster is no error.
func makeKeyFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".secret-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	var key Key
	rand.Read(key[:]) // never fails, by its documentation
	_, err = fmt.Fprintf(temp, "# Herald seals secrets with the first key and opens them with all. Keep a copy apart from the database's.\n%s\n",
		base64.StdEncoding.EncodeToString(key[:]))
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces the key that another process has
	// made, and may have sealed with, in the meantime.
	err = os.Link(temp.Name(), path)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDirectory(dir) // whoever made it: this process will seal with it
}

func syncDirectory(path string) error {
	if runtime.GOOS == "windows" { // which cannot, and need not
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
