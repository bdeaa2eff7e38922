// Package client is the Go client of Herald's API. It publishes events, manages rules
// and accounts, and reads alerts, deliveries and the audit log.
//
//	c, err := client.New("http://127.0.0.1:8080", os.Getenv("HERALD_API_KEY"))
//	receipt, err := c.Publish(ctx, client.Event{Type: "Data sync completed", …})
//
// An API's methods are safe for concurrent use. When the API answers with an error,
// the methods return an *Error. Calls that are safe to repeat are retried.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Limits on the retries of a repeatable call. The wait is half a second at first and
// doubles with every try, unless the service asks for a longer one.
const (
	maxTries  = 5
	firstWait = 500 * time.Millisecond
	longWait  = 30 * time.Second
)

// maxRedirects bounds the redirects of one call.
const maxRedirects = 5

// errElsewhere says that a redirect was not followed. Trying again changes nothing.
var errElsewhere = errors.New("the API key is given to no other origin than the one it is for")

// maxAnswer bounds an answer's body, in bytes.
const maxAnswer = 64 << 20

// API calls one Herald service with one API key.
type API struct {
	base          *url.URL
	authorization string
	http          *http.Client
	client        uuid.UUID // see For
}

// Option configures an API.
type Option func(*API)

// WithHTTPClient makes calls with a copy of h that follows no redirect to another origin. The
// default client has no time limit, so pass contexts with a deadline.
func WithHTTPClient(h *http.Client) Option { return func(c *API) { c.http = h } }

// New returns an API for the service at an address such as
// http://127.0.0.1:8080. The key is a client's API key, or the operator's.
func New(address, key string, options ...Option) (*API, error) {
	base, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("service address %q: want one such as http://127.0.0.1:8080", address)
	}
	c := &API{
		base:          base,
		authorization: "Basic " + base64.StdEncoding.EncodeToString([]byte(key)),
		http:          &http.Client{},
	}
	for _, o := range options {
		o(c)
	}
	own := *c.http
	follow := own.CheckRedirect
	own.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		// net/http gives the key to every port of a host, to its subdomains, and to http after https.
		if !strings.EqualFold(next.URL.Scheme, base.Scheme) || !strings.EqualFold(next.URL.Host, base.Host) {
			return fmt.Errorf("%w: %s redirects to %s://%s; use that address if it is the service's",
				errElsewhere, base.Redacted(), next.URL.Scheme, next.URL.Host)
		}
		switch {
		case follow != nil:
			return follow(next, via)
		case len(via) >= maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return nil
	}
	c.http = &own
	return c, nil
}

// For returns an API that makes calls about one client with the operator's key: it lists and looks up
// rules, alerts, events, deliveries and keys, and sends deliveries again or cancels them. Other calls are
// refused. With a client's own key it changes nothing.
func (c *API) For(client uuid.UUID) *API {
	about := *c
	about.client = client
	return &about
}

// Error is an error that the API answered with, or an answer that is not one of
// Herald's.
type Error struct {
	StatusCode    int    `json:"statusCode"`
	Message       string `json:"error"`
	CorrelationID string `json:"correlationId"`
	CanBeRetried  string `json:"canBeRetried"` // "False" if the same request will not succeed
	Validation    struct {
		Errors []struct {
			Member  string `json:"itemId"`
			Message string `json:"message"`
		} `json:"errors"`
	} `json:"validation"`
	// RetryAfter is how long the service asks to wait; zero if it does not.
	RetryAfter time.Duration `json:"-"`
}

// Error returns the fault, and the member of the request that is wrong if the answer
// names one.
func (e *Error) Error() string {
	text := e.Message
	for _, v := range e.Validation.Errors {
		if !strings.Contains(text, v.Message) {
			text += "; " + v.Member + ": " + v.Message
		}
	}
	if e.CorrelationID == "" { // it came from a proxy
		return fmt.Sprintf("%s (status %d)", text, e.StatusCode)
	}
	return fmt.Sprintf("%s (status %d, correlation id %s)", text, e.StatusCode, e.CorrelationID)
}

// call describes one call of the API.
type call struct {
	method string
	path   string
	query  url.Values
	body   any
	into   any // what a success's body is decoded into; nil ignores it
	// repeatable says that making the call twice does no harm.
	repeatable bool
}

// do makes a call. It retries a repeatable call when the service cannot be reached,
// is busy or is unavailable.
func (c *API) do(ctx context.Context, k call) error {
	var text []byte
	if k.body != nil {
		var err error
		if text, err = json.Marshal(k.body); err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
	}
	for try := 1; ; try++ {
		err := c.once(ctx, k, text)
		wait, ok := retryable(err, try)
		if err == nil || !k.repeatable || !ok || try == maxTries || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w; not tried again: %w", err, ctx.Err())
		case <-timer.C:
		}
	}
}

// retryable reports whether another try can succeed, and how long to wait first.
func retryable(err error, try int) (wait time.Duration, ok bool) {
	wait = min(firstWait<<(try-1), longWait)
	wait = wait/2 + rand.N(wait/2+1)
	var answer *Error
	if !errors.As(err, &answer) {
		var distrusted *tls.CertificateVerificationError
		return wait, !errors.As(err, &distrusted) && !errors.Is(err, errElsewhere) // no answer came
	}
	switch answer.StatusCode {
	case http.StatusServiceUnavailable:
		return max(wait, answer.RetryAfter), answer.CanBeRetried != "False"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusConflict:
		if answer.StatusCode == http.StatusConflict && answer.RetryAfter == 0 {
			return 0, false
		}
		return max(wait, answer.RetryAfter), true
	default:
		return 0, false
	}
}

func (c *API) once(ctx context.Context, k call, text []byte) error {
	target := c.base.JoinPath(k.path)
	query := k.query
	if c.client != uuid.Nil {
		query = maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("client", c.client.String())
	}
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, k.method, target.String(), bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s %s: %w", k.method, k.path, err)
	}
	request.Header.Set("Authorization", c.authorization)
	request.Header.Set("Accept", "application/json")
	if k.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", c.base.Redacted(), err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return &url.Error{Op: k.method, URL: target.String(), Err: fmt.Errorf("the answer broke off: %w", err)}
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return errorOf(response, answer)
	}
	if k.into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, k.into); err != nil {
		return &Error{StatusCode: response.StatusCode, Message: fmt.Sprintf("the answer to %s %s is not one of Herald's (%v); check the address", k.method, target.Redacted(), err)}
	}
	return nil
}

func errorOf(r *http.Response, answer []byte) error {
	e := &Error{}
	if json.Unmarshal(answer, e) != nil || e.Message == "" {
		e.Message = strings.TrimSpace(fmt.Sprintf("the service answered %s %.200s", r.Status, answer))
	}
	e.StatusCode = r.StatusCode
	e.RetryAfter = retryAfter(r.Header.Get("Retry-After"))
	return e
}

// retryAfter parses a Retry-After header: seconds from Herald, possibly a date from a
// proxy. It returns zero for any other value and for the past.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// Ready returns nil when the service can serve. It is not retried.
func (c *API) Ready(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: "/readyz"})
}
