package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/alecthomas/kong"

	"herald/internal/cli"
)

// errHelpShown ends a run after the help was shown, with exit code 0.
var errHelpShown = errors.New("help was shown")

func newParser(ctx context.Context, out *streams) (*kong.Kong, error) {
	return kong.New(&commands{},
		kong.Name("herald"),
		kong.Description("Delivers events to people's systems as webhooks and mail, with retries."),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(out.stdout, out.stderr),
		kong.Exit(func(int) { panic(errHelpShown) }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(out),
	)
}

// parseAndRun runs the command that the arguments name. Kong exits the process after
// it has shown help; here its Exit panics with errHelpShown instead.
func parseAndRun(parser *kong.Kong, args []string) (err error) {
	defer func() {
		if v := recover(); v == errHelpShown {
			err = nil
		} else if v != nil {
			panic(v)
		}
	}()
	complete(parser)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return usageError("%v; see: herald help", err)
	}
	return parsed.Run()
}

func usageError(format string, args ...any) error {
	return &cli.UsageError{Text: fmt.Sprintf(format, args...)}
}

// helpCommand is `herald help [COMMAND...]`.
type helpCommand struct {
	Command []string `arg:"" optional:"" help:"Command to show the help of."`
}

// Run shows help.
func (c *helpCommand) Run(parser *kong.Kong) error {
	return parseAndRun(parser, append(c.Command, "--help"))
}

// versionCommand is `herald version`.
type versionCommand struct{}

// Run prints the version.
func (c *versionCommand) Run(out *streams) error {
	_, err := fmt.Fprintln(out.stdout, version)
	return err
}
