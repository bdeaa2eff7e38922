package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"herald"
	"herald/internal/api"
)

var correlationID = regexp.MustCompile(`"correlationId":"[0-9a-f]{32}"`)

// shown returns an answer's body. It checks the form of the correlation id and replaces it
// by N.
func shown(t *testing.T, recorder *httptest.ResponseRecorder) string {
	t.Helper()
	body := recorder.Body.String()
	if !correlationID.MatchString(body) {
		t.Errorf("no correlationId of 32 hex characters in %s", body)
	}
	return strings.TrimSuffix(correlationID.ReplaceAllString(body, `"correlationId":"N"`), "\n")
}

func answerTo(err error) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	api.WriteError(recorder, httptest.NewRequest("GET", "/rules", nil), err)
	return recorder
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	for code, want := range map[herald.Code]int{
		herald.CodeInvalid:      400,
		herald.CodeUnauthorized: 401,
		herald.CodeForbidden:    403,
		herald.CodeNotFound:     404,
		herald.CodeConflict:     409,
		herald.CodeMismatch:     422,
		herald.CodeTooLarge:     413,
		herald.CodeTooMany:      429,
		herald.CodeUnavailable:  503,
		herald.CodeInternal:     500,
	} {
		got := answerTo(fmt.Errorf("while testing: %w", herald.Errorf(code, "No <b> & no > here.")))
		body := fmt.Sprintf(`{"statusCode":%d,"service":"PublicApi","error":"No <b> & no > here.","correlationId":"N","canBeRetried":"Unknown","detailedErrorCode":0}`, want)
		if diff := cmp.Diff(body, shown(t, got)); got.Code != want || diff != "" {
			t.Errorf("%s: status %d, want %d; body (-want +got):\n%s", code, got.Code, want, diff)
		}
		if kind := got.Header().Get("Content-Type"); kind != "application/json" {
			t.Errorf("%s: Content-Type %q", code, kind)
		}
	}
}

func TestWrongMemberIsNamedInTheValidation(t *testing.T) {
	got := answerTo(herald.Invalid("notifiers.webhook", "The address is wrong."))
	want := `{"statusCode":400,"service":"PublicApi","error":"The address is wrong.","correlationId":"N",` +
		`"validation":{"errors":[{"itemId":"notifiers.webhook","message":"The address is wrong.","validatorName":null}],"warnings":[]},` +
		`"canBeRetried":"Unknown","detailedErrorCode":0}`
	if diff := cmp.Diff(want, shown(t, got)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

// explained is an error whose text programs compare.
type explained struct{ error }

func (explained) Explain() (service, detail string) { return "ClientsApi", "at place 7" }
func (e explained) Unwrap() error                   { return e.error }

func TestExplainedErrorNamesItsServiceAndKeepsItsText(t *testing.T) {
	got := answerTo(explained{herald.Invalid("query", "Malformed query.")})
	want := `{"statusCode":400,"service":"ClientsApi","error":"Malformed query.","correlationId":"N",` +
		`"validation":{"errors":[{"itemId":"query","message":"at place 7","validatorName":null}],"warnings":[]},` +
		`"canBeRetried":"Unknown","detailedErrorCode":0}`
	if diff := cmp.Diff(want, shown(t, got)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestUnexpectedErrorRevealsNothing(t *testing.T) {
	got := answerTo(errors.New("open /var/lib/secret.db: permission denied"))
	want := `{"statusCode":500,"service":"PublicApi","error":"Something went wrong inside. Quote the correlationId when you report it.",` +
		`"correlationId":"N","canBeRetried":"Unknown","detailedErrorCode":0}`
	if diff := cmp.Diff(want, shown(t, got)); got.Code != 500 || diff != "" {
		t.Errorf("status %d, body (-want +got):\n%s", got.Code, diff)
	}
}

func TestCauseIsNotShown(t *testing.T) {
	err := &herald.Error{Code: herald.CodeUnavailable, Message: "Try again.", Cause: errors.New("disk full")}
	if body := answerTo(err).Body.String(); strings.Contains(body, "disk") {
		t.Errorf("the cause is shown: %s", body)
	}
}

func TestEveryAnswerHasItsOwnCorrelationID(t *testing.T) {
	err := herald.Errorf(herald.CodeNotFound, "Nothing.")
	first, second := answerTo(err).Body.String(), answerTo(err).Body.String()
	if first == second {
		t.Errorf("two answers are equal: %s", first)
	}
}

func TestRetryAfterIsInWholeSecondsRoundedUp(t *testing.T) {
	for _, test := range []struct {
		code  herald.Code
		after time.Duration
		want  string
	}{
		{herald.CodeUnavailable, 0, "1"}, // a 503 always says when
		{herald.CodeUnavailable, -1, ""}, // unless a retry never helps
		{herald.CodeUnavailable, time.Millisecond, "1"},
		{herald.CodeUnavailable, 1001 * time.Millisecond, "2"},
		{herald.CodeTooMany, time.Minute, "60"},
		{herald.CodeTooMany, 0, ""},
		{herald.CodeConflict, 2 * time.Second, "2"},
		{herald.CodeInternal, 0, ""},
	} {
		got := answerTo(&herald.Error{Code: test.code, Message: "Later.", RetryAfter: test.after})
		if header := got.Header().Get("Retry-After"); header != test.want {
			t.Errorf("%s after %v: Retry-After %q, want %q", test.code, test.after, header, test.want)
		}
	}
}

func TestUnauthorizedSaysWhichSchemeIsWanted(t *testing.T) {
	for code, want := range map[herald.Code]string{herald.CodeUnauthorized: `Basic realm="herald"`, herald.CodeForbidden: ""} {
		if got := answerTo(herald.Errorf(code, "No.")).Header().Get("WWW-Authenticate"); got != want {
			t.Errorf("%s: WWW-Authenticate %q, want %q", code, got, want)
		}
	}
}

func TestBodyIsReadUpToTheLimit(t *testing.T) {
	for _, length := range []int64{4, -1} { // with and without a Content-Length
		r := httptest.NewRequest("POST", "/", io.NopCloser(strings.NewReader("1234")))
		r.ContentLength = length
		body, err := api.ReadBody(r, 4)
		if err != nil || string(body) != "1234" {
			t.Errorf("length %d at the limit: %q, %v", length, body, err)
		}
		r = httptest.NewRequest("POST", "/", io.NopCloser(strings.NewReader("12345")))
		r.ContentLength = length
		if length > 0 {
			r.ContentLength = 5
		}
		_, err = api.ReadBody(r, 4)
		if herald.CodeOf(err) != herald.CodeTooLarge || !strings.Contains(err.Error(), "4 bytes") {
			t.Errorf("length %d over the limit: %v, want CodeTooLarge that names the limit", length, err)
		}
	}
}

func TestMemoryIsNotReservedOnTheSendersWord(t *testing.T) {
	const limit = 16 << 20
	r := httptest.NewRequest("POST", "/", nil)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader("{}")), limit
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := api.ReadBody(r, limit); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes are allocated for a body of 2 that was announced as %d", got, limit)
	}
}

func TestBrokenBodyIsTheCallersFault(t *testing.T) {
	r := httptest.NewRequest("POST", "/", iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := api.ReadBody(r, 10); herald.CodeOf(err) != herald.CodeInvalid || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want CodeInvalid around %v", err, io.ErrUnexpectedEOF)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := api.ReadBody(r.WithContext(ctx), 10); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a request that is cancelled, want %v", err, context.Canceled)
	}
}

func TestJSONLeavesMarkupAsItIs(t *testing.T) {
	recorder := httptest.NewRecorder()
	api.WriteJSON(recorder, http.StatusCreated, map[string]string{"href": "/rules?page=1&pageSize=<5>"})
	want := `{"href":"/rules?page=1&pageSize=<5>"}` + "\n"
	if got := recorder.Body.String(); recorder.Code != 201 || got != want {
		t.Errorf("%d %s, want 201 %s", recorder.Code, got, want)
	}
}
