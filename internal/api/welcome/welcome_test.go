package welcome_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"herald/internal/api/welcome"
)

// TestBrowsersGetAPageAndProgramsAnError uses the Accept headers of real programs.
func TestBrowsersGetAPageAndProgramsAnError(t *testing.T) {
	mux := http.NewServeMux()
	welcome.Register(mux, "1.2.3<b>")
	for accept, page := range map[string]bool{
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true, // Firefox
		"text/html, application/xhtml+xml, image/jxr, */*":                true,
		"TEXT/HTML":             true,
		"*/*":                   false, // curl
		"application/json":      false,
		"":                      false,
		"application/json, */*": false,
		"text/htmlx":            false,
	} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Accept", accept)
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, request)
		want, media := http.StatusNotFound, "application/json"
		if page {
			want, media = http.StatusOK, "text/html; charset=utf-8"
		}
		if answer.Code != want || answer.Header().Get("Content-Type") != media || answer.Header().Get("Vary") != "Accept" {
			t.Errorf("Accept %q: status %d, %v", accept, answer.Code, answer.Header())
		}
		if body := answer.Body.String(); page && (!strings.Contains(body, "1.2.3&lt;b&gt;") || strings.Contains(body, "<script")) {
			t.Errorf("the page is %s", body)
		}
	}
	if _, pattern := mux.Handler(httptest.NewRequest(http.MethodGet, "/x", nil)); pattern != "" {
		t.Errorf("/x is answered by %q", pattern)
	}
}
