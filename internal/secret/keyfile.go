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

// LoadKeys reads a key file with one key a line in base64. The first key seals; all keys
// open. Empty lines and lines that begin with # are ignored. LoadKeys refuses a file that
// the group can write, or that others can read, write or execute.
func LoadKeys(path string) ([]Key, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("secret key file: %w", err)
	}
	defer file.Close()
	// Stat on the open file, because the path could name another file a moment
	// later.
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("secret key file: %w", err)
	}
	// The group may read: systemd's credentials and Kubernetes' secrets have such modes.
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

// LoadOrMakeKey is LoadKeys, but first makes a missing file with a new key, readable by its
// owner only. Two processes that make the file at the same time get the same key. The file
// system must support hard links.
func LoadOrMakeKey(path string) ([]Key, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeKeyFile(path); err != nil {
			return nil, fmt.Errorf("make the secret key file %s: %w", path, err)
		}
	}
	return LoadKeys(path)
}

// makeKeyFile writes a temporary file in the same directory and links it to path, so that no
// process reads an incomplete key. It syncs the file and the directory, because secrets
// sealed with a lost key are lost. It is no error that another process made the file.
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
	// Unlike a rename, a link never replaces a key that another process has made
	// meanwhile and may have sealed with.
	err = os.Link(temp.Name(), path)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDirectory(dir) // even if another process made it, because this one will seal with its key
}

func syncDirectory(path string) error {
	if runtime.GOOS == "windows" { // Windows cannot sync a directory and need not
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
