package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"herald/internal/cli"
)

// spellings returns which of all to try for a flag: all where it is met first, and one of them, in turn,
// with the other commands that have it.
func spellings[T any](tried map[string]int, flag *kong.Flag, all []T) []T {
	n := tried[flag.Name]
	tried[flag.Name]++
	if n == 0 {
		return all
	}
	return all[n%len(all) : n%len(all)+1]
}

// TestEmptyVariablesAreAsGoodAsAbsent parses every command with every variable of its flags set to
// nothing or to blanks.
func TestEmptyVariablesAreAsGoodAsAbsent(t *testing.T) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "HERALD_") {
			continue
		}
		t.Setenv(name, "") // restores it
		os.Unsetenv(name)
	}
	valueOf := func(t *testing.T, args []string, name string) any {
		t.Helper()
		parser, err := newParser(t.Context(), &streams{})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.Parse(args)
		if err != nil {
			t.Fatal(err)
		}
		flags := parsed.Selected().Flags
		return flags[slices.IndexFunc(flags, func(f *kong.Flag) bool { return f.Name == name })].Target.Interface()
	}
	model, err := newParser(t.Context(), &streams{})
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]int{}
	for _, leaf := range model.Model.Leaves(true) {
		args := strings.Fields(leaf.Path())
		for _, p := range leaf.Positional {
			if p.Required {
				args = append(args, "019ab0c1-1111-7111-8111-111111111111")
			}
		}
		if leaf.Path() == "completion" {
			args = append(args[:1], "bash")
		}
		for _, flag := range leaf.Flags {
			if len(flag.Envs) == 0 {
				continue
			}
			for _, blank := range spellings(tried, flag, []string{"", " ", "\t\n", "\u00a0"}) {
				t.Run(leaf.Path()+" "+flag.Envs[0], func(t *testing.T) {
					want := valueOf(t, args, flag.Name)
					t.Setenv(flag.Envs[0], blank)
					if got := valueOf(t, args, flag.Name); !reflect.DeepEqual(got, want) {
						t.Errorf("%s=%q gives %v, and without it %v", flag.Envs[0], blank, got, want)
					}
				})
			}
		}
	}
	if len(tried) < 40 {
		t.Errorf("only %d variables were tried", len(tried))
	}
}

// TestHelpNamesEmptyVariables: a variable that is set to nothing still is one.
func TestHelpNamesEmptyVariables(t *testing.T) {
	t.Setenv("HERALD_LISTEN", "")
	if _, stdout, _ := command(t, "serve", "--help"); !strings.Contains(stdout, "$HERALD_LISTEN") {
		t.Errorf("serve --help does not name HERALD_LISTEN:\n%s", stdout)
	}
}

// TestBlankFlagsAreRefused: a script's empty variable must not switch off what a flag guards.
func TestBlankFlagsAreRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	parser, err := newParser(t.Context(), &streams{})
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]int{}
	for _, leaf := range parser.Model.Leaves(true) {
		for _, flag := range leaf.Flags {
			if flag.IsBool() || flag.Name == "help" || mayBeEmpty(flag) {
				continue
			}
			for _, given := range spellings(tried, flag, [][]string{{"--" + flag.Name + "="}, {"--" + flag.Name, ""}, {"--" + flag.Name, " "}, {"--" + flag.Name + "=\t"}}) {
				args := strings.Fields(leaf.Path())
				for range leaf.Positional {
					args = append(args, "019ab0c1-1111-7111-8111-111111111111")
				}
				if leaf.Path() == "completion" {
					args[1] = "bash"
				}
				if leaf.Path() == "inbox answer" {
					args[2] = "200"
				}
				code, stdout, stderr := command(t, append(args, given...)...)
				if code != wrongUse(leaf) || !strings.Contains(stderr, "--"+flag.Name) || stdout != "" {
					t.Errorf("%s %q: exit code %d, %q and %q; want a refusal that names the flag", leaf.Path(), given, code, stdout, stderr)
				}
			}
		}
	}
	if len(tried) < 60 {
		t.Errorf("only %d flags were tried", len(tried))
	}
}

func wrongUse(leaf *kong.Node) int {
	if leaf.Path() == "healthcheck" {
		return cli.General
	}
	return cli.Usage
}

func TestUnknownVariablesAreRefusedWithTheRightOne(t *testing.T) {
	for name, right := range map[string]string{
		"HERALD_LISTN":            "HERALD_LISTEN",
		"HERALD_LISTEN_ADDRESS":   "HERALD_LISTEN",
		"HERALD_ALLOW_TARGET":     "HERALD_ALLOW_TARGETS",
		"HERALD_TRUSTED_PROXY":    "HERALD_TRUSTED_PROXIES",
		"HERALD_RATE-LIMIT":       "HERALD_RATE_LIMIT",
		"HERALD_DATABASE_URL":     "HERALD_DATABASE",
		"HERALD_OPERATER_KEY":     "HERALD_OPERATOR_KEY",
		"HERALD_KEY":              "HERALD_API_KEY",
		"HERALD_Log_Level":        "HERALD_LOG_LEVEL",
		"HERALD_DATA_DIR":         "HERALD_DATA",
		"HERALD_PORT":             "HERALD_LISTEN",
		"HERALD_SMTP_URL":         "HERALD_SMTP",
		"HERALD_TLS_CERT_FILE":    "HERALD_TLS_CERT",
		"HERALD_XYZZY_QUUX_PLUGH": "herald help serve",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "a-secret-value")
			for _, args := range [][]string{{"serve", "--operator-key", randomKey}, {"rules", "list"}, {"check"}, {"dev"}} {
				code, stdout, stderr := command(t, args...)
				if code != cli.Usage || !strings.Contains(stderr, name) || !strings.Contains(stderr, right) || stdout != "" {
					t.Errorf("%v: exit code %d, %q and %q; want a refusal that suggests %s", args, code, stdout, stderr, right)
				}
				if strings.Contains(stderr, "a-secret-value") {
					t.Errorf("%v shows the value: %q", args, stderr)
				}
			}
			for _, args := range [][]string{{"version"}, {"--version"}, {"help"}, {"serve", "--help"}, {"completion", "bash"}} {
				if code, _, stderr := command(t, args...); code != cli.OK {
					t.Errorf("%v: exit code %d, %q", args, code, stderr)
				}
			}
		})
	}
}

// TestVariablesOfContainerPlatformsAreNotRead: Kubernetes sets these in every pod beside a service
// whose name begins with herald.
func TestVariablesOfContainerPlatformsAreNotRead(t *testing.T) {
	for name, value := range map[string]string{
		"HERALD_SERVICE_HOST":              "10.0.0.1",
		"HERALD_SERVICE_PORT":              "8080",
		"HERALD_SERVICE_PORT_HTTP":         "8080",
		"HERALD_PORT":                      "tcp://10.0.0.1:8080",
		"HERALD_PORT_8080_TCP":             "tcp://10.0.0.1:8080",
		"HERALD_PORT_8080_TCP_PROTO":       "tcp",
		"HERALD_PORT_8080_TCP_PORT":        "8080",
		"HERALD_PORT_8080_TCP_ADDR":        "10.0.0.1",
		"HERALD_API_SERVICE_HOST":          "10.0.0.2",
		"HERALD_API_PORT":                  "udp://10.0.0.2:53",
		"HERALD_API_PORT_53_UDP_ADDR":      "10.0.0.2",
		"HERALD_METRICS_PORT_9090_TCP":     "tcp://10.0.0.3:9090",
		"HERALD_LISTEN_SERVICE_PORT_ADMIN": "9091",
		"HERALD_EMPTY_AND_UNKNOWN":         "",
	} {
		t.Setenv(name, value)
	}
	for _, args := range [][]string{{"rules", "list"}, {"serve"}} {
		if code, _, stderr := command(t, args...); code != cli.Usage || !strings.Contains(stderr, "key") || strings.Contains(stderr, "SERVICE") {
			t.Errorf("%v: exit code %d, %q; want the error about the key", args, code, stderr)
		}
	}
}

// TestSecretsAreReadFromFiles tries each secret that has a sibling for a file.
func TestSecretsAreReadFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, text := range []string{randomKey, randomKey + "\n", randomKey + "\r\n", "\n" + randomKey + "\n\n"} {
		c := serveCommand{OperatorKeyFile: write("key", text)}
		if err := c.readSecrets(); err != nil || !slices.Equal(c.OperatorKey, []string{randomKey}) {
			t.Errorf("%q: keys %q, %v", text, c.OperatorKey, err)
		}
	}
	second := strings.Repeat("0f9e8d7c6b5a4321", 2)
	c := serveCommand{OperatorKeyFile: write("keys", randomKey+"\n"+second+"\n"), SMTPFile: write("smtp", "smtp://u:hunter2@mail:587\n"), EgressProxyFile: write("proxy", "http://u:hunter2@proxy:3128\n"),
		databaseFlags: databaseFlags{DatabaseFile: write("database", "postgres://u:hunter2@db/herald\n"), MigrateDatabaseFile: write("migrate", "postgres://u:hunter2@direct/herald\n")}}
	if err := c.readSecrets(); err != nil || !slices.Equal(c.OperatorKey, []string{randomKey, second}) || c.SMTP != "smtp://u:hunter2@mail:587" ||
		c.Database != "postgres://u:hunter2@db/herald" || c.MigrateDatabase != "postgres://u:hunter2@direct/herald" || c.EgressProxy != "http://u:hunter2@proxy:3128" {
		t.Errorf("read %+v, %v", c, err)
	}
}

func TestSecretFilesThatCannotBeUsedAreNamed(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty, blank, large := file("good", "hunter2\n"), file("empty", ""), file("blank", " \n\n"), file("large", strings.Repeat("hunter2\n", maxSecretFile))
	lines := file("lines", "hunter2\nhunter3\n")
	for _, secret := range []struct{ flag, variable, command string }{
		{"--operator-key", "HERALD_OPERATOR_KEY", "serve"}, {"--smtp", "HERALD_SMTP", "serve"}, {"--egress-proxy", "HERALD_EGRESS_PROXY", "serve"},
		{"--database", "HERALD_DATABASE", "serve"}, {"--migrate-database", "HERALD_MIGRATE_DATABASE", "serve"},
		{"--database", "HERALD_DATABASE", "migrate"}, {"--migrate-database", "HERALD_MIGRATE_DATABASE", "migrate"},
		{"--database", "HERALD_DATABASE", "secrets reset"}, {"--key", "HERALD_API_KEY", "rules list"},
	} {
		refused := func(wants []string, args ...string) {
			t.Helper()
			code, stdout, stderr := command(t, append(strings.Fields(secret.command), args...)...)
			if code != cli.Usage || stdout != "" || strings.Contains(stderr, "hunter2") {
				t.Errorf("%s %q: exit code %d, %q, %q", secret.command, args, code, stdout, stderr)
			}
			for _, want := range wants {
				if !strings.Contains(stderr, want) {
					t.Errorf("%s %q: %q does not name %s", secret.command, args, stderr, want)
				}
			}
		}
		for path, says := range map[string]string{
			empty: "empty", blank: "empty", large: "bytes", dir: "directory", filepath.Join(dir, "none"): "no such file",
		} {
			refused([]string{path, says, secret.flag + "-file"}, secret.flag+"-file", path)
			t.Setenv(secret.variable+"_FILE", path)
			refused([]string{path, says})
			os.Unsetenv(secret.variable + "_FILE")
		}
		if secret.flag != "--operator-key" {
			refused([]string{lines, "2 lines"}, secret.flag+"-file", lines)
		}
		refused([]string{secret.flag, secret.flag + "-file", secret.variable}, secret.flag, "hunter2", secret.flag+"-file", good)
		t.Setenv(secret.variable, "hunter2")
		refused([]string{secret.flag, secret.flag + "-file", secret.variable}, secret.flag+"-file", good)
		os.Unsetenv(secret.variable)
	}
}

func TestVersionIsAFlagToo(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"version"}, {"rules", "list", "--version"}} {
		if code, stdout, stderr := command(t, args...); code != cli.OK || stdout != version+"\n" || stderr != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}

// TestAddressesNeedAPort: without one the system would choose, and nobody would find the service.
func TestAddressesNeedAPort(t *testing.T) {
	for _, address := range []string{":", "127.0.0.1", "127.0.0.1:", "8080", "[::1]", "http://127.0.0.1:8080", "127.0.0.1:http x", "127.0.0.1:65536", "127.0.0.1:-1"} {
		for _, args := range [][]string{
			{"serve", "--operator-key", randomKey, "--listen", address}, {"serve", "--operator-key", randomKey, "--metrics-listen", address},
			{"dev", "--listen", address}, {"dev", "--inbox", address}, {"healthcheck", "--listen", address},
		} {
			code, stdout, stderr := command(t, append(args, []string{"--data", t.TempDir()}[:2*btoi(args[0] != "healthcheck")]...)...)
			want := cli.Usage
			if args[0] == "healthcheck" {
				want = cli.General
			}
			if code != want || stdout != "" || !strings.Contains(stderr, args[len(args)-2]) || !strings.Contains(stderr, "host:port") {
				t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
