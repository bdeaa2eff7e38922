package devinbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxReply bounds the answer of an inbox, in bytes: all that it stores, indented.
const maxReply = 8 * maxStored

// Client calls a running inbox.
type Client struct {
	// Address is host:port.
	Address string
}

// List returns what came after the n-th, newest first. If there is nothing, it waits for up to wait.
func (c Client) List(ctx context.Context, n int64, wait time.Duration) ([]Received, error) {
	var answer struct{ Results []Received }
	err := c.call(ctx, http.MethodGet, fmt.Sprintf("/inbox?after=%d&wait=%d", n, min(wait, longestWait)/time.Second), nil, &answer)
	return answer.Results, err
}

// SetAnswer sets what webhooks are answered with from now on.
func (c Client) SetAnswer(ctx context.Context, a Answer) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPut, "/inbox/answer", text, &a)
}

// Answer returns what webhooks are answered with.
func (c Client) Answer(ctx context.Context) (a Answer, err error) {
	err = c.call(ctx, http.MethodGet, "/inbox/answer", nil, &a)
	return a, err
}

// Clear forgets everything that came.
func (c Client) Clear(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/inbox", nil, nil)
}

func (c Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.Address+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("inbox address %q: want host:port", c.Address)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("call the inbox at %s: %w; is herald dev running?", c.Address, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
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
