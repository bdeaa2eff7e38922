package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"

	"herald/internal/catalogue"
)

// completionCommand is `herald completion`.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// The scripts make the shell run this program for completions, see completeLine.
const (
	bashCompletion = "complete -C %[1]q herald\n"
	zshCompletion  = "autoload -U +X bashcompinit && bashcompinit\ncomplete -C %[1]q herald\n"
	fishCompletion = `function __complete_herald
    set -lx COMP_SHELL fish
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    %[1]q
end
complete -f -c herald -a "(__complete_herald)"
`
)

// Run prints the script. The user puts it where the shell reads it at its start.
func (c *completionCommand) Run(out *streams) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program's own path: %w", err)
	}
	script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	_, err = fmt.Fprintf(out.stdout, script, program)
	return err
}

// innerBlank stands for a blank within a word: the library splits lines at blanks, whatever their
// quotes. It is a character of Unicode's private use area, so that no name has it.
const innerBlank = "\ue000"

// completeLine answers a shell's request for completions and then ends the process. The shell sets the
// variable COMP_LINE for such a request.
func completeLine(ctx context.Context, parser *kong.Kong) {
	line := os.Getenv("COMP_LINE")
	if line == "" {
		return
	}
	if point, err := strconv.Atoi(os.Getenv("COMP_POINT")); err == nil && point >= 0 && point < len(line) {
		line = line[:point]
	}
	joined, quoted := joinWords(line)
	_ = os.Setenv("COMP_LINE", joined) // it fails for a wrong name only
	_ = os.Unsetenv("COMP_POINT")
	out := parser.Stdout
	var found bytes.Buffer
	parser.Stdout = &found
	kongplete.Complete(parser, kongplete.WithExitFunc(func(int) {}),
		kongplete.WithPredictor("type", complete.PredictFunc(func(a complete.Args) []string { return typesLike(ctx, a.Last) })))
	parser.Stdout = out
	for option := range strings.Lines(found.String()) {
		option = strings.ReplaceAll(option, innerBlank, " ")
		if !quoted && os.Getenv("COMP_SHELL") != "fish" { // fish quotes by itself
			option = escapeForShell(strings.TrimSuffix(option, "\n")) + "\n"
		}
		fmt.Fprint(out, option)
	}
	parser.Exit(0)
}

// joinWords removes a command line's quotes and replaces the blanks within words. quoted says that the
// line ends within quotes.
func joinWords(line string) (joined string, quoted bool) {
	var b strings.Builder
	var quote, before rune
	for _, r := range line {
		switch {
		case before == '\\' && quote != '\'':
			b.WriteString(strings.ReplaceAll(string(r), " ", innerBlank))
			before = 0
			continue
		case r == '\\' && quote != '\'':
		case r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case r == ' ' && quote != 0:
			b.WriteString(innerBlank)
		default:
			b.WriteRune(r)
		}
		before = r
	}
	return b.String(), quote != 0
}

// escapeForShell puts a backslash before the characters of a name that a shell would not take as text.
func escapeForShell(name string) string {
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(" \t()'\"\\$&;|<>*?[]{}~#!`", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// completionTime is how long a completion waits for the service: a person waits for it.
const completionTime = 300 * time.Millisecond

// typesLike returns the names of types that begin with a text, in any case. They come from the service
// if it answers quickly, else they are the built-in ones.
func typesLike(ctx context.Context, begin string) []string {
	var found []string
	for _, name := range typeNames(ctx) {
		name = strings.ReplaceAll(name, " ", innerBlank)
		if len(name) >= len(begin) && strings.EqualFold(name[:len(begin)], begin) {
			found = append(found, begin+name[len(begin):]) // the library compares the case
		}
	}
	return found
}

func typeNames(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	var names []string
	c := connection{URL: os.Getenv("HERALD_URL"), Key: os.Getenv("HERALD_API_KEY"), KeyFile: os.Getenv("HERALD_API_KEY_FILE")}
	if isBlank(c.URL) {
		c.URL = "http://127.0.0.1:8080"
	}
	if service, err := c.client(); err == nil {
		if types, err := service.EventTypes(ctx); err == nil {
			for _, t := range types {
				names = append(names, t.Name)
			}
			return names
		}
	}
	builtIn, err := catalogue.New(nil, catalogue.Options{})
	if err != nil {
		return nil
	}
	for _, t := range builtIn.Types() {
		names = append(names, t.Name)
	}
	return names
}
