package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"herald/client"
	"herald/internal/cli"
)

// screen collects the output of a running command.
type screen struct {
	mu      sync.Mutex
	text    bytes.Buffer
	printed chan struct{} // holds one after every print
}

func newScreen() *screen { return &screen{printed: make(chan struct{}, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.printed <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait waits up to ten seconds for output that matches a pattern, and returns its groups.
func (s *screen) wait(t *testing.T, pattern string) []string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	end := time.After(10 * time.Second)
	for {
		if found := expression.FindStringSubmatch(s.String()); found != nil {
			return found
		}
		select {
		case <-s.printed:
		case <-end:
			t.Fatalf("no %s in ten seconds, but:\n%s", pattern, s)
		}
	}
}

// demo is a running `herald dev`.
type demo struct {
	*screen
	address, key string
	pastes       [][]string // the commands that it prints
	stop         func()
}

func startDemo(t *testing.T, dir string, more ...string) *demo {
	t.Helper()
	d := &demo{screen: newScreen()}
	errs := newScreen()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		args := append([]string{"dev", "--listen", "127.0.0.1:0", "--inbox", "127.0.0.1:0", "--data", dir}, more...)
		ended <- run(ctx, args, &streams{strings.NewReader(""), d.screen, errs})
	}()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != cli.OK || errs.String() != "" {
			t.Errorf("herald dev ended with exit code %d: %s", code, errs)
		}
	})
	t.Cleanup(d.stop)
	d.wait(t, `(?m)^  curl .*/deliveries$`)
	if !regexp.MustCompile(`^Open the portal +http://127\.0\.0\.1:\d+/portal/link#[\w-]{43}\n`).MatchString(d.String()) {
		t.Errorf("the first line is no link into the portal:\n%s", d)
	}
	d.address = d.wait(t, `Herald is at +(http://\S+)`)[1]
	d.key = d.wait(t, `API key of Demo +(\S+)`)[1]
	for _, line := range regexp.MustCompile(`(?m)^  curl (.*)$`).FindAllStringSubmatch(d.String(), -1) {
		words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line[1], -1)
		for i := range words {
			words[i] = strings.Trim(words[i], "'")
		}
		d.pastes = append(d.pastes, words)
	}
	if len(d.pastes) != 3 {
		t.Fatalf("it prints %d commands:\n%s", len(d.pastes), d)
	}
	return d
}

// paste runs one of the printed commands, with curl if it is installed.
func (d *demo) paste(t *testing.T, n int) string {
	t.Helper()
	words := d.pastes[n]
	if path, err := exec.LookPath("curl"); err == nil {
		out, err := exec.CommandContext(t.Context(), path, append([]string{"--silent", "--show-error", "--fail"}, words...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %v: %v: %s", words, err, out)
		}
		return string(out)
	}
	method, body := http.MethodGet, ""
	if len(words) > 3 { // -u KEY: URL -H HEADER -d BODY
		method, body = http.MethodPost, words[len(words)-1]
	}
	request, err := http.NewRequestWithContext(t.Context(), method, words[2], strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(strings.TrimSuffix(words[1], ":"), "")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode > 299 {
		t.Fatalf("%s: %s %s, %v", words[2], response.Status, text, err)
	}
	return string(text)
}

// TestDevShowsAWebhookForWhatIsPasted follows a new user's first minute.
func TestDevShowsAWebhookForWhatIsPasted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := startDemo(t, dir)
	published := first.paste(t, 0)
	first.wait(t, `(?m)^\d\d:\d\d:\d\d\.\d{3}  200  Data sync completed  Data sync of type invoices completed for company 8a210b68-6988-11ed-a1eb-0242ac120002$`)
	alert := regexp.MustCompile(`"alertIds":\["([^"]+)"\]`).FindStringSubmatch(published)
	if alert == nil {
		t.Fatalf("publishing answered %s", published)
	}
	for n := 1; n < 3; n++ {
		if got := first.paste(t, n); !strings.Contains(got, alert[1]) {
			t.Errorf("curl %v shows no %s: %s", first.pastes[n], alert[1], got)
		}
	}
	inbox := first.wait(t, `The inbox is at +(\S+)`)[1]
	first.stop()

	second := startDemo(t, dir)
	if second.key != first.key {
		t.Errorf("the key is %s after a restart, and was %s", second.key, first.key)
	}
	if again := second.wait(t, `The inbox is at +(\S+)`)[1]; again == inbox {
		t.Logf("the inbox got its port again, %s", again)
	}
	second.paste(t, 0)
	second.wait(t, `200  Data sync completed`)
	if got := second.paste(t, 1); !strings.Contains(got, alert[1]) {
		t.Errorf("the alert of before the restart is gone: %s", got)
	}
}

// TestDevLeavesTheUsersRulesAlone: when the inbox gets another address, only the demo's
// own rules change.
func TestDevLeavesTheUsersRulesAlone(t *testing.T) {
	dir := t.TempDir()
	webhooks := func(d *demo) (own int, users string) {
		t.Helper()
		c, err := client.New(d.address, d.key)
		if err != nil {
			t.Fatal(err)
		}
		for rule, err := range c.AllRules(t.Context(), client.ListOptions{}) {
			switch {
			case err != nil:
				t.Fatal(err)
			case strings.HasPrefix(rule.Notifiers.Webhook, "http://127.0.0.1"):
				own++
			default:
				users += rule.Notifiers.Webhook + " "
			}
		}
		return own, users
	}
	first := startDemo(t, dir)
	c, err := client.New(first.address, first.key)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"https://mine.example/a", "https://mine.example/b"} {
		if _, err := c.CreateRule(t.Context(), client.Rule{Type: "Data sync completed", Notifiers: client.Notifiers{Webhook: address}}); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := webhooks(first)
	first.stop()
	second := startDemo(t, dir)
	if own, users := webhooks(second); own != before || users != "https://mine.example/a https://mine.example/b " {
		t.Errorf("after a restart there are %d rules of the demo's, %d before, and the user's point to %s", own, before, users)
	}
}

// TestDevKeepsTheTerminalWhole: a message contains text from strangers.
func TestDevKeepsTheTerminalWhole(t *testing.T) {
	d := startDemo(t, t.TempDir())
	code, _, stderr := command(t, "events", "publish", "Sync Completed", "--url", d.address, "--key", d.key,
		"--company", "8a210b68-6988-11ed-a1eb-0242ac120002", "--data", `{"syncId":"\u001b[2J\nfake","syncType":"Expense"}`)
	if code != cli.OK {
		t.Fatal(stderr)
	}
	d.wait(t, `Sync Completed  Sync  \[2J fake for company`)
}

func TestDevSaysWhatIsInItsWay(t *testing.T) {
	taken := startDemo(t, t.TempDir())
	inbox := strings.Trim(strings.TrimPrefix(taken.wait(t, `The inbox is at +(\S+)inbox`)[1], "http://"), "/")
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--inbox", inbox}, cli.General, "--inbox"},
		{[]string{"--inbox", "nonsense"}, cli.Usage, `"nonsense"`},
		{[]string{"--listen", strings.TrimPrefix(taken.address, "http://"), "--inbox", "127.0.0.1:0"}, cli.General, "listen address"},
		{[]string{"--retry-schedule", "soon"}, cli.Usage, "--retry-schedule"},
	} {
		code, _, stderr := command(t, append([]string{"dev", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, test.args...)...)
		if code != test.code || !strings.Contains(stderr, test.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q; want %d and one line with %s", test.args, code, stderr, test.code, test.says)
		}
	}
}
