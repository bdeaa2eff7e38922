package devinbox_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"herald/client"
	"herald/internal/devinbox"
)

// running is an inbox behind a real server.
type running struct {
	*httptest.Server
	client.Inbox
	came chan devinbox.Received
}

func newRunning(t *testing.T) *running {
	t.Helper()
	r := &running{came: make(chan devinbox.Received, 100)}
	r.Server = httptest.NewServer(devinbox.New(func(one devinbox.Received) { r.came <- one }))
	r.Address = strings.TrimPrefix(r.URL, "http://")
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Server.Close()
	})
	return r
}

func (r *running) post(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL+path, strings.NewReader(`{"RuleType":"Sync Failed"}`))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		response.Body.Close()
	}
	return response, err
}

func TestAnswerIsTheOneThatWasSet(t *testing.T) {
	r := newRunning(t)
	for _, test := range []struct {
		answer     devinbox.Answer
		path       string
		status     int
		retryAfter string
	}{
		{devinbox.Answer{}, "/", 200, ""},
		{devinbox.Answer{Status: 500}, "/", 500, ""},
		{devinbox.Answer{Status: 503, RetryAfter: 30}, "/", 503, "30"},
		{devinbox.Answer{Status: 503, RetryAfter: 30}, "/status/204", 204, ""},
		{devinbox.Answer{Hang: true}, "/?status=410", 410, ""},
		{devinbox.Answer{Status: 200}, "/", 200, ""},
	} {
		if err := r.SetAnswer(t.Context(), test.answer); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Answer(t.Context()); err != nil || got != test.answer {
			t.Errorf("%+v was set, and %+v is shown, %v", test.answer, got, err)
		}
		response, err := r.post(t.Context(), test.path)
		if err != nil || response.StatusCode != test.status || response.Header.Get("Retry-After") != test.retryAfter {
			t.Errorf("%+v, %s: %+v, %v", test.answer, test.path, response, err)
		}
		if got := <-r.came; got.Status != test.status || got.Unanswered != "" {
			t.Errorf("%+v: recorded as %+v", test.answer, got)
		}
	}
}

func TestInboxHangsAndCloses(t *testing.T) {
	r := newRunning(t)
	if err := r.SetAnswer(t.Context(), devinbox.Answer{Close: true}); err != nil {
		t.Fatal(err)
	}
	if response, err := r.post(t.Context(), "/"); err == nil {
		t.Errorf("closing answered %s", response.Status)
	}
	if got := <-r.came; got.Status != 0 || got.Outcome() != "close" {
		t.Errorf("recorded as %+v", got)
	}
	if err := r.SetAnswer(t.Context(), devinbox.Answer{Hang: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.post(ctx, "/")
		ended <- err
	}()
	if got := <-r.came; got.Status != 0 || got.Outcome() != "hang" {
		t.Errorf("recorded as %+v", got)
	}
	select {
	case err := <-ended:
		t.Errorf("hanging ended with %v", err)
	default:
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWrongAnswersAreRefused(t *testing.T) {
	r := newRunning(t)
	if err := r.SetAnswer(t.Context(), devinbox.Answer{Status: 418}); err != nil {
		t.Fatal(err)
	}
	for body, says := range map[string]string{
		`{"status":99}`: "status 99: want 200 to 599", `{"status":600}`: "want 200", `{"status":-1}`: "want 200", `{"status":"503"}`: "cannot be set",
		`{"hang":true,"close":true}`: "give one of", `{"status":200,"hang":true}`: "give one of",
		`{"retryAfter":-1}`: "retryAfter -1", `{"retryAfter":86401}`: "want 0 to 86400 seconds", `{"hang":true,"retryAfter":3}`: "needs a status",
		`{"state":503}`: "unknown field", ``: "cannot be set", `[]`: "cannot be set", `{"status":` + strings.Repeat(" ", 5000) + `503}`: "too large",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.URL+"/inbox/answer", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != 400 || !strings.Contains(string(text), says) {
			t.Errorf("%.60s: %d %s, %v; want 400 with %q", body, response.StatusCode, text, err, says)
		}
	}
	if got, err := r.Answer(t.Context()); err != nil || got.Status != 418 {
		t.Errorf("a refused answer changed it to %+v, %v", got, err)
	}
}

// TestListWaitsForWhatComes: in simulated time.
func TestListWaitsForWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := devinbox.New(func(devinbox.Received) {})
		send := func() {
			box.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(`{}`)))
		}
		for range 3 {
			send()
		}
		list := func(n int64, wait time.Duration) []devinbox.Received {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			return box.List(ctx, n)
		}
		if got := list(1, 0); len(got) != 2 || got[0].N != 3 || got[1].N != 2 {
			t.Errorf("after the first: %+v", got)
		}
		began := time.Now()
		if got := list(3, 20*time.Second); len(got) != 0 || time.Since(began) != 20*time.Second {
			t.Errorf("nothing came, and %+v after %v", got, time.Since(began))
		}
		time.AfterFunc(5*time.Second, send)
		began = time.Now()
		if got := list(3, 20*time.Second); len(got) != 1 || got[0].N != 4 || time.Since(began) != 5*time.Second {
			t.Errorf("%+v after %v", got, time.Since(began))
		}
		if got := list(400, 0); len(got) != 4 {
			t.Errorf("after a restart a follower sees %d of 4", len(got))
		}
		box.Clear()
		if got := list(0, 0); len(got) != 0 {
			t.Errorf("%d after clearing", len(got))
		}
		send()
		if got := list(4, 0); len(got) != 1 || got[0].N != 5 {
			t.Errorf("after clearing: %+v", got)
		}
	})
}

func TestInboxIsBoundedByBytes(t *testing.T) {
	box := devinbox.New(func(devinbox.Received) {})
	big := `"` + strings.Repeat("x", 1<<20-2) + `"`
	for range 40 {
		box.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(big)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	bytes := 0
	all := box.List(ctx, 0)
	for _, r := range all {
		bytes += len(r.Body)
	}
	if bytes > 16<<20 || len(all) < 15 || all[0].N != 40 {
		t.Errorf("%d bytes of %d webhooks are stored", bytes, len(all))
	}
}

func TestInboxCallsAreChecked(t *testing.T) {
	r := newRunning(t)
	for _, query := range []string{"after=x", "after=-1", "wait=61", "wait=-1", "wait=1h"} {
		response, err := http.Get(r.URL + "/inbox?" + query)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 400 {
			t.Errorf("%s: %s", query, response.Status)
		}
	}
	if _, err := r.post(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	if got, err := r.List(t.Context(), 0, 0); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := r.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := r.List(t.Context(), 0, 0); err != nil || len(got) != 0 {
		t.Errorf("after clearing %+v, %v", got, err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	stranger := client.Inbox{Address: strings.TrimPrefix(other.URL, "http://")}
	if err := stranger.Clear(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer as an inbox") {
		t.Error(err)
	}
}
