package app_test

import (
	"bufio"
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"herald/internal/app"
)

// logged is a log that a test reads.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// TestOpenPageIsToldUntilTheServiceStops: its stream says that something has happened, and keeps the service neither from
// stopping nor from closing its listener in time.
func TestOpenPageIsToldUntilTheServiceStops(t *testing.T) {
	var log logged
	f := newFixture(t, func(c *app.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	hook := newReceiver(t, statuses(200))
	f.rule(hook.URL, uuid.Nil)
	b := newBrowser(t)
	b.do(f, "/portal/sign-in", url.Values{"key": {f.account.APIKey}})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.app.Address()+f.pagesOf()+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.jar.Cookies(request.URL) {
		request.AddCookie(c)
	}
	response, err := b.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	mark := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the stream has ended: %v", lines.Err())
		}
		text := lines.Text()
		lines.Scan() // the blank line after it
		return text
	}
	if text := mark(); response.StatusCode != http.StatusOK || text != "data: 600000" {
		t.Fatalf("the stream answers %d and begins with %q", response.StatusCode, text)
	}
	if _, _, text := f.call(http.MethodGet, "/metrics", "", ""); !strings.Contains(text, "\nherald_portal_streams 1\n") {
		t.Error("the metrics do not count the stream")
	}
	f.ended(f.publish(event()))
	if text := mark(); text != "data: 600000" {
		t.Errorf("after a delivery the stream has %q", text)
	}
	f.stop()
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream breaks off: %v", err)
	}
	if log.has("cuts off requests") {
		t.Error("the stop waited for the stream")
	}
}
