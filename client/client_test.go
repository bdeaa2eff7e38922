package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"herald/client"
)

// service answers calls in memory, so that waits can run in a synctest bubble.
type service func(r *http.Request, body string) (status int, header http.Header, answer string)

func (s service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status, header, answer := s(r, string(body))
	if status == 0 {
		return nil, errors.New("the connection broke")
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

func newClient(t *testing.T, s service) *client.API {
	t.Helper()
	c, err := client.New("http://herald.example/", "hk-key", client.WithHTTPClient(&http.Client{Transport: s}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPublishIsTriedAgainUnderOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		begun := time.Now()
		c := newClient(t, func(r *http.Request, body string) (int, http.Header, string) {
			var e struct{ IdempotencyKey string }
			if err := json.Unmarshal([]byte(body), &e); err != nil || r.Header.Get("Authorization") != "Basic aGsta2V5" {
				t.Errorf("%s: %v", body, err)
			}
			keys = append(keys, e.IdempotencyKey)
			switch len(keys) {
			case 1:
				return 0, nil, ""
			case 2:
				return 503, http.Header{"Retry-After": {"7"}}, `{"error":"not now"}`
			default:
				return 202, nil, `{"id":"019ab0c1-0000-7000-8000-000000000000","alertCount":1,"alertIds":[]}`
			}
		})
		receipt, err := c.Publish(t.Context(), client.Event{Type: "Sync Failed"})
		if err != nil || receipt.AlertCount != 1 {
			t.Fatalf("%+v, %v", receipt, err)
		}
		if len(keys) != 3 || keys[0] == "" || keys[0] != keys[1] || keys[1] != keys[2] {
			t.Errorf("the keys were %v, want one of them three times", keys)
		}
		if waited := time.Since(begun); waited < 7*time.Second {
			t.Errorf("it waited %v, and was asked for 7 s", waited)
		}
	})
}

func TestWhatIsNotSafeIsNotTriedAgain(t *testing.T) {
	calls := 0
	c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
		calls++
		return 503, nil, `{"error":"not now"}`
	})
	for name, call := range map[string]func() error{
		"create a rule":   func() error { _, err := c.CreateRule(t.Context(), client.Rule{}); return err },
		"redeliver":       func() error { _, err := c.Redeliver(t.Context(), uuid.New()); return err },
		"create a client": func() error { _, err := c.CreateClient(t.Context(), "x"); return err },
		"create a key":    func() error { _, err := c.CreateKey(t.Context(), "x", ""); return err },
	} {
		calls = 0
		if err := call(); err == nil || calls != 1 {
			t.Errorf("%s: %d calls, %v; want one", name, calls, err)
		}
	}
}

func TestTriesAreBoundedAndTheContextEndsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
			calls++
			return 0, nil, ""
		})
		if _, err := c.EventTypes(t.Context()); err == nil || calls != 5 {
			t.Errorf("%d tries, %v; want 5", calls, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		calls = 0
		begun := time.Now()
		if _, err := c.EventTypes(ctx); err == nil || calls > 3 || time.Since(begun) > time.Second {
			t.Errorf("%d tries in %v, %v", calls, time.Since(begun), err)
		}
	})
}

func TestErrorsTellWhatTheServiceSaid(t *testing.T) {
	c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
		return 400, nil, `{"statusCode":400,"error":"not valid","correlationId":"c-1","validation":{"errors":[{"itemId":"type","message":"unknown"}]}}`
	})
	_, err := c.Rule(t.Context(), uuid.New())
	var answer *client.Error
	if !errors.As(err, &answer) || answer.StatusCode != 400 || answer.CorrelationID != "c-1" {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"not valid", "type: unknown", "400", "c-1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	c = newClient(t, func(*http.Request, string) (int, http.Header, string) { return 418, nil, "<html>a proxy" })
	if _, err := c.Rule(t.Context(), uuid.New()); err == nil || !strings.Contains(err.Error(), "a proxy") {
		t.Errorf("an answer that is not the service's: %v", err)
	}
}

func TestAllPagesAreWalked(t *testing.T) {
	c := newClient(t, func(r *http.Request, _ string) (int, http.Header, string) {
		page := r.URL.Query().Get("page")
		return 200, nil, fmt.Sprintf(`{"results":[{"type":"page %s"}],"pageNumber":%[1]s,"pageSize":1,"totalResults":3}`, page)
	})
	var types []string
	for rule, err := range c.AllRules(t.Context(), client.ListOptions{PageSize: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, rule.Type)
	}
	if got := strings.Join(types, ", "); got != "page 1, page 2, page 3" {
		t.Errorf("walked %s", got)
	}
	next := uuid.New()
	c = newClient(t, func(r *http.Request, _ string) (int, http.Header, string) {
		if r.URL.Query().Get("after") == next.String() {
			return 200, nil, `{"results":[{"state":"failed"}]}`
		}
		return 200, nil, `{"results":[{"state":"pending"}],"next":"` + next.String() + `"}`
	})
	var states []string
	for d, err := range c.AllDeliveries(t.Context(), client.DeliveryFilter{State: "x"}) {
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, d.State.String())
	}
	if got := strings.Join(states, ", "); got != "pending, failed" {
		t.Errorf("walked %s", got)
	}
}
