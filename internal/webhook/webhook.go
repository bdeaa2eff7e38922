// Package webhook makes one HTTP attempt of a delivery: it posts the body,
// follows redirects, and reports what came back or what went wrong, with a
// record fit to be shown. It does not decide what a result means
// (internal/policy), or when and how often to try (internal/delivery). Where it
// may connect to is up to the guard (internal/egress).
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/egress"
	"herald/internal/secret"
)

// Limits of an attempt.
const (
	// DefaultTimeout bounds an attempt as a whole (spec section 9.1).
	DefaultTimeout = 30 * time.Second
	// maxHops bounds the redirects that one attempt follows (spec section 9.2).
	maxHops = 5
	// maxHeader bounds the headers of a response, in bytes.
	maxHeader = 64 << 10
	// idlePerHost and idleFor bound the connections kept alive: as many as a
	// lane has in flight, and for less long than most servers keep theirs, so
	// that a connection is seldom found closed.
	idlePerHost = 128
	idleFor     = 30 * time.Second
)

// DefaultClientIDHeader tells receivers whose webhook it is (spec section 9.1).
const DefaultClientIDHeader = "X-Codat-ClientId"

// Options say how attempts are made; Guard is needed.
type Options struct {
	Guard *egress.Guard
	// Timeout bounds an attempt from its start to the end of the response's
	// headers, redirects included; 0 is DefaultTimeout.
	Timeout time.Duration
	// UserAgent is sent as it is.
	UserAgent string
	// ClientIDHeader names the header with the client's id; empty is
	// DefaultClientIDHeader.
	ClientIDHeader string
	// RootCAs are trusted for https; nil are the system's.
	RootCAs *x509.CertPool
	Logger  *slog.Logger
}

// Sender is safe for concurrent use.
type Sender struct {
	Options
	transport *http.Transport
	fresh     *http.Transport // opens a connection for each request
}

// New returns a Sender.
func New(o Options) *Sender {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.ClientIDHeader == "" {
		o.ClientIDHeader = DefaultClientIDHeader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sender{Options: o, transport: newTransport(o), fresh: newTransport(o)}
	s.fresh.DisableKeepAlives = true
	return s
}

func newTransport(o Options) *http.Transport {
	return &http.Transport{
		Proxy:                  o.Guard.Proxy, // and not the environment's, which would connect in the guard's stead
		DialContext:            o.Guard.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    egress.DefaultConnectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what a receiver packs is not unpacked
		MaxIdleConns:           16 * idlePerHost,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// Close closes the connections that are kept alive.
func (s *Sender) Close() { s.transport.CloseIdleConnections() }

// Request is what one attempt sends.
type Request struct {
	URL      string
	Body     []byte
	ClientID uuid.UUID
	// Authorization is sent verbatim; empty sends no such header.
	Authorization string
	// Enter, if set, is called before a redirect to another origin is
	// followed; leave is called when that hop is over. An error ends the
	// attempt.
	Enter func(ctx context.Context, origin string) (leave func(), err error)
}

// Result is what one attempt came to. Either Status is the final response's,
// or Reason and Error say why there is none to go by.
type Result struct {
	Status     int
	Reason     herald.Reason
	Error      string
	RetryAfter string // the response's header, as received
	Timings    herald.Timings
	Request    *herald.RequestRecord
	Response   *herald.ResponseRecord
}

// Send makes the attempt. What a receiver refuses is a Result like any other;
// when ctx ends, its Reason is ReasonInterrupted.
func (s *Sender) Send(ctx context.Context, r Request) Result {
	deadline, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	a := &attempt{sender: s, outer: ctx, Request: r, started: time.Now()}
	result := a.run(deadline)
	result.Timings = a.clock.timings(a.started)
	result.Request = a.record()
	return result
}

// attempt is the state of one Send.
type attempt struct {
	Request
	sender  *Sender
	outer   context.Context // ends when the service stops, not by the deadline
	started time.Time
	clock   clock

	header    http.Header
	hops      []herald.Hop
	redialled bool
}

func (a *attempt) run(ctx context.Context) Result {
	target, err := url.Parse(a.URL)
	if err != nil || target.Host == "" {
		return Result{Reason: herald.ReasonAddress, Error: fmt.Sprintf("%q is not an address that can be called", a.URL)}
	}
	a.header = a.headers()
	leave := func() {}
	defer func() { leave() }()
	for hop := 0; ; hop++ {
		response, err := a.post(ctx, target)
		if err != nil {
			return a.failure(err)
		}
		if !isRedirect(response.StatusCode) {
			return a.finish(response)
		}
		next, refused := follow(target, response)
		if refused == nil && hop == maxHops {
			refused = fmt.Errorf("more than %d redirects", maxHops)
		}
		if refused != nil {
			return a.notFollowed(response, refused)
		}
		discard(response)
		a.hops = append(a.hops, herald.Hop{Status: response.StatusCode, URL: next.String()})
		if origin := originOf(next); origin != originOf(target) {
			a.header.Del("Authorization") // and it is not sent again later
			leave()
			if leave, err = a.enter(ctx, origin); err != nil {
				return a.failure(err)
			}
		}
		target = next
	}
}

func (a *attempt) enter(ctx context.Context, origin string) (func(), error) {
	if a.Enter == nil {
		return func() {}, nil
	}
	leave, err := a.Enter(ctx, origin)
	if err != nil {
		return func() {}, fmt.Errorf("wait for a turn at %s, where the redirect leads: %w", origin, err)
	}
	return leave, nil
}

// headers are the same on every hop. There must never be an Idempotency-Key or
// X-Idempotency-Key among them: on those, net/http sends a POST again by itself.
func (a *attempt) headers() http.Header {
	h := http.Header{
		"Content-Type": {"application/json; charset=utf-8"},
		"User-Agent":   {a.sender.UserAgent},
	}
	h[a.sender.ClientIDHeader] = []string{a.ClientID.String()} // in the vendor's case, which Set would change
	if a.Authorization != "" {
		h["Authorization"] = []string{a.Authorization}
	}
	return h
}

// post sends the request to one hop. A connection kept alive that turns out to
// have been closed by the receiver is replaced once: the receiver closed it
// before it saw the request, in all likelihood, and the record tells.
func (a *attempt) post(ctx context.Context, target *url.URL) (*http.Response, error) {
	response, err := a.roundTrip(ctx, a.sender.transport, target)
	if err != nil && !a.redialled && a.clock.reused && closedWhileIdle(err) && ctx.Err() == nil {
		a.redialled = true
		a.sender.Logger.Info("a kept-alive connection was closed by the receiver; the request is made on a new one", "origin", originOf(target))
		return a.roundTrip(ctx, a.sender.fresh, target)
	}
	return response, err
}

func (a *attempt) roundTrip(ctx context.Context, through *http.Transport, target *url.URL) (*http.Response, error) {
	body := bytes.NewReader(a.Body)
	request := &http.Request{
		Method: http.MethodPost, URL: target, Host: target.Host, Header: a.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(body), ContentLength: int64(len(a.Body)),
		// The transport makes use of it only when nothing was written.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a.Body)), nil },
	}
	return through.RoundTrip(request.WithContext(a.clock.trace(ctx)))
}

// finish takes the final response as the attempt's result.
func (a *attempt) finish(r *http.Response) Result {
	result := Result{Status: r.StatusCode, Response: keep(r)}
	if r.StatusCode < 200 || r.StatusCode > 299 {
		result.Reason = herald.ReasonStatus
		result.Error = fmt.Sprintf("the receiver answered %s", statusText(r.StatusCode))
		result.RetryAfter = r.Header.Get("Retry-After")
	}
	return result
}

func (a *attempt) notFollowed(r *http.Response, why error) Result {
	return Result{
		Status: r.StatusCode, Reason: herald.ReasonRedirect, Response: keep(r),
		Error: fmt.Sprintf("the receiver answered %s with a redirect that may not be followed: %v", statusText(r.StatusCode), why),
	}
}

func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}

func (a *attempt) record() *herald.RequestRecord {
	headers := make(map[string]string, len(a.header)+1)
	for name, values := range a.header {
		headers[name] = values[0]
	}
	if a.Authorization != "" {
		headers["Authorization"] = secret.MaskAuthorization(a.Authorization)
	}
	return &herald.RequestRecord{Method: http.MethodPost, URL: a.URL, Headers: headers, Hops: a.hops, Redialled: a.redialled}
}

// Origin returns the lane of an address: its scheme, host and port, in lower
// case and with the port written out.
func Origin(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q is not an absolute http or https address", raw)
	}
	return originOf(u), nil
}

func originOf(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case strings.EqualFold(u.Scheme, "http"):
		port = "80"
	default:
		port = "443"
	}
	return strings.ToLower(u.Scheme) + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
