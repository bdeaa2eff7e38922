package secret_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
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

func TestErrorsOfABoxSayWhatIsWrongAndNotTheSecret(t *testing.T) {
	const plain, context = "Basic c2VjcmV0", "client 1"
	box := secret.NewBox(secret.Key{1})
	sealed := box.Seal([]byte(plain), []byte(context))
	altered := func(at int) []byte {
		s := bytes.Clone(sealed)
		s[at] ^= 1
		return s
	}
	for _, test := range []struct {
		name    string
		box     *secret.Box
		sealed  []byte
		context string
		want    string
	}{
		{"another version", box, altered(0), context, `form`},
		{"another key id", box, altered(1), context, `key [0-9a-f]{8}, which is not in the key file`},
		{"another nonce", box, altered(5), context, `altered`},
		{"another text", box, altered(17), context, `altered`},
		{"another tag", box, altered(len(sealed) - 1), context, `altered`},
		{"another context", box, sealed, "client 2", `belongs to something else`},
		{"no context", box, sealed, "", `belongs to something else`},
		{"another key", secret.NewBox(secret.Key{2}), sealed, context, `key [0-9a-f]{8}, which is not in the key file`},
		{"cut in the nonce", box, sealed[:16], context, `cut short`},
		{"cut in the key id", box, sealed[:4], context, `form`},
		{"nothing", box, nil, context, `form`},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened, err := test.box.Open(test.sealed, []byte(test.context))
			if err == nil {
				t.Fatalf("it opened as %q", opened)
			}
			if !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
			if strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("error %q tells the secret", err)
			}
		})
	}
}

func TestSealingTwiceGivesDifferentForms(t *testing.T) {
	box := secret.NewBox(secret.Key{1})
	if one, two := box.Seal([]byte("secret"), nil), box.Seal([]byte("secret"), nil); bytes.Equal(one[5:17], two[5:17]) {
		t.Errorf("the nonce %x was used twice", one[5:17])
	}
}

func TestKeyIsPrintedAsItsID(t *testing.T) {
	key := secret.Key([]byte("0123456789abcdef0123456789abcdef"))
	for _, verb := range []string{"%v", "%+v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, key); strings.Contains(got, "0123456789") || strings.Contains(got, "3031323334") || strings.Contains(got, "48 49 50") {
			t.Errorf("%s prints the key: %s", verb, got)
		}
	}
	if got := key.String(); !regexp.MustCompile("^key [0-9a-f]{8}$").MatchString(got) {
		t.Errorf("it is called %q, want its id", got)
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
		{"Windows line ends", one + "\r\n" + two + "\r\n", 0o600, 2, ""},
		{"readable by its owner alone", one, 0o400, 1, ""},
		{"no key", "# nothing\n", 0o600, 0, "holds no key"},
		{"empty", "", 0o600, 0, "holds no key"},
		{"too short", one + "\nAgIC\n", 0o600, 0, "line 2"},
		{"too long", "# comment\n\n" + one[:43] + one + "\n", 0o600, 0, "line 3"},
		{"not base64", "AQEBAQEBAQEBAQEB!QEBAQEBAQEBAQEBAQEBAQEBAQE=", 0o600, 0, "line 1"},
		{"readable by all", one, 0o644, 0, "chmod 600"},
		{"readable by the group", one, 0o440, 1, ""},
		{"writable by the group", one, 0o660, 0, "mode 0660"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			keys, err := secret.LoadKeys(path)
			if len(keys) != test.keys || (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("%d keys, error %v; want %d and %q", len(keys), err, test.keys, test.wrong)
			}
			if err != nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "AQEB")) {
				t.Errorf("error %q does not name the file, or tells a key", err)
			}
		})
	}
}

func TestFirstKeyOfTheFileSeals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, err := secret.LoadOrMakeKey(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	added := secret.Key{7}
	text := base64.StdEncoding.EncodeToString(added[:]) + "\n" + string(old)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	both, err := secret.LoadOrMakeKey(path)
	if diff := cmp.Diff([]secret.Key{added, first[0]}, both); err != nil || diff != "" {
		t.Fatalf("an existing file is read as it is (%v; -want +got):\n%s", err, diff)
	}
	sealed := secret.NewBox(both...).Seal([]byte("secret"), nil)
	if _, err := secret.NewBox(added).Open(sealed, nil); err != nil {
		t.Errorf("the first key does not open what the box sealed: %v", err)
	}
}

func TestKeyFileThatIsMissingIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing")
	if _, err := secret.LoadKeys(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

func TestKeyFileThatCannotBeMadeIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(file, "dir", "key")
	if _, err := secret.LoadOrMakeKey(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
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

func TestMaskedAuthorizationShowsAKnownSchemeAtMost(t *testing.T) {
	for value, want := range map[string]string{
		"Basic dXNlcjpwYXNz":  "Basic …",
		"Bearer abc def":      "Bearer …",
		"bearer abc":          "bearer …",
		"hunter2":             "…",
		"correct horse":       "…",
		"Bearer":              "…",
		"Basic\tdXNlcjpwYXNz": "…",
		" Basic dXNlcjpwYXNz": "…",
		"":                    "…",
	} {
		if got := secret.MaskAuthorization(value); got != want {
			t.Errorf("MaskAuthorization(%q) = %q, want %q", value, got, want)
		}
	}
}

// TestRotatedKeySealsAndTheOldOneOpens rotates with and without prepare. Two boxes on the
// file stand for two nodes.
func TestRotatedKeySealsAndTheOldOneOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	box := func() *secret.Box {
		b, err := secret.OpenBox(path, true)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one, other := box(), box()
	rotate := func(prepare bool) string {
		name, err := secret.RotateKeyFile(path, prepare)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	reload := func(b *secret.Box) {
		if changed, err := b.Reload(); !changed || err != nil {
			t.Fatalf("Reload = %v, %v", changed, err)
		}
	}
	opens := func(b *secret.Box, sealed []byte) {
		t.Helper()
		if plain, err := b.Open(sealed, nil); err != nil || string(plain) != "secret" {
			t.Errorf("opened %q, %v", plain, err)
		}
	}
	old, prefix := one.Seal([]byte("secret"), nil), one.Prefix()
	if changed, err := one.Reload(); changed || err != nil {
		t.Errorf("an unchanged file: Reload = %v, %v", changed, err)
	}
	rotate(false)
	reload(one)
	sealed := one.Seal([]byte("secret"), nil)
	if bytes.HasPrefix(sealed, prefix) || !bytes.HasPrefix(sealed, one.Prefix()) {
		t.Error("it is sealed with the old key")
	}
	opens(one, old)
	opens(other, sealed) // which had not looked at the file yet

	prefix = one.Prefix()
	prepared := rotate(true)
	reload(one)
	if !bytes.Equal(one.Prefix(), prefix) {
		t.Error("a prepared key seals")
	}
	if _, err := secret.RotateKeyFile(path, true); err == nil || !strings.Contains(err.Error(), "prepared key already") {
		t.Errorf("preparing twice: %v", err)
	}
	if now := rotate(false); now != prepared {
		t.Errorf("%s seals, want the prepared %s", now, prepared)
	}
	reload(one)
	opens(other, one.Seal([]byte("secret"), nil))
	opens(one, old)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
}

// TestBrokenKeyFileKeepsTheKeys: a broken file is one error only, and the old keys stay in
// use.
func TestBrokenKeyFileKeepsTheKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	box, err := secret.OpenBox(path, true)
	if err != nil {
		t.Fatal(err)
	}
	sealed := box.Seal([]byte("secret"), nil)
	if err := os.WriteFile(path, []byte("no key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := box.Reload(); !changed || err == nil {
		t.Errorf("Reload = %v, %v; want an error", changed, err)
	}
	if changed, err := box.Reload(); changed || err != nil {
		t.Errorf("again: Reload = %v, %v; want nothing new", changed, err)
	}
	if _, err := box.Open(sealed, nil); err != nil {
		t.Error(err)
	}
	if _, err := secret.RotateKeyFile(path, false); err == nil {
		t.Error("a broken file was rotated")
	}
}
