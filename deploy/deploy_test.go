// Package deploy_test runs what the files in this directory say: the commands in their first
// comments, and herald with the arguments and the environment that they give it. It needs neither
// containers nor systemd itself.
package deploy_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"herald/internal/test/postgres"
)

func TestMain(m *testing.M) { postgres.Main(m) }

// TestSystemdTakesTheUnit has systemd check the unit, because systemd ignores settings that it does
// not know.
func TestSystemdTakesTheUnit(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("systemd needs Linux")
	}
	unit := strings.ReplaceAll(read(t, "herald.service"), "ExecStart=/usr/local/bin/herald", "ExecStart="+build(t))
	path := filepath.Join(t.TempDir(), "herald.service")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path).CombinedOutput()
	if err != nil || strings.Contains(string(said), "herald.service") {
		t.Errorf("systemd-analyze verify: %v: %s", err, said)
	}
}

// TestFilesNameWhatServeKnows: herald would ignore a variable with a wrong name.
func TestFilesNameWhatServeKnows(t *testing.T) {
	t.Parallel()
	help, err := exec.Command(build(t), "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	flag, variable := regexp.MustCompile(`--[a-z][a-z-]+`), regexp.MustCompile(`HERALD_[A-Z_]+`)
	known := slices.Concat(flag.FindAllString(string(help), -1), variable.FindAllString(string(help), -1))
	// Flags of herald are in the lines that start it and in comments.
	heralds := regexp.MustCompile(`(?m)^(ExecStart=|CMD |    command: | *# ).*`)
	for _, file := range []string{"Dockerfile", "compose.yaml", "haproxy.cfg", "herald.service"} {
		used := variable.FindAllString(read(t, file), -1)
		for _, line := range heralds.FindAllString(read(t, file), -1) {
			used = append(used, flag.FindAllString(line, -1)...)
		}
		for _, name := range used {
			if !slices.Contains(known, name) {
				t.Errorf("%s has %s, which herald serve does not know", file, name)
			}
		}
	}
}

// TestNodesOfTheComposeFileShareADatabase starts as many nodes as the file does, each with the
// arguments and the environment of its container.
func TestNodesOfTheComposeFileShareADatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, dir, `docker() { :; }; sudo() { echo "$@" > sudo; };`+commands(t, "compose.yaml"))
	compose := readYAML(t, fillIn(t, read(t, "compose.yaml"), environmentFile(t, dir, ".env")))
	herald := at[map[string]any](t, compose, "services", "herald")
	env := nodesEnvironment(t, compose, dir)
	checkBalancer(t, compose, env["HERALD_LISTEN"])

	env["HERALD_LISTEN"] = freePort(t, env["HERALD_LISTEN"])
	env["HERALD_DATABASE"] = onTestServer(t, env["HERALD_DATABASE"])
	binary, arguments := build(t), texts(t, at[[]any](t, herald, "command"))
	var nodes []*node
	for range at[int](t, herald, "deploy", "replicas") {
		nodes = append(nodes, start(t, binary, arguments, env))
	}
	share(t, nodes, env["HERALD_OPERATOR_KEY"])
	for _, n := range nodes {
		n.stop(at[string](t, herald, "stop_grace_period"))
	}
	if _, err := os.Stat(env["HERALD_DATA"]); err == nil {
		t.Error("a node made its data directory, and its container is read-only")
	}
}

// nodesEnvironment returns the environment of a container of the service herald, with its paths
// mapped into dir.
func nodesEnvironment(t *testing.T, compose map[string]any, dir string) map[string]string {
	t.Helper()
	dockerfile := read(t, "Dockerfile")
	env := map[string]string{}
	for _, pair := range strings.Fields(find(t, dockerfile, `(?m)^ENV (.*)$`)) {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	for name, value := range at[map[string]any](t, compose, "services", "herald", "environment") {
		env[name] = value.(string)
	}
	env["HERALD_DATA"] = filepath.Join(dir, env["HERALD_DATA"])

	for _, name := range texts(t, at[[]any](t, compose, "services", "herald", "secrets")) {
		file := at[string](t, compose, "secrets", name, "file")
		env["HERALD_SECRET_KEY_FILE"] = strings.Replace(env["HERALD_SECRET_KEY_FILE"], "/run/secrets/"+name, filepath.Join(dir, file), 1)
		want := "chown " + find(t, dockerfile, `(?m)^USER (.*)$`) + " " + filepath.Base(file) + "\n"
		if did, err := os.ReadFile(filepath.Join(dir, "sudo")); err != nil || string(did) != want {
			t.Errorf("the commands do %q (%v); the image's user can read the key only after %q", did, err, want)
		}
	}
	postgres := at[map[string]any](t, compose, "services", "postgres", "environment")
	want := "postgres://" + postgres["POSTGRES_USER"].(string) + ":" + postgres["POSTGRES_PASSWORD"].(string) + "@postgres:5432/" + postgres["POSTGRES_DB"].(string) + "?"
	if !strings.HasPrefix(env["HERALD_DATABASE"], want) {
		t.Errorf("HERALD_DATABASE is %s, but the service postgres makes %s", env["HERALD_DATABASE"], want)
	}
	return env
}

// checkBalancer compares haproxy.cfg with the compose file.
func checkBalancer(t *testing.T, compose map[string]any, listen string) {
	t.Helper()
	config := read(t, "haproxy.cfg")
	if name := find(t, config, `server-template \S+ \d+ (\S+)`); name != "herald:"+listen[strings.LastIndex(listen, ":")+1:] {
		t.Errorf("the balancer asks %s, and the nodes listen on %s", name, listen)
	}
	replicas := at[int](t, compose, "services", "herald", "deploy", "replicas")
	if places := number(t, find(t, config, `server-template \S+ (\d+)`)); places < replicas {
		t.Errorf("the balancer has places for %d nodes, and there are %d", places, replicas)
	}
	for _, port := range texts(t, at[[]any](t, compose, "services", "balancer", "ports")) {
		if bind := find(t, config, `bind (:\d+)`); !strings.HasSuffix(port, bind) {
			t.Errorf("the balancer listens on %s, but the published port is %s", bind, port)
		}
	}
}

// TestUnitServesOnBothDatabases starts herald as the unit does, with the herald.env that its
// comment makes, and with the lines that it adds for PostgreSQL.
func TestUnitServesOnBothDatabases(t *testing.T) {
	t.Parallel()
	unit, binary := read(t, "herald.service"), build(t)
	arguments := strings.Fields(find(t, unit, `(?m)^ExecStart=/usr/local/bin/herald (.+)$`))
	grace := find(t, unit, `(?m)^TimeoutStopSec=(\d+)$`) + "s"
	state := "/var/lib/" + find(t, unit, `(?m)^StateDirectory=(.+)$`)
	setting := regexp.MustCompile(`(?m)^HERALD_.*\n`)

	for _, test := range []struct {
		database string
		nodes    int
	}{{"SQLite", 1}, {"PostgreSQL", 2}} {
		t.Run(test.database, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			mapped := strings.NewReplacer("/etc/herald", filepath.Join(dir, "etc"), state, filepath.Join(dir, "state"))
			top := mapped.Replace(commands(t, "herald.service"))
			run(t, dir, "useradd() { :; }; systemctl() { :; };"+setting.ReplaceAllString(top, ""))
			env := environment(t, mapped.Replace(find(t, unit, `(?m)^Environment=(.*)$`)))
			maps.Copy(env, environmentFile(t, dir, "etc/herald.env"))
			if test.database == "PostgreSQL" {
				maps.Copy(env, environment(t, strings.Join(setting.FindAllString(top, -1), "")))
				env["HERALD_DATABASE"] = onTestServer(t, env["HERALD_DATABASE"])
				run(t, dir, "(umask 077; head -c 32 /dev/urandom | base64 > etc/secret.key)")
			}
			env["HERALD_LISTEN"] = freePort(t, env["HERALD_LISTEN"])
			var nodes []*node
			for range test.nodes {
				nodes = append(nodes, start(t, binary, arguments, env))
			}
			share(t, nodes, env["HERALD_OPERATOR_KEY"])
			for _, n := range nodes {
				n.stop(grace)
			}
		})
	}
}
