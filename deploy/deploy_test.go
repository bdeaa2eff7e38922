// Package deploy_test runs what the files in this directory say: the commands in their first
// comments, and herald with the arguments and the environment that they give it. It needs neither
// containers nor systemd itself.
package deploy_test

import (
	"errors"
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

// asCrash is an environment variable that makes the test binary crash.
const asCrash = "TEST_CRASH"

func TestMain(m *testing.M) {
	if os.Getenv(asCrash) != "" {
		panic("a crash")
	}
	postgres.Main(m)
}

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

// TestUnitIsRestartedUnlessASettingIsWrong: systemd would start a wrong setting again for ever. But Go
// programs that crash end with status 2, too, unless the environment says otherwise.
func TestUnitIsRestartedUnlessASettingIsWrong(t *testing.T) {
	t.Parallel()
	unit := read(t, "herald.service")
	var settings []string
	for _, found := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(unit, -1) {
		settings = append(settings, found[1])
	}
	final := number(t, find(t, unit, `(?m)^RestartPreventExitStatus=(\d+)$`))
	status := func(program string, arguments []string, environment ...string) int {
		t.Helper()
		process := exec.Command(program, arguments...)
		process.Dir, process.Env = t.TempDir(), append(environment, settings...)
		process.Env = append(process.Env, "HERALD_DATA="+process.Dir)
		said, err := process.CombinedOutput()
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			t.Fatalf("%s: %v: %s", program, err, said)
		}
		return ended.ExitCode() // -1 if a signal ended it
	}
	binary, arguments := build(t), strings.Fields(find(t, unit, `(?m)^ExecStart=/usr/local/bin/herald (.+)$`))
	key := "HERALD_OPERATOR_KEY=3f9a1c5e7b2d4860a1c5e7b2d48603f9"
	for _, wrong := range [][]string{{}, {key, "HERALD_LISTN=:80"}, {key, "HERALD_LISTEN=:"}, {key, "HERALD_RETENTION=long"}, {key, "HERALD_SMTP_FILE=/nowhere"}} {
		if got := status(binary, arguments, wrong...); got != final {
			t.Errorf("%v ends with status %d; systemd starts it again", wrong, got)
		}
	}
	// While the database is away, a start fails, and must be tried again.
	keyFile := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(keyFile, []byte("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	away := []string{key, "HERALD_DATABASE=postgres://nobody@127.0.0.1:1/none?connect_timeout=2", "HERALD_SECRET_KEY_FILE=" + keyFile}
	if got := status(binary, arguments, away...); got == final || got == 0 {
		t.Errorf("without its database it ends with status %d; systemd does not start it again", got)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := status(own, nil, asCrash+"=1"); got != -1 {
		t.Errorf("a crash ends with status %d; systemd does not start it again", got)
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
	checks := texts(t, at[[]any](t, herald, "healthcheck", "test"))
	if want := find(t, read(t, "Dockerfile"), `(?m)^HEALTHCHECK .* CMD \["/herald", "(.*)"\]$`); !slices.Equal(checks, []string{"CMD", "/herald", want}) {
		t.Errorf("the compose file asks with %v, the image with %s", checks, want)
	}
	for _, n := range nodes {
		n.check(0, checks[2:], env)
		n.stop(at[string](t, herald, "stop_grace_period"))
		n.check(1, checks[2:], env)
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
			env := map[string]string{}
			for _, setting := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(unit, -1) {
				maps.Copy(env, environment(t, mapped.Replace(setting[1])))
			}
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
