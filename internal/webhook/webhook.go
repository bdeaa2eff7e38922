// Package webhook makes one HTTP attempt of a delivery. It posts the body, follows redirects, and
// returns the response or the failure, with a record of both that can be shown. internal/policy
// decides what the result means. internal/delivery decides when and how often to try.
// internal/egress decides which addresses may be called.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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
	"herald/internal/safetext"
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
	// idlePerHost, maxIdle and idleFor bound the connections that are kept alive. There are as many as
	// a lane has attempts in flight. They are kept for less time than most servers keep theirs, so the
	// receiver seldom closes one first.
	idlePerHost = 128
	maxIdle     = 16 * idlePerHost
	idleFor     = 30 * time.Second
	// minPing and maxPing bound how long an HTTP/2 connection may be silent before it is asked whether
	// it still works, how long it has to answer, and how long it may take no bytes. In between, each is
	// a third of the timeout. So an attempt on a dead connection learns it before its time is over.
	minPing, maxPing = time.Second, 10 * time.Second
	// maxLoggedOrigin bounds an origin in the log, in bytes. A redirect may have named it.
	maxLoggedOrigin = 300
)

// TestHeader is the header that tells receivers of a test; it is absent otherwise. The vendor's format has
// no place for that.
const TestHeader = "Herald-Test"

// DefaultClientIDHeader is the header that names the client to receivers (spec section 9.1).
const DefaultClientIDHeader = "X-Codat-ClientId"

// Options configure a Sender. Guard is required.
type Options struct {
	Guard *egress.Guard
	// Timeout bounds an attempt from its start to the end of the response's headers, redirects
	// included; 0 is DefaultTimeout.
	Timeout time.Duration
	// UserAgent is the value of the User-Agent header.
	UserAgent string
	// ClientIDHeader is the name of the header with the client's id; empty is
	// DefaultClientIDHeader.
	ClientIDHeader string
	// RootCAs are trusted for https; nil means those of the system.
	RootCAs *x509.CertPool
	Logger  *slog.Logger
}

// Sender is safe for concurrent use.
type Sender struct {
	Options
	pools    *pools
	direct   bool            // requests over HTTP/1.1 are made without http.Transport
	unpooled *http.Transport // opens a new connection for each request
	forward  *http.Transport // hands whole requests to the operator's proxy
	known    known
}

// known is what is remembered from one attempt to the next.
type known struct {
	headers *memo[headersOf, *headers]
	targets *memo[string, *target]
	remotes *memo[string, net.Addr] // by origin
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
	if o.RootCAs == nil {
		// Load the system's roots now. crypto/x509 loads them once, and would have none for ever if
		// there was no descriptor for their file at the first handshake.
		_, _ = x509.SystemCertPool() // without roots each attempt says so
	}
	s := &Sender{Options: o, pools: newPools(o), direct: !o.Guard.Proxied(), unpooled: newTransport(o), forward: newTransport(o)}
	s.known = known{newMemo[headersOf, *headers](maxHeaders), newMemo[string, *target](maxTargets), newMemo[string, net.Addr](maxRemotes)}
	s.unpooled.DisableKeepAlives = true
	s.forward.DisableKeepAlives = true
	s.forward.Proxy, s.forward.DialContext = o.Guard.Proxy, dial(o.Guard.DialProxy)
	return s
}

func newTransport(o Options) *http.Transport {
	ping := min(max(o.Timeout/3, minPing), maxPing)
	return &http.Transport{
		Proxy:                  nil, // the guard goes through the operator's; the environment's would bypass it
		DialContext:            dialWithGate(o.Guard, dial(o.Guard.DialContext)),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    egress.DefaultConnectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // no Accept-Encoding is sent, and no body is decompressed
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: ping, PingTimeout: ping, WriteByteTimeout: ping},
	}
}

// Close closes the connections that are kept alive.
func (s *Sender) Close() { s.pools.close() }

// Request is what one attempt sends.
type Request struct {
	URL string
	// Body is the request's body. If Data is not nil, the body is Body, Data and a closing brace:
	// requests about one event share Data, so it is not copied.
	Body, Data []byte
	ClientID   uuid.UUID
	// Authorization is the value of the Authorization header; empty sends none.
	Authorization string
	// Test says that the delivery is a test of its rule.
	Test bool
	// Enter, if set, is called before a redirect to another origin is followed. leave is called
	// when that hop ends. An error of Enter ends the attempt.
	Enter func(ctx context.Context, origin string) (leave func(), err error)
	// Allow, if set, is called before a redirect is followed. An error of Allow ends the attempt. A
	// *Refusal says why the receiver that the redirect leads to may not be called. Any other error is
	// a fault of this service (herald.ReasonLocal), unless the attempt's time is over.
	Allow func(ctx context.Context, address string) error
}

// Result is the result of one attempt. Status is that of the final response. If Reason is other
// than ReasonNone and ReasonStatus, Reason and Error say what failed, and Status does not decide.
type Result struct {
	Status int
	Reason herald.Reason
	Error  string
	// RetryAfter is the response's header as received. If it is a date and the response says its own
	// Date, it is the seconds between them.
	RetryAfter string
	Timings    herald.Timings
	Request    *herald.RequestRecord
	Response   *herald.ResponseRecord
	// Wait is how long to wait at least before the next attempt, if the receiver, or the one that a
	// redirect leads to, cannot be called yet; else 0. Sent says which of them it is.
	Wait time.Duration
}

// Sent reports whether a receiver has answered: the receiver that redirected, if the attempt went no
// further.
func (r *Result) Sent() bool {
	return r.Response != nil || r.Request != nil && len(r.Request.Hops) > 0
}

// Refusal is the error of Request.Allow if a receiver may not be called.
type Refusal struct {
	Reason herald.Reason
	// Why says it in a sentence.
	Why string
	// Wait is how long to wait, if the receiver may be called later without a retry being used up;
	// else 0.
	Wait time.Duration
}

func (r *Refusal) Error() string { return r.Why }

// Send makes the attempt. A refusal by the receiver is a Result too, not an error. If ctx ends, the
// Reason is ReasonInterrupted.
func (s *Sender) Send(ctx context.Context, r Request) Result {
	first := s.headers(headersOf{r.ClientID, r.Authorization, r.Test})
	a := &attempt{sender: s, outer: ctx, Request: r, started: time.Now(), mask: first.mask, headers: first, url: r.URL}
	a.deadline = a.started.Add(s.Timeout)
	defer a.end()
	result := a.run()
	result.Error = a.mask.Text(result.Error)
	result.Timings = a.clock.timings(a.started)
	result.Request = a.record(first)
	return result
}

// attempt is the state of one Send.
type attempt struct {
	Request
	sender   *Sender
	outer    context.Context // ends when the service stops, but not at the deadline
	started  time.Time
	deadline time.Time
	waits    context.Context // see within
	cancel   context.CancelFunc
	clock    clock
	mask     secret.Mask // of the Authorization header

	headers   *headers     // of the present hop
	url       string       // the address as it was sent, or as it was given if it cannot be called
	hops      []herald.Hop // without headers until record adds them
	redialled bool
}

func (a *attempt) run() Result {
	target, err := a.sender.target(a.URL)
	if err != nil {
		return Result{Reason: herald.ReasonAddress, Error: fmt.Sprintf("%.200q is not an address that can be called: %v", a.URL, err)}
	}
	a.url = target.text
	leave := func() {}
	defer func() { leave() }()
	for hop := 0; ; hop++ {
		response, err := a.post(target)
		if err != nil && hop > 0 {
			response, err = a.postWhenAllowed(target, err)
		}
		if err != nil {
			return a.failure(err)
		}
		if !isRedirect(response.StatusCode) {
			return a.finish(response)
		}
		address, refused := follow(target.URL, response)
		if refused == nil && hop == maxHops {
			refused = fmt.Errorf("more than %d redirects", maxHops)
		}
		if refused != nil {
			return a.notFollowed(response, refused)
		}
		next := a.sender.targetOf(address)
		if a.Allow != nil {
			if err := a.Allow(a.within(), next.text); err != nil {
				return a.notAllowed(response, err)
			}
		}
		discard(response)
		a.hops = append(a.hops, a.hop(response.StatusCode, target, next))
		if next.origin != target.origin {
			leave()
			if leave, err = a.enter(next.origin); err != nil {
				a.clock.reset() // no request went there
				return a.failure(err)
			}
		}
		target = next
	}
}

func (a *attempt) enter(origin string) (func(), error) {
	if a.Enter == nil {
		return func() {}, nil
	}
	leave, err := a.Enter(a.within(), origin)
	if err != nil {
		return func() {}, fmt.Errorf("wait for a place at %s, where the redirect leads: %w", origin, err)
	}
	return leave, nil
}

// post sends the request to one hop. If the receiver has closed a kept-alive connection, post
// repeats the request once on a new one: most probably the receiver did not see the first. The
// record shows that. A connection on which the attempt timed out gets no more requests.
func (a *attempt) post(target *target) (*http.Response, error) {
	pool := a.sender.pools.of(target.receiver)
	a.clock.reset()
	response, err := a.roundTrip(pool, target, true)
	switch {
	case err == nil:
	case !a.redialled && a.clock.idleBefore() && isClosed(err) && a.over() == nil:
		a.redialled = true
		a.sender.Logger.Info("the receiver closed a kept-alive connection; the request is made on a new one", "origin", safetext.Line(target.origin, maxLoggedOrigin))
		a.clock.reset()
		return a.roundTrip(pool, target, false)
	case errors.Is(err, context.DeadlineExceeded) && a.clock.onShared():
		a.sender.pools.retire(target.receiver, pool)
	case target.Scheme == "http" && a.sender.Guard.Proxied():
		return a.forwarded(target, err)
	}
	return response, err
}

// through makes a round trip of a transport.
func (a *attempt) through(transport *http.Transport, target *target) (*http.Response, error) {
	if a.sender.Guard.Limited() {
		return a.limitedRoundTrip(transport, target)
	}
	return transport.RoundTrip(a.request(target, transport == a.sender.forward).WithContext(a.clock.trace(a.within())))
}

// request returns the request to one hop as a transport takes it. whole is for one that hands it to a proxy.
func (a *attempt) request(target *target, whole bool) *http.Request {
	return &http.Request{
		Method: http.MethodPost, URL: egress.ForTransport(target.URL, whole), Host: target.Host, Header: a.headers.sent,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: a.body(), ContentLength: int64(a.bodySize()),
		// The transport calls it only if it has written nothing of the body.
		GetBody: func() (io.ReadCloser, error) { return a.body(), nil },
	}
}

func (r *Request) bodySize() int {
	if r.Data == nil {
		return len(r.Body)
	}
	return len(r.Body) + len(r.Data) + len(`}`)
}

// body returns a new reader of the whole body, for a transport. It joins the parts of a small one: net/http
// then sends header and body in one packet, and otherwise the header alone before the body.
func (r *Request) body() io.ReadCloser {
	switch {
	case r.Data == nil:
		return io.NopCloser(bytes.NewReader(r.Body))
	case r.bodySize() <= maxJoined:
		joined := make([]byte, 0, r.bodySize())
		joined = append(append(append(joined, r.Body...), r.Data...), '}')
		return io.NopCloser(bytes.NewReader(joined))
	default:
		return io.NopCloser(io.MultiReader(bytes.NewReader(r.Body), bytes.NewReader(r.Data), strings.NewReader(`}`)))
	}
}

// finish makes the result of an attempt from the final response.
func (a *attempt) finish(r *http.Response) Result {
	result := Result{Status: r.StatusCode, Response: recordResponse(r, a.mask)}
	if r.StatusCode < 200 || r.StatusCode > 299 {
		result.Reason = herald.ReasonStatus
		result.Error = fmt.Sprintf("the receiver answered %s", statusText(r.StatusCode))
		result.RetryAfter = retryAfter(r.Header)
	}
	return result
}

func (a *attempt) notFollowed(r *http.Response, why error) Result {
	return Result{
		Status: r.StatusCode, Reason: herald.ReasonRedirect, Response: recordResponse(r, a.mask),
		Error: fmt.Sprintf("the receiver answered %s with a redirect that may not be followed: %v", statusText(r.StatusCode), why),
	}
}

// notAllowed makes the result of an attempt whose redirect Allow did not allow. The receiver that
// redirected has got the request, so its response is on record.
func (a *attempt) notAllowed(r *http.Response, err error) Result {
	result := Result{Status: r.StatusCode, Reason: herald.ReasonLocal, Response: recordResponse(r, a.mask)}
	why := err.Error()
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		result.Reason, result.Wait = refusal.Reason, refusal.Wait
	} else if over := a.over(); over != nil {
		result.Reason, why = a.classify(over)
	}
	result.Error = fmt.Sprintf("the receiver answered %s with a redirect that is not followed: %s", statusText(r.StatusCode), why)
	return result
}

func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}

// Origin returns the origin of an address: scheme, host and port, in lower case and always with the
// port. With the client it names a lane.
func Origin(raw string) (string, error) {
	u, err := egress.ParseAddress(raw)
	if err != nil {
		return "", fmt.Errorf("%.200q: %w", raw, err)
	}
	return originOf(u), nil
}

// originOf returns the origin of a URL of egress.ParseAddress, which is in lower case.
func originOf(u *url.URL) string {
	if u.Port() != "" {
		return u.Scheme + "://" + u.Host
	}
	if u.Scheme == "http" {
		return "http://" + u.Host + ":80"
	}
	return "https://" + u.Host + ":443"
}
