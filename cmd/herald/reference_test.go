package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

// TestReferenceOfCommandsIsUpToDate compares the reference page with the command line; -update writes it.
func TestReferenceOfCommandsIsUpToDate(t *testing.T) {
	const page = "../../docs/reference/cli.md"
	parser, err := newParser(t.Context(), &streams{})
	if err != nil {
		t.Fatal(err)
	}
	got := commandPage(parser.Model.Node)
	if *update {
		if err := os.WriteFile(page, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the page is out of date; run go test ./cmd/herald -run Reference -update (-page +commands):\n%s", diff)
	}
}

// commandPage is the page: a table of all commands, and a section for each.
func commandPage(root *kong.Node) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, `# Commands

Every command of `+"`herald`"+`, made from the program (`+"`go test ./cmd/herald -run Reference -update`"+`).
`+"`herald help COMMAND`"+` shows the same. [Configuration](configuration.md) explains the flags of `+"`herald serve`"+` and
the exit codes.

| Command | What it does |
| --- | --- |
`)
	var sections bytes.Buffer
	for _, leaf := range root.Leaves(true) {
		path := leaf.Path()
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", path, strings.ReplaceAll(path, " ", "-"), leaf.Help)
		commandSection(&sections, leaf)
	}
	fmt.Fprint(&b, `
Commands that call a service take its address and a key:

| Flag | Variable | Default | |
| --- | --- | --- | --- |
`)
	for _, flag := range connectionFlags(root) {
		flagRow(&b, flag)
	}
	sections.WriteTo(&b)
	return b.Bytes()
}

// connectionFlags are those of every command that calls a service.
func connectionFlags(root *kong.Node) []*kong.Flag {
	for _, leaf := range root.Leaves(true) {
		if leaf.Path() == "trigger" {
			var flags []*kong.Flag
			for _, flag := range leaf.Flags {
				if isConnection(flag) {
					flags = append(flags, flag)
				}
			}
			return flags
		}
	}
	return nil
}

func isConnection(f *kong.Flag) bool {
	return f.Name == "url" || f.Name == "key" || f.Name == "key-file" || f.Name == "output"
}

func commandSection(b *bytes.Buffer, leaf *kong.Node) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n```\nherald %s\n```\n", leaf.Path(), leaf.Help, leaf.Summary())
	for _, p := range leaf.Positional {
		fmt.Fprintf(b, "\n`%s`: %s\n", p.Name, p.Help)
	}
	calls := false
	var own []*kong.Flag
	for _, flag := range leaf.Flags {
		calls = calls || flag.Name == "key"
		if !isConnection(flag) && flag.Name != "help" && !flag.Hidden {
			own = append(own, flag)
		}
	}
	if len(own) > 0 && leaf.Path() != "serve" {
		fmt.Fprint(b, "\n| Flag | Variable | Default | |\n| --- | --- | --- | --- |\n")
		for _, flag := range own {
			flagRow(b, flag)
		}
	}
	fmt.Fprintf(b, "\n```sh\nherald %s\n```\n", strings.Join(examplesOf(leaf), "\nherald "))
	if calls {
		fmt.Fprint(b, "\nIt calls a service.\n")
	}
}

func flagRow(b *bytes.Buffer, f *kong.Flag) {
	name := "`--" + f.Name + "`"
	if f.Short != 0 {
		name = fmt.Sprintf("`-%c`, %s", f.Short, name)
	}
	variable, standard := "", ""
	if len(f.Envs) > 0 {
		variable = "`" + f.Envs[0] + "`"
	}
	if f.Default != "" {
		standard = "`" + f.Default + "`"
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, variable, standard, strings.ReplaceAll(f.Help, "|", "\\|"))
}
