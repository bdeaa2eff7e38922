package app_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/app"
)

// TestRestoredBackupDeliversAllThatWasAcknowledged takes a backup while events are published, restores it
// into another directory, and finds every event acknowledged before the backup began. What was pending in
// it is delivered, with the Authorization header that the secret key in the backup opens.
func TestRestoredBackupDeliversAllThatWasAcknowledged(t *testing.T) {
	f := newFixture(t, func(c *app.Config) { c.RetrySchedule = slices.Repeat([]time.Duration{time.Second}, 60) })
	var open sync.Mutex
	open.Lock()
	r := newReceiver(t, func(_ int, w http.ResponseWriter, req *http.Request) {
		if !open.TryLock() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		open.Unlock()
	})
	header := "Bearer s3cret"
	if _, err := f.SaveProfile(t.Context(), client.Profile{Name: "Acme", RedirectURL: "https://acme.example", AlertAuthHeader: header}); err != nil {
		t.Fatal(err)
	}
	f.rule(r.URL, uuid.Nil)
	var acknowledged []herald.Receipt
	for range 50 {
		acknowledged = append(acknowledged, f.publish(event()))
	}
	ctx, stop := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for ctx.Err() == nil {
			_, _ = f.Publish(ctx, event()) // what counts was acknowledged before
		}
	})
	archive, err := f.operator.Backup(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(archive)
	if err := archive.Close(); err != nil {
		t.Error(err)
	}
	stop()
	publishing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	f.stop()
	before := len(r.got())

	dir := filepath.Join(t.TempDir(), "restored")
	summary, withKey, err := app.Restore(t.Context(), bytes.NewReader(text), dir)
	if err != nil || !withKey || summary.Clients != 1 || summary.Pending < len(acknowledged) {
		t.Fatalf("restored %+v, with the key: %v, %v", summary, withKey, err)
	}
	open.Unlock()
	f.config.DataDir = dir
	f.start()
	for _, receipt := range acknowledged {
		if d := f.ended(receipt); d.State != herald.Delivered {
			t.Errorf("delivery %s is %s (%s)", d.ID, d.State, d.Reason)
		}
	}
	for _, request := range r.got()[before:] {
		if got := request.header.Get("Authorization"); got != header {
			t.Errorf("the header is %q after the restore", got)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "backup-*")); err != nil || len(left) > 0 {
		t.Errorf("the restore left %v, %v", left, err)
	}
	page, err := f.operator.Changes(t.Context(), client.ChangeFilter{})
	if err != nil || len(page.Results) == 0 {
		t.Errorf("the audit log has %v, %v", page, err)
	}
}

func TestBackupIsTheOperatorsAlone(t *testing.T) {
	f := newFixture(t)
	if status, _, body := f.call("POST", "/backup", f.account.APIKey, ""); status != http.StatusForbidden || strings.Contains(body, "SQLite format") {
		t.Errorf("a client's key: status %d, %.100s", status, body)
	}
	status, headers, body := f.call("POST", "/backup", operatorKey, "")
	if status != http.StatusOK || headers.Get("Content-Type") != "application/x-tar" || strings.Contains(body, app.SecretKeyFile) {
		t.Errorf("the operator's: status %d, %v, with the key: %v", status, headers, strings.Contains(body, app.SecretKeyFile))
	}
	page, err := f.operator.Changes(t.Context(), client.ChangeFilter{})
	if err != nil || len(page.Results) == 0 || page.Results[0].Action != string(herald.BackupTaken) {
		t.Errorf("the audit log has %+v, %v", page.Results, err)
	}
	eventually(t, "the copy is removed", func() bool {
		left, err := filepath.Glob(filepath.Join(f.config.DataDir, "backup-*"))
		return err == nil && len(left) == 0
	})
}

// TestRestoreRefusesWhatItWouldHarm: nothing is changed in a directory that has a database or a key, and
// nothing but a whole backup becomes a database.
func TestRestoreRefusesWhatItWouldHarm(t *testing.T) {
	f := newFixture(t)
	archive, err := f.operator.Backup(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	whole, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	f.stop()
	refused := func(name, dir string, archive []byte, says string) {
		t.Helper()
		if _, _, err := app.Restore(t.Context(), bytes.NewReader(archive), dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want an error with %q", name, err, says)
		}
	}
	refused("a directory with a database", f.config.DataDir, whole, "has a database")
	withKey := t.TempDir()
	if err := os.WriteFile(filepath.Join(withKey, app.SecretKeyFile), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a directory with a key", withKey, whole, "move it away first")
	if text, err := os.ReadFile(filepath.Join(withKey, app.SecretKeyFile)); err != nil || string(text) != "mine" {
		t.Errorf("the key that was there is %q, %v", text, err)
	}
	for name, broken := range map[string][]byte{
		"cut off": whole[:len(whole)/2], "empty": nil, "no archive": []byte(strings.Repeat("x", 2048)),
		"another file in it": bytes.Replace(whole, []byte("herald.db"), []byte("../x.data"), 1),
	} {
		dir := t.TempDir()
		refused(name, dir, broken, "")
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: the directory has %v, %v", name, left, err)
		}
	}
}
