package devinbox_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"herald/internal/devinbox"
)

func TestInboxTakesAndShows(t *testing.T) {
	var notified []devinbox.Received
	box := devinbox.New(func(r devinbox.Received) { notified = append(notified, r) })
	for _, test := range []struct {
		path, body string
		status     int
	}{{"/", `{"RuleType":"Sync Failed"}`, 200}, {"/status/503", `{}`, 503}, {"/status/9", "not JSON", 200},
		{"/hook?status=429", `{}`, 429}, {"/?status=soon", `{}`, 200}, {"/?status=101", `{}`, 200}, {"/status/204", `{}`, 204}} {
		w := httptest.NewRecorder()
		box.ServeHTTP(w, httptest.NewRequest("POST", test.path, strings.NewReader(test.body)))
		if w.Code != test.status {
			t.Errorf("POST %s: %d, want %d", test.path, w.Code, test.status)
		}
	}
	for range 300 {
		box.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/last", strings.NewReader(`{}`)))
	}
	w := httptest.NewRecorder()
	box.ServeHTTP(w, httptest.NewRequest("GET", "/inbox", nil))
	var shown struct{ Results []devinbox.Received }
	if err := json.Unmarshal(w.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Results) != 200 || shown.Results[0].Path != "/last" || len(notified) != 307 {
		t.Errorf("%d are shown, %d notifications", len(shown.Results), len(notified))
	}
	w = httptest.NewRecorder()
	box.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("GET /: %d, want 404", w.Code)
	}
}

func TestBodyOverTheBoundIsRefused(t *testing.T) {
	notified := 0
	box := devinbox.New(func(devinbox.Received) { notified++ })
	for size, want := range map[int]int{1 << 20: http.StatusOK, 1<<20 + 1: http.StatusBadRequest} {
		w := httptest.NewRecorder()
		box.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", size))))
		if w.Code != want {
			t.Errorf("a body of %d bytes: %d, want %d", size, w.Code, want)
		}
	}
	if notified != 1 {
		t.Errorf("%d notifications, want the one that was taken", notified)
	}
}

func TestWebhooksComeAtTheSameTime(t *testing.T) {
	var notified atomic.Int64
	box := devinbox.New(func(devinbox.Received) { notified.Add(1) })
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for range 50 {
				box.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(`{}`)))
				box.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/inbox", nil))
			}
		})
	}
	senders.Wait()
	if notified.Load() != 400 {
		t.Errorf("%d notifications, want 400", notified.Load())
	}
}
