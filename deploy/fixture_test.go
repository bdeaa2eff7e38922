package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"herald/client"
	"herald/internal/test/postgres"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find returns what the group of a pattern matches in text.
func find(t *testing.T, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("nothing matches %s", pattern)
	}
	return found[1]
}

// commands returns the commands in the comment at a file's top.
func commands(t *testing.T, file string) string {
	t.Helper()
	var script strings.Builder
	for line := range strings.Lines(read(t, file)) {
		if line[0] != '#' {
			break
		}
		if command, ok := strings.CutPrefix(line, "#\t"); ok {
			script.WriteString(command)
		}
	}
	return script.String()
}

func run(t *testing.T, dir, script string) {
	t.Helper()
	shell := exec.Command("sh", "-eu", "-c", script)
	shell.Dir = dir
	if said, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, said)
	}
}

// build builds the binary with the command of the Dockerfile.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "herald")
	command := find(t, read(t, "Dockerfile"), `(?m)^RUN (.*go build .*)$`)
	run(t, "..", "VERSION=test; "+strings.Replace(command, "-o /herald", "-o "+binary, 1))
	return binary
}

// environment reads one variable from each line, as in env files.
func environment(t *testing.T, text string) map[string]string {
	t.Helper()
	env := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || value == "" {
			t.Fatalf("%q sets no variable", line)
		}
		env[name] = value
	}
	return env
}

// environmentFile reads a file of variables. The file holds secrets, so only its owner may read it.
func environmentFile(t *testing.T, dir, name string) map[string]string {
	t.Helper()
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s is made with mode %04o", name, info.Mode().Perm())
	}
	return environment(t, read(t, path))
}

// fillIn replaces the variables in a compose file by their values.
func fillIn(t *testing.T, text string, variables map[string]string) string {
	t.Helper()
	use := regexp.MustCompile(`\$\{(\w+)(?::\?[^}]*)?\}`)
	return use.ReplaceAllStringFunc(text, func(used string) string {
		value, ok := variables[use.FindStringSubmatch(used)[1]]
		if !ok {
			t.Errorf("%s is used, and no command makes it", used)
		}
		return value
	})
}

func readYAML(t *testing.T, text string) (read map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// at returns the value at the keys of a YAML document.
func at[T any](t *testing.T, in map[string]any, keys ...string) T {
	t.Helper()
	var value any = in
	for i, key := range keys {
		block, ok := value.(map[string]any)
		if !ok || block[key] == nil {
			t.Fatalf("compose.yaml has no %s", strings.Join(keys[:i+1], "."))
		}
		value = block[key]
	}
	typed, ok := value.(T)
	if !ok {
		t.Fatalf("compose.yaml: %s is a %T", strings.Join(keys, "."), value)
	}
	return typed
}

func texts(t *testing.T, list []any) (all []string) {
	t.Helper()
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			t.Fatalf("compose.yaml: %v is a %T in a list of strings", item, item)
		}
		all = append(all, text)
	}
	return all
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%q (%v), want a number", text, err)
	}
	return n
}

// onTestServer returns a database's address with the host and the database of the tests' server.
// The user and the settings stay the same.
func onTestServer(t *testing.T, address string) string {
	t.Helper()
	named, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := url.Parse(postgres.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	query := named.Query()
	query.Set("search_path", tests.Query().Get("search_path"))
	named.Host, named.Path, named.RawQuery = tests.Host, tests.Path, query.Encode()
	return named.String()
}

// freePort returns a listen address with port 0 in place of its port. If there is no address, it is
// the loopback's.
func freePort(t *testing.T, listen string) string {
	t.Helper()
	if listen == "" {
		return "127.0.0.1:0"
	}
	colon := strings.LastIndex(listen, ":")
	if colon < 0 {
		t.Fatalf("HERALD_LISTEN is %s, without a port", listen)
	}
	return listen[:colon] + ":0"
}

// node is a herald process.
type node struct {
	t       *testing.T
	process *exec.Cmd
	ended   chan error
	log     string
	address string
}

// start starts herald and waits until it is ready. The process has only the environment env, and an
// empty directory.
func start(t *testing.T, binary string, arguments []string, env map[string]string) *node {
	t.Helper()
	n := &node{t: t, process: exec.Command(binary, arguments...), ended: make(chan error, 1), log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.process.Dir, n.process.Stdout, n.process.Stderr, n.process.Env = t.TempDir(), log, log, []string{}
	for name, value := range env {
		n.process.Env = append(n.process.Env, name+"="+value)
	}
	if err := n.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { n.ended <- n.process.Wait() }()
	t.Cleanup(func() {
		_ = n.process.Process.Kill() // the process has ended, unless the test failed
		if t.Failed() {
			t.Logf("the log of herald with %v:\n%.4000s", slices.Sorted(maps.Keys(env)), read(t, n.log))
		}
	})
	n.ready()
	return n
}

func (n *node) ready() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 30*time.Second)
	defer cancel()
	says := regexp.MustCompile(`msg="herald serves" address=http://\S*:(\d+)`)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if said := says.FindStringSubmatch(read(n.t, n.log)); said != nil {
			n.address = "http://127.0.0.1:" + said[1]
			if n.client("").Ready(ctx) == nil {
				return
			}
		}
		select {
		case err := <-n.ended:
			n.t.Fatalf("herald ended at its start: %v", err)
		case <-ctx.Done():
			n.t.Fatal("herald is not ready after 30 s")
		case <-tick.C:
		}
	}
}

// check runs a health check in the environment of a node, and wants its exit code.
func (n *node) check(want int, arguments []string, env map[string]string) {
	n.t.Helper()
	process := exec.Command(n.process.Path, arguments...)
	process.Env = []string{}
	for name, value := range env {
		if name == "HERALD_LISTEN" {
			value = strings.TrimPrefix(n.address, "http://")
		}
		process.Env = append(process.Env, name+"="+value)
	}
	said, err := process.CombinedOutput()
	if got := process.ProcessState.ExitCode(); got != want {
		n.t.Errorf("%v: exit code %d (%v), want %d: %s", arguments, got, err, want, said)
	}
}

// stop ends a node with SIGTERM, as systemd and Docker do. They kill it after grace.
func (n *node) stop(grace string) {
	n.t.Helper()
	limit, err := time.ParseDuration(grace)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	select {
	case err = <-n.ended:
	case <-time.After(limit):
		err = errors.New("the process still runs after " + grace)
	}
	if err != nil {
		n.t.Errorf("SIGTERM: %v", err)
	}
	budget, err := time.ParseDuration(find(n.t, read(n.t, n.log), `msg="herald stops" budget=(\S+)`))
	if err != nil || budget >= limit {
		n.t.Errorf("herald takes up to %v to stop (%v), and is killed after %v", budget, err, limit)
	}
	if left, err := os.ReadDir(n.process.Dir); err != nil || len(left) > 0 {
		n.t.Errorf("herald wrote %v (%v) to where it may not", left, err)
	}
}

func (n *node) client(key string) *client.API {
	n.t.Helper()
	c, err := client.New(n.address, key)
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// share publishes an event at each node, and checks that all nodes list it.
func share(t *testing.T, nodes []*node, operatorKey string) {
	t.Helper()
	account, err := nodes[0].client(operatorKey).CreateClient(t.Context(), "Deployed")
	if err != nil {
		t.Fatal(err)
	}
	for i, publishes := range nodes {
		receipt, err := publishes.client(account.APIKey).Publish(t.Context(), client.Event{
			Type: "Sync Completed", CompanyID: account.ID, Data: json.RawMessage(`{"syncId":"1","syncType":"Expense"}`),
		})
		if err != nil {
			t.Fatalf("publish at node %d: %v", i, err)
		}
		for j, lists := range nodes {
			events, err := lists.client(account.APIKey).Events(t.Context(), client.EventFilter{})
			if err != nil || !slices.ContainsFunc(events.Results, func(e client.AcceptedEvent) bool { return e.ID == receipt.EventID }) {
				t.Errorf("node %d does not list %s, which node %d accepted (%v)", j, receipt.EventID, i, err)
			}
		}
	}
}
