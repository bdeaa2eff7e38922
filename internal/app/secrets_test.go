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

	if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "x", AlertAuthHeader: header}); err != nil {
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
		ask("PUT", "/profile", key, `{"name":"Acme","redirectUrl":"x","alertAuthHeader":"`+header+`\u0000"}`)
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
	if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "x", AlertAuthHeader: header}); err != nil {
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
