package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

func numberedDelivery(n int, more string) string {
	return fmt.Sprintf(`{"id":"019ab0c1-2222-7333-8444-55555500%02d00","state":"pending","attemptCount":1,"eventType":"Sync Failed","receiver":"https://acme.example/hook","raisedAt":"2026-11-23T03:00:00Z"%s}`, n, more)
}

// serving starts a service and points the commands at it.
func serving(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Setenv("HERALD_URL", server.URL)
	t.Setenv("HERALD_API_KEY", "k")
}

// TestListsSayWhetherThereIsMore, in every form; a page that is short need not be the last.
func TestListsSayWhetherThereIsMore(t *testing.T) {
	pages := map[string]string{ // by after
		"":        `{"results":[` + numberedDelivery(3, "") + `],"next":"` + ruleID + `"}`,
		ruleID:    `{"results":[],"next":"` + eventID + `"}`,
		eventID:   `{"results":[` + numberedDelivery(2, "") + `],"next":"` + unknownID + `"}`,
		unknownID: `{"results":[` + numberedDelivery(1, "") + `]}`,
	}
	serving(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, pages[r.URL.Query().Get("after")]) // fails only when the caller has gone
	})
	for _, test := range []struct {
		limit string
		n     int
		more  bool
	}{{"1", 1, true}, {"2", 2, true}, {"3", 3, false}, {"9", 3, false}} {
		code, stdout, stderr := command(t, "deliveries", "list", "--limit", test.limit, "-o", "json")
		var page client.Page[client.Delivery]
		if err := json.Unmarshal([]byte(stdout), &page); err != nil || code != cli.OK || len(page.Results) != test.n || (page.Next != uuid.Nil) != test.more {
			t.Errorf("--limit %s: exit code %d, %v, %s %s", test.limit, code, err, stdout, stderr)
		}
		for _, form := range []string{"table", "jsonl"} {
			if _, _, stderr := command(t, "deliveries", "list", "--limit", test.limit, "-o", form); strings.Contains(stderr, "there are more: add --after "+page.Next.String()) != test.more {
				t.Errorf("--limit %s as %s says %q", test.limit, form, stderr)
			}
		}
	}
	for _, args := range [][]string{{"events", "list", "--limit", "1"}, {"clients", "list"}, {"audit"}} {
		pages[""] = `{"results":[{}],"next":"` + unknownID + `"}`
		if _, stdout, _ := command(t, append(args, "-o", "json")...); !strings.Contains(stdout, unknownID) {
			t.Errorf("%v loses next: %s", args, stdout)
		}
		if _, _, stderr := command(t, args...); !strings.Contains(stderr, "--after "+unknownID) {
			t.Errorf("%v does not say that there is more: %q", args, stderr)
		}
	}
	for _, args := range [][]string{{"rules", "list"}, {"alerts", "list"}} {
		pages[""] = `{"results":[{}],"pageNumber":2,"pageSize":1,"totalResults":3}`
		if _, _, stderr := command(t, args...); !strings.Contains(stderr, "3 in all; add --page 3") {
			t.Errorf("%v does not say that there is more: %q", args, stderr)
		}
		pages[""] = `{"results":[{}],"pageNumber":3,"pageSize":1,"totalResults":3}`
		if _, _, stderr := command(t, args...); stderr != "" {
			t.Errorf("%v says %q on the last page", args, stderr)
		}
	}
}

func TestListShowsWhyWhatWaitsIsWaiting(t *testing.T) {
	serving(t, func(w http.ResponseWriter, r *http.Request) {
		if since, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since")); err != nil || time.Since(since) < 2*time.Hour || time.Since(since) > 3*time.Hour {
			t.Errorf("since is %q (%v), want two hours ago", r.URL.Query().Get("since"), err)
		}
		_, _ = io.WriteString(w, `{"results":[`+ // fails only when the caller has gone
			numberedDelivery(1, `,"lastStatus":503,"lastReason":"status"`)+","+
			numberedDelivery(2, `,"reason":"exhausted","lastReason":"timeout","repeats":"`+ruleID+`","madeAt":"2026-11-23T05:00:00Z"`)+`]}`)
	})
	_, stdout, stderr := command(t, "deliveries", "list", "--since", "2h")
	lines := strings.Split(stdout, "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "  503 ") || !strings.Contains(lines[1], "2026-11-23T03:00:00.000Z") ||
		!strings.Contains(lines[2], "exhausted (timeout)") || !strings.Contains(lines[2], "2026-11-23T05:00:00.000Z") || !strings.Contains(lines[2], ruleID) {
		t.Errorf("shown as\n%s%s", stdout, stderr)
	}
}

// TestTailGoesOnWhenTheServiceRestarts, and shows what happened meanwhile.
func TestTailGoesOnWhenTheServiceRestarts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	serving(t, func(w http.ResponseWriter, _ *http.Request) {
		switch calls++; calls {
		case 1:
			_, _ = io.WriteString(w, `{"results":[`+numberedDelivery(1, "")+`]}`) // fails only when the caller has gone
		case 2, 3:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(w, `{"results":[`+numberedDelivery(2, `,"lastStatus":503,"lastReason":"status","repeats":"`+ruleID+`","madeAt":"2026-11-23T05:00:00Z"`)+","+numberedDelivery(1, "")+`]}`)
		}
		if calls == 6 {
			cancel()
		}
	})
	var out, errs bytes.Buffer
	code := run(ctx, []string{"tail", "--interval", "100ms"}, &streams{strings.NewReader(""), &out, &errs})
	if code != cli.Interrupted || strings.Count(errs.String(), "waiting for the service") != 1 || strings.Count(errs.String(), "answers again") != 1 {
		t.Errorf("exit code %d, %q; want one line each when the service goes and comes", code, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], "503  status") || !strings.Contains(lines[1], "repeats "+ruleID) || !strings.HasPrefix(lines[1], "2026-11-23T05:00:00.000Z") {
		t.Errorf("shown:\n%s", out.String())
	}
}

// TestTailEndsWhereWaitingDoesNotHelp: with a wrong key, and with a service that never answered.
func TestTailEndsWhereWaitingDoesNotHelp(t *testing.T) {
	for name, test := range map[string]struct {
		statuses []int
		code     int
	}{"a service that never answered": {[]int{500}, cli.Network}, "a revoked key": {[]int{200, 401}, cli.NotAuthorized}} {
		calls := 0
		serving(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.statuses[min(calls, len(test.statuses)-1)])
			_, _ = io.WriteString(w, `{"results":[]}`) // fails only when the caller has gone
			calls++
		})
		if code, _, stderr := command(t, "tail", "--interval", "100ms"); code != test.code || stderr == "" {
			t.Errorf("%s: exit code %d, %q; want %d", name, code, stderr, test.code)
		}
	}
}

func TestRecoverCountsFirstAndGoesOnToTheEnd(t *testing.T) {
	var calls []string
	serving(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Since  time.Time
			Reason string
			After  string
			DryRun bool
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/deliveries/redeliver" || time.Since(body.Since) < 2*time.Hour || body.Reason != "timeout" {
			t.Errorf("%s %+v, %v", r.URL.Path, body, err)
		}
		calls = append(calls, fmt.Sprint(body.DryRun, body.After))
		answer := map[string]string{
			"true": `{"count":600,"skipped":1,"next":"` + ruleID + `"}`, "true" + ruleID: `{"count":100,"skipped":0}`,
			"false": `{"count":500,"skipped":1,"next":"` + eventID + `"}`, "false" + eventID: `{"count":199,"skipped":0}`,
		}[calls[len(calls)-1]]
		_, _ = io.WriteString(w, answer) // fails only when the caller has gone
	})
	args := []string{"deliveries", "recover", "--since", "2h", "--reason", "timeout", "-o", "jsonl"}
	if code, stdout, stderr := command(t, append(args, "--dry-run")...); code != cli.OK || stdout != `{"dryRun":true,"count":700,"skipped":1}`+"\n" || len(calls) != 2 {
		t.Errorf("--dry-run: exit code %d, %s %s, calls %v", code, stdout, stderr, calls)
	}
	calls = nil
	code, stdout, stderr := command(t, args...)
	if code != cli.OK || stdout != `{"dryRun":false,"count":699,"skipped":1}`+"\n" || len(calls) != 4 || !strings.Contains(stderr, "500 of 700") {
		t.Errorf("exit code %d, %s %s, calls %v", code, stdout, stderr, calls)
	}
	calls = nil
	if code, _, stderr := command(t, "deliveries", "recover"); code != cli.Usage || !strings.Contains(stderr, "--since") || calls != nil {
		t.Errorf("without a filter: exit code %d, %q, calls %v", code, stderr, calls)
	}
}

// TestWhyOfARepeatedDeliveryInvitesToNoDuplicate: what reached the receiver since is said, and no command that
// sends the alert once more.
func TestWhyOfARepeatedDeliveryInvitesToNoDuplicate(t *testing.T) {
	const again = "019ab0c1-2222-7333-8444-555555000101"
	state, asked := "delivered", ""
	serving(t, func(w http.ResponseWriter, r *http.Request) {
		answer := strings.Replace(deliveryJSON, `"state"`, `"repeatedBy":"`+again+`","state"`, 1)
		if r.URL.Path == "/deliveries" {
			answer = `{"results":[]}`
			if r.FormValue("alert") != "" {
				asked = r.FormValue("alert")
				answer = `{"results":[{"id":"` + again + `","state":"` + state + `","receiver":"https://acme.example/hook","madeAt":"2026-11-23T04:00:00Z","doneAt":"2026-11-23T04:01:00Z"}]}`
			}
		}
		_, _ = io.WriteString(w, answer) // fails only when the caller has gone
	})
	const invites = "deliveries redeliver"
	_, stdout, stderr := command(t, "deliveries", "why", deliveryID)
	if !strings.Contains(stdout, "Nothing. The alert reached this receiver with the delivery "+again+", at 2026-11-23T04:01:00.000Z.") || strings.Contains(stdout, invites) || asked != alertID {
		t.Errorf("delivered since: %s%s, of alert %q", stdout, stderr, asked)
	}
	state = "pending"
	if _, stdout, _ := command(t, "deliveries", "why", deliveryID); !strings.Contains(stdout, "The alert is being sent again, as the delivery "+again) || strings.Contains(stdout, invites) {
		t.Errorf("on its way: %s", stdout)
	}
	state = "failed"
	if _, stdout, _ := command(t, "deliveries", "why", deliveryID); !strings.Contains(stdout, again+", which failed too. Send it again with: herald "+invites) {
		t.Errorf("failed again: %s", stdout)
	}
}

// TestWhyOnA401SaysWhetherAHeaderIsSet: of the attempt, and of the profile now.
func TestWhyOnA401SaysWhetherAHeaderIsSet(t *testing.T) {
	profile, analyst := `{"name":"Acme"}`, false
	serving(t, func(w http.ResponseWriter, r *http.Request) {
		answer := strings.NewReplacer(`"status":500`, `"status":401`, `"lastStatus":500`, `"lastStatus":401`).Replace(deliveryJSON)
		switch r.URL.Path {
		case "/profile":
			answer = profile
		case "/deliveries":
			answer = `{"results":[{"id":"019ab0c1-2222-7333-8444-555555000200","state":"delivered","doneAt":"2026-11-23T02:58:00Z"}]}`
		case "/audit":
			answer = `{"results":[{"action":"profile.updated","at":"2026-11-23T02:59:00Z","before":{},"after":{"alertAuthHeader":"Bearer … (changed)"}}]}`
			if analyst {
				w.WriteHeader(http.StatusForbidden)
				answer = `{"statusCode":403,"error":"an analyst"}`
			}
		}
		_, _ = io.WriteString(w, answer) // fails only when the caller has gone
	})
	if _, stdout, _ := command(t, "deliveries", "why", deliveryID); !strings.Contains(stdout, "No Authorization header was sent. The last success was at 2026-11-23T02:58:00.000Z; the header was changed at 2026-11-23T02:59:00.000Z.") || !strings.Contains(stdout, "herald profile set --auth") {
		t.Errorf("without a header: %s", stdout)
	}
	profile = `{"name":"Acme","alertAuthHeader":"Bearer hunter2"}`
	if _, stdout, _ := command(t, "deliveries", "why", deliveryID); !strings.Contains(stdout, "(Bearer …)") || strings.Contains(stdout, "hunter2") {
		t.Errorf("with a header that was set since: %s", stdout)
	}
	analyst = true // who does not see the audit log
	if code, stdout, stderr := command(t, "deliveries", "why", deliveryID); code != cli.OK || !strings.Contains(stdout, "The last success was at 2026-11-23T02:58:00.000Z.\n") {
		t.Errorf("an analyst's: exit code %d, %s%s", code, stdout, stderr)
	}
}
