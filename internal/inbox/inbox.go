// Package inbox is the receiver that `herald dev` comes with: it takes webhooks
// and mail to look at. It is no part of the service.
package inbox

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
	kept    = 200     // webhooks and mails that are remembered
	maxBody = 1 << 20 // bytes of each that are read
)

// Received is a webhook or a mail that came in.
type Received struct {
	At time.Time `json:"at"`
	// Path is a webhook's, To is a mail's.
	Path    string          `json:"path,omitempty"`
	To      string          `json:"to,omitempty"`
	Headers http.Header     `json:"headers"`
	Body    json.RawMessage `json:"body"`
	Status  int             `json:"answeredWith"`
}

// Inbox takes any POST, answers 200, or what its address asks for as in
// /status/503 or /?status=503, and shows what it took at GET /inbox, newest
// first. It is safe for concurrent use.
type Inbox struct {
	tell func(Received)

	mu  sync.Mutex
	all []Received
}

// New returns an Inbox that tells of all that comes. It tells from the goroutine
// that answers, so tell must be safe for concurrent use.
func New(tell func(Received)) *Inbox { return &Inbox{tell: tell} }

// ServeHTTP takes a webhook or shows the inbox.
func (i *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost:
		i.take(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/inbox":
		i.show(w)
	default:
		http.Error(w, "POST a webhook here, or GET /inbox to see what came", http.StatusNotFound)
	}
}

func (i *Inbox) take(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too large or broke off", http.StatusBadRequest)
		return
	}
	if !json.Valid(text) {
		text, _ = json.Marshal(string(text)) // a string always encodes
	}
	received := Received{At: time.Now(), Path: r.URL.Path, Headers: r.Header, Body: text, Status: wanted(r.URL)}
	w.WriteHeader(received.Status)
	i.keep(received)
}

func (i *Inbox) keep(r Received) {
	i.mu.Lock()
	i.all = append(i.all, r)
	if len(i.all) > kept {
		i.all = slices.Delete(i.all, 0, len(i.all)-kept)
	}
	i.mu.Unlock()
	i.tell(r)
}

// wanted is the status that an address asks for, else 200.
func wanted(address *url.URL) int {
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
