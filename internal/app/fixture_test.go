package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
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
	// The server of the tests runs until they have ended.
	goleak.VerifyTestMain(m, goleak.Cleanup(postgres.Exit), goleak.IgnoreAnyFunction("herald/internal/test/postgres.(*Server).Resume.func1"))
}

const operatorKey = "operator-key-for-tests-0123456789abcdef"

// rig is the whole program, with one client whose calls it makes.
type rig struct {
	t      *testing.T
	config app.Config
	app    *app.App
	*client.API
	operator *client.API
	account  client.Account
}

// newRig starts the program on a fresh directory. Retries come quickly.
func newRig(t *testing.T, change ...func(*app.Config)) *rig {
	t.Helper()
	r := &rig{t: t, config: app.Config{
		Listen: "127.0.0.1:0", DataDir: t.TempDir(), OperatorKeys: []string{operatorKey},
		AllowTargets:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		RetrySchedule:  []time.Duration{100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond},
		RequestTimeout: 2 * time.Second, Version: "test",
	}}
	for _, c := range change {
		c(&r.config)
	}
	r.start()
	var err error
	if r.account, err = r.operator.CreateClient(t.Context(), "Acme"); err != nil {
		t.Fatal(err)
	}
	r.API = r.as(r.account.APIKey)
	t.Cleanup(func() {
		if r.app != nil {
			r.stop()
		}
	})
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.app, err = app.Start(context.Background(), r.config); err != nil {
		r.t.Fatal(err)
	}
	r.operator = r.as(operatorKey)
	if r.account.APIKey != "" {
		r.API = r.as(r.account.APIKey)
	}
}

func (r *rig) stop() {
	r.t.Helper()
	if err := r.app.Stop(context.Background()); err != nil {
		r.t.Error(err)
	}
	r.app = nil
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func (r *rig) as(key string) *client.API {
	c, err := client.New("http://"+r.app.Address(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// rule makes a rule for "Sync Failed".
func (r *rig) rule(webhook string, company uuid.UUID) client.Rule {
	r.t.Helper()
	made, err := r.CreateRule(r.t.Context(), client.Rule{Type: "sync-failed", CompanyID: company, Notifiers: client.Notifiers{Webhook: webhook}})
	if err != nil {
		r.t.Fatal(err)
	}
	return made
}

var company = uuid.MustParse("8a210b68-6988-11ed-a1eb-0242ac120002")

func event() client.Event {
	return client.Event{Type: "Sync Failed", CompanyID: company, Data: json.RawMessage(`{"syncId":"s-1","syncType":"Expense","FailureStage":"Pushing"}`)}
}

func (r *rig) publish(e client.Event) herald.Receipt {
	r.t.Helper()
	receipt, err := r.Publish(r.t.Context(), e)
	if err != nil {
		r.t.Fatal(err)
	}
	return receipt
}

// eventually waits for a condition; it fails the test when it does not come.
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

// ended waits until the first delivery of an event has ended.
func (r *rig) ended(receipt herald.Receipt) client.Delivery {
	r.t.Helper()
	var d client.Delivery
	eventually(r.t, "delivery ends", func() bool {
		var err error
		if d, err = r.Delivery(r.t.Context(), herald.DeliveryID(receipt.AlertIDs[0], 0)); err != nil {
			r.t.Fatal(err)
		}
		return d.State != herald.Pending
	})
	return d
}

// call makes a raw call and returns the status, the headers and the body.
func (r *rig) call(method, path, key, body string) (int, http.Header, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.app.Address()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(key)))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, response.Header, strings.TrimSpace(string(text))
}

// receiver is a real HTTP server that keeps what it was sent.
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

// closedAddress is where nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf("http://%s/", l.Addr())
}
