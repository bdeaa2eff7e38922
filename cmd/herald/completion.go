package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kong"
	"github.com/willabides/kongplete"
)

// completionCommand is `herald completion`.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// The scripts make the shell run this program for completions, see complete.
const (
	bashCompletion = "complete -C %[1]q herald\n"
	zshCompletion  = "autoload -U +X bashcompinit && bashcompinit\ncomplete -C %[1]q herald\n"
	fishCompletion = `function __complete_herald
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

// complete answers a shell's request for completions and then ends the process. The
// shell sets the variable COMP_LINE for such a request.
func complete(parser *kong.Kong) { kongplete.Complete(parser) }
