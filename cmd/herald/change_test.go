package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"herald/internal/cli"
)

// keeper is a service that has one thing of each kind and records the bodies that change them.
type keeper struct {
	answers map[string]string // by method and path
	bodies  []string          // "METHOD PATH BODY"
}

func startKeeper(t *testing.T, answers map[string]string) *keeper {
	t.Helper()
	k := &keeper{answers: answers}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodGet {
			k.bodies = append(k.bodies, r.Method+" "+r.URL.Path+" "+string(body))
		}
		answer, known := k.answers[r.Method+" "+r.URL.Path]
		switch {
		case known:
		case r.Method == http.MethodPut || r.Method == http.MethodPost:
			answer = string(body)
		default:
			w.WriteHeader(http.StatusNotFound)
			answer = `{"statusCode":404,"error":"Nothing has this id.","correlationId":"c-3"}`
		}
		_, _ = io.WriteString(w, answer) // fails only when the caller has gone
	}))
	t.Cleanup(server.Close)
	t.Setenv("HERALD_URL", server.URL)
	t.Setenv("HERALD_API_KEY", "k")
	return k
}

// sent runs a command that must succeed and returns the one body that it sent, as JSON.
func (k *keeper) sent(t *testing.T, stdin string, args ...string) (body map[string]any, stdout, stderr string) {
	t.Helper()
	k.bodies = nil
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &streams{strings.NewReader(stdin), &out, &errs}); code != cli.OK || len(k.bodies) != 1 {
		t.Fatalf("%v: exit code %d, %s, sent %q", args, code, errs.String(), k.bodies)
	}
	text := k.bodies[0][strings.Index(k.bodies[0], "{"):]
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%v sent %q: %v", args, k.bodies[0], err)
	}
	return body, out.String(), errs.String()
}

func TestRulesUpdateChangesWhatItIsGiven(t *testing.T) {
	k := startKeeper(t, map[string]string{"GET /rules/" + ruleID: ruleJSON})
	const other = "11111111-2222-4333-8444-555555555555"
	rule := func(kind, company, webhook string, emails ...any) map[string]any {
		r := map[string]any{"id": ruleID, "type": kind, "notifiers": map[string]any{"emails": append([]any{}, emails...)}}
		if company != "" {
			r["companyId"] = company
		}
		if webhook != "" {
			r["notifiers"].(map[string]any)["webhook"] = webhook
		}
		return r
	}
	const hook, box = "https://acme.example/hook", "a@acme.example"
	for _, test := range []struct {
		args []string
		want map[string]any
	}{
		{[]string{"Sync Completed"}, rule("Sync Completed", companyID, hook, box)},
		{[]string{"--webhook", "https://new.example/"}, rule("Sync Failed", companyID, "https://new.example/", box)},
		{[]string{"--no-webhook"}, rule("Sync Failed", companyID, "", box)},
		{[]string{"--email", "b@acme.example", "--email", "c@acme.example"}, rule("Sync Failed", companyID, hook, "b@acme.example", "c@acme.example")},
		{[]string{"--no-email"}, rule("Sync Failed", companyID, hook)},
		{[]string{"--company", other}, rule("Sync Failed", other, hook, box)},
		{[]string{"--all-companies"}, rule("Sync Failed", "", hook, box)},
		{[]string{"Sync Completed", "--all-companies", "--no-webhook"}, rule("Sync Completed", "", "", box)},
	} {
		got, _, _ := k.sent(t, "", append([]string{"rules", "update", ruleID}, test.args...)...)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.args, diff)
		}
	}
	k.bodies = nil
	for _, args := range [][]string{{}, {"--webhook", ""}, {"--email", ""}, {"--webhook", "https://a.example", "--no-webhook"}, {"--company", other, "--all-companies"}} {
		if code, _, stderr := command(t, append([]string{"rules", "update", ruleID}, args...)...); code != cli.Usage || stderr == "" {
			t.Errorf("%v: exit code %d, %q; want a usage error", args, code, stderr)
		}
	}
	if len(k.bodies) != 0 {
		t.Errorf("refused command lines sent %q", k.bodies)
	}
}

func TestRulesWithoutReceiverAndWithoutMailServerWarn(t *testing.T) {
	without := `{"id":"` + ruleID + `","type":"Sync Failed","notifiers":{"emails":[]}}`
	for name, test := range map[string]struct {
		rule, capabilities string
		want               string
	}{
		"no receiver":                {without, `{"mail":false}`, "no receiver"},
		"mailbox, no mail server":    {ruleJSON, `{"mail":false}`, "no mail server"},
		"mailbox, mail server":       {ruleJSON, `{"mail":true}`, ""},
		"webhook, no mail server":    {`{"id":"` + ruleID + `","notifiers":{"emails":[],"webhook":"https://a.example"}}`, `{"mail":false}`, ""},
		"a service of an older kind": {ruleJSON, "", ""},
	} {
		answers := map[string]string{"POST /rules": test.rule, "PUT /rules/" + ruleID: test.rule, "GET /rules/" + ruleID: test.rule}
		if test.capabilities != "" {
			answers["GET /capabilities"] = test.capabilities
		}
		startKeeper(t, answers)
		for _, args := range [][]string{{"rules", "create", "Sync Failed"}, {"rules", "update", ruleID, "Sync Failed"}} {
			code, stdout, stderr := command(t, append(args, "-o", "json")...)
			if code != cli.OK || !json.Valid([]byte(stdout)) {
				t.Errorf("%s: %v: exit code %d, %q", name, args, code, stdout)
			}
			if (stderr == "") != (test.want == "") || !strings.Contains(stderr, test.want) || test.want != "" && !strings.HasPrefix(stderr, "warning: ") {
				t.Errorf("%s: %v says %q, want a warning of %q", name, args, stderr, test.want)
			}
		}
	}
}

func TestProfileSetChangesWhatItIsGiven(t *testing.T) {
	const stored = `{"name":"Acme","redirectUrl":"https://acme.example/{companyId}","whiteListUrls":["https://a.example"],"alertAuthHeader":"Basic c2VjcmV0","confirmCompanyName":true}`
	k := startKeeper(t, map[string]string{"GET /profile": stored})
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, fmt.Sprint(len(text), "-secret"))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, test := range []struct {
		args   []string
		stdin  string
		member string
		want   any
	}{
		{[]string{"--auth-basic", "ann:s3:cret"}, "", "alertAuthHeader", "Basic YW5uOnMzOmNyZXQ="},
		{[]string{"--auth-basic", "-"}, "ann:s3:cret\n", "alertAuthHeader", "Basic YW5uOnMzOmNyZXQ="},
		{[]string{"--auth-basic-file", file("ann:s3:cret\r\n")}, "", "alertAuthHeader", "Basic YW5uOnMzOmNyZXQ="},
		{[]string{"--auth-bearer", "t0k"}, "", "alertAuthHeader", "Bearer t0k"},
		{[]string{"--auth-bearer-file", file("t0k")}, "", "alertAuthHeader", "Bearer t0k"},
		{[]string{"--auth-bearer-file", "-"}, "t0k\n", "alertAuthHeader", "Bearer t0k"},
		{[]string{"--no-auth"}, "", "alertAuthHeader", ""},
		{[]string{"--name", "Zoë"}, "", "name", "Zoë"},
		{[]string{"--redirect-url", "https://z.example"}, "", "redirectUrl", "https://z.example"},
		{[]string{"--white-list", "https://b.example", "--white-list", "https://c.example"}, "", "whiteListUrls", []any{"https://b.example", "https://c.example"}},
		{[]string{"--no-white-list"}, "", "whiteListUrls", []any{}},
		{[]string{"--logo-url", "https://z.example/logo"}, "", "logoUrl", "https://z.example/logo"},
		{[]string{"--no-confirm-company-name"}, "", "confirmCompanyName", nil},
	} {
		var want map[string]any
		if err := json.Unmarshal([]byte(stored), &want); err != nil {
			t.Fatal(err)
		}
		if want[test.member] = test.want; test.want == nil {
			delete(want, test.member)
		}
		got, stdout, _ := k.sent(t, test.stdin, append([]string{"profile", "set"}, test.args...)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.args, diff)
		}
		for _, secret := range []string{"c2VjcmV0", "YW5uOnMzOmNyZXQ", "t0k", "s3:cret"} {
			if strings.Contains(stdout, secret) {
				t.Errorf("%v shows the secret: %s", test.args, stdout)
			}
		}
	}
}

func TestWrongSecretsAreRefusedAndNotShown(t *testing.T) {
	k := startKeeper(t, map[string]string{"GET /profile": `{"name":"Acme"}`})
	for _, test := range []struct {
		args  []string
		stdin string
	}{
		{[]string{"--auth-basic", "hunter2"}, ""},
		{[]string{"--auth-bearer", "Bearer hunter2"}, ""},
		{[]string{"--auth-bearer", "hunter2\nX: y"}, ""},
		{[]string{"--auth-bearer", "hunter2é"}, ""},
		{[]string{"--auth-bearer-file", "-"}, "hunter2\nmore\n"},
		{[]string{"--auth-bearer-file", "-"}, "\n"},
		{[]string{"--auth-bearer", "-"}, ""},
		{[]string{"--auth-bearer-file", "/nowhere/secret"}, ""},
		{[]string{"--auth-bearer", "hunter2", "--no-auth"}, ""},
		{nil, ""},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"profile", "set"}, test.args...), &streams{strings.NewReader(test.stdin), &out, &errs})
		if code != cli.Usage || strings.Contains(errs.String(), "hunter2") || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%v: exit code %d, %q; want a usage error in one line without the secret", test.args, code, errs.String())
		}
	}
	if len(k.bodies) != 0 {
		t.Errorf("sent %q", k.bodies)
	}
}

func TestProfileGetMasksTheSecret(t *testing.T) {
	k := startKeeper(t, map[string]string{"GET /profile": `{"name":"Acme","alertAuthHeader":"Bearer hunter2"}`})
	for _, form := range []string{"table", "json", "jsonl"} {
		if _, stdout, _ := command(t, "profile", "get", "-o", form); strings.Contains(stdout, "hunter2") || !strings.Contains(stdout, "Bearer …") {
			t.Errorf("as %s: %s", form, stdout)
		}
	}
	if _, stdout, _ := command(t, "profile", "get", "--show-secret"); !strings.Contains(stdout, "Bearer hunter2") {
		t.Errorf("with --show-secret: %s", stdout)
	}
	k.answers["GET /profile"] = `{"name":"Acme","alertAuthHeader":null}`
	if _, stdout, _ := command(t, "profile", "get"); !strings.Contains(stdout, "  none: webhooks carry no") {
		t.Errorf("without a header: %s", stdout)
	}
}

func TestTypesAreSavedFromFlagsAndFiles(t *testing.T) {
	const stored = `{"name":"Invoice paid","label":"Invoice paid","spellings":[],"company":true,"connection":false,"required":[],` +
		`"schema":{"type":"object"},"message":"Paid","example":{"n":1},"builtIn":false}`
	k := startKeeper(t, map[string]string{"GET /eventTypes/Invoice paid": stored, "GET /eventTypes/Sync Failed": typeJSON})
	file := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(file, []byte(`{"required":["n"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	object := map[string]any{"type": "object"}
	for _, test := range []struct {
		args  []string
		stdin string
		want  map[string]any
	}{
		{[]string{"Invoice paid", "--message", "{n} is paid"}, "",
			map[string]any{"name": "Invoice paid", "label": "Invoice paid", "company": true, "connection": false, "schema": object, "message": "{n} is paid", "example": map[string]any{"n": 1.0}}},
		{[]string{"Invoice paid", "--no-company", "--schema", "@" + file, "--example", "null"}, "",
			map[string]any{"name": "Invoice paid", "label": "Invoice paid", "company": false, "connection": false, "schema": map[string]any{"required": []any{"n"}}, "message": "Paid"}},
		{[]string{"Invoice sent", "--connection", "--schema", `{"type":"object"}`}, "",
			map[string]any{"name": "Invoice sent", "label": "", "company": false, "connection": true, "schema": object, "message": ""}},
		{[]string{"Invoice paid", "--file", "-"}, `{"message":"from the file"}`,
			map[string]any{"name": "Invoice paid", "label": "", "company": false, "connection": false, "message": "from the file"}},
		{[]string{"Invoice paid", "--file", "-", "--label", "Paid!"}, stored,
			map[string]any{"name": "Invoice paid", "label": "Paid!", "company": true, "connection": false, "schema": object, "message": "Paid", "example": map[string]any{"n": 1.0}}},
	} {
		got, _, _ := k.sent(t, test.stdin, append([]string{"types", "save"}, test.args...)...)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.args, diff)
		}
	}
	k.bodies = nil
	for _, test := range []struct{ stdin, says string }{{`{`, "--file"}, {`{"mesage":"m"}`, "mesage"}, {`{"name":"Other"}`, "Other"}} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"types", "save", "Invoice paid", "--file", "-"}, &streams{strings.NewReader(test.stdin), &out, &errs})
		if code != cli.Usage || !strings.Contains(errs.String(), test.says) {
			t.Errorf("%s: exit code %d, %q", test.stdin, code, errs.String())
		}
	}
	if code, _, stderr := command(t, "types", "save", "Invoice paid", "--schema", "{"); code != cli.Usage || len(k.bodies) != 0 {
		t.Errorf("a broken schema: exit code %d, %q, sent %q", code, stderr, k.bodies)
	}
}
