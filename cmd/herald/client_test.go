package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

var update = flag.Bool("update", false, "write the golden file anew")

// The ids that the fake service knows.
const (
	ruleID     = "019ab0c1-1111-7111-8111-111111111111"
	eventID    = "019ab0c1-2222-7333-8444-555555000000"
	alertID    = "019ab0c1-2222-7333-8444-555555000100"
	deliveryID = alertID // a delivery's id is its alert's, with 0 for the webhook
	clientID   = "019ab0c1-0000-7111-8111-111111111111"
	companyID  = "8a210b68-6988-11ed-a1eb-0242ac120002"
	unknownID  = "019ab0c1-ffff-7111-8111-111111111111"
)

// The fake service's data, as JSON of the API.
const (
	ruleJSON = `{"id":"` + ruleID + `","type":"Sync Failed","companyId":"` + companyID + `","notifiers":{"emails":["a@acme.example"],"webhook":"https://acme.example/hook"}}`
	allJSON  = `{"id":"` + unknownID + `","type":"Sync Completed","notifiers":{"emails":[]}}`

	eventJSON = `{"id":"` + eventID + `","clientId":"` + clientID + `","type":"Sync Failed","companyId":"` + companyID + `",
		"data":{"syncId":"s-1","syncType":"Expense","FailureStage":"Pushing"},"occurredAt":"2026-11-23T03:00:00Z","acceptedAt":"2026-11-23T03:00:00.5Z",
		"alerts":[{"id":"` + alertID + `","ruleId":"` + ruleID + `"}]}`
	alertJSON = `{"id":"` + alertID + `","ruleId":"` + ruleID + `","ruleType":"Sync Failed","companyId":"` + companyID + `","clientId":"` + clientID + `",
		"clientName":"Acme","message":"Sync s-1 has failed.","data":{"syncId":"s-1"},"raisedOnUtc":"2026-11-23T03:00:00.5Z"}`

	deliveryJSON = `{"id":"` + deliveryID + `","clientId":"` + clientID + `","alertId":"` + alertID + `","eventId":"` + eventID + `","ruleId":"` + ruleID + `",
		"eventType":"Sync Failed","companyId":"` + companyID + `","receiver":"https://acme.example/hook","state":"failed","reason":"status","attemptCount":1,
		"raisedAt":"2026-11-23T03:00:00.5Z","doneAt":"2026-11-23T03:00:00.6Z",
		"lastStatus":500,"lastReason":"status",
		"attempts":[{"n":1,"at":"2026-11-23T03:00:00.501Z","outcome":"rejected","status":500,"reason":"status","error":"the receiver answered 500 Internal Server Error",
			"timings":{"dnsMs":1,"connectMs":2,"tlsMs":3,"firstByteMs":4,"totalMs":12},
			"request":{"method":"POST","url":"https://acme.example/hook","headers":{"Content-Type":"application/json; charset=utf-8"}},
			"response":{"headers":{},"body":"oops"}}]}`
	typeJSON = `{"name":"Sync Failed","label":"Sync failed","spellings":["Sync Failed","sync-failed"],"company":true,"connection":true,
		"required":["syncId","syncType"],"message":"Sync {syncId} has failed.","example":{"syncId":"s-1"},"builtIn":true}`
	accountJSON = `{"id":"` + clientID + `","name":"Acme"}`
	keyJSON     = `{"id":"` + unknownID + `","name":"reports","role":"analyst","createdDate":"2026-11-23T03:00:00Z"}`
	statusJSON  = `{"attention":["https://acme.example of client ` + clientID + ` has 12 deliveries pending, the oldest since 2026-11-23T02:00:00Z"],"version":"1.2.3","at":"2026-11-23T03:00:00Z","nodes":3,
		"backlog":{"pending":20000,"ready":3,"waiting":12,"held":19985,"atLeast":true,"oldestDue":"2026-11-23T02:59:50Z"},
		"slowReceivers":[{"clientId":"` + clientID + `","receiver":"https://acme.example","waiting":12,"since":"2026-11-23T02:00:00Z"}],
		"database":{"kind":"SQLite","bytes":12345678,"growthDay":{"since":"2026-11-22T02:59:00Z","bytes":1310720}},"lastBackup":"2026-11-22T03:00:00Z"}`
	receiptJSON = `{"id":"` + eventID + `","alertCount":1,"alertIds":["` + alertID + `"]}`
)

func numbered(results ...string) string {
	return fmt.Sprintf(`{"results":[%s],"pageNumber":1,"pageSize":100,"totalResults":%d}`, strings.Join(results, ","), len(results))
}

// answers returns the fake service's answers by method and path.
func answers() map[string]string {
	of := map[string]string{
		"GET /rules":  numbered(ruleJSON, allJSON),
		"POST /rules": ruleJSON,
		"POST /rules/preview": `{"matched":1,"examined":4,"since":"2026-11-16T03:00:00Z","complete":true,"examples":[{"id":"` + eventID + `","type":"Sync Failed","acceptedAt":"2026-11-23T03:00:00Z"}],
			"summary":"The rule would have matched 1 of 4 events in the last 7 days."}`,
		"POST /rules/" + ruleID + "/test": receiptJSON,
		"GET /rules/" + ruleID:            ruleJSON,
		"PUT /rules/" + ruleID:            ruleJSON,
		"GET /events":                     `{"results":[` + eventJSON + `]}`,
		"POST /events":                    receiptJSON,
		"GET /events/" + eventID:          eventJSON,
		"GET /events/" + eventID + "/rules": `{"results":[{"ruleId":"` + ruleID + `","type":"Sync Failed","met":true,"alertId":"` + alertID + `","why":"The event met the rule and raised the alert ` + alertID + `."},
			{"ruleId":"` + unknownID + `","type":"Sync Completed","met":false,"reason":"type","why":"The rule is for events of type Sync Completed, and this event is of type Sync Failed."}],"met":1,"rules":2}`,
		"GET /rules/alerts": numbered(alertJSON),
		"GET /deliveries":   `{"results":[` + deliveryJSON + `]}`,
		"GET /eventTypes":   `{"results":[` + typeJSON + `]}`,
		"GET /clients":      `{"results":[` + accountJSON + `]}`,
		"POST /clients/" + clientID + "/portalLinks": `{"url":"https://herald.example/portal/link#secret","clientId":"` + clientID + `","role":"developer","expiresAt":"2026-11-23T03:10:00Z"}`,

		"DELETE /sessions": ``,
		"POST /clients":    `{"id":"` + clientID + `","name":"Acme","apiKey":"hk-shown-once"}`,

		"DELETE /rules/" + ruleID:          ``,
		"GET /rules/" + ruleID + "/alerts": numbered(),
		"GET /rules/alerts/" + alertID:     alertJSON,
		"GET /deliveries/" + deliveryID:    deliveryJSON,
		"GET /eventTypes/Sync Failed":      typeJSON,
		"GET /clients/" + clientID:         accountJSON,
		"DELETE /clients/" + clientID:      ``,

		"POST /deliveries/" + deliveryID + "/redeliver": deliveryJSON,
		"POST /deliveries/" + deliveryID + "/retry":     deliveryJSON,
		"POST /deliveries/redeliver":                    `{"count":2,"skipped":1}`,
		"GET /profile":                                  `{"name":"Acme","redirectUrl":"https://acme.example","alertAuthHeader":"Bearer hunter2"}`,
		"DELETE /eventTypes/Invoice paid":               ``,
		"GET /status":                                   statusJSON,
		"GET /clients/" + clientID + "/apiKeys":         `{"results":[` + keyJSON + `]}`,

		"DELETE /clients/" + clientID + "/apiKeys/" + unknownID: ``,
	}
	return of
}

// fakeService starts a service that answers as Herald does. It refuses every key but
// "hk-key", and it answers every cancel with a conflict.
func fakeService(t *testing.T) {
	t.Helper()
	of := answers()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := of[r.Method+" "+r.URL.Path]
		if about := r.URL.Query().Get("client"); about != "" && about != clientID {
			known = false
		}
		switch {
		case r.Header.Get("Authorization") != "Basic aGsta2V5":
			w.WriteHeader(http.StatusUnauthorized)
			answer = `{"statusCode":401,"error":"Unauthorized","correlationId":"c-1"}`
		case strings.HasSuffix(r.URL.Path, "/cancel"):
			w.WriteHeader(http.StatusConflict)
			answer = `{"statusCode":409,"error":"The delivery has failed already.","correlationId":"c-2"}`
		case !known:
			w.WriteHeader(http.StatusNotFound)
			answer = `{"statusCode":404,"error":"Nothing has this id.","correlationId":"c-3"}`
		}
		_, _ = io.WriteString(w, answer) // fails only when the caller has gone
	}))
	t.Cleanup(server.Close)
	t.Setenv("HERALD_URL", server.URL)
	t.Setenv("HERALD_API_KEY", "hk-key")
}

// TestWhatCommandsShow compares the output of every client command with one golden file
// that people can read. Lines of stderr begin with "2>".
func TestWhatCommandsShow(t *testing.T) {
	fakeService(t)
	var shown bytes.Buffer
	for _, args := range [][]string{
		{"rules", "list"}, {"rules", "list", "-o", "jsonl"}, {"rules", "get", ruleID}, {"rules", "get", ruleID, "-o", "json"}, {"rules", "get", unknownID},
		{"rules", "create", "Sync Failed", "--webhook", "https://acme.example/hook"}, {"rules", "preview", "Sync Failed"}, {"rules", "test", ruleID}, {"rules", "test", ruleID, "--wait"}, {"rules", "update", ruleID, "Sync Failed"}, {"rules", "delete", ruleID, "--yes"},
		{"events", "list"}, {"events", "get", eventID}, {"events", "why", eventID}, {"events", "publish", "Sync Failed", "--company", companyID},
		{"alerts", "list"}, {"alerts", "list", "--rule", ruleID}, {"alerts", "list", "--rule", ruleID, "-o", "json"}, {"alerts", "get", alertID},
		{"deliveries", "list"}, {"deliveries", "get", deliveryID}, {"deliveries", "why", deliveryID}, {"deliveries", "why", deliveryID, "-o", "json"},
		{"deliveries", "redeliver", deliveryID}, {"deliveries", "retry", deliveryID}, {"deliveries", "cancel", deliveryID},
		{"deliveries", "recover", "--receiver", "https://acme.example/hook", "--dry-run"}, {"deliveries", "recover", "--receiver", "https://acme.example/hook"},
		{"profile", "get"},
		{"types", "list"}, {"types", "get", "Sync Failed"}, {"types", "delete", "Invoice paid", "--yes"},
		{"clients", "list"}, {"clients", "get", clientID}, {"clients", "create", "Acme"}, {"clients", "delete", clientID, "--yes"},
		{"keys", "sign-out"}, {"portal-link", clientID}, {"portal-link", clientID, "--expires", "25h"},
		{"trigger", "Sync Failed"},
		{"status"}, {"status", "-o", "json"},
		{"keys", "list", "--client", clientID}, {"keys", "delete", unknownID, "--client", clientID, "--yes"},
		{"deliveries", "list", "--client", clientID, "-o", "jsonl"}, {"deliveries", "redeliver", deliveryID, "--client", unknownID},
		{"rules", "list", "--key", "wrong"},
	} {
		code, stdout, stderr := command(t, args...)
		fmt.Fprintf(&shown, "$ herald %s\n%s", strings.Join(args, " "), stdout)
		if stderr != "" {
			fmt.Fprintf(&shown, "2> %s", stderr)
		}
		fmt.Fprintf(&shown, "exit code %d\n\n", code)
	}
	const golden = "testdata/commands.golden"
	if *update {
		if err := os.WriteFile(golden, shown.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), shown.String()); diff != "" {
		t.Errorf("commands show (-want +got; write anew with -update):\n%s", diff)
	}
}

// TestCommandsForAClientNameIt checks what the service is asked, with the operator's key and --client.
func TestCommandsForAClientNameIt(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		_, _ = io.WriteString(w, `{"results":[],"id":"`+deliveryID+`"}`) // fails only when the caller has gone
	}))
	defer server.Close()
	t.Setenv("HERALD_URL", server.URL)
	t.Setenv("HERALD_API_KEY", "operator")
	for _, args := range [][]string{
		{"deliveries", "list"}, {"deliveries", "get", deliveryID}, {"deliveries", "get", deliveryID, "--body"}, {"deliveries", "why", deliveryID},
		{"deliveries", "redeliver", deliveryID}, {"deliveries", "recover", "--since", "2h", "--dry-run"}, {"deliveries", "cancel", deliveryID},
		{"alerts", "list"}, {"alerts", "list", "--rule", ruleID}, {"alerts", "get", alertID},
		{"events", "list"}, {"events", "get", eventID}, {"rules", "list"}, {"rules", "get", ruleID},
		{"keys", "list"}, {"keys", "delete", unknownID, "--yes"}, {"profile", "get"},
	} {
		asked = nil
		code, _, stderr := command(t, append(args, "--client", clientID)...)
		if code != cli.OK || len(asked) == 0 || !strings.Contains(asked[0], "client="+clientID) && !strings.Contains(asked[0], "/clients/"+clientID+"/apiKeys") {
			t.Errorf("%v: exit code %d, %s; asked %q", args, code, stderr, asked)
		}
	}
}

func TestTailOfAClientNamesIt(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.RequestURI():
		default:
		}
		_, _ = io.WriteString(w, `{"results":[]}`) // fails only when the caller has gone
		stop()
	}))
	defer server.Close()
	var out, errs bytes.Buffer
	code := run(ctx, []string{"tail", "--key", "operator", "--url", server.URL, "--client", clientID}, &streams{strings.NewReader(""), &out, &errs})
	if code != cli.Interrupted || len(asked) == 0 || !strings.Contains(<-asked, "client="+clientID) {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

// TestTriggerFillsInWhatTheTypeNeeds also checks that given values are kept.
func TestTriggerFillsInWhatTheTypeNeeds(t *testing.T) {
	published := make(chan client.Event, 1)
	kind := typeJSON
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, kind) // fails only when the caller has gone
			return
		}
		var e client.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		published <- e
		_, _ = io.WriteString(w, receiptJSON)
	}))
	defer server.Close()
	trigger := func(args ...string) client.Event {
		t.Helper()
		if code, _, stderr := command(t, append([]string{"trigger", "Sync Failed", "--key", "k", "--url", server.URL}, args...)...); code != cli.OK {
			t.Fatalf("%v: exit code %d, %s", args, code, stderr)
		}
		return <-published
	}
	first, second := trigger(), trigger()
	if first.CompanyID == uuid.Nil || first.DataConnectionID == uuid.Nil || first.CompanyID == second.CompanyID || first.DataConnectionID == second.DataConnectionID {
		t.Errorf("%+v and %+v: want a new company and connection in each", first, second)
	}
	if first.Type != "Sync Failed" || string(first.Data) != `{"syncId":"s-1"}` {
		t.Errorf("%+v: want the type's example", first)
	}
	given := trigger("--company", companyID, "--data-connection", ruleID, "--data", `{"a":1}`, "--client", clientID)
	if given.CompanyID.String() != companyID || given.DataConnectionID.String() != ruleID || string(given.Data) != `{"a":1}` || given.ClientID.String() != clientID {
		t.Errorf("%+v is not what was given", given)
	}
	kind = `{"name":"Rate Limit Reset","company":false,"connection":false}`
	if bare := trigger(); bare.CompanyID != uuid.Nil || bare.DataConnectionID != uuid.Nil || bare.Data != nil {
		t.Errorf("%+v: the type needs nothing", bare)
	}
}

// TestTailShowsEachDeliveryOnceAndWhenItChanges also checks the order, oldest first.
func TestTailShowsEachDeliveryOnceAndWhenItChanges(t *testing.T) {
	delivery := func(id int, state string, attempts int) string {
		return fmt.Sprintf(`{"id":"019ab0c1-2222-7333-8444-55555500%02d00","state":%q,"attemptCount":%d,"eventType":"Sync Failed","receiver":"https://acme.example/hook","raisedAt":"2026-11-23T03:00:00Z"}`, id, state, attempts)
	}
	answers := []string{
		delivery(1, "pending", 0),
		delivery(1, "pending", 0),
		delivery(2, "delivered", 1) + "," + delivery(1, "pending", 1),
		delivery(2, "delivered", 1) + "," + delivery(1, "failed", 2),
		delivery(2, "delivered", 1) + "," + delivery(1, "failed", 2),
	}
	all := []string{"1 pending 0", "1 pending 1", "2 delivered 1", "1 failed 2"}
	for _, test := range []struct {
		flags []string
		want  []string
	}{{nil, all}, {[]string{"--failed"}, []string{all[1], all[3]}}} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		calls := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			since, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
			if ago := time.Since(since); err != nil || ago < 29*time.Second || ago > time.Minute {
				t.Errorf("looks since %v (%v), want 30 s ago", since, err)
			}
			_, _ = io.WriteString(w, `{"results":[`+answers[min(calls, len(answers)-1)]+`]}`) // fails only when the caller has gone
			if calls++; calls > len(answers) {
				cancel()
			}
		}))
		defer server.Close()
		var out, errs bytes.Buffer
		args := append([]string{"tail", "--key", "k", "--url", server.URL, "--interval", "100ms", "--since", "30s", "-o", "json"}, test.flags...)
		if code := run(ctx, args, &streams{strings.NewReader(""), &out, &errs}); code != cli.Interrupted || errs.Len() > 0 {
			t.Errorf("%v: exit code %d, %q; want 130 and silence", test.flags, code, errs.String())
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			var d client.Delivery
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			got = append(got, fmt.Sprintf("%x %s %d", d.ID[14], d.State, d.AttemptCount))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: showed %v, want %v", test.flags, got, test.want)
		}
	}
}
