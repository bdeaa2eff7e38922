package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/secret"
)

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bodyHolder is a call that reads its body and then blocks, so that the memory stays counted.
type bodyHolder struct {
	*api.Middleware
	read chan struct{} // gets a value for every body that was read
	free chan struct{} // each value ends one blocked call
	wait sync.WaitGroup
}

func newBodyHolder() *bodyHolder {
	rival := herald.Key{ID: uuid.New(), ClientID: uuid.New()}
	auth := api.NewAuth(keys{secret.HashAPIKey(clientKey): acme, secret.HashAPIKey("rival"): rival}, []string{operatorKey})
	r := &bodyHolder{read: make(chan struct{}), free: make(chan struct{})}
	s := newFixture(map[string]http.HandlerFunc{"POST /events": func(w http.ResponseWriter, request *http.Request) {
		if _, err := auth.Caller(request); err != nil {
			api.WriteError(w, request, err)
			return
		}
		if _, err := api.ReadBody(request, herald.MaxPublishSize); err != nil {
			api.WriteError(w, request, err)
			return
		}
		r.read <- struct{}{}
		<-r.free
	}})
	r.Middleware = s.Middleware
	return r
}

func publishing(key string, size int64, chunked bool) *http.Request {
	request := httptest.NewRequest("POST", "/events", io.LimitReader(zeros{}, size))
	request.Header.Set("Authorization", "Bearer "+key)
	if request.ContentLength = size; chunked {
		request.ContentLength = -1
	}
	return request
}

// hold sends a request whose body fits the budget, and returns while the call blocks.
func (r *bodyHolder) hold(key string, size int64) {
	r.wait.Go(func() { r.ServeHTTP(httptest.NewRecorder(), publishing(key, size, false)) })
	<-r.read
}

// refused sends a request whose body must not fit the budget.
func (r *bodyHolder) refused(t *testing.T, what, key string, size int64) {
	t.Helper()
	for _, chunked := range []bool{false, true} {
		answer := httptest.NewRecorder()
		r.ServeHTTP(answer, publishing(key, size, chunked))
		if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") != "1" {
			t.Errorf("%s, chunked %v: %d, Retry-After %q; want 503 and 1", what, chunked, answer.Code, answer.Header().Get("Retry-After"))
		}
	}
}

func TestLargeBodiesAreBoundedTogether(t *testing.T) {
	r := newBodyHolder()
	for range 4 {
		r.hold(clientKey, herald.MaxPublishSize)
	}
	r.refused(t, "more than a client's half", clientKey, herald.MaxPublishSize)
	r.refused(t, "a part of it", clientKey, 1<<20)
	r.hold(clientKey, 32<<10) // small ones are always taken
	for range 3 {
		r.hold("rival", herald.MaxPublishSize)
	}
	r.hold(operatorKey, herald.MaxPublishSize)
	r.refused(t, "another client, with all taken", "rival", herald.MaxPublishSize)
	r.refused(t, "the operator, with all taken", operatorKey, herald.MaxPublishSize)
	r.hold("rival", 32<<10)
	for range 10 {
		r.free <- struct{}{}
	}
	r.wait.Wait()
	r.hold(clientKey, herald.MaxPublishSize) // released memory can be used again
	r.free <- struct{}{}
	r.wait.Wait()
}

// TestOperatorIsNotHeldToAClientsHalf: the operator publishes for every client.
func TestOperatorIsNotHeldToAClientsHalf(t *testing.T) {
	r := newBodyHolder()
	for range 8 {
		r.hold(operatorKey, herald.MaxPublishSize)
	}
	for range 8 {
		r.free <- struct{}{}
	}
	r.wait.Wait()
}

func TestBodyThatComesTooSlowlyIs408(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) {
		_, err := api.ReadBody(r, 1000)
		api.WriteError(w, r, err)
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ReadTimeout = 50 * time.Millisecond
	server.Start()
	defer server.Close()
	for _, head := range []string{"Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
		connection, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		if _, err := io.WriteString(connection, "POST /events HTTP/1.1\r\nHost: x\r\n"+head); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusRequestTimeout || !answer.Close {
			t.Errorf("%q: %s, closes %v; want 408 and an end", head, answer.Status, answer.Close)
		}
	}
}
