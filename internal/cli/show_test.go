package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/client"
	"herald/internal/cli"
	"herald/internal/explain"
)

func TestInterruptWinsOverWhatItInterrupted(t *testing.T) {
	for _, err := range []error{
		context.Canceled,
		&url.Error{Op: "Get", Err: context.Canceled},
		fmt.Errorf("%w; not tried again: %w", &client.Error{StatusCode: 503}, context.Canceled),
	} {
		if got := cli.ExitCode(err); got != cli.Interrupted {
			t.Errorf("%v: exit code %d, want %d", err, got, cli.Interrupted)
		}
	}
}

func TestEveryStatusHasAnExitCode(t *testing.T) {
	for status, want := range map[int]int{
		200: cli.Network, 400: cli.General, 401: cli.NotAuthorized, 402: cli.Network, 403: cli.NotAuthorized, 404: cli.NotFound, 405: cli.Network,
		409: cli.Conflict, 413: cli.General, 422: cli.Conflict, 429: cli.Network, 500: cli.Network, 502: cli.Network, 503: cli.Network,
	} {
		if got := cli.ExitCode(&client.Error{StatusCode: status}); got != want {
			t.Errorf("status %d: exit code %d, want %d", status, got, want)
		}
	}
}

func TestTerminalObeysNoStranger(t *testing.T) {
	for text, want := range map[string]string{
		"a\x1b]0;title\x07b":   "a ]0;title b",
		"line\r\nline":         "line  line",
		"\u009b31m":            " 31m", // the control sequence introducer in one character
		"a\u202egnp.exe\u2066": "a gnp.exe ",
		"a\u2028b\u2029c":      "a b c",
		"del\x7f":              "del ",
		"Söhne & 会社 👩‍🚀 stay":  "Söhne & 会社 👩‍🚀 stay",
	} {
		if got := cli.Clean(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	var out bytes.Buffer
	if err := cli.WriteWhy(&out, cli.Explanation{Cause: "a\x1bb", Evidence: []string{"c\nd"}, Next: "e\rf"}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.ContainsAny(got, "\x1b\r") || !strings.Contains(got, "  c d\n") {
		t.Errorf("the explanation is written as %q", got)
	}
}

func TestOneItemIsAColumnWithoutWhatIsEmpty(t *testing.T) {
	fields := []cli.Column[[2]string]{
		{Head: "ID", Cell: func(v [2]string) string { return v[0] }}, {Head: "LONG NAME", Cell: func(v [2]string) string { return v[1] }}}
	for _, test := range []struct {
		form cli.Format
		item [2]string
		want string
	}{
		{cli.Table, [2]string{"1", "x\ty"}, "ID         1\nLONG NAME  x y\n"},
		{cli.Table, [2]string{"1", ""}, "ID  1\n"},
		{cli.JSON, [2]string{"<1>", "é"}, "[\n  \"<1>\",\n  \"é\"\n]\n"},
		{cli.JSONL, [2]string{"1", "a\nb"}, `["1","a\nb"]` + "\n"},
	} {
		var out bytes.Buffer
		if err := cli.WriteOne(&out, test.form, fields, test.item); err != nil || out.String() != test.want {
			t.Errorf("%s %v: %q, %v; want %q", test.form, test.item, out.String(), err, test.want)
		}
	}
}

// closedPipe fails every write, as a pipe does whose reader has ended.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestFailureToWriteIsAnError(t *testing.T) {
	columns := []cli.Column[int]{{Head: "N", Cell: strconv.Itoa}}
	for _, form := range []cli.Format{cli.Table, cli.JSON, cli.JSONL} {
		if err := cli.Write(closedPipe{}, io.Discard, form, columns, []int{1}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: %v", form, err)
		}
		if err := cli.WriteOne(closedPipe{}, form, columns, 1); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("one as %s: %v", form, err)
		}
	}
	if err := cli.WriteWhy(closedPipe{}, cli.Explanation{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("an explanation: %v", err)
	}
}

func TestCells(t *testing.T) {
	id := uuid.MustParse("019ab0c1-2222-7333-8444-555555000100")
	for got, want := range map[string]string{
		cli.ID(uuid.Nil):      "",
		cli.ID(id):            id.String(),
		cli.Time(time.Time{}): "",
		cli.Time(time.Date(2026, 11, 23, 9, 0, 0, 4_999_999, time.FixedZone("", 3600))): "2026-11-23T08:00:00.004Z",
		cli.Brief("añb", 3):  "añb",
		cli.Brief("añbc", 3): "añ…",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// reasons parses the reasons from the source, so that no test omits one.
func reasons(t *testing.T) []herald.Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../delivery.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []herald.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") || len(spec.Values) == 0 {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if text != "" {
			found = append(found, herald.Reason(text))
		}
		return true
	})
	if len(found) < 18 {
		t.Fatalf("found only %v", found)
	}
	return found
}

// TestEveryReasonIsExplained tests attempts' and deliveries' reasons, with and without
// recorded attempts.
func TestEveryReasonIsExplained(t *testing.T) {
	ends := map[herald.Reason]bool{herald.ReasonExhausted: true, herald.ReasonExpired: true, herald.ReasonCancelled: true,
		herald.ReasonClientDeleted: true, herald.ReasonNoMailServer: true, herald.ReasonUnsubscribed: true, herald.ReasonMailLimit: true}
	for _, reason := range reasons(t) {
		attempt := herald.Attempt{N: 1, Outcome: herald.OutcomeRejected, Reason: reason, Status: 500}
		var all []client.Delivery
		if ends[reason] {
			all = append(all, client.Delivery{Delivery: herald.Delivery{State: herald.Failed, Reason: reason},
				Attempts: []herald.Attempt{{N: 1, Reason: herald.ReasonReset}}})
			if reason == herald.ReasonCancelled || reason == herald.ReasonClientDeleted || reason == herald.ReasonUnsubscribed {
				all[0].State = herald.Cancelled
			}
		} else {
			all = append(all,
				client.Delivery{Delivery: herald.Delivery{State: herald.Pending}, Attempts: []herald.Attempt{attempt}},
				client.Delivery{Delivery: herald.Delivery{State: herald.Failed, Reason: reason}, Attempts: []herald.Attempt{attempt}},
				client.Delivery{Delivery: herald.Delivery{State: herald.Failed, Reason: herald.ReasonExhausted}, Attempts: []herald.Attempt{attempt}})
			if reason != herald.ReasonStatus {
				all = append(all, client.Delivery{Delivery: herald.Delivery{State: herald.Failed, Reason: reason}})
			}
		}
		for _, d := range all {
			got := cli.Why(d, explain.Past{}, time.Now()).Cause
			if strings.Contains(got, "unknown reason") || strings.Contains(got, " 0 ") || !strings.HasSuffix(got, ".") || strings.Contains(got, "1 attempts") {
				t.Errorf("%s, %s, %d attempts: %q", d.State, reason, len(d.Attempts), got)
			}
		}
	}
}

func TestWhatHappensNextDependsOnTheTurn(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	pending := herald.Delivery{State: herald.Pending, NextAttemptAt: now.Add(90 * time.Second)}
	overdue, underWay := pending, pending
	overdue.NextAttemptAt = now
	underWay.InFlight = true
	for want, d := range map[string]herald.Delivery{
		"Attempt 2 at 2026-11-23T03:01:30.000Z, in 1m30s.": pending,
		"Attempt 2 as soon as it is this delivery's turn.": overdue,
		"An attempt is under way or about to be.":          underWay,
		"Nothing; it is done.":                             {State: herald.Delivered},
	} {
		if got := cli.Why(client.Delivery{Delivery: d, Attempts: []herald.Attempt{{N: 1, Reason: herald.ReasonDNS}}}, explain.Past{}, now).Next; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestEvidenceIsOfTheLastAttempt: the evidence has the request, the timings and the response
// of the last attempt, and only the outcome of the earlier ones.
func TestEvidenceIsOfTheLastAttempt(t *testing.T) {
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	d := client.Delivery{Delivery: herald.Delivery{Address: "https://a.example/", State: herald.Failed, Reason: herald.ReasonRedirect, RaisedAt: at}, Attempts: []herald.Attempt{
		{N: 1, At: at, Outcome: herald.OutcomeRetry, Status: 503, Reason: herald.ReasonStatus,
			Request: &herald.RequestRecord{Method: "POST", URL: "https://first.example/"}, Response: &herald.ResponseRecord{Body: "the first answer"}},
		{N: 2, At: at, Outcome: herald.OutcomeRejected, Status: 307, Reason: herald.ReasonRedirect,
			Timings: herald.Timings{DNS: 0.04, Connect: 12.25, FirstByte: 480.5, Total: 500},
			Request: &herald.RequestRecord{Method: "POST", URL: "https://a.example/", Headers: map[string]string{"User-Agent": "Herald/1", "Authorization": "Basic ****"},
				Hops: []herald.Hop{{Status: 307, URL: "https://b.example/"}, {Status: 300, URL: "https://c.example/", Method: "POST", Headers: map[string]string{"User-Agent": "Herald/1"},
					AuthorizationDropped: "the redirect leads to another origin", Unsent: true}}, Redialled: true},
			Response: &herald.ResponseRecord{Body: "moved"}},
	}}
	want := []string{
		"to https://a.example/",
		"raised 2026-11-23T03:00:00.000Z, 2 attempts",
		"attempt 1 at 2026-11-23T03:00:00.000Z: retry, status 503",
		"attempt 2 at 2026-11-23T03:00:00.000Z: rejected, status 307, redirect, 500 ms",
		"the request: POST https://a.example/",
		"  Authorization: Basic ****",
		"  User-Agent: Herald/1",
		"redirected (307) to https://b.example/",
		"redirected (300) to https://c.example/, called with POST and the same body",
		"  User-Agent: Herald/1",
		"  the Authorization header was not sent, because the redirect leads to another origin",
		"  nothing of it was sent, because there was no connection",
		"a kept-alive connection was found closed; the request was made once more on a new one",
		"the time went to: name lookup 0.04 ms, connecting 12.25 ms, waiting for the response 480.5 ms",
		"the response began: moved",
	}
	if diff := cmp.Diff(want, cli.Why(d, explain.Past{}, at).Evidence); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRefusedCallerIsToldWhatWasSent: on a 401 or 403 the first question is whether a header was sent.
func TestRefusedCallerIsToldWhatWasSent(t *testing.T) {
	delivery := func(status int, headers map[string]string) client.Delivery {
		return client.Delivery{Delivery: herald.Delivery{State: herald.Failed, Reason: herald.ReasonStatus, Address: "https://a.example/"},
			Attempts: []herald.Attempt{{N: 1, Outcome: herald.OutcomeRejected, Status: status, Reason: herald.ReasonStatus, Request: &herald.RequestRecord{Headers: headers}}}}
	}
	for _, status := range []int{401, 403} {
		for want, headers := range map[string]map[string]string{
			"No Authorization header was sent.": {"Content-Type": "application/json"},
			"sent (Basic …).":                   {"Authorization": "Basic …"},
			"sent (bearer …).":                  {"authorization": "bearer …"},
			"neither Basic nor Bearer":          {"Authorization": "…"},
		} {
			d := delivery(status, headers)
			if got := cli.Why(d, explain.Past{}, time.Now()).Cause; !strings.Contains(got, want) || !strings.Contains(got, strconv.Itoa(status)) {
				t.Errorf("%d, %v: %q, want it to say %q", status, headers, got, want)
			}
			if got := explain.LacksAuthorization(d.Attempts); got != (want == "No Authorization header was sent.") {
				t.Errorf("%d, %v: lacks the header: %v", status, headers, got)
			}
		}
	}
	d := delivery(401, map[string]string{"Authorization": "Basic …"})
	d.Attempts[0].Request.Hops = []herald.Hop{{Status: 307, URL: "https://b.example/", Method: "POST", AuthorizationDropped: "the redirect leads to another origin"}}
	if got := cli.Why(d, explain.Past{}, time.Now()).Cause; !strings.Contains(got, "redirected to https://b.example/") || !strings.Contains(got, "not sent there, because the redirect leads to another origin") || explain.LacksAuthorization(d.Attempts) {
		t.Errorf("after a redirect to another origin: %q, lacks the header: %v", got, explain.LacksAuthorization(d.Attempts))
	}
	if explain.LacksAuthorization(delivery(500, nil).Attempts) {
		t.Error("a 500 has another cause")
	}
}

// TestReasonsAreComplete: a filter refuses a reason that the list of all lacks.
func TestReasonsAreComplete(t *testing.T) {
	if diff := cmp.Diff(reasons(t), herald.Reasons()); diff != "" {
		t.Errorf("herald.Reasons (-source +list):\n%s", diff)
	}
}
