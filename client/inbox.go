package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Limits of the inbox.
const (
	maxRetryAfter = 24 * 60 * 60 // seconds: Herald waits no longer
	// LongestInboxWait is how long one call of Inbox.List waits at most.
	LongestInboxWait = time.Minute
	// maxInboxReply bounds an answer of the inbox, in bytes: 16 MiB of bodies and headers, indented.
	maxInboxReply = 128 << 20
)

// Inbox calls the receiver that `herald dev` has built in: tests of a receiver's developer can see what came, and set
// what it is answered with. It listens at an address of its own, needs no key, and keeps what came in memory: the newest
// 200 webhooks and mails.
type Inbox struct {
	// Address is host:port, 127.0.0.1:8081 unless herald dev was told otherwise.
	Address string
}

// Received is a webhook or a mail that came to the inbox.
type Received struct {
	// N counts what came in, from 1.
	N  int64     `json:"n"`
	At time.Time `json:"at"`
	// Path is set for a webhook, To for a mail.
	Path    string          `json:"path,omitempty"`
	To      string          `json:"to,omitempty"`
	Headers http.Header     `json:"headers"`
	Body    json.RawMessage `json:"body"` // what was no JSON is a string
	// Status is what it was answered with; 0 if it got no answer, and Unanswered says why: hang or close.
	Status     int    `json:"answeredWith"`
	Unanswered string `json:"unanswered,omitempty"`
}

// Outcome is what it was answered with, for a line.
func (r *Received) Outcome() string {
	if r.Unanswered != "" {
		return r.Unanswered
	}
	return strconv.Itoa(r.Status)
}

// InboxAnswer is what the inbox answers webhooks with. The zero value is a 200. At most one of Status, Hang and
// Close is set.
type InboxAnswer struct {
	// Status is the status, 200 to 599; 0 means 200, unless Hang or Close is set.
	Status int `json:"status,omitempty"`
	// RetryAfter is the Retry-After header in seconds, at most a day; 0 sends none.
	RetryAfter int `json:"retryAfter,omitempty"`
	// Hang never answers. Close closes the connection without an answer.
	Hang  bool `json:"hang,omitempty"`
	Close bool `json:"close,omitempty"`
}

// Check returns an error that says what is wrong with an answer.
func (a InboxAnswer) Check() error {
	switch {
	case a.Hang && a.Close, (a.Hang || a.Close) && a.Status != 0:
		return errors.New("give one of status, hang and close")
	case a.Status != 0 && (a.Status < 200 || a.Status > 599):
		return fmt.Errorf("status %d: want 200 to 599", a.Status)
	case a.RetryAfter < 0 || a.RetryAfter > maxRetryAfter:
		return fmt.Errorf("retryAfter %d: want 0 to %d seconds", a.RetryAfter, maxRetryAfter)
	case a.RetryAfter > 0 && (a.Hang || a.Close):
		return errors.New("retryAfter needs a status: without an answer there is no header")
	}
	return nil
}

// StatusCode is the status of an answer that is sent.
func (a InboxAnswer) StatusCode() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

// String says the answer in a word or two, for a line.
func (a InboxAnswer) String() string {
	switch {
	case a.Hang:
		return "hang"
	case a.Close:
		return "close"
	case a.RetryAfter > 0:
		return fmt.Sprintf("%d, Retry-After %d", a.StatusCode(), a.RetryAfter)
	}
	return strconv.Itoa(a.StatusCode())
}

// List returns what came after the n-th, newest first. If there is nothing, it waits for
// up to wait, in whole seconds and at most LongestInboxWait. An n that has not come yet, as after a restart, means 0.
func (c Inbox) List(ctx context.Context, n int64, wait time.Duration) ([]Received, error) {
	var answer struct{ Results []Received }
	err := c.call(ctx, http.MethodGet, fmt.Sprintf("/inbox?after=%d&wait=%d", n, min(wait, LongestInboxWait)/time.Second), nil, &answer)
	return answer.Results, err
}

// SetAnswer sets what webhooks are answered with from now on. The error says what is wrong with an answer.
func (c Inbox) SetAnswer(ctx context.Context, a InboxAnswer) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, "/inbox/answer", text, &a)
}

// Answer returns what webhooks are answered with.
func (c Inbox) Answer(ctx context.Context) (a InboxAnswer, err error) {
	err = c.call(ctx, http.MethodGet, "/inbox/answer", nil, &a)
	return a, err
}

// Clear forgets everything that came.
func (c Inbox) Clear(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/inbox", nil, nil)
}

func (c Inbox) call(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.Address+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("inbox address %q: want host:port", c.Address)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("call the inbox at %s: %w; is herald dev running?", c.Address, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxInboxReply))
	if err != nil {
		return fmt.Errorf("read the answer of the inbox at %s: %w", c.Address, err)
	}
	if response.StatusCode >= 300 {
		var said struct{ Error string }
		if json.Unmarshal(text, &said) != nil || said.Error == "" {
			said.Error = fmt.Sprintf("%s does not answer as an inbox: %s", c.Address, response.Status)
		}
		return fmt.Errorf("%s", said.Error)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s does not answer as an inbox: %w", c.Address, err)
	}
	return nil
}
