package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/client"
)

var (
	anID    = uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002")
	otherID = uuid.MustParse("ee2eb431-c0fa-4dc9-93fa-d29781c12bcd")
)

// TestCallsOnTheWire checks the request of each method: method, path with query, body.
func TestCallsOnTheWire(t *testing.T) {
	const id, other = "8a210b68-6988-11ed-a1eb-0242ac120002", "ee2eb431-c0fa-4dc9-93fa-d29781c12bcd"
	at := time.Date(2026, 11, 23, 10, 0, 0, 500, time.FixedZone("", 3600))
	ctx := t.Context()
	for want, do := range map[string]func(*client.API) error{
		"GET /readyz ":                          func(c *client.API) error { return c.Ready(ctx) },
		`POST /clients {"name":"Acme & Söhne"}`: func(c *client.API) error { _, err := c.CreateClient(ctx, "Acme & Söhne"); return err },
		"GET /clients?after=" + id + "&limit=7 ": func(c *client.API) error {
			_, err := c.Clients(ctx, client.Cursor{After: anID, Limit: 7})
			return err
		},
		"GET /clients?after=" + id + "&search=caf%C3%A9+%26+co ": func(c *client.API) error {
			_, err := c.SearchClients(ctx, "café & co", client.Cursor{After: anID})
			return err
		},
		"GET /clients/" + id + " ":                       func(c *client.API) error { _, err := c.Client(ctx, anID); return err },
		"PUT /clients/" + id + ` {"name":"B"}`:           func(c *client.API) error { return c.RenameClient(ctx, anID, "B") },
		"DELETE /clients/" + id + " ":                    func(c *client.API) error { return c.DeleteClient(ctx, anID) },
		"GET /profile ":                                  func(c *client.API) error { _, err := c.Profile(ctx); return err },
		"GET /apiKeys ":                                  func(c *client.API) error { _, err := c.Keys(ctx); return err },
		`POST /apiKeys {"name":"ci"}`:                    func(c *client.API) error { _, err := c.CreateKey(ctx, "ci", ""); return err },
		"DELETE /apiKeys/" + id + " ":                    func(c *client.API) error { return c.DeleteKey(ctx, anID) },
		"GET /events ":                                   func(c *client.API) error { _, err := c.Events(ctx, client.EventFilter{}); return err },
		"GET /events/" + id + " ":                        func(c *client.API) error { _, err := c.Event(ctx, anID); return err },
		"GET /eventTypes ":                               func(c *client.API) error { _, err := c.EventTypes(ctx); return err },
		"GET /eventTypes/a%2Fb%20%28%29%3F%25%20%C3%B6 ": func(c *client.API) error { _, err := c.EventType(ctx, "a/b ()?% ö"); return err },
		"GET /rules?companyId=" + id + "&orderBy=-type&page=2&pageSize=50&query=type%3DSync+Failed ": func(c *client.API) error {
			_, err := c.Rules(ctx, client.ListOptions{Page: 2, PageSize: 50, Query: "type=Sync Failed", OrderBy: "-type", Company: anID})
			return err
		},
		"GET /rules/" + id + " ": func(c *client.API) error { _, err := c.Rule(ctx, anID); return err },
		`POST /rules {"type":"Sync Failed","notifiers":{"emails":null,"webhook":"https://a.example/"}}`: func(c *client.API) error {
			_, err := c.CreateRule(ctx, client.Rule{Type: "Sync Failed", Notifiers: client.Notifiers{Webhook: "https://a.example/"}})
			return err
		},
		"PUT /rules/" + id + ` {"id":"` + id + `","type":"x","companyId":"` + other + `","notifiers":{"emails":["a@b.example"]}}`: func(c *client.API) error {
			_, err := c.UpdateRule(ctx, client.Rule{ID: anID, Type: "x", CompanyID: otherID, Notifiers: client.Notifiers{Emails: []string{"a@b.example"}}})
			return err
		},
		"DELETE /rules/" + id + " ":                                  func(c *client.API) error { return c.DeleteRule(ctx, anID) },
		"PUT /rules/" + id + `/security {"authorization":"none"}`:    func(c *client.API) error { return c.SetRuleAuthorization(ctx, anID, false) },
		"PUT /rules/" + id + `/security {"authorization":"inherit"}`: func(c *client.API) error { return c.SetRuleAuthorization(ctx, anID, true) },
		"GET /rules/alerts ":                                         func(c *client.API) error { _, err := c.Alerts(ctx, client.ListOptions{}); return err },
		"GET /rules/" + id + "/alerts ":                              func(c *client.API) error { _, err := c.RuleAlerts(ctx, anID, client.ListOptions{}); return err },
		"GET /rules/alerts/" + id + " ":                              func(c *client.API) error { _, err := c.Alert(ctx, anID); return err },
		"GET /deliveries/" + id + " ":                                func(c *client.API) error { _, err := c.Delivery(ctx, anID); return err },
		"POST /deliveries/" + id + "/redeliver ":                     func(c *client.API) error { _, err := c.Redeliver(ctx, anID); return err },
		"POST /deliveries/" + id + "/cancel ":                        func(c *client.API) error { _, err := c.Cancel(ctx, anID); return err },
		"GET /deliveries?alert=" + other + "&company=" + id + "&receiver=https%3A%2F%2Fa.example%2F%3Fb%3D1&rule=" + id + "&since=2026-11-23T09%3A00%3A00.0000005Z&state=failed&status=5xx&type=Sync+Failed&until=2026-11-23T10%3A00%3A00.0000005Z ": func(c *client.API) error {
			_, err := c.Deliveries(ctx, client.DeliveryFilter{State: "failed", Receiver: "https://a.example/?b=1", Type: "Sync Failed",
				Company: anID, Alert: otherID, Rule: anID, Status: "5xx", Since: at, Until: at.Add(time.Hour)})
			return err
		},
		`PUT /eventTypes/Own%20%2F {"name":"Own /","label":"L","company":true,"connection":false,"message":"m"}`: func(c *client.API) error {
			_, err := c.PutEventType(ctx, herald.EventType{Name: "Own /", Label: "L", Company: true, Message: "m"})
			return err
		},
		`PUT /profile {"name":"n","redirectUrl":"r","whiteListUrls":null,"alertAuthHeader":""}`: func(c *client.API) error {
			_, err := c.SaveProfile(ctx, client.Profile{Name: "n", RedirectURL: "r"})
			return err
		},
		`POST /events {"type":"x","companyId":"` + id + `","data":{"a":"<&>"},"idempotencyKey":"k"}`: func(c *client.API) error {
			_, err := c.Publish(ctx, client.Event{Type: "x", CompanyID: anID, Data: json.RawMessage(`{"a":"<&>"}`), IdempotencyKey: "k"})
			return err
		},
	} {
		var got string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			text := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(body))
			got = r.Method + " " + r.RequestURI + " " + text
			key, password, _ := r.BasicAuth()
			if r.Header.Get("Accept") != "application/json" || r.Header.Get("Authorization") == "" || key != "" || password != "" {
				t.Errorf("%s: headers %v", want, r.Header)
			}
			if wantType := map[bool]string{true: "application/json"}[len(body) > 0]; r.Header.Get("Content-Type") != wantType {
				t.Errorf("%s: Content-Type %q, want %q", want, r.Header.Get("Content-Type"), wantType)
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{}`)
		}))
		c, err := client.New(server.URL, "hk-key")
		if err != nil {
			t.Fatal(err)
		}
		if err := do(c); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		server.Close()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestServiceCanLieUnderAPath(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.RequestURI
		_, _ = io.WriteString(w, `{}`)
	}))
	defer server.Close()
	c, err := client.New(server.URL+"/herald/", "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.EventType(t.Context(), "a/b"); err != nil || got != "/herald/eventTypes/a%2Fb" {
		t.Errorf("called %s, %v", got, err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	for _, address := range []string{"", "herald", "127.0.0.1:8080", "ftp://x", "http://", "http://%zz", "/path"} {
		if _, err := client.New(address, "k"); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:8080") {
			t.Errorf("%q: %v, want an error with an example", address, err)
		}
	}
}

func TestArrayIsAnsweredInOrderUnderFreshKeys(t *testing.T) {
	var keys []string
	c := newClient(t, func(_ *http.Request, body string) (int, http.Header, string) {
		var events []client.Event
		if err := json.Unmarshal([]byte(body), &events); err != nil {
			t.Error(err)
		}
		for _, e := range events {
			keys = append(keys, e.IdempotencyKey)
		}
		return 202, nil, `{"results":[{"id":"` + anID.String() + `"},{"id":"` + otherID.String() + `"}]}`
	})
	events := []client.Event{{Type: "a"}, {Type: "b", IdempotencyKey: "mine"}}
	receipts, err := c.PublishAll(t.Context(), events)
	if err != nil || len(receipts) != 2 || receipts[0].EventID != anID || receipts[1].EventID != otherID {
		t.Fatalf("%+v, %v", receipts, err)
	}
	if len(keys) != 2 || uuid.Validate(keys[0]) != nil || keys[1] != "mine" || events[0].IdempotencyKey != "" {
		t.Errorf("keys %v, and the caller's events are now %+v", keys, events)
	}
}

// TestWhichAnswersAreTriedAgain counts the tries of a call that only reads.
func TestWhichAnswersAreTriedAgain(t *testing.T) {
	for _, test := range []struct {
		name       string
		status     int
		retryAfter string
		answer     string
		tries      int
	}{
		{"unavailable", 503, "", `{}`, 5},
		{"too wide a search", 503, "", `{"error":"Narrow it.","canBeRetried":"False"}`, 1},
		{"bad gateway", 502, "", `<html>`, 5},
		{"gateway timeout", 504, "", ``, 5},
		{"too many", 429, "1", `{}`, 5},
		{"a conflict that names a time", 409, "1", `{}`, 5},
		{"a conflict", 409, "", `{}`, 1},
		{"invalid", 400, "1", `{}`, 1},
		{"unauthorized", 401, "", `{}`, 1},
		{"not found", 404, "", `{}`, 1},
		{"a fault", 500, "", `{}`, 1},
		{"what is not Herald", 200, "", `<html>hello`, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
				tries++
				return test.status, http.Header{"Retry-After": {test.retryAfter}}, test.answer
			})
			if _, err := c.Rule(t.Context(), anID); err == nil || tries != test.tries {
				t.Errorf("%s: %d tries, %v; want %d", test.name, tries, err, test.tries)
			}
		})
	}
}

// TestOnlyHarmlessCallsAreTriedAgain: after a broken connection the client cannot know
// whether the service did the call.
func TestOnlyHarmlessCallsAreTriedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		call  func(context.Context, *client.API) error
		tries int
	}{
		"publish several": {func(ctx context.Context, c *client.API) error {
			_, err := c.PublishAll(ctx, []client.Event{{Type: "x"}})
			return err
		}, 5},
		"replace a rule": {func(ctx context.Context, c *client.API) error {
			_, err := c.UpdateRule(ctx, client.Rule{})
			return err
		}, 5},
		"save a profile": {func(ctx context.Context, c *client.API) error {
			_, err := c.SaveProfile(ctx, client.Profile{})
			return err
		}, 5},
		"delete a rule":   {func(ctx context.Context, c *client.API) error { return c.DeleteRule(ctx, anID) }, 1},
		"delete a key":    {func(ctx context.Context, c *client.API) error { return c.DeleteKey(ctx, anID) }, 1},
		"delete a client": {func(ctx context.Context, c *client.API) error { return c.DeleteClient(ctx, anID) }, 1},
		"cancel":          {func(ctx context.Context, c *client.API) error { _, err := c.Cancel(ctx, anID); return err }, 1},
		"ready":           {func(ctx context.Context, c *client.API) error { return c.Ready(ctx) }, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
				tries++
				return 0, nil, ""
			})
			err := test.call(t.Context(), c)
			var network *url.Error
			if !errors.As(err, &network) || tries != test.tries {
				t.Errorf("%s: %d tries, %v; want %d and a *url.Error", name, tries, err, test.tries)
			}
		})
	}
}

func TestWaitsGrowAndTheContextEndsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, tries := time.Now(), 0
		c := newClient(t, func(*http.Request, string) (int, http.Header, string) { tries++; return 503, nil, `{}` })
		if _, err := c.Rule(t.Context(), anID); err == nil {
			t.Fatal("no error")
		}
		// The waits are 0.5, 1, 2 and 4 s; jitter takes away at most half.
		if took := time.Since(begun); took < 3750*time.Millisecond || took > 7500*time.Millisecond {
			t.Errorf("five tries took %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		begun, tries := time.Now(), 0
		c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
			tries++
			return 503, http.Header{"Retry-After": {"3600"}}, `{"error":"Maintenance."}`
		})
		_, err := c.Publish(ctx, client.Event{Type: "x"})
		var answer *client.Error
		if time.Since(begun) != 3*time.Second || tries != 1 || !errors.Is(err, context.Canceled) || !errors.As(err, &answer) {
			t.Errorf("ended after %v and %d tries with %v; want the answer and the context's end", time.Since(begun), tries, err)
		}
	})
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for value, want := range map[string]time.Duration{
			"90": 90 * time.Second, in(time.Minute): time.Minute, in(-time.Minute): 0, "-5": 0, "0": 0, "": 0, "soon": 0, "10000000000": 0,
		} {
			c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
				return 503, http.Header{"Retry-After": {value}}, `{"error":"not now"}`
			})
			var answer *client.Error
			if err := c.DeleteRule(t.Context(), anID); !errors.As(err, &answer) || answer.RetryAfter != want {
				t.Errorf("%q: %v asks to wait %v, want %v", value, err, answer.RetryAfter, want)
			}
		}
	})
}

func TestAnswerThatBreaksOffIsANetworkError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"id":`)
	}))
	defer server.Close()
	c, err := client.New(server.URL, "k")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateKey(t.Context(), "x", "")
	var network *url.Error
	if !errors.As(err, &network) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v is no *url.Error", err)
	}
}

func TestErrorsReadWell(t *testing.T) {
	for answer, want := range map[string]string{
		`{"error":"Not found.","correlationId":"c-1","statusCode":200}`: "Not found. (status 404, correlation id c-1)",
		``:              "the service answered 404 Not Found (status 404)",
		`null`:          "the service answered 404 Not Found null (status 404)",
		`{"error":"a"}`: "a (status 404)",
		`{"error":"a: b","validation":{"errors":[{"itemId":"x","message":"b"},{"itemId":"y","message":"c"}]}}`: "a: b; y: c (status 404)",
		`{"error":"a","validation":null}`: "a (status 404)",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, answer)
		}))
		c, err := client.New(server.URL, "k")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Rule(t.Context(), anID)
		server.Close()
		if err == nil || err.Error() != want {
			t.Errorf("%s: %q, want %q", answer, err, want)
		}
	}
}

// TestIteratorsEndWithTheFirstError also checks that they end when the loop breaks.
func TestIteratorsEndWithTheFirstError(t *testing.T) {
	calls := 0
	c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
		calls++
		if calls == 2 {
			return 404, nil, `{"error":"gone"}`
		}
		return 200, nil, `{"results":[{"type":"a"},{"type":"b"}],"pageNumber":1,"pageSize":2,"totalResults":9,"next":"` + anID.String() + `"}`
	})
	var rules, errs, deliveries int
	for _, err := range c.AllRules(t.Context(), client.ListOptions{}) {
		if err != nil {
			errs++
			continue
		}
		rules++
	}
	if rules != 2 || errs != 1 || calls != 2 {
		t.Errorf("%d rules, %d errors, %d calls", rules, errs, calls)
	}
	calls, errs = 0, 0
	for _, err := range c.AllDeliveries(t.Context(), client.DeliveryFilter{}) {
		if err != nil {
			errs++
			continue
		}
		deliveries++
	}
	if deliveries != 2 || errs != 1 || calls != 2 {
		t.Errorf("%d deliveries, %d errors, %d calls", deliveries, errs, calls)
	}
	calls = 5
	for range c.AllRules(t.Context(), client.ListOptions{}) {
		break
	}
	for range c.AllDeliveries(t.Context(), client.DeliveryFilter{}) {
		break
	}
	if calls != 7 {
		t.Errorf("a reader that breaks off had %d calls made, want one each", calls-5)
	}
}

// TestEmptyPageEndsTheWalk: rules deleted during the iteration must not make it endless.
func TestEmptyPageEndsTheWalk(t *testing.T) {
	calls := 0
	c := newClient(t, func(*http.Request, string) (int, http.Header, string) {
		calls++
		if calls > 3 {
			t.Fatal("it goes on")
		}
		return 200, nil, `{"results":[],"pageNumber":0,"pageSize":0,"totalResults":9}`
	})
	for range c.AllRules(t.Context(), client.ListOptions{}) {
		t.Error("there is none")
	}
}

// TestKeyGoesToItsOriginOnly: wherever the service redirects to, no other origin gets the key.
func TestKeyGoesToItsOriginOnly(t *testing.T) {
	var got []string
	record := func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Host+" "+r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, `{"results":[]}`)
	}
	other := httptest.NewServer(http.HandlerFunc(record)) // the same host, another port
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		var to string
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/here" {
				record(w, r)
				return
			}
			http.Redirect(w, r, to, status)
		}))
		for _, options := range [][]client.Option{nil, {client.WithHTTPClient(&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }})}} {
			c, err := client.New(service.URL, "secret-key", options...)
			if err != nil {
				t.Fatal(err)
			}
			got, to = nil, other.URL+"/rules"
			if err := c.DeleteRule(t.Context(), uuid.New()); err == nil || len(got) > 0 {
				t.Errorf("%d to another origin: %v, and it got %q", status, err, got)
			}
			to = "/here"
			if _, err := c.Keys(t.Context()); err != nil || len(got) != 1 || !strings.Contains(got[0], "Basic ") {
				t.Errorf("%d on the same origin: %v, and it got %q", status, err, got)
			}
		}
		service.Close()
	}
}
