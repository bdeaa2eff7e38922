package app_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/app"
	"herald/internal/secret"
)

// logBuffer holds the text of a log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestNoSecretLeaves stores secrets wherever the service has some, and makes calls that succeed and
// calls that fail. It then looks for the secrets in all that can be read: the log at its debug
// level, metrics, lists, attempts, errors, the audit log, and every file of the database.
func TestNoSecretLeaves(t *testing.T) {
	log := new(logBuffer)
	const header = "Basic cGxhbnRlZC1oZWFkZXI="
	refuses := newReceiver(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != header {
			t.Errorf("the receiver got the Authorization header %q", got)
		}
		http.Error(w, "no", http.StatusForbidden)
	})
	f := newFixture(t, func(c *app.Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	second, err := f.CreateKey(t.Context(), "second", "")
	if err != nil {
		t.Fatal(err)
	}
	keyFile, err := os.ReadFile(filepath.Join(f.config.DataDir, app.SecretKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(keyFile)), "\n")
	planted := map[string]string{
		"the Authorization header": header, "its value": "cGxhbnRlZC1oZWFkZXI", "the operator's key": operatorKey,
		"the client's key": f.account.APIKey, "its second key": second.APIKey, "a wrong key": "planted-wrong-key", "the secret key": lines[len(lines)-1],
	}

	if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://x.example", AlertAuthHeader: header}); err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	f.rule(refuses.URL, uuid.Nil)
	f.rule(gone.URL, uuid.Nil)
	receipt := f.publish(event())
	f.ended(receipt)

	var seen strings.Builder
	ask := func(method, path, key, body string) {
		_, headers, text := f.call(method, path, key, body)
		seen.WriteString(method + " " + path + "\n" + text + "\n")
		_ = headers.Write(&seen)
	}
	for _, key := range []string{f.account.APIKey, operatorKey, "planted-wrong-key"} {
		for _, path := range []string{
			"/metrics", "/audit", "/rules", "/rules/alerts", "/events", "/deliveries", "/clients", "/apiKeys", "/openapi.json", "/profile/syncSettings",
			"/deliveries/" + receipt.AlertIDs[0].String(), "/deliveries/" + receipt.AlertIDs[1].String(), "/clients/" + f.account.ID.String(), "/nothing",
		} {
			ask("GET", path, key, "")
		}
		ask("PUT", "/profile", key, `{"name":"Acme","redirectUrl":"https://x.example","alertAuthHeader":"`+header+`\u0000"}`)
		ask("PUT", "/profile", key, `{"name":7,"alertAuthHeader":"`+header+`"}`)
		ask("POST", "/events", key, `{"type":"`+header+`"`)
		ask("DELETE", "/apiKeys/"+uuid.NewString(), key, "")
	}
	seen.WriteString(log.String())
	for what, value := range planted {
		// A caller that writes a secret where an error quotes the request gets it back.
		if i := strings.Index(strings.ReplaceAll(seen.String(), `{"type":"`+header, ""), value); i >= 0 {
			t.Errorf("%s is in …%.200s…", what, seen.String()[max(0, i-100):])
		}
	}
	f.stop() // writes the write-ahead log into the database file
	delete(planted, "the secret key")
	err = filepath.WalkDir(f.config.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for what, value := range planted {
			if bytes.Contains(text, []byte(value)) {
				t.Errorf("%s is in plain text in %s", what, path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRotatedKeyIsUsed: a running service reads a rotated key file, seals its secrets again, and
// still sends the header.
func TestRotatedKeyIsUsed(t *testing.T) {
	log := new(logBuffer)
	const header = "Basic planted"
	hook := newReceiver(t, nil)
	f := newFixture(t, func(c *app.Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://x.example", AlertAuthHeader: header}); err != nil {
		t.Fatal(err)
	}
	f.rule(hook.URL, uuid.Nil)
	path := filepath.Join(f.config.DataDir, app.SecretKeyFile)
	name, err := secret.RotateKeyFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything is sealed again", func() bool { return strings.Contains(log.String(), "sealedAnew=1") })
	f.ended(f.publish(event()))
	if got := hook.got()[0].header.Get("Authorization"); got != header {
		t.Errorf("the receiver got %q", got)
	}
	// Without the old key the header must be the same.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(strings.TrimSpace(string(text)), "\n")
	f.stop()
	if err := os.WriteFile(path, []byte(strings.Join(keys[:len(keys)-1], "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	f.start()
	profile, err := f.Profile(t.Context())
	if err != nil || profile.AlertAuthHeader != header {
		t.Errorf("with %s alone the header is %q, %v", name, profile.AlertAuthHeader, err)
	}
}

// refused starts the service on a configuration and returns the error of the start.
func refused(t *testing.T, c app.Config) string {
	t.Helper()
	a, err := app.Start(t.Context(), c)
	if err == nil {
		_ = a.Stop(t.Context())
		t.Fatal("the service started")
	}
	return err.Error()
}

// sealed starts the service with a client that has a header, stops it, and returns the path of
// the key file.
func sealed(t *testing.T, f *fixture) string {
	t.Helper()
	f.rule("http://127.0.0.1:1/", uuid.Nil)
	if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://acme.example/", AlertAuthHeader: "Basic planted"}); err != nil {
		t.Fatal(err)
	}
	f.stop()
	if f.config.SecretKeyFile != "" {
		return f.config.SecretKeyFile
	}
	return filepath.Join(f.config.DataDir, app.SecretKeyFile)
}

const otherKey = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"

// TestKeyFileThatDoesNotFitRefusesTheStart: the error names the file and the way out, no key is
// made and nothing is sealed; with the right file the service starts as before.
func TestKeyFileThatDoesNotFitRefusesTheStart(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, setUp func(*app.Config)) {
		f := newFixture(t, setUp)
		path := sealed(t, f)
		right, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, spoil := range map[string]func() error{
			"missing":   func() error { return os.Remove(path) },
			"wrong":     func() error { return os.WriteFile(path, []byte(otherKey), 0o600) },
			"no key":    func() error { return os.WriteFile(path, []byte("# empty\n"), 0o600) },
			"not a key": func() error { return os.WriteFile(path, []byte("x\n"), 0o600) },
		} {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			text := refused(t, f.config)
			if !strings.Contains(text, path) || !strings.Contains(text, "herald secrets reset") {
				t.Errorf("%s: %s; want the file's path and the way out", name, text)
			}
			if _, err := os.Stat(path); name == "missing" && err == nil {
				t.Error("a new key was made beside the old database")
			}
		}
		if err := os.WriteFile(path, right, 0o600); err != nil {
			t.Fatal(err)
		}
		f.start()
		if p, err := f.Profile(t.Context()); err != nil || p.AlertAuthHeader != "Basic planted" {
			t.Errorf("with the right file again: %q, %v", p.AlertAuthHeader, err)
		}
	})
}

// TestAnotherNodesKeyIsRefused although nothing but the check has been sealed yet.
func TestAnotherNodesKeyIsRefused(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, setUp func(*app.Config)) {
		f := newFixture(t, setUp)
		f.stop()
		other := f.config
		other.SecretKeyFile = filepath.Join(t.TempDir(), "other.key")
		if err := os.WriteFile(other.SecretKeyFile, []byte(otherKey), 0o600); err != nil {
			t.Fatal(err)
		}
		if text := refused(t, other); !strings.Contains(text, other.SecretKeyFile) {
			t.Errorf("%s, want the file's path", text)
		}
	})
}

// TestLostKeyIsReset: what cannot be read is cleared and listed, the service starts, and the
// client saves its profile again.
func TestLostKeyIsReset(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, setUp func(*app.Config)) {
		f := newFixture(t, setUp)
		path := sealed(t, f)
		if err := os.WriteFile(path, []byte(otherKey), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1, 0} { // the second time there is nothing to clear
			cleared, err := app.ResetSecrets(t.Context(), f.config)
			if err != nil || len(cleared) != want || want == 1 && cleared[0].ID != f.account.ID {
				t.Fatalf("%v, %v, want the client %s, then none", cleared, err, f.account.ID)
			}
		}
		f.start()
		p, err := f.Profile(t.Context())
		if err != nil || p.AlertAuthHeader != "" || p.Name != "Acme" {
			t.Errorf("%+v, %v, want the profile without its header", p, err)
		}
		p.AlertAuthHeader = "Basic again"
		if _, err := f.SaveProfile(t.Context(), p); err != nil {
			t.Error(err)
		}
		if p, err := f.Profile(t.Context()); err != nil || p.AlertAuthHeader != "Basic again" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// TestMissingKeyIsResetToANewOne on SQLite, where the service makes the file.
func TestMissingKeyIsResetToANewOne(t *testing.T) {
	f := newFixture(t)
	path := sealed(t, f)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if cleared, err := app.ResetSecrets(t.Context(), f.config); err != nil || len(cleared) != 1 {
		t.Fatalf("%v, %v", cleared, err)
	}
	f.start()
}

// TestEmptyDatabaseBesideAnOldKeyIsLogged: it may be the wrong directory, or a lost volume.
func TestEmptyDatabaseBesideAnOldKeyIsLogged(t *testing.T) {
	log := new(logBuffer)
	f := newFixture(t, func(c *app.Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	const says = "the database is empty"
	if strings.Contains(log.String(), says) {
		t.Error("the first start warns about its own key")
	}
	f.stop()
	files, err := filepath.Glob(filepath.Join(f.config.DataDir, "herald.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	f.start()
	if !strings.Contains(log.String(), says) {
		t.Errorf("no word about the empty database: %s", log)
	}
}

// TestProfileWithAnUnreadableHeaderCanBeSaved: a damaged secret of one client keeps the service
// from nothing: the profile can be replaced, and the client listed, renamed and deleted.
func TestProfileWithAnUnreadableHeaderCanBeSaved(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, setUp func(*app.Config)) {
		f := newFixture(t, setUp)
		damage := func() {
			t.Helper()
			sealed(t, f)
			f.sql(`UPDATE clients SET auth = substr(auth, 1, 6)`)
			f.start()
		}
		damage()
		if status, _, text := f.call("PUT", "/profile", f.account.APIKey, `{"name":"Acme","redirectUrl":"https://x.example"}`); status != 200 {
			t.Errorf("PUT /profile that leaves the header as it is: %d %s", status, text)
		}
		if status, _, text := f.call("PUT", "/profile", f.account.APIKey, `{"name":"","redirectUrl":"https://x.example"}`); status != 400 {
			t.Errorf("PUT /profile without a name: %d %s", status, text)
		}
		if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://acme.example/", AlertAuthHeader: "Basic again"}); err != nil {
			t.Errorf("PUT /profile: %v", err)
		}
		if p, err := f.Profile(t.Context()); err != nil || p.AlertAuthHeader != "Basic again" {
			t.Errorf("%+v, %v", p, err)
		}
		damage()
		for _, call := range [][2]string{{"GET", "/clients"}, {"PUT", "/clients/" + f.account.ID.String()}, {"DELETE", "/clients/" + f.account.ID.String()}} {
			if status, _, text := f.call(call[0], call[1], operatorKey, `{"name":"Other"}`); status >= 300 {
				t.Errorf("%s %s: %d %s", call[0], call[1], status, text)
			}
		}
	})
}
