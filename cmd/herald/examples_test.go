package main

import (
	"regexp"
	"strings"
	"testing"

	"herald/internal/cli"
)

// words splits an example as a shell does, and leaves out a redirection at its end.
func words(line string) []string {
	line, _, _ = strings.Cut(line, " < ")
	line, _, _ = strings.Cut(line, " > ")
	var all []string
	for _, word := range regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`).FindAllString(line, -1) {
		all = append(all, strings.Trim(word, `'"`))
	}
	return all
}

// TestEveryHelpHasExamplesThatParse: the help of every command and of every group ends with examples.
func TestEveryHelpHasExamplesThatParse(t *testing.T) {
	parser, err := newParser(t.Context(), &streams{})
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(true) {
		if len(examples[leaf.Path()]) == 0 {
			t.Errorf("%s has no example", leaf.Path())
		}
		for _, example := range examples[leaf.Path()] {
			parser, err := newParser(t.Context(), &streams{}) // a parser keeps what it has parsed
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := parser.Parse(words(example))
			if err != nil || parsed.Selected().Path() != leaf.Path() {
				t.Errorf("%q is no command line of %s: %v", example, leaf.Path(), err)
			}
		}
	}
	for path := range examples {
		if _, stdout, _ := command(t, append(strings.Fields(path), "--help")...); !strings.Contains(stdout, "Examples:\n  herald "+path) {
			t.Errorf("%s --help shows no example, or there is no such command:\n%s", path, stdout)
		}
	}
	for _, group := range [][]string{{"rules"}, {"deliveries"}, {"types"}, nil} {
		if _, stdout, _ := command(t, append(group, "--help")...); !strings.Contains(stdout, "Examples:\n  herald ") {
			t.Errorf("%v --help shows no example", group)
		}
	}
}

func TestUsageErrorsNameTheHelpToRead(t *testing.T) {
	for see, args := range map[string][]string{
		"see: herald help\n":                    {"nonsense"},
		"see: herald help rules\n":              {"rules", "nonsense"},
		"see: herald help rules get\n":          {"rules", "get"},
		"see: herald help deliveries list\n":    {"deliveries", "list", "--since", "yesterday"},
		"see: herald help rules list\n":         {"rules", "list"}, // no key
		"see: herald help deliveries recover\n": {"deliveries", "recover", "--key", "k"},
		"see: herald help serve\n":              {"serve", "--operator-key", "short"},
	} {
		if code, _, stderr := command(t, args...); code != cli.Usage || !strings.HasSuffix(stderr, see) || strings.Count(stderr, "see: ") != 1 {
			t.Errorf("%v: exit code %d, %q; want an end with %q", args, code, stderr, see)
		}
	}
}
