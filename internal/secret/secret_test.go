package secret_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"herald/internal/secret"
)

func TestBoxOpensWhatItSealed(t *testing.T) {
	old, current := secret.Key{1}, secret.Key{2}
	sealed := secret.NewBox(old).Seal([]byte("Basic c2VjcmV0"), []byte("client 1"))
	if bytes.Contains(sealed, []byte("c2VjcmV0")) {
		t.Error("the sealed form holds the plain text")
	}
	plain, err := secret.NewBox(current, old).Open(sealed, []byte("client 1"))
	if err != nil || string(plain) != "Basic c2VjcmV0" {
		t.Errorf("opened %q, %v", plain, err)
	}
}

func TestBoxRefusesWhatWasTamperedWith(t *testing.T) {
	box := secret.NewBox(secret.Key{1})
	sealed := box.Seal([]byte("secret"), []byte("client 1"))
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		if plain, err := box.Open(altered, []byte("client 1")); err == nil {
			t.Errorf("byte %d was altered, and it opened as %q", i, plain)
		}
	}
	for n := range sealed {
		if _, err := box.Open(sealed[:n], []byte("client 1")); err == nil {
			t.Errorf("the first %d bytes opened", n)
		}
	}
	if _, err := box.Open(sealed, []byte("client 2")); err == nil {
		t.Error("it opened for another client")
	}
}

func TestUnknownKeyIsNamed(t *testing.T) {
	sealed := secret.NewBox(secret.Key{1}).Seal([]byte("secret"), nil)
	_, err := secret.NewBox(secret.Key{2}).Open(sealed, nil)
	if err == nil || !regexp.MustCompile(`key [0-9a-f]{8}`).MatchString(err.Error()) {
		t.Errorf("error %v does not name the key", err)
	}
}

func TestKeyFileIsMadeOnceForItsOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "secret.key")
	var wg sync.WaitGroup
	made := make([][]secret.Key, 8)
	for i := range made {
		wg.Go(func() {
			var err error
			if made[i], err = secret.LoadOrMakeKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, keys := range made[1:] {
		if diff := cmp.Diff(made[0], keys); diff != "" {
			t.Errorf("two that started at once have different keys:\n%s", diff)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o, want 0600", info.Mode().Perm())
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v (%v), want the key file alone", left, err)
	}
}

func TestKeyFileIsRead(t *testing.T) {
	const one, two = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
		keys       int
		wrong      string
	}{
		{"two keys", "# comment\n\n" + one + "\n  " + two + "  \n", 0o600, 2, ""},
		{"no key", "# nothing\n", 0o600, 0, "holds no key"},
		{"damaged", one + "\nAgIC\n", 0o600, 0, "line 2"},
		{"readable by all", one, 0o644, 0, "chmod 600"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			keys, err := secret.LoadKeys(path)
			if len(keys) != test.keys || (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("%d keys, error %v; want %d and %q", len(keys), err, test.keys, test.wrong)
			}
		})
	}
}

func TestAPIKeysAreLettersAndDigits(t *testing.T) {
	one, hash := secret.NewAPIKey()
	two, _ := secret.NewAPIKey()
	if !regexp.MustCompile(`^hk[a-z2-7]{52}$`).MatchString(one) || one == two {
		t.Errorf("keys %q and %q", one, two)
	}
	if secret.HashAPIKey(one) != hash || secret.HashAPIKey(two) == hash {
		t.Error("the hash does not tell keys apart")
	}
}
