package secret

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// keyFile is a key file and its state when a Box last read it.
type keyFile struct {
	path string

	mu   sync.Mutex
	mode os.FileMode
	size int64
	at   time.Time
}

// changed reports whether the file has changed since the last call.
func (f *keyFile) changed() (bool, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return false, fmt.Errorf("secret key file: %w", err)
	}
	same := info.Size() == f.size && info.ModTime().Equal(f.at) && info.Mode() == f.mode
	f.size, f.at, f.mode = info.Size(), info.ModTime(), info.Mode()
	return !same, nil
}

// OpenBox returns a Box with the keys of a file, which Reload reads again. makeMissing makes
// a missing file, see LoadOrMakeKey.
func OpenBox(path string, makeMissing bool) (*Box, error) {
	load := LoadKeys
	if makeMissing {
		load = LoadOrMakeKey
	}
	if _, err := load(path); err != nil {
		return nil, err
	}
	b := &Box{file: &keyFile{path: path}}
	if _, err := b.Reload(); err != nil {
		return nil, err
	}
	return b, nil
}

// Reload reads the key file again if it has changed, and reports whether it had changed.
// After an error the Box keeps its keys, and it does not retry until the file changes again.
func (b *Box) Reload() (changed bool, err error) {
	if b.file == nil {
		return false, nil
	}
	b.file.mu.Lock()
	defer b.file.mu.Unlock()
	if changed, err = b.file.changed(); err != nil || !changed {
		return false, err
	}
	keys, err := LoadKeys(b.file.path)
	if err != nil {
		return true, err
	}
	b.ring.Store(newRing(keys))
	return true, nil
}

// preparedMark is the line before a key that opens and does not seal yet.
const preparedMark = "# prepared"

// RotateKeyFile adds a new key to a key file and returns the key's id. The new key becomes
// the first, so it seals; the other keys still open. With prepare the new key becomes the
// last and does not seal. After every node has that file, a second call without prepare
// moves the key to the first place. So every node can open what another node seals.
func RotateKeyFile(path string, prepare bool) (name string, err error) {
	if _, err := LoadKeys(path); err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("secret key file: %w", err)
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	key := newKeyLine()
	at := preparedLine(lines)
	switch {
	case prepare && at >= 0:
		return "", fmt.Errorf("secret key file %s has a prepared key already: give every node this file, then rotate without --prepare", path)
	case prepare:
		lines = append(lines, preparedMark, key)
	default:
		if at >= 0 {
			key = lines[at+1]
			lines = append(lines[:at:at], lines[at+2:]...)
		}
		first := firstKeyLine(lines)
		lines = append(lines[:first:first], append([]string{key}, lines[first:]...)...)
	}
	if err := replaceFile(path, strings.Join(lines, "\n")+"\n"); err != nil {
		return "", fmt.Errorf("write the secret key file %s: %w", path, err)
	}
	bytes, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
	if err != nil || len(bytes) != KeySize {
		return "", fmt.Errorf("secret key file %s: the line after %q is no key", path, preparedMark)
	}
	return Key(bytes).String(), nil
}

func newKeyLine() string {
	var key Key
	rand.Read(key[:]) // never fails, by its documentation
	return base64.StdEncoding.EncodeToString(key[:])
}

// preparedLine returns the index of the line before a prepared key, or -1.
func preparedLine(lines []string) int {
	for i, line := range lines {
		if strings.TrimSpace(line) == preparedMark && i+1 < len(lines) {
			return i
		}
	}
	return -1
}

func firstKeyLine(lines []string) int {
	for i, line := range lines {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return i
		}
	}
	return len(lines)
}

// replaceFile atomically replaces a file. The new file has the mode and the owner of the old.
func replaceFile(path, text string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".secret-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(text)
	err = errors.Join(err, temp.Chmod(info.Mode().Perm()), copyOwner(temp, info), temp.Sync(), temp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDirectory(dir)
}
