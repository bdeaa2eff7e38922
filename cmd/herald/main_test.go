package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"herald/internal/cli"
)

// command runs one command line in this process.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &streams{strings.NewReader(""), &out, &errs})
	return code, out.String(), errs.String()
}

// randomKey is an operator key.
const randomKey = "3f9a1c5e7b2d4860a1c5e7b2d48603f9"

// asHerald is an environment variable that makes the test binary run as herald.
const asHerald = "TEST_AS_HERALD"

// TestMain keeps the developer's own settings and time zone out of the tests.
func TestMain(m *testing.M) {
	if os.Getenv(asHerald) != "" {
		main()
	}
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "HERALD_") {
			os.Unsetenv(name)
		}
	}
	time.Local = time.UTC // tables show local times
	os.Exit(m.Run())
}

// TestHelpIsComplete checks that every command, flag and argument has help, and that
// --help shows it and exits with 0.
func TestHelpIsComplete(t *testing.T) {
	t.Setenv("HERALD_API_KEY", "hk-recognisable-secret")
	parser, err := newParser(t.Context(), &streams{})
	if err != nil {
		t.Fatal(err)
	}
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		switch n := node.(type) {
		case *kong.Node:
			if n.Help == "" {
				t.Errorf("the command %s has no help", n.FullPath())
			}
			if n.Type == kong.CommandNode {
				path := strings.Fields(strings.TrimPrefix(n.Path(), "herald "))
				code, stdout, stderr := command(t, append(path, "--help")...)
				if code != 0 || !strings.Contains(stdout, "Usage: herald "+path[0]) || stderr != "" {
					t.Errorf("%v --help: exit code %d, %q", path, code, stderr)
				}
				if strings.Contains(stdout, "recognisable-secret") {
					t.Errorf("%v --help shows the key", path)
				}
			}
		case *kong.Flag:
			if n.Help == "" {
				t.Errorf("the flag --%s has no help", n.Name)
			}
		case *kong.Positional:
			if n.Help == "" {
				t.Errorf("the argument %s has no help", n.Name)
			}
		}
		return next(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrongCommandLinesSayWhatToDo(t *testing.T) {
	key := randomKey
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"nonsense"}, cli.Usage, "nonsense"},
		{[]string{"rules", "get"}, cli.Usage, "<id>"},
		{[]string{"rules", "get", "not-an-id"}, cli.Usage, "<id>: invalid UUID"},
		{[]string{"rules", "list"}, cli.Usage, "HERALD_API_KEY"},
		{[]string{"rules", "list", "--key", "k", "-o", "xml"}, cli.Usage, "table"},
		{[]string{"rules", "list", "--key", "k", "--url", "nonsense"}, cli.Usage, "--url"},
		{[]string{"events", "publish", "Sync Failed", "--key", "k", "--data", "{"}, cli.Usage, "not JSON"},
		{[]string{"rules", "create", "Sync Failed", "--key", "k", "--url", "http://127.0.0.1:1"}, cli.Network, "127.0.0.1:1"},
		{[]string{"serve"}, cli.Usage, "HERALD_OPERATOR_KEY"},
		{[]string{"serve", "--operator-key", "short"}, cli.Usage, "at least 32"},
		{[]string{"serve", "--operator-key", key, "--allow-target", "10.0.0.0/99"}, cli.Usage, "10.0.0.0/99"},
		{[]string{"serve", "--operator-key", key, "--retry-schedule", "soon"}, cli.Usage, "soon"},
		{[]string{"serve", "--operator-key", key, "--request-timeout", "-1s"}, cli.Usage, "--request-timeout"},
		{[]string{"serve", "--operator-key", key, "--database", "postgres://x"}, cli.Usage, "--secret-key-file"},
		{[]string{"serve", "--operator-key", key, "--data", t.TempDir(), "--listen", "nonsense"}, cli.Usage, `listen address "nonsense"`},
		{[]string{"serve", "--operator-key", key, "--data", filepath.Join(os.DevNull, "x")}, cli.General, os.DevNull},
		{[]string{"completion", "tcsh"}, cli.Usage, "bash"},
	} {
		code, stdout, stderr := command(t, test.args...)
		if code != test.code || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%v: exit code %d, %q and %q; want %d and %q on stderr", test.args, code, stdout, stderr, test.code, test.says)
		}
	}
}

// TestDatabaseThatIsNotThere checks that the start ends with one clear line.
func TestDatabaseThatIsNotThere(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(keyFile, []byte("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"postgres://nobody@127.0.0.1:1/none?connect_timeout=2", "mysql://localhost/x", "postgres://%zz"} {
		code, _, stderr := command(t, "serve", "--operator-key", randomKey, "--secret-key-file", keyFile, "--database", address)
		if code != cli.General || !strings.HasPrefix(stderr, "herald: ") || strings.Count(strings.TrimSpace(stderr), "\n") > 0 {
			t.Errorf("%s: exit code %d, %q; want 1 and one line", address, code, stderr)
		}
	}
}

func TestHelpWithoutACommand(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}} {
		if code, stdout, _ := command(t, args...); code != 0 || !strings.Contains(stdout, "serve") {
			t.Errorf("%v: exit code %d, %.60q", args, code, stdout)
		}
	}
	if code, stdout, _ := command(t, "help", "deliveries", "why"); code != 0 || !strings.Contains(stdout, "Explain") {
		t.Errorf("help of a command: exit code %d, %q", code, stdout)
	}
}

func TestCompletionScripts(t *testing.T) {
	for shell, says := range map[string]string{"bash": "complete -C", "zsh": "bashcompinit", "fish": "commandline"} {
		if code, stdout, _ := command(t, "completion", shell); code != 0 || !strings.Contains(stdout, says) {
			t.Errorf("%s: exit code %d, %q", shell, code, stdout)
		}
	}
	t.Setenv("COMP_LINE", "herald deliveries ")
	t.Setenv("COMP_POINT", "18")
	if _, stdout, _ := command(t); !strings.Contains(stdout, "redeliver") {
		t.Errorf("completing gives %q", stdout)
	}
}

func TestInterruptedEndsWith130(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"results": []any{}}) // fails only when the caller has gone
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"tail", "--key", "k", "--url", server.URL}, &streams{strings.NewReader(""), &out, &errs}); code != cli.Interrupted {
		t.Errorf("exit code %d, want 130 (%s)", code, errs.String())
	}
}
