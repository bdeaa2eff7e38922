package main

import (
	"fmt"
	"path/filepath"

	"herald/internal/app"
	"herald/internal/secret"
)

// secretsCommand is `herald secrets`.
type secretsCommand struct {
	RotateKey rotateKeyCommand `cmd:"" help:"Change the key that secrets are sealed with; a running service follows by itself."`
}

// rotateKeyCommand is `herald secrets rotate-key`. It changes the key file. The service
// reads the file again within a second and seals the database's secrets with the new key.
type rotateKeyCommand struct {
	Data          string `help:"Directory of the embedded database, where the key is." env:"HERALD_DATA" default:"./herald-data" type:"path"`
	SecretKeyFile string `help:"File with the key. Empty: secret.key in the data directory." env:"HERALD_SECRET_KEY_FILE" placeholder:"FILE" type:"path"`
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
