// Package devinbox is the receiver of `herald dev`. It receives webhooks and mail and shows
// them. It is not part of the service.
package devinbox

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of the inbox.
const (
	maxReceived = 200     // webhooks and mails that are stored
	maxBody     = 1 << 20 // bytes of each that are read
)

// Received is a webhook or a mail that came in.
type Received struct {
	At time.Time `json:"at"`
	// Path is set for a webhook, To for a mail.
	Path    string          `json:"path,omitempty"`
	To      string          `json:"to,omitempty"`
	Headers http.Header     `json:"headers"`
	Body    json.RawMessage `json:"body"`
	Status  int             `json:"answeredWith"`
}

// Inbox receives any POST and shows what it received at GET /inbox, newest first. It answers
// 200, or the status in its address as in /status/503 or /?status=503. It is safe for
// concurrent use.
type Inbox struct {
	notify func(Received)

	mu  sync.Mutex
	all []Received
}

// New returns an Inbox that calls notify for everything that it receives. The calls come
// from the goroutines that answer, so notify must be safe for concurrent use.
func New(notify func(Received)) *Inbox { return &Inbox{notify: notify} }

// ServeHTTP receives a webhook or shows the inbox.
func (i *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost:
		i.receive(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/inbox":
		i.show(w)
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
	received := Received{At: time.Now(), Path: r.URL.Path, Headers: r.Header, Body: text, Status: requestedStatus(r.URL)}
	w.WriteHeader(received.Status)
	i.add(received)
}

func (i *Inbox) add(r Received) {
	i.mu.Lock()
	i.all = append(i.all, r)
	if len(i.all) > maxReceived {
		i.all = slices.Delete(i.all, 0, len(i.all)-maxReceived)
	}
	i.mu.Unlock()
	i.notify(r)
}

// requestedStatus returns the status in an address, or 200.
func requestedStatus(address *url.URL) int {
	text, ok := strings.CutPrefix(address.Path, "/status/")
	if !ok {
		text = address.Query().Get("status")
	}
	status, err := strconv.Atoi(text)
	if err != nil || status < 200 || status > 599 {
		return http.StatusOK
	}
	return status
}

func (i *Inbox) show(w http.ResponseWriter) {
	i.mu.Lock()
	all := slices.Clone(i.all)
	i.mu.Unlock()
	slices.Reverse(all)
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(map[string][]Received{"results": all}) // fails only when the reader has gone
}
