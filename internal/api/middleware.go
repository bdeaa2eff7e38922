package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/memory"
)

// Middleware wraps all calls. It finds the call, answers unknown paths and methods with the
// error body, and limits a panic to its request. It writes one log line and one
// measurement for each request.
type Middleware struct {
	mux      *http.ServeMux
	log      *slog.Logger
	duration *prometheus.HistogramVec
	trusted  []netip.Prefix
	origins  *http.CrossOriginProtection
	bodies   *memory.Budget
	answers  *memory.Budget
	turns    *memory.Turns
}

// NewMiddleware returns a Middleware around a mux. A nil registerer measures nothing.
// The Middleware trusts proxies in the trusted networks to name the address that a
// request came from.
func NewMiddleware(mux *http.ServeMux, log *slog.Logger, r prometheus.Registerer, trusted ...netip.Prefix) *Middleware {
	m := &Middleware{mux: mux, log: log, trusted: trusted, bodies: memory.NewBudget(maxBodies), answers: memory.NewBudget(maxAnswers), turns: memory.NewTurns(), duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "herald_http_request_duration_seconds", Help: "How long API requests took, by route and class of status.",
		// The server ends a request after three minutes.
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
	}, []string{"route", "status"})}
	if r != nil {
		r.MustRegister(m.duration)
	}
	m.origins = http.NewCrossOriginProtection()
	return m
}

// TrustOrigin accepts requests that a browser makes from pages of an origin such as
// https://herald.example.com. It is the origin of the service's own pages behind a proxy that
// changes the Host header. Call it before the first request.
func (m *Middleware) TrustOrigin(origin string) error { return m.origins.AddTrustedOrigin(origin) }

// Expect makes the series of routes from the start, so that their first error is not missed.
func (m *Middleware) Expect(routes ...string) {
	for _, route := range routes {
		for _, status := range []string{"2xx", "4xx", "5xx"} {
			m.duration.WithLabelValues(route, status)
		}
	}
}

// requestInfoKey is the context key of a request's requestInfo.
type requestInfoKey struct{}

// requestInfo collects the values of a request's log line, and the state that calls share with the Middleware.
type requestInfo struct {
	correlationID string
	remote        netip.Addr
	client        uuid.UUID
	code          herald.Code
	cause         error
	bodies        *memory.Budget
	body          held
	answers       *memory.Budget
	answer        held
	turns         *memory.Turns
	header        http.Header // of the answer
}

func infoOf(ctx context.Context) *requestInfo {
	info, _ := ctx.Value(requestInfoKey{}).(*requestInfo)
	if info == nil {
		return &requestInfo{correlationID: newCorrelationID()}
	}
	return info
}

func setClient(ctx context.Context, client uuid.UUID) { infoOf(ctx).client = client }

// SetClient names the client that a request is about, for its log line and its share of memory. Auth
// does so for requests with a client's key.
func SetClient(ctx context.Context, client uuid.UUID) { setClient(ctx, client) }

// AnswerHeader returns the headers of the answer to a request, for code between the
// Middleware and a call. Outside a Middleware it returns headers that nobody sends.
func AnswerHeader(ctx context.Context) http.Header {
	if h := infoOf(ctx).header; h != nil {
		return h
	}
	return make(http.Header)
}

// setError records an error for the log line. It returns the correlation id for the
// answer.
func setError(ctx context.Context, known *herald.Error, err error) string {
	info := infoOf(ctx)
	info.code = known.Code
	if known.Cause != nil || known.Code == herald.CodeInternal {
		info.cause = err
	}
	return info.correlationID
}

func newCorrelationID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails, by its documentation
	return hex.EncodeToString(id[:])
}

// ServeHTTP serves one request.
func (m *Middleware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	info := &requestInfo{correlationID: newCorrelationID(), remote: remoteOf(r, m.trusted), bodies: m.bodies, answers: m.answers, turns: m.turns, header: w.Header()}
	defer info.body.share.Release()
	defer info.answer.share.Release()
	// Answers hold clients' data and, some, keys; and are what their Content-Type says.
	fixed := [...]string{"no-store", "nosniff"}
	info.header["Cache-Control"], info.header["X-Content-Type-Options"] = fixed[:1:1], fixed[1:]
	ctx := context.WithValue(r.Context(), requestInfoKey{}, info)
	r = r.WithContext(memory.WithReserve(ctx, info.reserve))
	out := &answer{ResponseWriter: w, status: http.StatusOK}
	aborted := m.serve(out, r, info)
	took := time.Since(started)
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	m.duration.WithLabelValues(route, classes[out.status/100%len(classes)]).Observe(took.Seconds())
	m.logRequest(r, out, info, route, took)
	if aborted {
		panic(http.ErrAbortHandler) // makes net/http close the connection
	}
}

// classes are the classes of statuses, by their first digit.
var classes = [...]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"}

// serve finds the call and runs it. It returns true when the call panicked after part of
// the answer was sent. The caller must not take that part for a whole answer.
func (m *Middleware) serve(out *answer, r *http.Request, info *requestInfo) (aborted bool) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		info.code, info.cause = herald.CodeInternal, fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		if aborted = out.begun; !aborted {
			WriteError(out, r, info.cause)
		}
	}()
	// A page of another site may not make its reader's browser change anything, not even with a
	// key that the browser has stored.
	if err := m.origins.Check(r); err != nil {
		WriteError(out, r, herald.Errorf(herald.CodeForbidden, "A browser made this request from a page of another site, which is not allowed."))
		return false
	}
	// A ServeMux answers unknown paths and methods in plain text. It also redirects
	// a path that is not clean; this API has no redirects.
	if !isClean(r.URL.EscapedPath()) || !m.has(r) {
		m.unknown(out, r)
		return false
	}
	m.mux.ServeHTTP(out, r)
	return false
}

// NotAllowed takes the place of a call in the mux, for a method that a path does not have and a more
// general pattern has: it is a 405.
type NotAllowed struct{}

// ServeHTTP is for requests outside a Middleware, which answers before.
func (NotAllowed) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusMethodNotAllowed)
}

// has reports whether the mux has a call for a request.
func (m *Middleware) has(r *http.Request) bool {
	call, pattern := m.mux.Handler(r)
	_, refused := call.(NotAllowed)
	return pattern != "" && !refused
}

// IsText reports whether a caller's bytes are text that every database takes:
// UTF-8 without NUL.
func IsText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// isClean reports whether a path begins with a slash and has no empty, "." or
// ".." segments. A ServeMux does not redirect such a path.
func isClean(escaped string) bool {
	clean := path.Clean(escaped)
	return strings.HasPrefix(escaped, "/") && (clean == escaped || clean != "/" && clean+"/" == escaped)
}

// unknown answers a request that no call matches. It is a 405 with the allowed methods
// if the path has some, otherwise a 404.
func (m *Middleware) unknown(w http.ResponseWriter, r *http.Request) {
	if allow := m.allowed(r); allow != "" {
		w.Header().Set("Allow", allow)
		body := ErrorBody{
			StatusCode: http.StatusMethodNotAllowed, Service: service, CanBeRetried: "Unknown",
			Error:         fmt.Sprintf("%.200s does not take %.20s; it takes %s.", r.URL.Path, r.Method, allow),
			CorrelationID: setError(r.Context(), &herald.Error{Code: "method_not_allowed"}, nil),
		}
		WriteJSON(w, http.StatusMethodNotAllowed, body)
		return
	}
	WriteError(w, r, herald.Errorf(herald.CodeNotFound, "There is nothing at %.200s. GET /openapi.json lists what there is.", r.URL.Path))
}

// allowed returns the methods that a request's path has, as the header Allow lists them.
func (m *Middleware) allowed(r *http.Request) string {
	if !isClean(r.URL.EscapedPath()) {
		return "" // a ServeMux would redirect it to a path that has some
	}
	var methods []string
	probe := r.Clone(r.Context())
	for _, method := range []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"} {
		if probe.Method = method; m.has(probe) {
			methods = append(methods, method)
		}
	}
	return strings.Join(methods, ", ")
}

// logRequest writes the log line of a request. The level is error for faults, warn for
// other 5xx answers, debug for successful reads, and info for all others.
func (m *Middleware) logRequest(r *http.Request, out *answer, info *requestInfo, route string, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case info.code == herald.CodeInternal:
		level = slog.LevelError
	case out.status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && out.status < http.StatusBadRequest:
		level = slog.LevelDebug
	}
	ctx := r.Context()
	if !m.log.Enabled(ctx, level) {
		return
	}
	var room [11]slog.Attr
	attrs := append(room[:0],
		slog.String("method", shown(r.Method, maxLoggedMethod)), slog.String("path", loggedPath(r)), slog.String("route", route),
		slog.Int("status", out.status), slog.Float64("durationMs", float64(took.Microseconds())/1000),
		slog.Int64("bytes", out.bytes), slog.String("correlationId", info.correlationID),
		slog.String("remote", info.remote.String()),
	)
	if info.client != uuid.Nil {
		attrs = append(attrs, slog.String("clientId", info.client.String()))
	}
	if info.code != "" {
		attrs = append(attrs, slog.String("code", string(info.code)))
	}
	if info.cause != nil {
		attrs = append(attrs, slog.String("error", shown(strings.TrimSpace(info.cause.Error()), maxLoggedError)))
	}
	m.log.LogAttrs(ctx, level, "request", attrs...)
}

// Limits on what a caller's request can write into its log line, in bytes.
const (
	maxLoggedMethod  = 20
	maxLoggedPath    = 200
	maxLoggedError   = 8 << 10 // a panic's stack
	maxLoggedSegment = 40      // an id has 36; a token and an API key are longer
)

// beforeTokens are the segments of paths that a link's token follows.
var beforeTokens = []string{"confirm", "unsubscribe"}

// loggedPath returns a request's path without secrets. A call whose pattern has a {token} is
// logged by its pattern. Elsewhere a long segment may be a secret in the wrong place.
func loggedPath(r *http.Request) string {
	if _, pattern, found := strings.Cut(r.Pattern, " "); found && strings.Contains(pattern, "{token}") {
		return pattern
	}
	if len(r.URL.Path) <= maxLoggedSegment && strings.LastIndexByte(r.URL.Path, '/') == 0 {
		return r.URL.Path // one segment
	}
	path := shown(r.URL.Path, 2*maxLoggedPath)
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		follows := i > 0 && slices.ContainsFunc(beforeTokens, func(word string) bool { return strings.EqualFold(segments[i-1], word) })
		if segment != "" && (follows || len(segment) > maxLoggedSegment) {
			segments[i] = "…"
		}
	}
	return shown(strings.Join(segments, "/"), maxLoggedPath)
}

// shown returns the beginning of a text.
func shown(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// answer records the status and the size of an answer.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64 // of the body
	begun  bool
}

func (a *answer) WriteHeader(status int) {
	if !a.begun {
		a.status, a.begun = status, true
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	a.begun = true
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// Unwrap gives http.ResponseController access to the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
