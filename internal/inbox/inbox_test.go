package inbox_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"herald/internal/inbox"
)

func TestInboxTakesAndShows(t *testing.T) {
	var told []inbox.Received
	box := inbox.New(func(r inbox.Received) { told = append(told, r) })
	for _, test := range []struct {
		path, body string
		status     int
	}{{"/", `{"RuleType":"Sync Failed"}`, 200}, {"/status/503", `{}`, 503}, {"/status/9", "not JSON", 200}} {
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
	if len(shown.Results) != 200 || shown.Results[0].Path != "/last" || len(told) != 303 {
		t.Errorf("%d are shown, %d were told", len(shown.Results), len(told))
	}
	w = httptest.NewRecorder()
	box.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("GET /: %d, want 404", w.Code)
	}
}
