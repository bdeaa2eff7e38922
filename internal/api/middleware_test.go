package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"herald"
	"herald/internal/api"
)

// fixture is the middleware around some calls, with its log and its metrics.
type fixture struct {
	*api.Middleware
	log      bytes.Buffer
	registry *prometheus.Registry
}

func newFixture(calls map[string]http.HandlerFunc, trusted ...netip.Prefix) *fixture {
	s := &fixture{registry: prometheus.NewRegistry()}
	mux := http.NewServeMux()
	for pattern, call := range calls {
		mux.Handle(pattern, call)
	}
	log := slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Middleware = api.NewMiddleware(mux, log, s.registry, trusted...)
	return s
}

func (s *fixture) call(method, target string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, httptest.NewRequest(method, target, nil))
	return recorder
}

// line returns the only line of the log.
func (s *fixture) line(t *testing.T) map[string]any {
	t.Helper()
	var line map[string]any
	if err := json.Unmarshal(s.log.Bytes(), &line); err != nil {
		t.Fatalf("the log is not one line of JSON: %v\n%s", err, &s.log)
	}
	return line
}

// failing returns a call that fails with an error.
func failing(err error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { api.WriteError(w, r, err) }
}

func fine(w http.ResponseWriter, _ *http.Request) { api.WriteJSON(w, 200, "fine") }

func TestUnknownPathsAndMethodsHaveTheErrorBody(t *testing.T) {
	for _, test := range []struct {
		method, target string
		status         int
		allow, text    string
	}{
		{"GET", "/nothing", 404, "", "There is nothing at /nothing. GET /openapi.json lists what there is."},
		{"GET", "/rules/", 404, "", "There is nothing at /rules/. GET /openapi.json lists what there is."},
		{"PUT", "/", 404, "", "There is nothing at /. GET /openapi.json lists what there is."},
		{"PATCH", "/rules", 405, "GET, HEAD, POST", "/rules does not take PATCH; it takes GET, HEAD, POST."},
		{"DELETE", "/profile", 405, "PUT", "/profile does not take DELETE; it takes PUT."},
		// A ServeMux would redirect these.
		{"GET", "//rules", 404, "", "There is nothing at //rules. GET /openapi.json lists what there is."},
		{"POST", "/x/../rules", 404, "", "There is nothing at /x/../rules. GET /openapi.json lists what there is."},
		{"GET", "/./rules", 404, "", "There is nothing at /./rules. GET /openapi.json lists what there is."},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			s := newFixture(map[string]http.HandlerFunc{"GET /rules": fine, "POST /rules": fine, "PUT /profile": fine})
			got := s.call(test.method, test.target)
			body := fmt.Sprintf(`{"statusCode":%d,"service":"PublicApi","error":"%s","correlationId":"N","canBeRetried":"Unknown","detailedErrorCode":0}`,
				test.status, test.text)
			if diff := cmp.Diff(body, shown(t, got)); got.Code != test.status || diff != "" {
				t.Errorf("status %d, body (-want +got):\n%s", got.Code, diff)
			}
			if allow := got.Header().Get("Allow"); allow != test.allow {
				t.Errorf("Allow %q, want %q", allow, test.allow)
			}
			if kind := got.Header().Get("Content-Type"); kind != "application/json" {
				t.Errorf("Content-Type %q", kind)
			}
			if route := s.line(t)["route"]; route != "none" {
				t.Errorf("route %q in the log, want none", route)
			}
		})
	}
}

func TestHeadIsAnsweredWithoutABody(t *testing.T) {
	server := httptest.NewServer(newFixture(map[string]http.HandlerFunc{"GET /rules": fine}))
	defer server.Close()
	for path, want := range map[string]int{"/rules": 200, "/nothing": 404} {
		answer, err := server.Client().Head(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != want || len(body) > 0 || answer.ContentLength <= 0 {
			t.Errorf("HEAD %s: %d, %d bytes of %d announced, %v", path, answer.StatusCode, len(body), answer.ContentLength, err)
		}
	}
}

func TestPanicIsAnsweredAndLoggedWithItsStack(t *testing.T) {
	s := newFixture(map[string]http.HandlerFunc{"GET /rules": func(http.ResponseWriter, *http.Request) { panic("the sky falls") }})
	got := s.call("GET", "/rules")
	want := `{"statusCode":500,"service":"PublicApi","error":"Something went wrong inside. Quote the correlationId when you report it.",` +
		`"correlationId":"N","canBeRetried":"Unknown","detailedErrorCode":0}`
	if diff := cmp.Diff(want, shown(t, got)); got.Code != 500 || diff != "" {
		t.Errorf("status %d, body (-want +got):\n%s", got.Code, diff)
	}
	line := s.line(t)
	cause, _ := line["error"].(string)
	if line["level"] != "ERROR" || !strings.Contains(cause, "the sky falls") || !strings.Contains(cause, "middleware_test.go") {
		t.Errorf("the log says %v", line)
	}
}

func TestHalfAnAnswerIsCutOff(t *testing.T) {
	s := newFixture(map[string]http.HandlerFunc{"GET /rules": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half of")
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
		panic("the sky falls")
	}})
	server := httptest.NewServer(s)
	answer, err := server.Client().Get(server.URL + "/rules")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("body %q, error %v, want %v", body, err, io.ErrUnexpectedEOF)
	}
	server.Close() // waits for the log line
	if line := s.line(t); line["level"] != "ERROR" || line["bytes"] != 7.0 {
		t.Errorf("the log says %v", line)
	}
}

func TestRequestIsOneLogLine(t *testing.T) {
	auth := newAuth()
	s := newFixture(map[string]http.HandlerFunc{"DELETE /rules/{ruleId}": func(w http.ResponseWriter, r *http.Request) {
		if _, err := auth.Caller(r); err != nil {
			t.Error(err)
		}
		api.WriteError(w, r, herald.Errorf(herald.CodeNotFound, "No rule."))
	}})
	recorder := httptest.NewRecorder()
	r := httptest.NewRequest("DELETE", "/rules/7?x=secret", nil)
	r.Header.Set("Authorization", "Bearer "+clientKey)
	s.ServeHTTP(recorder, r)

	line := s.line(t)
	var body api.ErrorBody
	if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if took, ok := line["durationMs"].(float64); !ok || took < 0 {
		t.Errorf("durationMs %v", line["durationMs"])
	}
	delete(line, "durationMs")
	delete(line, "time")
	want := map[string]any{
		"level": "INFO", "msg": "request", "method": "DELETE", "path": "/rules/7", "route": "DELETE /rules/{ruleId}",
		"status": 404.0, "bytes": float64(recorder.Body.Len()), "correlationId": body.CorrelationID,
		"clientId": acme.ClientID.String(), "code": "not_found", "remote": "192.0.2.1",
	}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("log line (-want +got):\n%s", diff)
	}
}

func TestLevelTellsFaultsFromRefusals(t *testing.T) {
	cause := errors.New("disk full")
	for _, test := range []struct {
		name, method string
		call         http.HandlerFunc
		level        string
		cause        any
	}{
		{"read", "GET", fine, "DEBUG", nil},
		{"head", "HEAD", fine, "DEBUG", nil},
		{"write", "POST", fine, "INFO", nil},
		{"refused read", "GET", failing(herald.Invalid("page", "page: no.")), "INFO", nil},
		{"not now", "GET", failing(&herald.Error{Code: herald.CodeUnavailable, Message: "Later.", Cause: cause}), "WARN", "Later.: disk full"},
		{"fault", "POST", failing(cause), "ERROR", "disk full"},
		{"known fault", "POST", failing(herald.Errorf(herald.CodeInternal, "Odd.")), "ERROR", "Odd."},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newFixture(map[string]http.HandlerFunc{"/": test.call})
			s.call(test.method, "/")
			if line := s.line(t); line["level"] != test.level || line["error"] != test.cause {
				t.Errorf("the log says %v, want level %s and error %v", line, test.level, test.cause)
			}
		})
	}
}

func TestCallerThatHungUpIsNoFault(t *testing.T) {
	s := newFixture(map[string]http.HandlerFunc{"GET /rules": func(w http.ResponseWriter, r *http.Request) {
		api.WriteError(w, r, r.Context().Err())
	}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/rules", nil).WithContext(ctx))
	if line := s.line(t); line["level"] != "INFO" || line["status"] != 499.0 || line["code"] != "gone" {
		t.Errorf("the log says %v", line)
	}
}

func TestCancellationInsideIsAFault(t *testing.T) {
	s := newFixture(map[string]http.HandlerFunc{"GET /rules": failing(context.Canceled)})
	if got := s.call("GET", "/rules"); got.Code != 500 || s.line(t)["level"] != "ERROR" {
		t.Errorf("status %d, log %s", got.Code, &s.log)
	}
}

func TestRequestsAreMeasuredByRouteAndClassOfStatus(t *testing.T) {
	s := newFixture(map[string]http.HandlerFunc{
		"GET /rules/{ruleId}": fine, "POST /rules": failing(herald.Invalid("type", "type: no.")),
	})
	for _, path := range []string{"/rules/1", "/rules/2", "/rules/3"} {
		s.call("GET", path)
	}
	s.call("POST", "/rules")
	s.call("GET", "/no")
	s.call("BREW", "/rules")

	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for _, metric := range families[0].GetMetric() {
		labels := make(map[string]string)
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		if names := slices.Sorted(maps.Keys(labels)); !slices.Equal(names, []string{"route", "status"}) {
			t.Errorf("labels %v", names)
		}
		got[labels["route"]+" "+labels["status"]] = metric.GetHistogram().GetSampleCount()
	}
	want := map[string]uint64{"GET /rules/{ruleId} 2xx": 3, "POST /rules 4xx": 1, "none 4xx": 2}
	if diff := cmp.Diff(want, got); len(families) != 1 || families[0].GetName() != "herald_http_request_duration_seconds" || diff != "" {
		t.Errorf("%d metrics (-want +got):\n%s", len(families), diff)
	}
}

func TestFrameWorksWithoutARegisterer(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rules", fine)
	recorder := httptest.NewRecorder()
	api.NewMiddleware(mux, slog.New(slog.DiscardHandler), nil).ServeHTTP(recorder, httptest.NewRequest("GET", "/rules", nil))
	if recorder.Code != 200 {
		t.Errorf("status %d", recorder.Code)
	}
}

// BenchmarkMiddleware measures what the middleware costs each call.
func BenchmarkMiddleware(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	m := api.NewMiddleware(mux, log, prometheus.NewRegistry())
	r := httptest.NewRequest("POST", "/events", nil)
	b.ReportAllocs()
	for b.Loop() {
		m.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// TestNoSecretFromThePathIsLogged: a call with a token in its path is logged by its route, and so
// is whoever asks for it in a wrong way.
func TestNoSecretFromThePathIsLogged(t *testing.T) {
	token := strings.Repeat("AQIDBA-_", 12)
	for _, request := range [][2]string{
		{"GET", "/unsubscribe/" + token}, {"POST", "/unsubscribe/" + token}, {"HEAD", "/unsubscribe/" + token},
		{"PUT", "/unsubscribe/" + token}, {"GET", "/unsubscribe/" + token + "/"}, {"GET", "/unsubscribe//" + token}, {"GET", "//unsubscribe/" + token},
		{"GET", "/Unsubscribe/" + token}, {"GET", "/x/../unsubscribe/" + token}, {"GET", "/unsubscribe/short-token"}, {"DELETE", "/UNSUBSCRIBE/short-token"},
		{"GET", "/confirm/short-token"}, {"PUT", "/Confirm/short-token"}, {"GET", "/confirm/" + token},
		{"GET", "/" + token}, {"GET", "/rules/" + token}, {"GET", "/unsubscribe%2F" + token}, {"GET", "/unsubscribe/" + token + "?" + token},
	} {
		s := newFixture(map[string]http.HandlerFunc{"GET /unsubscribe/{token}": fine, "POST /unsubscribe/{token}": failing(errors.New("broken")), "GET /rules/{ruleId}": fine})
		s.call(request[0], request[1])
		if s.line(t); strings.Contains(s.log.String(), token[:20]) || strings.Contains(s.log.String(), "short-token") {
			t.Errorf("%s %s: %s", request[0], request[1], &s.log)
		}
	}
	s := newFixture(map[string]http.HandlerFunc{"GET /unsubscribe/{token}": fine, "GET /rules/{ruleId}": fine})
	s.call("GET", "/unsubscribe/"+token)
	if got := s.line(t); got["path"] != "/unsubscribe/{token}" {
		t.Errorf("path %q", got["path"])
	}
	s.log.Reset()
	id := "/rules/8a210b68-6988-11ed-a1eb-0242ac120002"
	s.call("GET", id)
	if got := s.line(t); got["path"] != id {
		t.Errorf("path %q, want %q", got["path"], id)
	}
}

// TestLogLineIsBounded whatever a caller without a key sends.
func TestLogLineIsBounded(t *testing.T) {
	long := strings.Repeat("x/", 30_000)
	for _, r := range []*http.Request{
		{Method: "GET", URL: &url.URL{Path: "/" + long}}, {Method: strings.Repeat("M", 60_000), URL: &url.URL{Path: "/rules"}},
		{Method: "GET", URL: &url.URL{Path: "/fails"}}, {Method: "PATCH", URL: &url.URL{Path: "/rules" + strings.Repeat("\x00", 60_000)}},
	} {
		s := newFixture(map[string]http.HandlerFunc{"GET /rules": fine, "GET /fails": failing(errors.New(strings.Repeat("e", 60_000)))})
		r.RemoteAddr, r.Header, r.Body = "192.0.2.1:1", http.Header{}, http.NoBody
		r.Header.Set("X-Forwarded-For", long)
		r.Header.Set("Authorization", long)
		recorder := httptest.NewRecorder()
		s.ServeHTTP(recorder, r)
		if s.line(t); s.log.Len() > 10_000 {
			t.Errorf("%.10s %.10s: a line of %d bytes", r.Method, r.URL.Path, s.log.Len())
		}
		if recorder.Body.Len() > 5000 {
			t.Errorf("%.10s %.10s: an answer of %d bytes", r.Method, r.URL.Path, recorder.Body.Len())
		}
	}
}

// TestEveryAnswerIsNeitherStoredNorSniffed: successes, errors, unknown paths and panics.
func TestEveryAnswerIsNeitherStoredNorSniffed(t *testing.T) {
	calls := map[string]http.HandlerFunc{
		"GET /rules": fine, "GET /fails": failing(errors.New("broken")), "GET /none": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"GET /panics": func(http.ResponseWriter, *http.Request) { panic("x") },
	}
	for _, target := range []string{"/rules", "/fails", "/none", "/panics", "/nothing", "//rules"} {
		for _, method := range []string{"GET", "POST"} {
			h := newFixture(calls).call(method, target).Header()
			if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s: %v", method, target, h)
			}
		}
	}
}

// TestCrossSiteRequestsAreRefused on every call that changes something; programs, and the
// service's own pages, are not concerned.
func TestCrossSiteRequestsAreRefused(t *testing.T) {
	for _, test := range []struct {
		method, site, origin string
		status               int
	}{
		{"POST", "cross-site", "https://evil.example", 403}, {"PUT", "same-site", "https://evil.example", 403}, {"DELETE", "cross-site", "null", 403},
		{"POST", "", "https://evil.example", 403}, {"PATCH", "cross-site", "", 403},
		{"POST", "", "", 200}, {"POST", "same-origin", "https://example.com", 200}, {"POST", "", "http://example.com", 200}, {"POST", "none", "", 200},
		{"GET", "cross-site", "", 200}, {"POST", "", "https://herald.example", 200},
	} {
		s := newFixture(map[string]http.HandlerFunc{"/rules": fine})
		if err := s.TrustOrigin("https://herald.example"); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(test.method, "/rules", nil)
		for name, value := range map[string]string{"Sec-Fetch-Site": test.site, "Origin": test.origin} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		recorder := httptest.NewRecorder()
		s.ServeHTTP(recorder, r)
		if recorder.Code != test.status {
			t.Errorf("%+v: status %d %s", test, recorder.Code, recorder.Body)
		}
	}
}
