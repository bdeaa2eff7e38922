package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/memory"
	"herald/internal/secret"
)

// TestLargeAnswersAreBoundedTogether: what answers hold is counted until they have been sent.
func TestLargeAnswersAreBoundedTogether(t *testing.T) {
	const page = 16 << 20
	rival := herald.Key{ID: uuid.New(), ClientID: uuid.New()}
	auth := api.NewAuth(keys{secret.HashAPIKey(clientKey): acme, secret.HashAPIKey("rival"): rival}, []string{operatorKey})
	made, sent := make(chan int), make(chan struct{})
	s := newFixture(map[string]http.HandlerFunc{"GET /rules/alerts": func(w http.ResponseWriter, r *http.Request) {
		if _, err := auth.Caller(r); err != nil {
			api.WriteError(w, r, err)
			return
		}
		size := int64(page)
		if r.URL.Query().Has("small") {
			size = 60 << 10
		}
		for range 2 { // in two parts
			if err := memory.Reserve(r.Context(), size/2); err != nil {
				api.WriteError(w, r, err)
				return
			}
		}
		made <- http.StatusOK
		<-sent
	}})
	ended := make(chan int)
	get := func(key, query string) int {
		answer := httptest.NewRecorder()
		go func() {
			request := httptest.NewRequest("GET", "/rules/alerts"+query, nil)
			request.Header.Set("Authorization", "Bearer "+key)
			s.ServeHTTP(answer, request)
			ended <- answer.Code
		}()
		select {
		case code := <-made:
			return code
		case code := <-ended:
			if code == http.StatusServiceUnavailable && answer.Header().Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q, want 1", answer.Header().Get("Retry-After"))
			}
			return code
		}
	}
	for i, step := range []struct {
		key, query string
		want       int
	}{
		{clientKey, "", 200}, {clientKey, "", 200},
		{clientKey, "", 503}, // more than a client's half
		{clientKey, "?small", 200},
		{"rival", "", 200}, {operatorKey, "", 200},
		{operatorKey, "", 503}, // all is taken
		{"rival", "?small", 200},
	} {
		if got := get(step.key, step.query); got != step.want {
			t.Fatalf("answer %d, %s%s: %d, want %d", i+1, step.key, step.query, got, step.want)
		}
	}
	for range 6 {
		sent <- struct{}{}
		<-ended
	}
	if got := get(clientKey, ""); got != 200 {
		t.Errorf("after the others: %d, want 200", got)
	}
	sent <- struct{}{}
	<-ended
}
