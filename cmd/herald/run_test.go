package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"herald/client"
	"herald/internal/cli"
	"herald/internal/mail"
)

func TestNoRetriesMeansNone(t *testing.T) {
	for text, want := range map[string]int{"none": 0, "": 0, "1s": 1, "20s,40s,60s": 3} {
		c := serveCommand{Listen: "127.0.0.1:0", RetrySchedule: text, RequestTimeout: time.Second, LogFormat: "text", LogLevel: "error"}
		config, err := c.config(&strings.Builder{})
		if err != nil || config.RetrySchedule == nil || len(config.RetrySchedule) != want {
			t.Errorf("%q: %v (nil is the default schedule), %v; want %d intervals", text, config.RetrySchedule, err, want)
		}
	}
}

// TestConfigurationErrorsAreOneLine also checks that the line names the setting.
func TestConfigurationErrorsAreOneLine(t *testing.T) {
	key := randomKey
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--operator-key", key, "--operator-key", key, "--operator-key", key}, cli.Usage, "3 operator keys"},
		{[]string{"--operator-key", key[1:]}, cli.Usage, "31 characters"},
		{[]string{"--operator-key", strings.Repeat("k", 64)}, cli.Usage, "guessed"},
		{[]string{"--operator-key", key + ":" + key}, cli.Usage, "colon"},
		{[]string{"--operator-key", key, "--client-id-header", "X Client"}, cli.Usage, "--client-id-header"},
		{[]string{"--operator-key", key, "--client-id-header", "authorization"}, cli.Usage, "--client-id-header"},
		{[]string{"--operator-key", key, "--client-id-header", "CONTENT-type"}, cli.Usage, "--client-id-header"},
		{[]string{"--operator-key", key, "--client-id-header", "X-Client\r\nEvil"}, cli.Usage, "--client-id-header"},
		{[]string{"--operator-key", key, "--stop-budget", "-1s"}, cli.Usage, "--stop-budget"},
		{[]string{"--operator-key", key, "--log-level", "loud"}, cli.Usage, "--log-level"},
		{[]string{"--operator-key", key, "--log-format", "xml"}, cli.Usage, "--log-format"},
		{[]string{"--operator-key", key, "--request-timeout", "soon"}, cli.Usage, "--request-timeout"},
		{[]string{"--operator-key", key, "--retry-schedule", "1s,2x"}, cli.Usage, "2x"},
		{[]string{"--operator-key", key, "--secret-key-file", "/nowhere/secret.key", "--data", t.TempDir()}, cli.General, "/nowhere/secret.key"},
		{[]string{"--operator-key", key, "--secret-key-file", "/nowhere/k", "--database", "postgres://x", "--node-timeout", "1ms"}, cli.Usage, "--node-timeout"},
		{[]string{"--operator-key", key, "--retention", "5y"}, cli.Usage, "--retention"},
		{[]string{"--operator-key", key, "--retention", "7d", "--data", t.TempDir()}, cli.General, "more than 7"},
		{[]string{"--operator-key", key, "--drain-delay", "-1s"}, cli.Usage, "--drain-delay"},
		{[]string{"--operator-key", key, "--migrate-database", "postgres://x"}, cli.Usage, "--migrate-database"},
		{[]string{"--operator-key", key, "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "balancer"}, cli.Usage, "--trusted-proxy: \"balancer\""},
		{[]string{"--operator-key", key, "--deny-target", "10.0.0.0/40"}, cli.Usage, "--deny-target: \"10.0.0.0/40\""},
		{[]string{"--operator-key", key, "--allow-port", "http"}, cli.Usage, "--allow-port: \"http\""},
		{[]string{"--operator-key", key, "--egress-proxy", "socks5://proxy:1080"}, cli.Usage, "--egress-proxy"},
		{[]string{"--operator-key", key, "--mail-timeouts", "end=10"}, cli.Usage, "--mail-timeouts: \"end=10\""},
		{[]string{"--operator-key", key, "--mail-timeouts", "quit=1m"}, cli.Usage, "the steps are connect"},
		{[]string{"--operator-key", key, "--mail-hello", "node_1"}, cli.Usage, "--mail-hello \"node_1\""},
		{[]string{"--operator-key", key, "--mail-hello", "192.0.2.1"}, cli.Usage, "[192.0.2.1]"},
		{[]string{"--operator-key", key, "--smtp", "smtp://m.example", "--mail-from", "alerts@[192.0.2.1]"}, cli.Usage, "--mail-from: \"alerts@[192.0.2.1]\""},
		{[]string{"--operator-key", key, "--smtp", "smtp://m.example", "--mail-from", "jörg@acme.example"}, cli.Usage, "--mail-from: \"jörg@acme.example\""},
		{[]string{"--operator-key", key, "--rate-limit=-1"}, cli.Usage, "--rate-limit -1"},
		{[]string{"--operator-key", key, "--rate-limit", "5", "--rate-window", "10ms"}, cli.Usage, "--rate-window 10ms"},
		{[]string{"--operator-key", key, "--mails-per-day=-1"}, cli.Usage, "--mails-per-day -1"},
		{[]string{"--operator-key", key, "--mailboxes-per-day=-1"}, cli.Usage, "--mailboxes-per-day -1"},
		{[]string{"--operator-key", key, "--attempts-per-address=-1"}, cli.Usage, "--attempts-per-address -1"},
		{[]string{"--operator-key", key, "--attempts-per-address=1", "--egress-proxy", "http://proxy:3128"}, cli.Usage, "--egress-proxy"},
		{[]string{"--operator-key", key, "--confirm-mailboxes"}, cli.Usage, "--public-url"},
		{[]string{"--operator-key", key, "--require-consent"}, cli.Usage, "--public-url"},
		{[]string{"--operator-key", key, "--tls-cert", "tls.crt"}, cli.Usage, "--tls-key"},
		{[]string{"--operator-key", key, "--tls-cert", "/nowhere/tls.crt", "--tls-key", "/nowhere/tls.key"}, cli.General, "/nowhere/tls.crt"},
		{[]string{"--operator-key", key, "--listen", "192.0.2.1:80", "--data", t.TempDir()}, cli.General, "192.0.2.1:80"},
	} {
		code, stdout, stderr := command(t, append([]string{"serve"}, test.args...)...)
		if code != test.code || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%v: exit code %d, %q and %q; want %d and %s", test.args, code, stdout, stderr, test.code, test.says)
		}
		if line := strings.TrimSuffix(stderr, "\n"); !strings.Contains(line, "herald: ") || strings.Contains(line[strings.Index(line, "herald: "):], "\n") {
			t.Errorf("%v: %q is not one line", test.args, stderr)
		}
		if strings.Contains(stderr, key) {
			t.Errorf("%v: the operator's key is shown: %q", test.args, stderr)
		}
	}
}

// TestDatabasePasswordIsNotShown: many people can read the logs.
func TestDatabasePasswordIsNotShown(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(keyFile, []byte("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"postgres://u:hunter2@127.0.0.1:1/none?connect_timeout=2", "postgres://u:hunter2@127.0.0.1:x/none", "postgres://u:hunter2@%zz/", "u:hunter2@host"} {
		code, _, stderr := command(t, "serve", "--operator-key", randomKey, "--secret-key-file", keyFile, "--database", address)
		if code == cli.OK || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: exit code %d, %q", address, code, stderr)
		}
	}
}

func TestOrderAndDataAreGivenAsTheHelpSays(t *testing.T) {
	var query, body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		var event client.Event
		if r.Method == http.MethodPost && json.NewDecoder(r.Body).Decode(&event) == nil {
			body = string(event.Data)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"results": []any{}}) // fails only when the caller has gone
	}))
	defer server.Close()
	t.Setenv("HERALD_URL", server.URL)
	t.Setenv("HERALD_API_KEY", "k")
	if code, _, stderr := command(t, "rules", "list", "--order-by=-type", "-o", "json"); code != cli.OK || !strings.Contains(query, "orderBy=-type") {
		t.Errorf("exit code %d, %s, called with %s", code, stderr, query)
	}
	if _, stdout, _ := command(t, "rules", "list", "--help"); !strings.Contains(stdout, "--order-by=-") {
		t.Errorf("the help does not show how to sort in descending order:\n%s", stdout)
	}
	for text, want := range map[string]string{`{"a": 1}`: `{"a":1}`, strings.Repeat(" ", 1<<20) + "{}": "", `{`: ""} {
		body = ""
		var out, errs strings.Builder
		code := run(t.Context(), []string{"events", "publish", "x", "--data", "-"}, &streams{strings.NewReader(text), &out, &errs})
		if body != want || (code == cli.OK) != (want != "") {
			t.Errorf("%.10q on standard input: exit code %d, %s, sent %s", text, code, errs.String(), body)
		}
	}
}

func TestHelpOfWhatIsNotThere(t *testing.T) {
	if code, stdout, stderr := command(t, "help", "nonsense"); code != cli.Usage || !strings.Contains(stderr, "nonsense") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, _ := command(t, "version"); code != cli.OK || stdout != version+"\n" {
		t.Errorf("version: exit code %d, %q", code, stdout)
	}
}

// TestInterruptedWaitEndsWith130AndNoWord: the person who interrupted needs no message.
func TestInterruptedWaitEndsWith130AndNoWord(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		time.AfterFunc(50*time.Millisecond, cancel) // once the client waits
	}))
	defer server.Close()
	var out, errs strings.Builder
	code := run(ctx, []string{"rules", "list", "--key", "k", "--url", server.URL}, &streams{strings.NewReader(""), &out, &errs})
	if code != cli.Interrupted || errs.Len() > 0 {
		t.Errorf("exit code %d, %q; want 130 and silence", code, errs.String())
	}
}

// TestSecondSignalEndsAtOnce: after the first signal the service waits for running
// attempts, which can take long. The second signal ends it at once.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	hanging := make(chan struct{}, 1)
	release := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		hanging <- struct{}{}
		<-release
	}))
	defer receiver.Close()
	defer close(release)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	key, log := randomKey, newScreen()
	process := exec.CommandContext(t.Context(), program, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--operator-key", key,
		"--allow-target", "127.0.0.0/8", "--stop-budget", "1m")
	process.Env = append(os.Environ(), asHerald+"=1")
	process.Stderr = log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	defer process.Process.Kill() //nolint:errcheck // it may have ended
	operator, err := client.New(log.wait(t, `address=(http://\S+)`)[1], key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := operator.CreateClient(t.Context(), "Acme")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(log.wait(t, `address=(http://\S+)`)[1], made.APIKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateRule(t.Context(), client.Rule{Type: "Rate Limit Reset", Notifiers: client.Notifiers{Webhook: receiver.URL}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(t.Context(), client.Event{Type: "Rate Limit Reset", Data: json.RawMessage(`{"ResetReason":"a new day"}`)}); err != nil {
		t.Fatal(err)
	}
	<-hanging
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	log.wait(t, `herald stops`)
	// SIGTERM, because a shell's background jobs may ignore SIGINT. Several,
	// because the first may come before the program resets its signal handler.
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	end := time.After(10 * time.Second)
	for {
		select {
		case <-again.C:
			_ = process.Process.Signal(syscall.SIGTERM) // it may have ended
		case <-ended:
			return
		case <-end:
			t.Fatalf("it goes on ten seconds after the second signal:\n%s", log)
		}
	}
}

// TestGlobalLoggerFollowsTheLogFormat: net/http's clients and others write through it.
func TestGlobalLoggerFollowsTheLogFormat(t *testing.T) {
	var out bytes.Buffer
	undo := followGlobalLog(newLogger(&out, "json", "info"))
	log.Printf("Unsolicited response received on idle HTTP channel")
	undo()
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["level"] != "WARN" || line["text"] != "Unsolicited response received on idle HTTP channel" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestMailTimeoutsOfTheHelpAreTheDefaults: --help shows what holds without the flag.
func TestMailTimeoutsOfTheHelpAreTheDefaults(t *testing.T) {
	field, _ := reflect.TypeFor[serveCommand]().FieldByName("MailTimeouts")
	shown, err := mail.ParseTimeouts(field.Tag.Get("default"))
	if err != nil {
		t.Fatal(err)
	}
	if standard, err := mail.ParseTimeouts(""); err != nil || shown != standard {
		t.Errorf("the help shows %+v, and the defaults are %+v (%v)", shown, standard, err)
	}
}
