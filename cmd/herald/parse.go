package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"herald/internal/cli"
)

// errHelpShown ends a run after the help was shown, with exit code 0.
var errHelpShown = errors.New("help was shown")

func newParser(ctx context.Context, out *streams) (*kong.Kong, error) {
	parser, err := kong.New(&commands{},
		kong.Vars{"version": version},
		kong.Name("herald"),
		kong.Description("Delivers events to people's systems as webhooks and mail, with retries."),
		kong.UsageOnError(), kong.Help(helpWithExamples), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(out.stdout, out.stderr),
		kong.Exit(func(int) { panic(errHelpShown) }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(out),
	)
	if err == nil {
		ignoreBlankVariables(parser)
	}
	return parser, err
}

// parseAndRun runs the command that the arguments name. Kong exits the process after
// it has shown help; here its Exit panics with errHelpShown instead.
func parseAndRun(ctx context.Context, parser *kong.Kong, args []string) (err error) {
	defer func() {
		if v := recover(); v == errHelpShown {
			err = nil
		} else if v != nil {
			panic(v)
		}
	}()
	completeLine(ctx, parser)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		var wrong *kong.ParseError
		if errors.As(err, &wrong) {
			return usageError("%v; see: herald help%s", err, pathOf(wrong.Context))
		}
		return usageError("%v; see: herald help", err)
	}
	if err = check(parser, parsed); err == nil {
		err = parsed.Run()
	}
	var wrong *cli.UsageError
	if errors.As(err, &wrong) && !strings.Contains(wrong.Text, "; see: ") {
		return usageError("%s; see: herald help%s", wrong.Text, pathOf(parsed))
	}
	return err
}

// check refuses what the parser takes and nobody means. Commands that only print something about the
// program itself do not look at the environment: they are how one finds out what is wrong.
func check(parser *kong.Kong, parsed *kong.Context) error {
	switch parsed.Selected().Path() {
	case "version", "help", "completion":
		return nil
	}
	if err := checkFlags(parsed); err != nil {
		return err
	}
	return checkVariables(parser, os.Environ())
}

// pathOf returns the command that a command line names, as far as it does, with a blank in front.
func pathOf(parsed *kong.Context) string {
	if parsed == nil || parsed.Selected() == nil {
		return ""
	}
	return " " + parsed.Selected().Path()
}

func usageError(format string, args ...any) error {
	return &cli.UsageError{Text: fmt.Sprintf(format, args...)}
}

// helpCommand is `herald help [COMMAND...]`.
type helpCommand struct {
	Command []string `arg:"" optional:"" help:"Command to show the help of."`
}

// Run shows help.
func (c *helpCommand) Run(ctx context.Context, parser *kong.Kong) error {
	return parseAndRun(ctx, parser, append(c.Command, "--help"))
}

// versionCommand is `herald version`.
type versionCommand struct{}

// Run prints the version.
func (c *versionCommand) Run(out *streams) error {
	_, err := fmt.Fprintln(out.stdout, version)
	return err
}
