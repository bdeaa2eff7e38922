package main

import (
	"context"
	"fmt"
	"path/filepath"

	"herald/internal/app"
	"herald/internal/cli"
	"herald/internal/secret"
)

// secretsCommand is `herald secrets`.
type secretsCommand struct {
	RotateKey rotateKeyCommand `cmd:"" help:"Change the key that secrets are sealed with; a running service follows by itself."`
	Reset     resetCommand     `cmd:"" help:"After the key was lost: clear the secrets that cannot be read, and list whose they were."`
}

// rotateKeyCommand is `herald secrets rotate-key`. It changes the key file. The service
// reads the file again within a second and seals the database's secrets with the new key.
type rotateKeyCommand struct {
	Data          string `help:"Directory of the embedded database, where the key is." env:"HERALD_DATA" default:"./herald-data" type:"path"`
	SecretKeyFile string `help:"File with the key. Without it: secret.key in the data directory." env:"HERALD_SECRET_KEY_FILE" placeholder:"FILE" type:"path"`
	Prepare       bool   `help:"Only add a key, for files on several machines: give every node the file, then rotate without this, then give them the file again."`
}

// Run rotates the key.
func (c *rotateKeyCommand) Run(out *streams) error {
	file := c.SecretKeyFile
	if file == "" {
		file = filepath.Join(c.Data, app.SecretKeyFile)
	}
	name, err := secret.RotateKeyFile(file, c.Prepare)
	if err != nil {
		return err
	}
	if c.Prepare {
		fmt.Fprintf(out.stdout, "%s is prepared in %s: give every node this file, then run this without --prepare\n", name, file)
		return nil
	}
	fmt.Fprintf(out.stdout, "%s seals from now on; a running service seals its stored secrets again with it and logs the result\n"+
		"the other keys in %s still open: keep them as long as links in sent mails must work\n", name, file)
	return nil
}

// resetCommand is `herald secrets reset`. It makes a database usable again whose key is lost. No
// node may run.
type resetCommand struct {
	databaseFlags `embed:""`
	Data          string `help:"Directory of the embedded database, where the key is; a missing key is made." env:"HERALD_DATA" default:"./herald-data" type:"path"`
	SecretKeyFile string `help:"File with the key that is used from now on. Without it: secret.key in the data directory." env:"HERALD_SECRET_KEY_FILE" placeholder:"FILE" type:"path"`
}

// Run clears the secrets.
func (c *resetCommand) Run(ctx context.Context, out *streams) error {
	if err := c.readSecrets(); err != nil {
		return err
	}
	if c.Database != "" && c.SecretKeyFile == "" {
		return usageError(needsKeyFile)
	}
	cleared, err := app.ResetSecrets(ctx, app.Config{DataDir: c.Data, Database: c.Database, MigrateDatabase: c.MigrateDatabase, SecretKeyFile: c.SecretKeyFile})
	for _, client := range cleared {
		fmt.Fprintf(out.stdout, "%s  %s\n", client.ID, cli.Clean(client.Profile.Name))
	}
	if err != nil {
		return err
	}
	if len(cleared) == 0 {
		fmt.Fprintln(out.stderr, "every secret can be read; nothing was cleared")
		return nil
	}
	fmt.Fprintf(out.stderr, "the alertAuthHeader of %d clients could not be read and was cleared: their webhooks go without it until they save their profile again (PUT /profile)\n", len(cleared))
	return nil
}
