// Package devinbox is the receiver of `herald dev`. It receives webhooks and mail, shows them, and answers
// webhooks as a person has set. It is not part of the service: it keeps everything in the memory of one
// process, and the service itself may not call its own address.
package devinbox

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald/client"
)

// Limits of the inbox.
const (
	maxReceived = 200      // webhooks and mails that are stored
	maxStored   = 16 << 20 // bytes of their bodies and headers; the newest one stays in any case
	maxBody     = 1 << 20  // bytes of each that are read
	maxAnswer   = 4 << 10  // bytes of the body that sets the answer
)

// Received is a webhook or a mail that came in.
type Received = client.Received

// sizeOf is how many bytes of bodies and headers are stored of it.
func sizeOf(r Received) int {
	size := len(r.Body)
	for name, values := range r.Headers {
		size += len(name)
		for _, value := range values {
			size += len(value)
		}
	}
	return size
}

// Inbox receives any POST and shows what it received. It answers with the status in the address, as in
// /status/503 or /?status=503, or else as SetAnswer says. It is safe for concurrent use.
//
//	GET /inbox            what came, newest first; ?after=N only what came after the N-th
//	                      ?wait=30 waits for up to so many seconds until there is something to show
//	DELETE /inbox         forgets all of it
//	GET, PUT /inbox/answer  what webhooks are answered with, an Answer
type Inbox struct {
	notify func(Received)

	mu     sync.Mutex
	all    []Received
	last   int64
	stored int           // bytes of all
	came   chan struct{} // closed at the next one
	answer Answer
	owner  uuid.UUID
}

// New returns an Inbox that calls notify for everything that it receives. The calls come
// from the goroutines that answer, so notify must be safe for concurrent use.
func New(notify func(Received)) *Inbox { return &Inbox{notify: notify, came: make(chan struct{})} }

// ServeHTTP receives a webhook, or makes a call about the inbox.
func (i *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch call := r.Method + " " + r.URL.Path; {
	case r.Method == http.MethodPost:
		i.receive(w, r)
	case call == "GET /inbox":
		i.show(w, r)
	case call == "DELETE /inbox":
		i.Clear()
		w.WriteHeader(http.StatusNoContent)
	case call == "GET /inbox/answer":
		writeJSON(w, http.StatusOK, i.Answer())
	case call == "PUT /inbox/answer":
		i.put(w, r)
	default:
		http.Error(w, "POST a webhook here, or GET /inbox to see what came", http.StatusNotFound)
	}
}

func (i *Inbox) receive(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too large or broke off", http.StatusBadRequest)
		return
	}
	if !json.Valid(text) {
		text, _ = json.Marshal(string(text)) // a string always encodes
	}
	answer := i.Answer()
	if status, ok := requestedStatus(r.URL); ok {
		answer = Answer{Status: status}
	}
	received := Received{At: time.Now(), Path: r.URL.Path, Headers: r.Header, Body: text}
	if answer.Hang || answer.Close {
		received.Unanswered = answer.String()
	} else {
		received.Status = answer.StatusCode()
	}
	i.add(received)
	writeAnswer(w, r, answer)
}

func (i *Inbox) add(r Received) {
	i.mu.Lock()
	i.last++
	r.N = i.last
	i.all = append(i.all, r)
	i.stored += sizeOf(r)
	drop := 0
	for len(i.all)-drop > maxReceived || i.stored > maxStored && len(i.all)-drop > 1 {
		i.stored -= sizeOf(i.all[drop])
		drop++
	}
	i.all = slices.Delete(i.all, 0, drop)
	close(i.came)
	i.came = make(chan struct{})
	i.mu.Unlock()
	i.notify(r)
}

// Answer returns what webhooks are answered with.
func (i *Inbox) Answer() Answer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.answer
}

// SetAnswer sets what webhooks are answered with from now on.
func (i *Inbox) SetAnswer(a Answer) error {
	if err := a.Check(); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = a
	return nil
}

// Clear forgets everything that came.
func (i *Inbox) Clear() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all, i.stored = nil, 0
}

// List returns what came after the n-th, newest first. If there is nothing, it waits for it until ctx
// ends. An n that has not come yet, as after a restart, means 0.
func (i *Inbox) List(ctx context.Context, n int64) []Received {
	for {
		i.mu.Lock()
		after, came := n, i.came
		if after > i.last {
			after = 0
		}
		var found []Received
		for _, r := range slices.Backward(i.all) {
			if r.N > after {
				found = append(found, r)
			}
		}
		i.mu.Unlock()
		if len(found) > 0 {
			return found
		}
		select {
		case <-ctx.Done():
			return []Received{}
		case <-came:
		}
	}
}

// SetOwner sets the client that the inbox belongs to, for the portal.
func (i *Inbox) SetOwner(client uuid.UUID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.owner = client
}

// Owner returns the client that the inbox belongs to; uuid.Nil while there is none.
func (i *Inbox) Owner() uuid.UUID {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.owner
}

// Came returns a channel that is closed when the next one has come.
func (i *Inbox) Came() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.came
}

// Newest returns what came, newest first, without waiting.
func (i *Inbox) Newest() []Received {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := slices.Clone(i.all)
	slices.Reverse(all)
	return all
}

// requestedStatus returns the status in an address.
func requestedStatus(address *url.URL) (int, bool) {
	text, ok := strings.CutPrefix(address.Path, "/status/")
	if !ok {
		text = address.Query().Get("status")
	}
	status, err := strconv.Atoi(text)
	return status, err == nil && status >= 200 && status <= 599
}

func (i *Inbox) show(w http.ResponseWriter, r *http.Request) {
	after, ok := number(r.URL, "after", 1<<62)
	wait, okWait := number(r.URL, "wait", int64(client.LongestInboxWait/time.Second))
	if !ok || !okWait {
		writeError(w, "after is the n of what came last, and wait a number of seconds from 0 to 60")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(wait)*time.Second)
	defer cancel()
	writeJSON(w, http.StatusOK, map[string][]Received{"results": i.List(ctx, after)})
}

// number returns a parameter from 0 to most; 0 if it is absent.
func number(address *url.URL, name string, most int64) (int64, bool) {
	text := address.Query().Get(name)
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0 && n <= most
}

func (i *Inbox) put(w http.ResponseWriter, r *http.Request) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer))
	decoder.DisallowUnknownFields()
	var a Answer
	err := decoder.Decode(&a)
	if err == nil {
		err = i.SetAnswer(a)
	}
	if err != nil {
		writeError(w, "the answer cannot be set: "+err.Error()+`; send JSON such as {"status":503,"retryAfter":30}, {"hang":true} or {"close":true}`)
		return
	}
	writeJSON(w, http.StatusOK, a)
}

func writeError(w http.ResponseWriter, text string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": text})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value) // fails only when the reader has gone
}
