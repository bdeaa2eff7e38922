package inbox_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"herald/internal/inbox"
)

func TestInboxTakesAndShows(t *testing.T) {
	var told []inbox.Received
	box := inbox.New(func(r inbox.Received) { told = append(told, r) })
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
	var shown struct{ Results []inbox.Received }
	if err := json.Unmarshal(w.Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Results) != 200 || shown.Results[0].Path != "/last" || len(told) != 307 {
		t.Errorf("%d are shown, %d were told", len(shown.Results), len(told))
	}
	w = httptest.NewRecorder()
	box.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("GET /: %d, want 404", w.Code)
	}
}

func TestBodyOverTheBoundIsRefused(t *testing.T) {
	told := 0
	box := inbox.New(func(inbox.Received) { told++ })
	for size, want := range map[int]int{1 << 20: http.StatusOK, 1<<20 + 1: http.StatusBadRequest} {
		w := httptest.NewRecorder()
		box.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", size))))
		if w.Code != want {
			t.Errorf("a body of %d bytes: %d, want %d", size, w.Code, want)
		}
	}
	if told != 1 {
		t.Errorf("%d were told, want the one that was taken", told)
	}
}

func TestWebhooksComeAtTheSameTime(t *testing.T) {
	var told atomic.Int64
	box := inbox.New(func(inbox.Received) { told.Add(1) })
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
	if told.Load() != 400 {
		t.Errorf("%d were told, want 400", told.Load())
	}
}
