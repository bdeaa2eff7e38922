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
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
)

// Middleware stands around all calls: it finds the call, answers unknown paths and
// methods with the error body, keeps a panic from ending more than its request,
// and writes one log line and one measurement for each request.
type Middleware struct {
	mux      *http.ServeMux
	log      *slog.Logger
	duration *prometheus.HistogramVec
	trusted  []netip.Prefix
	bodies   bodyBudget
}

// NewMiddleware returns a Middleware around a mux. A nil registerer measures nothing.
// Proxies in the trusted networks are believed when they say whom a request is
// from.
func NewMiddleware(mux *http.ServeMux, log *slog.Logger, r prometheus.Registerer, trusted ...netip.Prefix) *Middleware {
	f := &Middleware{mux: mux, log: log, trusted: trusted, duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "herald_http_request_duration_seconds", Help: "How long API requests took, by route and class of status.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"route", "status"})}
	if r != nil {
		r.MustRegister(f.duration)
	}
	return f
}

// requestInfoKey is the context's key of a request's note.
type requestInfoKey struct{}

// note gathers what the log line of a request tells.
type requestInfo struct {
	correlationID string
	remote        netip.Addr
	client        uuid.UUID
	code          herald.Code
	cause         error
	body          bodyShare
	header        http.Header // of the answer
}

func infoOf(ctx context.Context) *requestInfo {
	n, _ := ctx.Value(requestInfoKey{}).(*requestInfo)
	if n == nil {
		return &requestInfo{correlationID: newCorrelationID()}
	}
	return n
}

func setClient(ctx context.Context, client uuid.UUID) { infoOf(ctx).client = client }

// AnswerHeader returns the headers that the answer to a request will have, for
// who stands between the Middleware and a call. Outside a Middleware they go nowhere.
func AnswerHeader(ctx context.Context) http.Header {
	if h := infoOf(ctx).header; h != nil {
		return h
	}
	return make(http.Header)
}

// setError keeps an error for the log line and returns the correlation id that
// the answer quotes.
func setError(ctx context.Context, known *herald.Error, err error) string {
	n := infoOf(ctx)
	n.code = known.Code
	if known.Cause != nil || known.Code == herald.CodeInternal {
		n.cause = err
	}
	return n.correlationID
}

func newCorrelationID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails, by its documentation
	return hex.EncodeToString(id[:])
}

// ServeHTTP serves one request.
func (f *Middleware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	n := &requestInfo{correlationID: newCorrelationID(), remote: remoteOf(r, f.trusted), body: bodyShare{of: &f.bodies}, header: w.Header()}
	defer n.body.release()
	r = r.WithContext(context.WithValue(r.Context(), requestInfoKey{}, n))
	out := &answer{ResponseWriter: w, status: http.StatusOK}
	cut := f.serve(out, r, n)
	took := time.Since(started)
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	f.duration.WithLabelValues(route, strconv.Itoa(out.status/100)+"xx").Observe(took.Seconds())
	f.logRequest(r, out, n, route, took)
	if cut {
		panic(http.ErrAbortHandler) // what net/http cuts a connection by
	}
}

// serve finds the call and makes it. It returns true when the call panicked
// with half an answer out, which must not look whole to the caller.
func (f *Middleware) serve(out *answer, r *http.Request, n *requestInfo) (cut bool) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		n.code, n.cause = herald.CodeInternal, fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		if cut = out.begun; !cut {
			WriteError(out, r, n.cause)
		}
	}()
	// The mux answers unknown paths and methods in plain text, and would
	// redirect a path to a cleaner one; this API knows no redirects.
	if _, pattern := f.mux.Handler(r); pattern == "" || !isClean(r.URL.EscapedPath()) {
		f.unknown(out, r)
		return false
	}
	f.mux.ServeHTTP(out, r)
	return false
}

// IsText reports whether a caller's bytes are text that every database takes:
// UTF-8 without NUL.
func IsText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// isClean reports whether a path begins with a slash and has no empty, "." or
// ".." segments, so that a ServeMux takes it as it is.
func isClean(escaped string) bool {
	clean := path.Clean(escaped)
	return strings.HasPrefix(escaped, "/") && (clean == escaped || clean != "/" && clean+"/" == escaped)
}

// unknown answers a request that no call takes: 405 with the methods there are
// if the path has some, else 404.
func (f *Middleware) unknown(w http.ResponseWriter, r *http.Request) {
	probe := &allowProbe{header: make(http.Header)}
	f.mux.ServeHTTP(probe, r.Clone(r.Context()))
	if allow := probe.header.Get("Allow"); probe.status == http.StatusMethodNotAllowed && allow != "" {
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

// logRequest writes a request down: faults at error, what cannot be served now
// at warn, what changes something or is refused at info, and at debug what only
// reads.
func (f *Middleware) logRequest(r *http.Request, out *answer, n *requestInfo, route string, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case n.code == herald.CodeInternal:
		level = slog.LevelError
	case out.status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && out.status < http.StatusBadRequest:
		level = slog.LevelDebug
	}
	ctx := r.Context()
	if !f.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("route", route),
		slog.Int("status", out.status), slog.Float64("durationMs", float64(took.Microseconds())/1000),
		slog.Int64("bytes", out.bytes), slog.String("correlationId", n.correlationID),
		slog.String("remote", n.remote.String()),
	}
	if n.client != uuid.Nil {
		attrs = append(attrs, slog.String("clientId", n.client.String()))
	}
	if n.code != "" {
		attrs = append(attrs, slog.String("code", string(n.code)))
	}
	if n.cause != nil {
		attrs = append(attrs, slog.String("error", strings.TrimSpace(n.cause.Error())))
	}
	f.log.LogAttrs(ctx, level, "request", attrs...)
}

// answer remembers what was answered.
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

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// allowProbe finds out which methods the mux would have allowed.
type allowProbe struct {
	header http.Header
	status int
}

func (p *allowProbe) Header() http.Header         { return p.header }
func (p *allowProbe) WriteHeader(status int)      { p.status = status }
func (p *allowProbe) Write(b []byte) (int, error) { return len(b), nil }
