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

// TestReadmesRunItNeedsNoRoot follows "Run it" in two shells of a user who is not root. Each block is run
// as it is written, but make build, for which the binary is put in its place, and the ports.
func TestReadmesRunItNeedsNoRoot(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Run it\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 3 || !strings.HasPrefix(blocks[0][1], "make build\n") {
		t.Fatalf("%d blocks of commands, want three that begin with make build", len(blocks))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // a cold build is in it
	defer cancel()
	home, err := os.MkdirTemp("", "readme") // t.TempDir lies in a directory of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) }) // only a leftover
	if said, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(home, "bin", "herald"), "./cmd/herald").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, said)
	}
	shell := func(script string, environment ...string) *exec.Cmd {
		command := exec.CommandContext(ctx, "sh", "-eu", "-c", script)
		command.Dir, command.Env = home, append(environment, "PATH="+os.Getenv("PATH"), "HOME="+home)
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if os.Getuid() == 0 {
			command.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		}
		return command
	}
	if os.Getuid() == 0 {
		for _, dir := range []string{home, filepath.Join(home, "bin")} {
			if err := os.Chown(dir, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	serve := shell(strings.TrimPrefix(blocks[0][1], "make build\n"), "HERALD_LISTEN=127.0.0.1:0")
	log, err := serve.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-serve.Process.Pid, syscall.SIGINT)
		_ = serve.Wait() // the shell reports the signal as a failure
	}()
	var address []string
	for lines := bufio.NewScanner(log); address == nil && lines.Scan(); {
		address = regexp.MustCompile(`msg="herald serves" address=(\S+)`).FindStringSubmatch(lines.Text())
	}
	if address == nil {
		t.Fatal("herald serve ended before it served")
	}
	said, err := shell(blocks[1][1]+blocks[2][1], "HERALD_URL="+address[1], "HERALD_API_KEY=of-herald-dev").CombinedOutput()
	if err != nil || !strings.Contains(string(said), "https://acme.example/hook") || !strings.Contains(string(said), "pending") {
		t.Errorf("the second terminal: %v:\n%s", err, said)
	}
}

// nobody is the user and the group that own nothing.
const nobody = 65534

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
