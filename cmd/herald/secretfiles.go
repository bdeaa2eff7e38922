package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecretFile is the largest file with a secret, in bytes: 8 KiB. An address or a key is shorter, and
// a file that was named by mistake is seldom.
const maxSecretFile = 8 << 10

// secretFrom returns the value of a flag that holds a secret. It is value, or what the file of the
// flag's sibling holds, without blanks around it. Both together are an error. No error shows what is
// in the file.
func secretFrom(flag, value, file string) (string, error) {
	lines, err := secretLines(flag, value != "", file)
	switch {
	case err != nil || lines == nil:
		return value, err
	case len(lines) > 1:
		return "", usageError("%s-file: %s has %d lines; want one", flag, file, len(lines))
	}
	return lines[0], nil
}

// secretLines returns the lines of the file of the flag's sibling, nil without a file. It leaves out
// empty lines.
func secretLines(flag string, alsoSet bool, file string) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	if alsoSet {
		variable := secretVariables[flag]
		return nil, usageError("%s (%s) and %[1]s-file (%[2]s_FILE) are both set; give one of them", flag, variable)
	}
	text, err := readSecretFile(file)
	if err != nil {
		return nil, usageError("%s-file: %v", flag, err)
	}
	var lines []string
	for line := range strings.Lines(text) {
		if !isBlank(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) == 0 {
		return nil, usageError("%s-file: %s is empty; want the value of %[1]s in it", flag, file)
	}
	return lines, nil
}

// secretVariables are the variables of the flags that hold secrets.
var secretVariables = map[string]string{
	"--operator-key": "HERALD_OPERATOR_KEY", "--smtp": "HERALD_SMTP", "--egress-proxy": "HERALD_EGRESS_PROXY",
	"--database": "HERALD_DATABASE", "--migrate-database": "HERALD_MIGRATE_DATABASE", "--key": "HERALD_API_KEY",
}

func readSecretFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err == nil && len(text) > maxSecretFile {
		err = fmt.Errorf("%s has more than %d bytes; is it the right file?", path, maxSecretFile)
	}
	return string(text), err
}

// databaseFlags say where PostgreSQL is.
type databaseFlags struct {
	Database            string `help:"PostgreSQL database (postgres://…) that any number of nodes share. Without it: SQLite in the data directory." env:"HERALD_DATABASE" placeholder:"URL"`
	DatabaseFile        string `help:"File with the value of --database." env:"HERALD_DATABASE_FILE" placeholder:"FILE" type:"path"`
	MigrateDatabase     string `help:"With PostgreSQL: where to make and change tables, if --database is a proxy that pools transactions." env:"HERALD_MIGRATE_DATABASE" placeholder:"URL"`
	MigrateDatabaseFile string `help:"File with the value of --migrate-database." env:"HERALD_MIGRATE_DATABASE_FILE" placeholder:"FILE" type:"path"`
}

// readSecrets reads the files.
func (f *databaseFlags) readSecrets() (err error) {
	if f.Database, err = secretFrom("--database", f.Database, f.DatabaseFile); err != nil {
		return err
	}
	f.MigrateDatabase, err = secretFrom("--migrate-database", f.MigrateDatabase, f.MigrateDatabaseFile)
	return err
}

// readSecrets reads the files that hold the values of other flags.
func (c *serveCommand) readSecrets() (err error) {
	if err := c.databaseFlags.readSecrets(); err != nil {
		return err
	}
	keys, err := secretLines("--operator-key", len(c.OperatorKey) > 0, c.OperatorKeyFile)
	if err != nil {
		return err
	}
	if keys != nil {
		c.OperatorKey = keys
	}
	if c.SMTP, err = secretFrom("--smtp", c.SMTP, c.SMTPFile); err != nil {
		return err
	}
	c.EgressProxy, err = secretFrom("--egress-proxy", c.EgressProxy, c.EgressProxyFile)
	return err
}
