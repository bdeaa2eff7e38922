package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"herald"
	"herald/client"
	"herald/internal/app"
	"herald/internal/test/postgres"
)

func TestMain(m *testing.M) {
	// The PostgreSQL server of the tests runs until all tests have ended.
	goleak.VerifyTestMain(m, goleak.Cleanup(postgres.Exit), goleak.IgnoreAnyFunction("herald/internal/test/postgres.(*Server).Resume.func1"))
}

const operatorKey = "operator-key-for-tests-0123456789abcdef"

// fixture is the whole program with one client. Its API makes the calls of that client.
type fixture struct {
	t      *testing.T
	config app.Config
	app    *app.App
	*client.API
	operator *client.API
	account  client.Account
}

// newFixture starts the program on an empty directory, with short intervals between retries.
func newFixture(t *testing.T, change ...func(*app.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, config: app.Config{
		Listen: "127.0.0.1:0", DataDir: t.TempDir(), OperatorKeys: []string{operatorKey},
		AllowTargets:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		RetrySchedule:  []time.Duration{100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond},
		RequestTimeout: 2 * time.Second, Version: "test",
	}}
	for _, c := range change {
		c(&f.config)
	}
	f.start()
	var err error
	if f.account, err = f.operator.CreateClient(t.Context(), "Acme"); err != nil {
		t.Fatal(err)
	}
	f.API = f.as(f.account.APIKey)
	t.Cleanup(func() {
		if f.app != nil {
			f.stop()
		}
	})
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	var err error
	if f.app, err = app.Start(context.Background(), f.config); err != nil {
		f.t.Fatal(err)
	}
	f.operator = f.as(operatorKey)
	if f.account.APIKey != "" {
		f.API = f.as(f.account.APIKey)
	}
}

func (f *fixture) stop() {
	f.t.Helper()
	if err := f.app.Stop(context.Background()); err != nil {
		f.t.Error(err)
	}
	f.app = nil
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func (f *fixture) as(key string) *client.API {
	c, err := client.New("http://"+f.app.Address(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// rule makes a rule for "Sync Failed".
func (f *fixture) rule(webhook string, company uuid.UUID) client.Rule {
	f.t.Helper()
	made, err := f.CreateRule(f.t.Context(), client.Rule{Type: "sync-failed", CompanyID: company, Notifiers: client.Notifiers{Webhook: webhook}})
	if err != nil {
		f.t.Fatal(err)
	}
	return made
}

var company = uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002")

func event() client.Event {
	return client.Event{Type: "Sync Failed", CompanyID: company, Data: json.RawMessage(`{"syncId":"s-1","syncType":"Expense","FailureStage":"Pushing"}`)}
}

func (f *fixture) publish(e client.Event) herald.Receipt {
	f.t.Helper()
	receipt, err := f.Publish(f.t.Context(), e)
	if err != nil {
		f.t.Fatal(err)
	}
	return receipt
}

// eventually waits until a condition holds. After a minute it fails the test.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: did not happen within a minute", what)
		}
	}
}

// ended waits until the first delivery of an event has ended, and returns it.
func (f *fixture) ended(receipt herald.Receipt) client.Delivery {
	f.t.Helper()
	var d client.Delivery
	eventually(f.t, "delivery ends", func() bool {
		var err error
		if d, err = f.Delivery(f.t.Context(), herald.DeliveryID(receipt.AlertIDs[0], 0)); err != nil {
			f.t.Fatal(err)
		}
		return d.State != herald.Pending
	})
	return d
}

// call makes a raw call and returns the status, the headers and the body.
func (f *fixture) call(method, path, key, body string) (int, http.Header, string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+f.app.Address()+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(key)))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return response.StatusCode, response.Header, strings.TrimSpace(string(text))
}

// receiver is a real HTTP server that records its requests.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []received
	// answer decides on the n-th request, counting from 1.
	answer func(n int, w http.ResponseWriter, r *http.Request)
}

type received struct {
	at     time.Time
	method string
	path   string
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.requests = append(r.requests, received{time.Now(), req.Method, req.URL.Path, req.Header.Clone(), body})
	n := len(r.requests)
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(n, w, req)
	}
}

func (r *receiver) got() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.requests...)
}

// statuses answers with one status after the other, then with 200.
func statuses(all ...int) func(int, http.ResponseWriter, *http.Request) {
	return func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= len(all) {
			w.WriteHeader(all[n-1])
		}
	}
}

// sameBodies fails unless all requests had the same body.
func sameBodies(t *testing.T, all []received) {
	t.Helper()
	for _, r := range all[1:] {
		if !bytes.Equal(r.body, all[0].body) {
			t.Errorf("the bodies differ:\n%s\n%s", all[0].body, r.body)
		}
	}
}

// nobodyListens is an address that refuses connections. A port that was free a moment ago may be another test's.
const nobodyListens = "http://127.0.0.1:1/"
