package main

import (
	"context"
	"fmt"

	"herald/internal/app"
)

// migrateCommand is `herald migrate`.
type migrateCommand struct {
	databaseFlags `embed:""`
	Data          string `help:"Directory of the embedded database." env:"HERALD_DATA" default:"./herald-data" type:"path"`
}

// Run applies the missing migrations and prints their names.
func (c *migrateCommand) Run(ctx context.Context, out *streams) error {
	if err := c.readSecrets(); err != nil {
		return err
	}
	if c.MigrateDatabase != "" {
		c.Database, c.MigrateDatabase = c.MigrateDatabase, ""
	}
	applied, err := app.Migrate(ctx, c.Data, c.Database)
	for _, name := range applied {
		fmt.Fprintln(out.stdout, "applied", name)
	}
	if err == nil && len(applied) == 0 {
		fmt.Fprintln(out.stdout, "the tables are up to date")
	}
	return err
}
