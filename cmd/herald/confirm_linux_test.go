package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"herald/internal/cli"
)

// openTerminal returns both ends of a new terminal: what a person holds, and what a program gets.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() }) //nolint:errcheck // the test is over
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { program.Close() }) //nolint:errcheck // the test is over
	return person, program
}

// deletions are the command lines of every command that deletes.
func deletions(t *testing.T) [][]string {
	t.Helper()
	parser, err := newParser(t.Context(), &streams{})
	if err != nil {
		t.Fatal(err)
	}
	argument := map[string]string{"id": ruleID, "name": "Invoice paid", "address": "ann@acme.example"}
	var lines [][]string
	for _, leaf := range parser.Model.Leaves(true) {
		if leaf.Name != "delete" {
			continue
		}
		line := strings.Fields(leaf.Path())
		for _, p := range leaf.Positional {
			if argument[p.Name] == "" {
				t.Fatalf("%s: the test has no value for its argument %s", leaf.Path(), p.Name)
			}
			line = append(line, argument[p.Name])
		}
		lines = append(lines, line)
	}
	if len(lines) < 5 {
		t.Fatalf("found only %v", lines)
	}
	return lines
}

// countDeletes starts a service that counts the requests to delete.
func countDeletes(t *testing.T) *int {
	t.Helper()
	n := new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			*n++
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	t.Setenv("HERALD_URL", server.URL)
	t.Setenv("HERALD_API_KEY", "k")
	return n
}

func TestDeletionsAskAtATerminal(t *testing.T) {
	deleted := countDeletes(t)
	for _, line := range deletions(t) {
		for _, test := range []struct {
			answer string
			code   int
			times  int
		}{{"y\n", cli.OK, 1}, {"YES\n", cli.OK, 1}, {"n\n", cli.General, 0}, {"\n", cli.General, 0}, {"yep\n", cli.General, 0}, {"\x04", cli.General, 0}} {
			person, program := openTerminal(t)
			if _, err := person.WriteString(test.answer); err != nil {
				t.Fatal(err)
			}
			*deleted = 0
			var out, errs bytes.Buffer
			code := run(t.Context(), line, &streams{program, &out, &errs})
			if code != test.code || *deleted != test.times || !strings.Contains(errs.String(), "[y/N]") || !strings.Contains(errs.String(), line[len(line)-1]) {
				t.Errorf("%v, answered %q: exit code %d, %d deletions, %q", line, test.answer, code, *deleted, errs.String())
			}
		}
	}
}

func TestDeletionsWithoutATerminalNeedYes(t *testing.T) {
	deleted := countDeletes(t)
	nothing, err := os.Open(os.DevNull) // a character device, and no terminal
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close() //nolint:errcheck // the test is over
	for _, line := range deletions(t) {
		for name, stdin := range map[string]*streams{"a pipe": {stdin: strings.NewReader("y\n")}, os.DevNull: {stdin: nothing}} {
			*deleted = 0
			var errs bytes.Buffer
			stdin.stdout, stdin.stderr = &bytes.Buffer{}, &errs
			if code := run(t.Context(), line, stdin); code != cli.Usage || *deleted != 0 || !strings.Contains(errs.String(), "--yes") {
				t.Errorf("%v from %s: exit code %d, %d deletions, %q; want a refusal that names --yes", line, name, code, *deleted, errs.String())
			}
			if code := run(t.Context(), append(line, "--yes"), stdin); code != cli.OK || *deleted != 1 {
				t.Errorf("%v --yes from %s: exit code %d, %d deletions, %q", line, name, code, *deleted, errs.String())
			}
		}
	}
}

func TestQuestionEndsWithAnInterrupt(t *testing.T) {
	deleted := countDeletes(t)
	_, program := openTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	asked := newScreen()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"rules", "delete", ruleID}, &streams{program, &bytes.Buffer{}, asked})
	}()
	asked.wait(t, `\[y/N\]`)
	cancel()
	if code := <-ended; code != cli.Interrupted || *deleted != 0 {
		t.Errorf("exit code %d, %d deletions; want 130 and none", code, *deleted)
	}
}
