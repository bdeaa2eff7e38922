package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
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

var update = flag.Bool("update", false, "write the golden file anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC // tables show local times
	os.Exit(m.Run())
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, cli.OK},
		{errors.New("anything"), cli.General},
		{&cli.UsageError{Text: "no"}, cli.Usage},
		{&client.Error{StatusCode: 400}, cli.General},
		{&client.Error{StatusCode: 401}, cli.NotAuthorized},
		{&client.Error{StatusCode: 403}, cli.NotAuthorized},
		{fmt.Errorf("wrapped: %w", &client.Error{StatusCode: 404}), cli.NotFound},
		{&client.Error{StatusCode: 409}, cli.Conflict},
		{&client.Error{StatusCode: 422}, cli.Conflict},
		{&client.Error{StatusCode: 503}, cli.Network},
		{&url.Error{Op: "Get", Err: errors.New("refused")}, cli.Network},
	} {
		if got := cli.ExitCode(test.err); got != test.want {
			t.Errorf("%v: exit code %d, want %d", test.err, got, test.want)
		}
	}
}

func TestForms(t *testing.T) {
	type row struct{ Name, Text string }
	rows := []row{{"a", "one\x1b[31m\ttwo"}, {"long name", "<&>"}}
	columns := []cli.Column[row]{{Head: "NAME", Cell: func(r row) string { return r.Name }}, {Head: "TEXT", Cell: func(r row) string { return r.Text }}}
	for form, want := range map[cli.Format]string{
		cli.Table: "NAME       TEXT\na          one [31m two\nlong name  <&>\n",
		cli.JSONL: `{"Name":"a","Text":"one\u001b[31m\ttwo"}` + "\n" + `{"Name":"long name","Text":"<&>"}` + "\n",
	} {
		var out, notes bytes.Buffer
		if err := cli.Write(&out, &notes, form, columns, rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" || notes.Len() > 0 {
			t.Errorf("%s (-want +got):\n%s%s", form, diff, notes.String())
		}
	}
	var out, notes bytes.Buffer
	if err := cli.Write(&out, &notes, cli.Table, columns, nil); err != nil || out.Len() > 0 || notes.String() != "none\n" {
		t.Errorf("nothing: %q and %q, %v", out.String(), notes.String(), err)
	}
	if err := cli.Write(&out, &notes, cli.JSON, columns, nil); err != nil || out.String() != "[]\n" {
		t.Errorf("nothing as JSON: %q, %v", out.String(), err)
	}
}

// TestWhy compares every explanation with one golden file that people can read.
func TestWhy(t *testing.T) {
	raised := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	now := raised.Add(time.Minute)
	id := uuid.MustParse("019ab0c1-2222-7333-8444-555555000100")
	delivery := func(state herald.State, reason herald.Reason, attempts ...herald.Attempt) client.Delivery {
		d := client.Delivery{Delivery: herald.Delivery{ID: id, Address: "https://acme.example/hook", State: state, Reason: reason, RaisedAt: raised}}
		for i := range attempts {
			attempts[i].N, attempts[i].At = i+1, raised.Add(time.Duration(i)*20*time.Second)
		}
		d.Attempts = attempts
		if state == herald.Pending {
			d.NextAttemptAt = now.Add(20 * time.Second)
		}
		return d
	}
	failed := func(status int, reason herald.Reason) herald.Attempt {
		return herald.Attempt{Outcome: herald.OutcomeRetry, Status: status, Reason: reason, Error: "what the attempt says", Timings: herald.Timings{Total: 12.3},
			Response: &herald.ResponseRecord{Body: "<html>" + strings.Repeat("x", 500)}}
	}
	all := []client.Delivery{
		delivery(herald.Delivered, herald.ReasonNone, herald.Attempt{Outcome: herald.OutcomeDelivered, Status: 204, Timings: herald.Timings{Total: 8}}),
		delivery(herald.Pending, herald.ReasonNone),
		delivery(herald.Cancelled, herald.ReasonCancelled),
		delivery(herald.Cancelled, herald.ReasonClientDeleted),
		delivery(herald.Failed, herald.ReasonExpired),
		delivery(herald.Failed, herald.ReasonNoMailServer),
		delivery(herald.Failed, herald.ReasonExhausted, failed(503, herald.ReasonStatus), failed(0, herald.ReasonTimeout)),
		delivery(herald.Failed, herald.ReasonStatus, failed(500, herald.ReasonStatus)),
	}
	for _, reason := range []herald.Reason{herald.ReasonDNS, herald.ReasonConnectRefused, herald.ReasonConnectTimeout, herald.ReasonConnect, herald.ReasonTLS,
		herald.ReasonTimeout, herald.ReasonReset, herald.ReasonProtocol, herald.ReasonNotAllowed, herald.ReasonRedirect, herald.ReasonAddress, herald.ReasonInterrupted} {
		all = append(all, delivery(herald.Pending, herald.ReasonNone, failed(0, reason)))
	}
	refused := failed(401, herald.ReasonStatus)
	refused.Request = &herald.RequestRecord{Method: "POST", URL: "https://acme.example/hook", Headers: map[string]string{"Authorization": "Bearer …"}}
	all = append(all, delivery(herald.Failed, herald.ReasonStatus, refused))
	past := explain.Past{Searched: true, LastSuccess: raised.Add(-2 * time.Minute), HeaderChanges: []time.Time{raised.Add(-time.Minute)}}
	for _, text := range []string{
		"unconfirmed: the mailbox ops@acme.example has not confirmed that it takes mail of this client",
		"no_consent: the receiver has not consented to be called", "the proxy refuses connections",
	} {
		d := delivery(herald.Pending, herald.ReasonNone)
		d.Waiting = text
		all = append(all, d)
	}
	again := uuid.MustParse("019ab0c1-2222-7333-8444-555555000101")
	repeated, repeat := delivery(herald.Failed, herald.ReasonStatus, failed(500, herald.ReasonStatus)), delivery(herald.Failed, herald.ReasonStatus, failed(500, herald.ReasonStatus))
	repeated.RepeatedBy, repeat.Repeats, repeat.MadeAt = again, again, raised.Add(time.Second)
	all = append(all, repeated, repeat)
	past.Others = []herald.Delivery{{ID: again, State: herald.Delivered, Address: "https://acme.example/hook", MadeAt: raised.Add(50 * time.Second), DoneAt: raised.Add(51 * time.Second)}}
	var text bytes.Buffer
	for _, d := range all {
		past := past
		if d.Repeats == uuid.Nil && d.RepeatedBy == uuid.Nil {
			past.Others = nil
		}
		explanation := cli.Why(d, past, now)
		if strings.Contains(explanation.Cause, "unknown reason") {
			t.Errorf("%s (%s) is not explained", d.State, d.Reason)
		}
		fmt.Fprintf(&text, "=== %s %s\n", d.State, d.Reason)
		if err := cli.WriteWhy(&text, explanation); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(explanation); err != nil {
			t.Fatal(err)
		}
	}
	const golden = "testdata/why.golden"
	if *update {
		if err := os.WriteFile(golden, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("explanations (-want +got):\n%s", diff)
	}
}

// TestOutputCannotControlTheTerminal in any format; JSON keeps the characters, escaped.
func TestOutputCannotControlTheTerminal(t *testing.T) {
	type item struct {
		Name string
		Raw  json.RawMessage
	}
	evil := "a\x1b[2J\u009b31m\x7f\u202eb\u2028c\r"
	one := item{Name: evil, Raw: json.RawMessage("{\"x\":\"\u009b31m\u202e\x7f\"}")}
	columns := []cli.Column[item]{{Head: "NAME", Cell: func(i item) string { return i.Name }}}
	for _, format := range []cli.Format{cli.Table, cli.JSON, cli.JSONL} {
		var out, single strings.Builder
		if err := errors.Join(cli.Write(&out, io.Discard, format, columns, []item{one}), cli.WriteOne(&single, format, columns, one)); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{out.String(), single.String()} {
			if strings.ContainsAny(text, "\x1b\u009b\x7f\u202e\u2028\r") {
				t.Errorf("%s: %q", format, text)
			}
		}
		var back item
		if format == cli.JSONL && (json.Unmarshal([]byte(single.String()), &back) != nil || back.Name != evil) {
			t.Errorf("%q comes back as %q", evil, back.Name)
		}
	}
}
