package herald_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadmesFirstCommand does what a new user does. It runs the README's first
// command unchanged, runs the commands that it prints, and waits for the webhook.
func TestReadmesFirstCommand(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh\n(.*?)\n```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README has no command")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // a cold build is in it
	defer cancel()
	command := exec.CommandContext(ctx, "sh", "-c", string(block[1]))
	command.Env = append(os.Environ(), "HERALD_LISTEN=127.0.0.1:0", "HERALD_INBOX=127.0.0.1:0", "HERALD_DATA="+filepath.Join(t.TempDir(), "data"))
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run has a child
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGINT)
		_ = command.Wait() // go run reports the signal as a failure
	}()
	var printed []string
	lines := bufio.NewScanner(output)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("herald dev ended; it printed:\n%s", strings.Join(printed, "\n"))
		}
		printed = append(printed, lines.Text())
		return lines.Text()
	}
	var pastes []string
	for len(pastes) < 3 {
		if line := next(); strings.HasPrefix(line, "  curl ") {
			pastes = append(pastes, line)
		}
	}
	begun := time.Now()
	answer := paste(ctx, t, pastes[0])
	for !strings.Contains(next(), "200  Data sync completed") {
	}
	t.Logf("from the paste to the webhook: %v", time.Since(begun))
	alert := regexp.MustCompile(`"alertIds":\["([^"]+)"\]`).FindStringSubmatch(answer)
	if alert == nil {
		t.Fatalf("publishing answered %s", answer)
	}
	for _, command := range pastes[1:] {
		if got := paste(ctx, t, command); !strings.Contains(got, alert[1]) {
			t.Errorf("%s\nshows no %s: %s", command, alert[1], got)
		}
	}
}

func paste(ctx context.Context, t *testing.T, command string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, "sh", "-c", command+" --silent --show-error --fail").CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// TestReadmeShowsTheExamples checks that the README shows exactly the receivers in
// examples, which are compiled and tested.
func TestReadmeShowsTheExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"examples/receiver-go/main.go", "examples/receiver-node/receiver.mjs"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(readme), strings.TrimSpace(string(text))) {
			t.Errorf("the README does not show %s as it is", file)
		}
	}
}
