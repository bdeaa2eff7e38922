package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"herald/client"
	"herald/internal/cli"
)

// TestInboxAnswersAsItIsTold sets answers with the command, and looks at what a test of a rule meets.
func TestInboxAnswersAsItIsTold(t *testing.T) {
	d := startDemo(t, t.TempDir(), "--retry-schedule", "1h")
	t.Setenv("HERALD_URL", d.address)
	t.Setenv("HERALD_API_KEY", d.key)
	t.Setenv("HERALD_INBOX", strings.TrimSuffix(strings.TrimPrefix(d.wait(t, `The inbox is at +(\S+)`)[1], "http://"), "/inbox"))
	c, err := client.New(d.address, d.key)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := c.Rules(t.Context(), client.ListOptions{Query: "type=Sync Failed"})
	if err != nil || len(rules.Results) != 1 {
		t.Fatalf("%+v, %v", rules, err)
	}
	test := []string{"rules", "test", rules.Results[0].ID.String(), "--wait"}
	for _, step := range []struct {
		answer []string
		set    string
		code   int
		says   string
		line   string
	}{
		{[]string{"503", "--retry-after", "1h"}, "503, Retry-After 3600", cli.General, "Your server answered 503", `  503  Sync Failed  Test: `},
		{[]string{"500"}, "500", cli.General, "Your server answered 500", `  500  Sync Failed  Test: `},
		{[]string{"--close"}, "close", cli.General, "broke the connection", `  close  Sync Failed  Test: `},
		{[]string{"200"}, "200", cli.OK, "Your server answered 200", `  200  Sync Failed  Test: `},
	} {
		code, stdout, stderr := command(t, append([]string{"inbox", "answer"}, step.answer...)...)
		if code != cli.OK || stdout != "The inbox answers webhooks with: "+step.set+"\n" {
			t.Fatalf("%v: exit code %d, %q, %s", step.answer, code, stdout, stderr)
		}
		if _, shown, _ := command(t, "inbox", "answer"); shown != stdout {
			t.Errorf("it shows %q, and %q was set", shown, stdout)
		}
		code, stdout, stderr = command(t, test...)
		if code != step.code || !strings.Contains(stdout, step.says) {
			t.Errorf("%v: exit code %d, %s%s; want %d with %q", step.answer, code, stdout, stderr, step.code, step.says)
		}
		d.wait(t, step.line)
	}
	// A kept-alive connection that is closed is no answer yet: Herald makes the request once more on a new one.
	if code, stdout, _ := command(t, "inbox"); code != cli.OK || strings.Count(stdout, "Test: ") < 4 || !strings.Contains(stdout, "close") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	if code, stdout, _ := command(t, "inbox", "list", "-o", "json"); code != cli.OK || strings.Count(stdout, `"answeredWith"`) < 4 {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	if code, _, stderr := command(t, "inbox", "clear"); code != cli.OK {
		t.Error(stderr)
	}
	if _, stdout, _ := command(t, "inbox"); strings.Contains(stdout, "Test: ") {
		t.Errorf("after clearing:\n%s", stdout)
	}
}

// TestInboxIsFollowed shows what came before and what comes then, once each.
func TestInboxIsFollowed(t *testing.T) {
	d := startDemo(t, t.TempDir())
	d.paste(t, 0)
	d.wait(t, `  200  Data sync completed`)
	t.Setenv("HERALD_INBOX", strings.TrimSuffix(strings.TrimPrefix(d.wait(t, `The inbox is at +(\S+)`)[1], "http://"), "/inbox"))
	f, errs := newScreen(), newScreen()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"inbox", "--follow"}, &streams{strings.NewReader(""), f, errs}) }()
	f.wait(t, `(?m)^\S+  200  /  Data sync completed  Data sync`)
	d.paste(t, 0)
	f.wait(t, `(?ms)^\S+  200  /  Data sync completed.*^\S+  200  /  Data sync completed`)
	if n := strings.Count(f.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, f)
	}
	cancel()
	if code := <-ended; code != cli.Interrupted {
		t.Errorf("exit code %d, %s", code, errs)
	}
}

func TestInboxCommandSaysWhatIsWrong(t *testing.T) {
	t.Setenv("HERALD_INBOX", "127.0.0.1:1")
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"inbox"}, cli.Network, "is herald dev running?"},
		{[]string{"inbox", "answer", "99"}, cli.Usage, "status 99"},
		{[]string{"inbox", "answer", "503", "--hang"}, cli.Usage, "give one of"},
		{[]string{"inbox", "answer", "503", "--retry-after", "1500ms"}, cli.Usage, "whole seconds"},
		{[]string{"inbox", "answer", "503", "--retry-after", (25 * time.Hour).String()}, cli.Usage, "want 0 to 86400"},
		{[]string{"inbox", "--inbox", "no port"}, cli.General, "host:port"},
	} {
		if code, _, stderr := command(t, test.args...); code != test.code || !strings.Contains(stderr, test.says) {
			t.Errorf("%v: exit code %d, %s; want %d with %q", test.args, code, stderr, test.code, test.says)
		}
	}
}
