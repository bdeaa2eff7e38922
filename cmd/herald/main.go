// Command herald is the service and its tools. `herald serve` runs the service, `herald
// dev` runs it for a trial, and the other commands call a running service.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"herald/internal/cli"
)

// version is the program's version. The build sets it.
var version = "dev"

// commands are the commands and flags of the command line.
type commands struct {
	ShowVersion   kong.VersionFlag     `name:"version" help:"Print the version."`
	Serve         serveCommand         `cmd:"" help:"Run the service."`
	Healthcheck   healthcheckCommand   `cmd:"" help:"Ask the service of this machine whether it can serve: exit code 0 or 1."`
	Migrate       migrateCommand       `cmd:"" help:"Bring the database's tables up to date, for operators who do it by hand."`
	Check         checkCommand         `cmd:"" help:"Read the whole embedded database and say what is damaged; the service may run meanwhile."`
	Backup        backupCommand        `cmd:"" help:"Take a backup of the embedded database while the service runs (operator)."`
	Restore       restoreCommand       `cmd:"" help:"Restore a backup into an empty data directory, or check it."`
	Secrets       secretsCommand       `cmd:"" help:"Change the key that secrets are sealed with."`
	Dev           devCommand           `cmd:"" help:"Try it out: the service with a client, a receiver and rules in place."`
	Inbox         inboxCommand         `cmd:"" help:"Show what came to the inbox of herald dev, and set what it answers."`
	Trigger       triggerCommand       `cmd:"" help:"Publish an example event of a type."`
	Tail          tailCommand          `cmd:"" help:"Show deliveries as they happen."`
	Rules         rulesCommand         `cmd:"" help:"Manage the rules: which events are sent to which receivers."`
	Status        statusCommand        `cmd:"" help:"Show how the service is, and first what needs attention (operator)."`
	Events        eventsCommand        `cmd:"" help:"Publish events and show published ones."`
	Alerts        alertsCommand        `cmd:"" help:"Show the alerts that events raised."`
	Deliveries    deliveriesCommand    `cmd:"" help:"Show deliveries, send them again, cancel them."`
	Stats         statsCommand         `cmd:"" help:"Count attempts and deliveries: by receiver, by hour or by outcome."`
	Issues        issuesCommand        `cmd:"" help:"Show what fails: receivers, since when and why."`
	Notifications notificationsCommand `cmd:"" help:"Set who hears when a receiver fails."`
	Profile       profileCommand       `cmd:"" help:"Show and change the client's profile: its name, the Authorization header of its webhooks."`
	Types         typesCommand         `cmd:"" help:"Show, add and delete event types."`
	Clients       clientsCommand       `cmd:"" help:"Make, list and delete clients (operator)."`
	Keys          keysCommand          `cmd:"" help:"Make, list and revoke API keys."`
	PortalLink    portalLinkCommand    `cmd:"" help:"Make a link that signs one person in to a client's pages of the portal, once (operator)."`
	Unsubscribed  unsubscribedCommand  `cmd:"" help:"List mailboxes that get no mail, and allow mail to them again."`
	Audit         auditCommand         `cmd:"" help:"Show the audit log: who changed what."`
	Completion    completionCommand    `cmd:"" help:"Print a shell's completion script."`
	Version       versionCommand       `cmd:"" help:"Print the version."`
	Help          helpCommand          `cmd:"" help:"Show help, of a command if one is named."`
}

// streams are a command's input and output. Data goes to stdout, everything else to
// stderr.
type streams struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], &streams{os.Stdin, os.Stdout, os.Stderr}))
}

// isLineBreak finds the characters that would break an error over several lines.
func isLineBreak(r rune) bool { return r == '\n' || r == '\t' || r == '\r' }

// run runs one command and returns its exit code, see cli.ExitCode.
func run(ctx context.Context, args []string, out *streams) int {
	parser, err := newParser(ctx, out)
	if err == nil {
		err = parseAndRun(ctx, parser, args)
	}
	code := cli.ExitCode(err)
	if err != nil && len(args) > 0 && args[0] == "healthcheck" {
		code = cli.General
	}
	if err != nil && code != cli.Interrupted {
		fmt.Fprintln(out.stderr, "herald:", cli.Clean(strings.Join(strings.FieldsFunc(err.Error(), isLineBreak), "; ")))
	}
	return code
}
