package main

import (
	"context"
	"errors"
	"fmt"

	"herald/internal/app"
	"herald/internal/cli"
)

// checkCommand is `herald check`.
type checkCommand struct {
	Data string `help:"Directory of the embedded database." env:"HERALD_DATA" default:"./herald-data" type:"path"`
}

// Run reads the whole database and prints what is wrong with it. The service may run meanwhile.
func (c *checkCommand) Run(ctx context.Context, out *streams) error {
	problems, err := app.Check(ctx, c.Data)
	for _, problem := range problems {
		fmt.Fprintln(out.stdout, cli.Clean(problem))
	}
	switch {
	case err != nil:
		return err
	case len(problems) > 0:
		return errors.New("the database is damaged: restore it from a backup, see docs/how-to/back-up.md")
	}
	fmt.Fprintln(out.stdout, "the database is sound")
	return nil
}
